//! A small shop at the source, and writers that keep changing it.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::database::Database;
use super::pause;

const TABLES: &str = "
CREATE TABLE shop.orders (id BIGINT PRIMARY KEY AUTO_INCREMENT, customer INT UNSIGNED NOT NULL,
  status VARCHAR(12) NOT NULL DEFAULT 'new', total DECIMAL(18,4) DEFAULT 0, note TEXT,
  created DATETIME(6) NOT NULL DEFAULT '2026-01-01 00:00:00');
CREATE TABLE shop.`lines` (order_id BIGINT, line SMALLINT, sku VARCHAR(20) NOT NULL, price DECIMAL(10,2),
  PRIMARY KEY (order_id, line));
CREATE TABLE shop.stock (sku VARCHAR(20) PRIMARY KEY, quantity INT NOT NULL, changed TIMESTAMP(3) NULL);
CREATE TABLE shop.accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL);
";

/// The shop's tables, filled; what changes is seeded.
#[derive(Debug)]
pub(crate) struct Shop<'a> {
    database: &'a Database,
    orders: u64,
}

impl<'a> Shop<'a> {
    /// The names of its tables.
    pub(crate) const TABLES: [&'static str; 4] =
        ["shop.orders", "shop.lines", "shop.stock", "shop.accounts"];
    /// Accounts begin with this balance, and transfers between them keep the sum.
    pub(crate) const BALANCE: i64 = 1000;
    /// How many accounts there are.
    pub(crate) const ACCOUNTS: i64 = 50;

    /// Creates the tables with so many orders.
    pub(crate) fn open(database: &'a Database, orders: u64) -> Self {
        database.sql(TABLES);
        let mut batch = String::from("USE shop; SET time_zone = '+00:00';\n");
        // Plain statements of 500 rows: they run on every server, MySQL 5.7 included.
        for first in (1..=orders).step_by(500) {
            let ids = || first..(first + 500).min(orders + 1);
            insert(&mut batch, "orders", ids(), |id| {
                let note = if id % 7 == 0 {
                    "NULL".into()
                } else {
                    format!("'näher {id}'")
                };
                format!(
                    "{id},{},'new',{}.{:04},{note},'2026-01-02 03:04:05.{:06}'",
                    id % 997,
                    id % 5000,
                    id % 10_000,
                    id
                )
            });
            insert(&mut batch, "`lines`", ids(), |id| {
                format!("{id},1,'S{}',{}.99", id % 200, id % 90)
            });
            insert(&mut batch, "`lines`", ids(), |id| {
                format!("{id},2,'S{}',NULL", (id + 1) % 200)
            });
        }
        insert(&mut batch, "stock", 0..200, |n| {
            format!("'S{n}',1000,'2026-01-01 00:00:00.5'")
        });
        let balance = Self::BALANCE;
        insert(&mut batch, "accounts", 1..Self::ACCOUNTS as u64 + 1, |n| {
            format!("{n},{balance}")
        });
        database.sql(&batch);
        Self { database, orders }
    }

    /// A shop that is there already, with so many orders at first: on a server that has copied it.
    pub(crate) fn at(database: &'a Database, orders: u64) -> Self {
        Self { database, orders }
    }

    /// Adds `shop.events`, a table that takes longer to load than the others. MariaDB only.
    pub(crate) fn add_events(&self, rows: u64) {
        self.database.sql(&format!(
            "USE shop; CREATE TABLE events (id BIGINT PRIMARY KEY, kind VARCHAR(10) NOT NULL, amount DECIMAL(12,2),
               happened DATETIME(3), text VARCHAR(100));
             INSERT INTO events SELECT seq, ELT(1 + seq % 3, 'view', 'click', 'buy'), seq / 7,
               '2026-01-01' + INTERVAL seq SECOND, MD5(seq) FROM seq_1_to_{rows};"
        ));
    }

    /// Whether some client reads the server's binary log.
    pub(crate) fn is_followed(&self) -> bool {
        self.database
            .sql("SHOW PROCESSLIST")
            .contains("Binlog Dump")
    }

