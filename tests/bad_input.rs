//! What users get for what they got wrong: the exit code, what is wrong and where, and the statement or key that mends it.

use std::time::Duration;

use rstest::rstest;

use crate::support::{
    Database, Finished, Flavour, Pipeline, Shop, assert_same_rows, lake_rows, lakebed,
    run_until_current, source_rows, wait_until,
};

/// A configuration or preflight check failed.
const REFUSED: i32 = 78;

fn run(pipeline: &Pipeline) -> Finished {
    lakebed(&["run", pipeline.file().to_str().unwrap(), "--until-current"])
}

/// `run` and `check` both refuse with these words, and nothing was written.
fn assert_refused(pipeline: &Pipeline, words: &[&str]) {
    let check = lakebed(&["check", pipeline.file().to_str().unwrap()]).expect_code(REFUSED);
    let run = run(pipeline).expect_code(REFUSED);
    for word in words {
        assert!(
            run.stderr.contains(word),
            "`run` does not say `{word}`: {}",
            run.stderr
        );
        let said = format!("{}{}", check.stdout, check.stderr);
        assert!(said.contains(word), "`check` does not say `{word}`: {said}");
    }
    assert!(
        !pipeline.lake().join("shop").exists(),
        "a refused run wrote to the lake"
    );
}

#[rstest]
#[case::unknown_key("sink", "table.typ", "mor", "`table.type`")]
#[case::unknown_source_key("source", "hostnam", "x", "`hostname`")]
#[case::bad_choice("sink", "table.type", "avro", "one of cow, mor")]
#[case::bad_size("pipeline", "memory", "lots", "512MiB")]
#[case::bad_regex("source", "tables", "'shop\\.((orders'", "regular expression")]
#[case::missing_variable(
    "source",
    "password",
    "${NO_SUCH_VARIABLE_HERE}",
    "NO_SUCH_VARIABLE_HERE"
)]
fn a_wrong_pipeline_file_names_line_key_and_remedy(
    #[case] block: &'static str,
    #[case] key: &'static str,
    #[case] value: &str,
    #[case] remedy: &str,
) {
    let pipeline = Pipeline::unreachable().with(block, key, value);
    let finished = run(&pipeline).expect_code(REFUSED);
    for word in ["pipeline.yaml:", key, remedy] {
        assert!(
            finished.stderr.contains(word),
            "no `{word}` in: {}",
            finished.stderr
        );
    }
}

