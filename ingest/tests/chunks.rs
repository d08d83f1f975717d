//! The chunks of a table hold every row exactly once, whatever its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use ingest::schema::SourceTable;
use ingest::source::mysql::chunk::{Chunk, ChunkSplitter, KeyRange, initial_range, read_chunk};
use ingest::source::mysql::connection::Connection;
use ingest::source::mysql::discovery::discover;
use regex::Regex;
use rstest::rstest;

use crate::support::MariaDb;

async fn source_table(connection: &mut Connection, database: &str) -> Arc<SourceTable> {
    let pattern = Regex::new(&format!(r"{database}\.t")).unwrap();
    Arc::new(
        discover(connection, &pattern)
            .await
            .unwrap()
            .remove(0)
            .table,
    )
}

async fn split(
    connection: &mut Connection,
    table: &Arc<SourceTable>,
    range: KeyRange,
    chunk_rows: u64,
) -> Vec<Chunk> {
    let mut splitter = ChunkSplitter::new(Arc::clone(table), range, chunk_rows);
    let mut chunks = Vec::new();
    while let Some(chunk) = splitter.next_chunk(connection).await.unwrap() {
        chunks.push(chunk);
    }
    assert!(splitter.remaining().is_none());
    chunks
}

/// Counts how often each row, as raw bytes, is read; and the rows of each chunk.
async fn read_all(
    connection: &mut Connection,
    table: &SourceTable,
    chunks: &[Chunk],
) -> (BTreeMap<Vec<u8>, u32>, Vec<usize>) {
    let (mut seen, mut sizes) = (BTreeMap::new(), Vec::new());
    for chunk in chunks {
        // As it comes back from a lake commit.
        let chunk: Chunk = serde_json::from_str(&serde_json::to_string(chunk).unwrap()).unwrap();
        let mut rows = read_chunk(connection, table, &chunk).await.unwrap();
        let mut size = 0;
        while let Some(row) = rows.next_row().await.unwrap() {
            *seen.entry(row.to_vec()).or_insert(0) += 1;
            size += 1;
        }
        sizes.push(size);
    }
    (seen, sizes)
}

