//! Whoever feeds a table is alone at it, or shares it in an orderly way: daemons are kept apart by leases, other engines by
//! optimistic concurrency control.

use std::time::Duration;

use rstest::rstest;

use crate::round_trip::assert_shop_is_equal;
use crate::support::{
    Daemon, Database, Kinds, Pipeline, S3, Shop, lakebed, pause, run_until_current,
};

const ALL_TABLES: &str = r"shop\.(orders|lines|stock|accounts)";

/// Where the lake lies.
#[derive(Debug, Clone, Copy)]
enum Place {
    Disk,
    S3,
}

fn pipeline(database: &Database, place: Place) -> Pipeline {
    let pipeline = Pipeline::new(database, "mor", ALL_TABLES);
    match place {
        Place::Disk => pipeline,
        Place::S3 => pipeline.with("sink", "path", &S3::place()),
    }
}

fn follows(daemon: &mut Daemon, shop: &Shop<'_>) {
    daemon.wait_until("the stream", || shop.is_followed());
}

#[rstest]
#[case::disk(Place::Disk)]
#[case::s3(Place::S3)]
fn a_second_daemon_is_refused_and_the_first_goes_on(#[case] place: Place) {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 200);
    let pipeline = pipeline(&database, place);
    let mut first = Daemon::start(&pipeline);
    follows(&mut first, &shop);
    let second = lakebed(&["run", pipeline.file().to_str().unwrap()]).expect_code(1);
    for word in ["is being written by pipeline `shop`", "process", "s more"] {
        assert!(
            second.stderr.contains(word),
            "no `{word}`: {}",
            second.stderr
        );
    }
    shop.writer(1, Kinds::All).stop();
    first.stop();
    // The lease was given back: no need to wait.
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
}

#[rstest]
#[case::disk(Place::Disk)]
#[case::s3(Place::S3)]
fn a_paused_daemon_that_was_replaced_is_fenced(#[case] place: Place) {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 200);
    let pipeline = pipeline(&database, place).with("sink", "lease.timeout", "2s");
    let mut first = Daemon::start(&pipeline);
    follows(&mut first, &shop);
    let writer = shop.writer(2, Kinds::All);
    pause(Duration::from_millis(700));
    first.signal("STOP");
    let refused = lakebed(&["run", pipeline.file().to_str().unwrap()]);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "paused is not dead yet: {}",
        refused.stderr
    );
    pause(Duration::from_secs(3));
    let mut second = Daemon::start(&pipeline);
    second.wait_until_said("following the binary log");
    pause(Duration::from_secs(1));
    first.signal("CONT");
    let fenced = first.wait(Duration::from_secs(30)).expect_code(1);
    assert!(
        fenced.stderr.contains("has taken over"),
        "{}",
        fenced.stderr
    );
    writer.stop();
    second.stop();
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
}
