//! A replica takes the primary's place: the daemon finds it by itself and goes on by GTID.

use std::time::Duration;

use rstest::rstest;

use crate::round_trip::assert_shop_is_equal;
use crate::support::{
    Daemon, Database, Flavour, Kinds, Pipeline, Shop, lakebed, pause, run_until_current, wait_until,
};

const TABLES: &str = r"shop\.(orders|lines|stock|accounts)";
const LIMIT: Duration = Duration::from_secs(60);

/// Makes `replica` follow `primary` from here on.
fn replicate(flavour: Flavour, primary: &Database, replica: &Database) {
    let from = format!(
        "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='lakebed', MASTER_PASSWORD='s3cret'",
        primary.port
    );
    let one_line = |sql: &str| primary.sql(sql).split_whitespace().collect::<String>();
    let statements = match flavour {
        Flavour::MariaDb | Flavour::MariaDb114 => {
            let position = one_line("SELECT @@gtid_current_pos");
            format!(
                "RESET MASTER; SET GLOBAL gtid_slave_pos = '{position}'; {from}, MASTER_USE_GTID=slave_pos; START SLAVE;"
            )
        }
        Flavour::MySql80 | Flavour::MySql57 => {
            let executed = one_line("SELECT @@GLOBAL.gtid_executed");
            format!(
                "RESET MASTER; SET GLOBAL gtid_purged = '{executed}'; {from}, MASTER_AUTO_POSITION=1; START SLAVE;"
            )
        }
    };
    replica.sql(&statements);
}

fn checksums(database: &Database) -> String {
    database.sql("CHECKSUM TABLE shop.orders, shop.lines, shop.stock, shop.accounts")
}

#[rstest]
#[case::mariadb(Flavour::MariaDb, &["--log-slave-updates=ON", "--gtid-strict-mode=ON"])]
#[ignore = "needs MySQL 8.0: make test-interop"]
#[case::mysql(Flavour::MySql80, &[])]
fn a_replica_takes_over(#[case] flavour: Flavour, #[case] flags: &[&str]) {
    let mut primary = Database::start(flavour, flags);
    let replica = Database::start(flavour, &[flags, &["--server-id=2"]].concat());
    replicate(flavour, &primary, &replica);
    let shop = Shop::open(&primary, 2000);
    let hosts = format!("127.0.0.1:{}, 127.0.0.1:{}", primary.port, replica.port);
    let pipeline = Pipeline::new(&primary, "mor", TABLES).with("source", "hostname", &hosts);
    let mut daemon = Daemon::start(&pipeline);
    daemon.wait_until_said("following the binary log");
    let writer = shop.writer(20_261_127, Kinds::All);
    pause(Duration::from_secs(3));
    assert!(writer.stop() > 0);
    let here = checksums(&primary);
    wait_until("the replica", LIMIT, || checksums(&replica) == here);
    primary.stop();
    replica.sql("STOP SLAVE");
    // The new primary is written to while the daemon has not found it yet.
    let shop = Shop::at(&replica, 2000);
    let writer = shop.writer(20_261_128, Kinds::All);
    daemon.wait_until_said("reading from another server");
    daemon.wait_until_said("reading goes on by GTID");
    pause(Duration::from_secs(3));
    assert!(writer.stop() > 0);
    daemon.wait_until("the stream", || shop.is_followed());
    daemon.stop();
    run_until_current(&pipeline);
    assert_shop_is_equal(&replica, &pipeline);
    // The old primary is gone, which is worth a warning and stops nothing.
    let checked = lakebed(&["check", pipeline.file().to_str().unwrap()]).expect_code(0);
    let warning = format!("warning: 127.0.0.1:{}: ", primary.port);
    assert!(checked.stderr.contains(&warning), "{}", checked.stderr);
}