#[rstest]
#[case::dense("id INT PRIMARY KEY", "SELECT seq FROM seq_1_to_3000", 3000, 500)]
#[case::negative(
    "id INT PRIMARY KEY",
    "SELECT CAST(seq AS SIGNED) - 1500 FROM seq_1_to_3000",
    3000,
    500
)]
#[case::huge_gaps(
    "id BIGINT PRIMARY KEY",
    "SELECT CAST(seq AS SIGNED) * 3000000000000000 - 4500000000000000000 FROM seq_1_to_3000",
    3000,
    500
)]
#[case::both_ends(
    "id BIGINT UNSIGNED PRIMARY KEY",
    "SELECT IF(seq = 1, 0, 18446744073709551615 - seq + 2) FROM seq_1_to_1000",
    1000,
    300
)]
#[case::few("id INT PRIMARY KEY", "SELECT seq FROM seq_1_to_3", 3, 500)]
#[case::composite(
    "a SMALLINT, b DATE, PRIMARY KEY (b, a)",
    "SELECT seq % 10, DATE '2024-01-01' + INTERVAL seq DIV 10 DAY FROM seq_0_to_2999",
    3000,
    250
)]
#[case::skewed(
    "a INT, b INT, c INT, PRIMARY KEY (a, b, c)",
    "SELECT 1, seq DIV 7, seq FROM seq_0_to_2999",
    3000,
    250
)]
#[case::case_insensitive(
    "k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY",
    "SELECT CONCAT(IF(seq % 2, 'key', 'KEY'), IF(seq % 3, 'é', 'z'), seq) FROM seq_1_to_2000",
    2000,
    300
)]
#[case::spaces(
    "k VARCHAR(20) COLLATE utf8mb4_unicode_nopad_ci PRIMARY KEY",
    "SELECT CONCAT(seq DIV 3, REPEAT(' ', seq % 3)) FROM seq_1_to_2000",
    2000,
    300
)]
#[case::latin1(
    "k VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german1_ci PRIMARY KEY",
    "SELECT CONCAT(IF(seq % 2, 'ä', 'x'), seq, 'ß''\\\\') FROM seq_1_to_2000",
    2000,
    300
)]
#[case::uuid("id UUID PRIMARY KEY", "SELECT UUID() FROM seq_1_to_2000", 2000, 300)]
#[case::char36(
    "id CHAR(36) PRIMARY KEY",
    "SELECT UUID() FROM seq_1_to_2000",
    2000,
    300
)]
#[case::binary16(
    "id BINARY(16) PRIMARY KEY",
    "SELECT UNHEX(MD5(seq)) FROM seq_1_to_2000",
    2000,
    300
)]
#[case::binary_zeroes(
    "id VARBINARY(8) PRIMARY KEY",
    "SELECT CONCAT(CHAR(seq DIV 4), REPEAT(CHAR(0), seq % 4)) FROM seq_0_to_900",
    901,
    100
)]
#[case::decimal(
    "id DECIMAL(20,3) PRIMARY KEY",
    "SELECT seq / 8 - 100 FROM seq_1_to_2000",
    2000,
    300
)]
#[case::timestamp(
    "at TIMESTAMP(6) PRIMARY KEY",
    "SELECT TIMESTAMP '2024-10-27 00:00:00' + INTERVAL seq * 7 SECOND FROM seq_1_to_2000",
    2000,
    300
)]
#[case::time(
    "at TIME PRIMARY KEY",
    "SELECT SEC_TO_TIME(CAST(seq AS SIGNED) * 1000 - 1000000) FROM seq_1_to_1500",
    1500,
    300
)]
#[case::enumerated(
    "e ENUM('z','y','x','a'), n INT, PRIMARY KEY (e, n)",
    "SELECT seq % 4 + 1, seq FROM seq_1_to_2000",
    2000,
    300
)]
#[case::bits(
    "b BIT(40) PRIMARY KEY",
    "SELECT seq * 1000003 FROM seq_1_to_2000",
    2000,
    300
)]
#[case::flags(
    "s SET('a','b','c','d','e'), n INT, PRIMARY KEY (s, n)",
    "SELECT seq % 32, seq FROM seq_1_to_2000",
    2000,
    300
)]
#[case::year(
    "y YEAR, n INT, PRIMARY KEY (y, n)",
    "SELECT 1990 + seq % 20, seq FROM seq_1_to_2000",
    2000,
    300
)]
#[tokio::test]
async fn every_row_is_in_exactly_one_chunk(
    #[case] columns: &str,
    #[case] rows: &str,
    #[case] count: usize,
    #[case] chunk_rows: u64,
) {
    let server = MariaDb::shared().await;
    let name = std::thread::current()
        .name()
        .unwrap()
        .rsplit("::")
        .next()
        .unwrap()
        .to_owned();
    server
        .run(&[
            &format!("CREATE DATABASE {name}"),
            &format!("USE {name}"),
            &format!("CREATE TABLE {name}.t ({columns})"),
            &format!("INSERT INTO {name}.t {rows}"),
            &format!("ANALYZE TABLE {name}.t"),
        ])
        .await;
    let mut connection = Connection::connect_snapshot(&server.lake()).await.unwrap();
    let table = source_table(&mut connection, &name).await;
    let range = initial_range(&mut connection, &table)
        .await
        .unwrap()
        .unwrap();
    let chunks = split(&mut connection, &table, range, chunk_rows).await;
    let (seen, sizes) = read_all(&mut connection, &table, &chunks).await;
    assert_eq!(seen.len(), count, "{sizes:?}");
    assert!(seen.values().all(|times| *times == 1));
    let expected = count as u64 / chunk_rows;
    assert!(
        chunks.len() as u64 >= expected,
        "{} chunks of {sizes:?} rows",
        chunks.len()
    );
    assert!(
        sizes.iter().all(|size| *size as u64 <= chunk_rows * 10),
        "{sizes:?}"
    );
}

