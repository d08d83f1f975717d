//! A private MariaDB server on a free port, in a directory of its own, killed when the test is done with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use ingest::config::Secret;
use ingest::source::mysql::connection::{Connection, MySqlOptions};
use tempfile::TempDir;

const INSTALL: &str = "apt-get install -y mariadb-server";
const START_MAX: Duration = Duration::from_secs(120);

/// Accounts: `admin` may do everything, `lake` what the documentation asks for.
const ACCOUNTS: &str = "\
CREATE USER admin@'%' IDENTIFIED BY '';
GRANT ALL ON *.* TO admin@'%' WITH GRANT OPTION;
CREATE USER lake@'%' IDENTIFIED BY 'lakepw';
GRANT SELECT, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO lake@'%';
";

/// A running server.
pub(crate) struct MariaDb {
    process: Child,
    pub(crate) port: u16,
    directory: TempDir,
}

static SHARED: Mutex<Weak<MariaDb>> = Mutex::new(Weak::new());

impl MariaDb {
    /// The server that tests share which need no options of their own; each uses a database of its own.
    pub(crate) async fn shared() -> Arc<Self> {
        let server = {
            let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
            shared.upgrade().unwrap_or_else(|| {
                let server = Arc::new(Self::spawn(&[], true));
                *shared = Arc::downgrade(&server);
                server
            })
        };
        server.wait_until_ready().await;
        server
    }

    /// A server with the binary log on and more options.
    pub(crate) async fn start(options: &[&str]) -> Self {
        let server = Self::spawn(options, true);
        server.wait_until_ready().await;
        server
    }

    /// A server without a binary log.
    pub(crate) async fn start_without_binlog() -> Self {
        let server = Self::spawn(&[], false);
        server.wait_until_ready().await;
        server
    }

    fn spawn(options: &[&str], binlog: bool) -> Self {
        let directory = TempDir::with_prefix("lakebed-mariadb-").unwrap();
        let data = directory.path().join("data");
        let installed = Command::new(program("mariadb-install-db"))
            .args([
                "--no-defaults",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ])
            .arg(format!("--datadir={}", data.display()))
            .arg("--user=root")
            // As for the server below: one that bootstraps clears the temporary tables of all others.
            .env("TMPDIR", directory.path())
            .output()
            .unwrap_or_else(|error| panic!("mariadb-install-db: {error}; {INSTALL}"));
        assert!(
            installed.status.success(),
            "{}",
            String::from_utf8_lossy(&installed.stderr)
        );
        let accounts = directory.path().join("accounts.sql");
        std::fs::write(&accounts, ACCOUNTS).unwrap();
        let port = free_port();
        let log = std::fs::File::create(directory.path().join("server.log")).unwrap();
        let mut command = Command::new(program("mariadbd"));
        command
            .args([
                "--no-defaults",
                "--user=root",
                "--bind-address=127.0.0.1",
                "--server-id=1",
            ])
            .args([
                "--skip-name-resolve",
                "--innodb-buffer-pool-size=64M",
                "--character-set-server=utf8mb4",
            ])
            .args([
                "--innodb-flush-log-at-trx-commit=0",
                "--sync-binlog=0",
                "--max-allowed-packet=1G",
            ])
            .arg(format!("--port={port}"))
            .arg(format!("--datadir={}", data.display()))
            // A starting server clears the temporary tables of all that share its directory for them.
            .arg(format!("--tmpdir={}", directory.path().display()))
            .arg(format!(
                "--socket={}",
                directory.path().join("s.sock").display()
            ))
            .arg(format!("--init-file={}", accounts.display()));
        if binlog {
            command.args([
                "--log-bin=binlog",
                "--binlog-format=ROW",
                "--binlog-row-image=FULL",
            ]);
        }
        let process = command
            .args(options)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("mariadbd: {error}; {INSTALL}"));
        Self {
            process,
            port,
            directory,
        }
    }

    async fn wait_until_ready(&self) {
        let end = Instant::now() + START_MAX;
        let mut connection = loop {
            match Connection::connect(&self.lake()).await {
                Ok(connection) => break connection,
                Err(error) => assert!(Instant::now() < end, "{error}\n{}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let data = connection
            .query_value("SELECT @@datadir")
            .await
            .unwrap()
            .unwrap();
        let ours = self.directory.path().join("data");
        assert_eq!(
            Path::new(&data),
            ours,
            "another server has taken port {}",
            self.port
        );
    }

    /// What the server wrote to its error log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("server.log")).unwrap_or_default()
    }

    /// How to log in as another account.
    pub(crate) fn options(&self, user: &str, password: &str) -> MySqlOptions {
        let options = MySqlOptions::new("127.0.0.1", user, Secret::new(password));
        MySqlOptions {
            port: self.port,
            ..options
        }
    }

    /// How the pipeline logs in.
    pub(crate) fn lake(&self) -> MySqlOptions {
        self.options("lake", "lakepw")
    }

    /// A connection that may do everything.
    pub(crate) async fn admin(&self) -> Connection {
        Connection::connect(&self.options("admin", ""))
            .await
            .unwrap()
    }

    /// A connection of the pipeline's account.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::connect(&self.lake()).await.unwrap()
    }

    /// Runs statements as admin.
    pub(crate) async fn run(&self, statements: &[&str]) {
        let mut admin = self.admin().await;
        for statement in statements {
            admin.execute(statement).await.unwrap();
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // It may have ended by itself; the directory goes either way.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Servers live in sbin, which is not in every PATH.
fn program(name: &str) -> PathBuf {
    let sbin = Path::new("/usr/sbin").join(name);
    if sbin.exists() {
        sbin
    } else {
        PathBuf::from(name)
    }
}

/// A port below those that systems hand out for outgoing connections, so that nobody takes it before the server does.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 12_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 16;
    let candidates = (0..1_000).map(|_| base + NEXT.fetch_add(1, Ordering::Relaxed) % 4_000);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates
        .into_iter()
        .find(is_free)
        .expect("one of a thousand ports is free")
}