#[test]
fn a_missing_key_is_named() {
    let pipeline = Pipeline::unreachable().with("source", "hostname", "");
    let finished = run(&pipeline).expect_code(REFUSED);
    assert!(
        finished.stderr.contains("`source.hostname` is required"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_pipeline_file_that_is_not_there_is_a_refused_configuration() {
    let finished = lakebed(&["run", "no/such/pipeline.yaml"]).expect_code(REFUSED);
    assert!(
        finished.stderr.contains("no/such/pipeline.yaml"),
        "{}",
        finished.stderr
    );
}

#[test]
fn an_unreachable_server_is_named_with_its_address() {
    let pipeline = Pipeline::unreachable();
    let finished = run(&pipeline);
    assert!(!finished.status.success());
    assert!(
        finished.stderr.contains("127.0.0.1:1"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_wrong_password_is_told_and_never_printed() {
    let database = Database::mariadb();
    Shop::open(&database, 10);
    let pipeline =
        Pipeline::new(&database, "mor", r"shop\.stock").with("source", "password", "sesame-9");
    let finished = run(&pipeline).expect_code(REFUSED);
    assert!(
        finished.stderr.contains("lakebed"),
        "the user is not named: {}",
        finished.stderr
    );
    assert!(
        !finished.stderr.contains("sesame-9"),
        "the password is shown"
    );
}

#[rstest]
#[case::off("--skip-log-bin", &["log_bin", "off"])]
#[case::statement("--binlog-format=STATEMENT", &["binlog_format", "STATEMENT", "SET GLOBAL binlog_format"])]
#[case::minimal("--binlog-row-image=MINIMAL", &["binlog_row_image", "MINIMAL", "SET GLOBAL binlog_row_image"])]
fn a_server_without_full_row_events_is_refused(#[case] flag: &str, #[case] words: &[&str]) {
    let database = Database::start(Flavour::MariaDb, &[flag]);
    Shop::open(&database, 10);
    assert_refused(&Pipeline::new(&database, "mor", r"shop\.stock"), words);
}

#[test]
fn missing_rights_come_with_the_grant_that_gives_them() {
    let database = Database::mariadb();
    Shop::open(&database, 10);
    database.sql("REVOKE REPLICATION SLAVE, REPLICATION CLIENT ON *.* FROM lakebed");
    let pipeline = Pipeline::new(&database, "mor", r"shop\.stock");
    assert_refused(&pipeline, &["GRANT", "REPLICATION SLAVE"]);
}

#[test]
fn a_table_without_a_key_is_named_with_a_remedy() {
    let database = Database::mariadb();
    database
        .sql("CREATE TABLE shop.keyless (a INT, b INT); INSERT INTO shop.keyless VALUES (1, 1)");
    let pipeline = Pipeline::new(&database, "mor", r"shop\.keyless");
    assert_refused(&pipeline, &["shop.keyless", "primary key"]);
}

#[test]
fn a_column_name_that_hudi_cannot_hold_is_named_with_its_table() {
    let database = Database::mariadb();
    database.sql("CREATE TABLE shop.odd (id INT PRIMARY KEY, `a b` INT)");
    let finished = run(&Pipeline::new(&database, "mor", r"shop\.odd")).expect_code(REFUSED);
    for word in ["shop.odd", "`a b`", "letters, digits and underscores"] {
        assert!(
            finished.stderr.contains(word),
            "no `{word}` in: {}",
            finished.stderr
        );
    }
}

#[test]
fn a_pattern_that_no_table_matches_is_refused() {
    let database = Database::mariadb();
    Shop::open(&database, 10);
    assert_refused(
        &Pipeline::new(&database, "mor", r"shop\.nothing"),
        &["nothing"],
    );
}

#[test]
fn all_findings_are_told_at_once() {
    let database = Database::start(Flavour::MariaDb, &["--binlog-format=STATEMENT"]);
    database.sql("CREATE TABLE shop.keyless (a INT)");
    let pipeline = Pipeline::new(&database, "mor", r"shop\.keyless");
    assert_refused(&pipeline, &["binlog_format", "shop.keyless"]);
}

#[test]
fn the_example_pipeline_is_a_valid_one() {
    let example = include_str!("../examples/shop.yaml");
    let pipeline = Pipeline::unreachable();
    let text = example.replace("MYSQL_PASSWORD", "LAKEBED_TEST_PASSWORD");
    std::fs::write(pipeline.file(), text).unwrap();
    lakebed(&["check", pipeline.file().to_str().unwrap(), "--offline"]).success();
}

#[test]
fn a_good_pipeline_passes_the_check_and_writes_nothing() {
    let database = Database::mariadb();
    Shop::open(&database, 10);
    let pipeline = Pipeline::new(&database, "mor", r"shop\.stock");
    lakebed(&["check", pipeline.file().to_str().unwrap()]).success();
    assert!(!pipeline.lake().join("shop").exists());
}

#[test]
fn a_directory_that_is_no_table_is_not_read_and_not_written() {
    let database = Database::mariadb();
    Shop::open(&database, 10);
    let pipeline = Pipeline::new(&database, "mor", r"shop\.stock");
    let table = pipeline.table("shop.stock");
    std::fs::create_dir_all(&table).unwrap();
    std::fs::write(table.join("notes.txt"), "mine").unwrap();

    let read = lakebed(&["query", "-t", table.to_str().unwrap()]);
    assert!(!read.status.success());
    assert!(read.stderr.contains("stock"), "{}", read.stderr);
    assert!(read.stderr.contains("table"), "{}", read.stderr);

    let written = run(&pipeline);
    assert!(
        !written.status.success(),
        "a directory with foreign files became a table"
    );
    assert!(written.stderr.contains("stock"), "{}", written.stderr);
    assert_eq!(
        std::fs::read_dir(&table).unwrap().count(),
        1,
        "files were added"
    );
}

#[test]
fn a_purged_log_is_told_with_the_remedy() {
    let database = Database::mariadb();
    Shop::open(&database, 10);
    let pipeline = Pipeline::new(&database, "mor", r"shop\.stock");
    run_until_current(&pipeline);
    database.sql("UPDATE shop.stock SET quantity = 3; FLUSH BINARY LOGS; FLUSH BINARY LOGS");
    // The server keeps a file as long as it takes it for being read.
    wait_until("the purge", Duration::from_secs(60), || {
        database.sql("PURGE BINARY LOGS TO 'binlog.000003'");
        database
            .sql("SHOW BINARY LOGS")
            .starts_with("binlog.000003")
    });
    let finished = run(&pipeline);
    assert!(!finished.status.success());
    for word in ["binlog.000001", "purged", "binlog_expire_logs_seconds"] {
        assert!(
            finished.stderr.contains(word),
            "no `{word}` in: {}",
            finished.stderr
        );
    }
}

#[rstest]
#[case::no_command(&[])]
#[case::unknown_command(&["ingest"])]
#[case::unknown_option(&["run", "p.yaml", "--for-ever"])]
#[case::unknown_format(&["query", "-t", ".", "--format", "xml"])]
fn wrong_usage_ends_with_exit_code_two(#[case] words: &[&str]) {
    lakebed(words).expect_code(2);
}

#[rstest]
#[case("run")]
#[case("check")]
#[case("query")]
#[case("table")]
fn every_command_has_help_with_an_example(#[case] command: &str) {
    let help = lakebed(&[command, "--help"]).success();
    assert!(help.contains(&format!("lakebed {command}")), "{help}");
}

#[test]
fn a_lake_that_was_filled_from_another_server_is_not_continued() {
    let first = Database::mariadb();
    let second = Database::start(Flavour::MariaDb, &["--server-id=77"]);
    for database in [&first, &second] {
        Shop::open(database, 10);
    }
    let pipeline = Pipeline::new(&first, "mor", r"shop\.orders");
    run_until_current(&pipeline);
    let pipeline = pipeline.with("source", "port", &second.port.to_string());
    let finished = run(&pipeline).expect_code(REFUSED);
    for word in ["shop.orders", "server-id-77", "load it anew"] {
        assert!(
            finished.stderr.contains(word),
            "no `{word}` in: {}",
            finished.stderr
        );
    }
}

#[test]
fn prepared_transactions_stop_the_pipeline_only_where_a_table_is_captured() {
    let database = Database::mariadb();
    Shop::open(&database, 10);
    database.sql("CREATE TABLE shop.other (id INT PRIMARY KEY)");
    let pipeline = Pipeline::new(&database, "mor", r"shop\.(orders|stock)");
    run_until_current(&pipeline);
    let prepared = |name: &str, statement: &str| {
        database.sql(&format!(
            "XA START '{name}'; {statement}; XA END '{name}'; XA PREPARE '{name}'; XA COMMIT '{name}';"
        ));
    };
    prepared("elsewhere", "INSERT INTO shop.other VALUES (1)");
    database.sql("UPDATE shop.stock SET quantity = 5");
    run_until_current(&pipeline);
    let lake = lake_rows(&database, "shop.stock", &pipeline.table("shop.stock"));
    assert_same_rows("shop.stock", &source_rows(&database, "shop.stock"), &lake);
    prepared("here", "UPDATE shop.orders SET total = 1");
    let stderr = run(&pipeline).expect_code(1).stderr;
    assert!(stderr.contains("XA transaction"), "{stderr}");
}