#[tokio::test]
async fn the_range_is_frozen_at_the_greatest_key() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE chunk_frozen",
            "USE chunk_frozen",
            "CREATE TABLE chunk_frozen.t (id INT PRIMARY KEY)",
        ])
        .await;
    let mut connection = server.connect().await;
    let table = source_table(&mut connection, "chunk_frozen").await;
    assert_eq!(initial_range(&mut connection, &table).await.unwrap(), None);
    server
        .run(&[
            "USE chunk_frozen",
            "INSERT INTO chunk_frozen.t SELECT seq FROM seq_1_to_100",
        ])
        .await;
    let range = initial_range(&mut connection, &table)
        .await
        .unwrap()
        .unwrap();
    server
        .run(&[
            "USE chunk_frozen",
            "INSERT INTO chunk_frozen.t SELECT seq FROM seq_101_to_5000",
        ])
        .await;
    let chunks = split(&mut connection, &table, range, 40).await;
    let (seen, _) = read_all(&mut connection, &table, &chunks).await;
    assert_eq!(seen.len(), 100);
}

#[tokio::test]
async fn cutting_goes_on_from_what_remains() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE chunk_resume",
            "USE chunk_resume",
            "CREATE TABLE chunk_resume.t (a INT, k VARCHAR(9), PRIMARY KEY (a, k))",
            "INSERT INTO chunk_resume.t SELECT seq DIV 50, seq FROM seq_1_to_1000",
        ])
        .await;
    let mut connection = server.connect().await;
    let table = source_table(&mut connection, "chunk_resume").await;
    let range = initial_range(&mut connection, &table)
        .await
        .unwrap()
        .unwrap();
    let mut splitter = ChunkSplitter::new(Arc::clone(&table), range, 90);
    let mut chunks = Vec::new();
    for _ in 0..3 {
        chunks.push(splitter.next_chunk(&mut connection).await.unwrap().unwrap());
    }
    let rest = serde_json::to_string(&splitter.remaining().unwrap()).unwrap();
    chunks.extend(
        split(
            &mut connection,
            &table,
            serde_json::from_str(&rest).unwrap(),
            70,
        )
        .await,
    );
    let (seen, sizes) = read_all(&mut connection, &table, &chunks).await;
    assert_eq!((seen.len(), sizes[0], sizes[3]), (1000, 90, 70));
    assert!(seen.values().all(|times| *times == 1));
}

#[tokio::test]
async fn keys_that_cannot_be_cut_are_one_chunk() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE chunk_float",
            "USE chunk_float",
            "CREATE TABLE chunk_float.t (f DOUBLE PRIMARY KEY)",
            "INSERT INTO chunk_float.t SELECT seq / 3 FROM seq_1_to_1000",
        ])
        .await;
    let mut connection = server.connect().await;
    let table = source_table(&mut connection, "chunk_float").await;
    let range = initial_range(&mut connection, &table)
        .await
        .unwrap()
        .unwrap();
    let chunks = split(&mut connection, &table, range, 10).await;
    let (seen, _) = read_all(&mut connection, &table, &chunks).await;
    assert_eq!((chunks.len(), seen.len()), (1, 1000));
}

#[tokio::test]
async fn composite_ranges_read_only_their_rows() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE chunk_plan",
            "USE chunk_plan",
            "CREATE TABLE chunk_plan.t (a INT, b INT, PRIMARY KEY (a, b))",
            "INSERT INTO chunk_plan.t SELECT seq DIV 1000, seq FROM seq_1_to_20000",
        ])
        .await;
    let mut connection = server.connect().await;
    let table = source_table(&mut connection, "chunk_plan").await;
    let range = initial_range(&mut connection, &table)
        .await
        .unwrap()
        .unwrap();
    let chunks = split(&mut connection, &table, range, 500).await;
    let reads = async |connection: &mut Connection| -> u64 {
        let sql = "SHOW SESSION STATUS LIKE 'Handler_read%'";
        let rows = connection.query(sql).await.unwrap();
        rows.iter().map(|row| row.parse_at::<u64>(1).unwrap()).sum()
    };
    let before = reads(&mut connection).await;
    let mut rows = read_chunk(&mut connection, &table, &chunks[20])
        .await
        .unwrap();
    while rows.next_row().await.unwrap().is_some() {}
    let read = reads(&mut connection).await - before;
    // SHOW STATUS itself reads a few rows of its own.
    assert!(read < 1500, "{read} reads for 500 rows of 20000");
}
