//! The demo's data: a small shop, and a table with a column of every type.

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use ingest::source::mysql::connection::Connection;

/// Orders before the writers start.
pub(super) const ORDERS: u64 = 1_000_000;
const CUSTOMERS: u64 = 50_000;
const STEPS: u64 = 20;

/// The tables, in the order in which they are compared.
pub(super) const TABLES: [&str; 3] = ["customers", "orders", "every_type"];

const SCHEMA: &[&str] = &[
    "CREATE DATABASE shop DEFAULT CHARSET utf8mb4",
    "CREATE TABLE shop.customers (
       id INT UNSIGNED PRIMARY KEY, name VARCHAR(60) NOT NULL, country CHAR(2) NOT NULL,
       balance DECIMAL(12,2) NOT NULL, since DATE NOT NULL)",
    "CREATE TABLE shop.orders (
       id BIGINT PRIMARY KEY AUTO_INCREMENT, customer_id INT UNSIGNED NOT NULL,
       status ENUM('new','paid','shipped','returned') NOT NULL, total DECIMAL(12,2) NOT NULL,
       items SMALLINT UNSIGNED NOT NULL, note VARCHAR(80), created_at DATETIME(6) NOT NULL,
       updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6))",
    "CREATE TABLE shop.every_type (
       id INT PRIMARY KEY, c_bool BOOL, c_tiny TINYINT, c_tinyu TINYINT UNSIGNED, c_small SMALLINT,
       c_medium MEDIUMINT, c_int INT, c_intu INT UNSIGNED, c_big BIGINT, c_bigu BIGINT UNSIGNED,
       c_float FLOAT, c_double DOUBLE, c_decimal DECIMAL(20,6), c_decimal65 DECIMAL(65,30),
       c_bit1 BIT(1), c_bit BIT(12), c_year YEAR, c_date DATE, c_time TIME(6), c_datetime DATETIME(6),
       c_timestamp TIMESTAMP(6) NULL, c_char CHAR(10), c_varchar VARCHAR(100), c_text MEDIUMTEXT,
       c_latin1 VARCHAR(20) CHARACTER SET latin1, c_binary BINARY(8), c_varbinary VARBINARY(16),
       c_blob BLOB, c_enum ENUM('a','b c','d,e'), c_set SET('x','y','z'), c_json JSON, c_point POINT,
       c_uuid UUID, c_inet6 INET6)",
    "INSERT INTO shop.every_type VALUES
       (1, 1, -128, 255, -32768, -8388608, -2147483648, 4294967295, -9223372036854775808,
        18446744073709551615, 1.5, 2.718281828459045, -12345678901234.567890,
        99999999999999999999999999999999999.999999999999999999999999999999, b'1', b'100000000001', 2155,
        '9999-12-31', '-838:59:59.000000', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999999',
        'padded', 'grüße 漢字 😀', REPEAT('long ', 1000), 'café €', x'0102', x'CAFE', x'00FF', 'b c', 'x,z',
        '{\"b\": 1, \"a\": [1.0, null]}', ST_GeomFromText('POINT(1 2)'),
        '123e4567-e89b-12d3-a456-426655440000', '2001:db8::1'),
       (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
];

/// Creates and fills the tables.
pub(super) async fn fill(connection: &mut Connection, area: &MultiProgress) -> Result<()> {
    for statement in SCHEMA {
        connection.execute(statement).await?;
    }
    let bar = area.add(ProgressBar::new(ORDERS + CUSTOMERS));
    bar.set_style(ProgressStyle::with_template(
        "{prefix:<24} {bar:30.cyan/blue} {percent:>3}%  {human_pos} rows  ETA {eta}",
    )?);
    bar.set_prefix("filling the shop");
    connection
        .execute(&format!(
            "INSERT INTO shop.customers SELECT seq, CONCAT('customer ', seq), ELT(1 + seq % 5, 'DE','FR','IT','JP','US'),
             (seq * 7919 % 1000000) / 100, DATE '2015-01-01' + INTERVAL (seq % 4000) DAY FROM shop.seq_1_to_{CUSTOMERS}"
        ))
        .await?;
    bar.inc(CUSTOMERS);
    let step = ORDERS / STEPS;
    for part in 0..STEPS {
        let (first, last) = (part * step + 1, (part + 1) * step);
        connection
            .execute(&format!(
                "INSERT INTO shop.orders SELECT seq, 1 + seq * 31 % {CUSTOMERS}, 1 + seq % 4, (seq * 7919 % 5000000) / 100,
                 1 + seq % 9, IF(seq % 3 = 0, CONCAT('leave at door ', seq % 97), NULL),
                 TIMESTAMP '2026-01-01 00:00:00' + INTERVAL seq SECOND, TIMESTAMP '2026-01-01 00:00:00' + INTERVAL seq SECOND
                 FROM shop.seq_{first}_to_{last}"
            ))
            .await?;
        bar.inc(step);
    }
    bar.finish_and_clear();
    Ok(())
}