    /// Starts a writer that changes the shop until it is stopped.
    pub(crate) fn writer(&self, seed: u64, kinds: Kinds) -> Writer {
        let mut client = self.database.client();
        client
            .args(["--force", "shop"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut client = client.spawn().unwrap();
        let mut input = client.stdin.take().unwrap();
        let mut errors = client.stderr.take().unwrap();
        let (stop, orders) = (Arc::new(AtomicBool::new(false)), self.orders);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut random = StdRng::seed_from_u64(seed);
            let mut count = 0;
            input.write_all(b"SET time_zone = '+00:00';\n").unwrap();
            while !stopped.load(Ordering::Relaxed) {
                let mut batch = String::new();
                for _ in 0..20 {
                    change(&mut random, orders, kinds, &mut batch);
                    count += 1;
                }
                input.write_all(batch.as_bytes()).unwrap();
                input.flush().unwrap();
                pause(Duration::from_millis(15));
            }
            drop(input);
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            client.wait().unwrap();
            // Two writers may meet: the server then rolls one back, which is a change like others.
            let unexpected: Vec<_> = text
                .lines()
                .filter(|line| {
                    line.contains("ERROR") && !line.contains("1213") && !line.contains("1205")
                })
                .collect();
            assert!(
                unexpected.is_empty(),
                "the writer's statements fail: {unexpected:?}"
            );
            count
        });
        Writer { stop, thread }
    }
}

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// Every kind of change.
    All,
    /// Inserts and updates that keep the key.
    Upserts,
}

/// A writer at work.
#[derive(Debug)]
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Writer {
    /// Stops it, waits until the server has executed all of its changes, and says how many there were.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn insert(
    batch: &mut String,
    table: &str,
    keys: std::ops::Range<u64>,
    values: impl Fn(u64) -> String,
) {
    let rows: Vec<String> = keys.map(|key| format!("({})", values(key))).collect();
    if !rows.is_empty() {
        writeln!(batch, "INSERT INTO {table} VALUES {};", rows.join(",")).unwrap();
    }
}

/// One change: a statement, or a transaction that is committed or rolled back.
fn change(random: &mut StdRng, orders: u64, kinds: Kinds, batch: &mut String) {
    let id = random.random_range(1..=orders + orders / 4);
    let (other, amount) = (random.random_range(1..=orders), random.random_range(1..500));
    let sku = random.random_range(0..200);
    let choice = random.random_range(0..if kinds == Kinds::All { 11 } else { 6 });
    let statement = match choice {
        0 => format!("INSERT INTO orders (customer, total, note) VALUES ({amount}, {amount}.5, 'neu {id} 漢字');"),
        1 => format!("UPDATE orders SET status = 'paid', total = total + 0.25 WHERE id = {id};"),
        2 => format!("UPDATE stock SET quantity = quantity - 1, changed = '2026-02-03 04:05:06.7' WHERE sku = 'S{sku}';"),
        3 => format!(
            "INSERT INTO `lines` VALUES ({other}, {}, 'S{sku}', {amount}.10) ON DUPLICATE KEY UPDATE price = price + 1;",
            amount % 9
        ),
        4 => {
            let (from, to) = (sku % Shop::ACCOUNTS + 1, i64::from(amount) % Shop::ACCOUNTS + 1);
            format!(
                "START TRANSACTION; UPDATE accounts SET balance = balance - {amount} WHERE id = {from};
                 UPDATE accounts SET balance = balance + {amount} WHERE id = {to}; COMMIT;"
            )
        }
        5 => format!(
            "START TRANSACTION; INSERT INTO orders (customer, total) VALUES ({amount}, 1);
             INSERT INTO `lines` VALUES (LAST_INSERT_ID(), 1, 'S{sku}', 2.5), (LAST_INSERT_ID(), 2, 'S0', NULL);
             UPDATE stock SET quantity = quantity - 2 WHERE sku = 'S{sku}'; COMMIT;"
        ),
        6 => format!("DELETE FROM orders WHERE id = {id}; DELETE FROM `lines` WHERE order_id = {id};"),
        7 => format!("UPDATE IGNORE orders SET id = id + 10000000 WHERE id = {id};"),
        8 => format!("UPDATE IGNORE `lines` SET line = line + 10 WHERE order_id = {other} ORDER BY line DESC;"),
        9 => "START TRANSACTION; INSERT INTO orders (customer, note) VALUES (1, 'rolled back');
             UPDATE stock SET quantity = 0; DELETE FROM accounts WHERE id = 1; ROLLBACK;"
            .to_owned(),
        _ => format!("REPLACE INTO orders (id, customer, status) VALUES ({id}, {amount}, 'sent');"),
    };
    batch.push_str(&statement);
    batch.push('\n');
}
