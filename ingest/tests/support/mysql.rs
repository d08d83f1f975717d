//! A private MySQL server of the versions that `scripts/setup interop` unpacks, killed when the test is done with it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ingest::config::Secret;
use ingest::source::mysql::connection::{Connection, MySqlOptions};
use tempfile::TempDir;

use super::{interop, mariadb::free_port};

const START_MAX: Duration = Duration::from_secs(120);

/// A running server with an all-powerful `root` without password, and `lake` / `lakepw` with the documented rights.
pub(crate) struct MySql {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl MySql {
    /// A server of version `8.0` or `5.7`.
    pub(crate) async fn start(version: &str) -> Self {
        let home = interop().join(format!("mysql-{version}"));
        assert!(
            home.exists(),
            "{} is missing: scripts/setup interop",
            home.display()
        );
        let directory = TempDir::with_prefix("lakebed-mysql-").unwrap();
        let (data, port) = (directory.path().join("data"), free_port());
        let mysqld = || mysqld(&home, directory.path());
        let made = mysqld().arg("--initialize-insecure").output().unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut server = mysqld();
        if version == "8.0" {
            server.args([
                "--mysqlx=OFF",
                "--default-authentication-plugin=mysql_native_password",
            ]);
        }
        let process = server
            .args([
                "--gtid-mode=ON",
                "--enforce-gtid-consistency=ON",
                "--log-slave-updates=ON",
            ])
            .args([
                "--bind-address=127.0.0.1",
                "--server-id=1",
                "--binlog-format=ROW",
            ])
            .args([
                "--innodb-buffer-pool-size=64M",
                "--sync-binlog=0",
                "--character-set-server=utf8mb4",
            ])
            .args(["--innodb-flush-log-at-trx-commit=0"])
            .arg(format!("--log-bin={}", data.join("binlog").display()))
            .arg(format!(
                "--socket={}",
                directory.path().join("s.sock").display()
            ))
            .arg(format!(
                "--pid-file={}",
                directory.path().join("pid").display()
            ))
            .arg(format!("--port={port}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            process,
            port,
            _directory: directory,
        };
        server.wait_until_ready().await;
        server
            .run(&[
                "CREATE USER lake@'%' IDENTIFIED BY 'lakepw'",
                "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO lake@'%'",
            ])
            .await;
        server
    }

    async fn wait_until_ready(&self) {
        let end = Instant::now() + START_MAX;
        while let Err(error) = Connection::connect(&self.options("root", "")).await {
            assert!(Instant::now() < end, "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How to log in as an account.
    pub(crate) fn options(&self, user: &str, password: &str) -> MySqlOptions {
        let options = MySqlOptions::new("127.0.0.1", user, Secret::new(password));
        MySqlOptions {
            port: self.port,
            ..options
        }
    }

    /// Runs statements as root.
    pub(crate) async fn run(&self, statements: &[&str]) {
        let mut root = Connection::connect(&self.options("root", ""))
            .await
            .unwrap();
        for statement in statements {
            root.execute(statement).await.unwrap();
        }
    }
}

/// The server's program of `home` with its data in `directory`.
fn mysqld(home: &Path, directory: &Path) -> Command {
    let mut command = Command::new(home.join("bin/mysqld"));
    command
        .args(["--no-defaults", "--user=root"])
        .arg(format!("--basedir={}", home.display()))
        .arg(format!("--lc-messages-dir={}/share", home.display()))
        .arg(format!("--datadir={}", directory.join("data").display()))
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

impl Drop for MySql {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
