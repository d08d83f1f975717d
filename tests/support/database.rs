//! A private MariaDB or MySQL server: own data directory, free port, binary log on.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{installed, interop, pause};

/// The user that pipelines log in as, with no more than the rights that the documentation asks for.
pub(crate) const USER: &str = "lakebed";
/// Its password.
pub(crate) const PASSWORD: &str = "s3cret";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Debian's MariaDB.
    MariaDb,
    /// MariaDB 11.4.5.
    MariaDb114,
    /// MySQL 8.0.12.
    MySql80,
    /// MySQL 5.7.22.
    MySql57,
}

impl Flavour {
    /// Whether it is MariaDB of some version.
    pub(crate) fn is_mariadb(self) -> bool {
        matches!(self, Self::MariaDb | Self::MariaDb114)
    }
}

/// A running server; dropping it stops the server and removes its data.
#[derive(Debug)]
pub(crate) struct Database {
    flavour: Flavour,
    directory: TempDir,
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    flags: Vec<String>,
    server: Option<Child>,
}

impl Database {
    /// A MariaDB server.
    pub(crate) fn mariadb() -> Self {
        Self::start(Flavour::MariaDb, &[])
    }

    /// A server with more command line flags, such as `--skip-log-bin`; the last one of a kind counts.
    pub(crate) fn start(flavour: Flavour, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let directory = TempDir::with_prefix("lakebed-db-").unwrap();
        let mut database = Self {
            flavour,
            directory,
            port: free_port(),
            flags,
            server: None,
        };
        database.initialise();
        database.launch();
        database.sql(&format!(
            "CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';
             GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{USER}'@'%';
             CREATE DATABASE shop DEFAULT CHARSET utf8mb4;"
        ));
        database
    }

    /// Runs statements as root and returns what they print: a line a row, columns separated by tabs, nothing escaped.
    pub(crate) fn sql(&self, statements: &str) -> String {
        let mut client = self.client();
        let mut child = client
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A client that stops at an error closes its end; the error is reported below.
                let _ = input.write_all(statements.as_bytes());
            });
            child.wait_with_output().unwrap()
        });
        let stderr = String::from_utf8_lossy(&output.stderr);
        let shown: String = statements.chars().take(400).collect();
        assert!(output.status.success(), "{stderr}\nin: {shown}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A client as root that reads statements from its standard input.
    pub(crate) fn client(&self) -> Command {
        let mut client = Command::new("mariadb");
        client
            .arg("--no-defaults")
            .arg(format!("--socket={}", self.socket().display()));
        client.args([
            "-uroot",
            "-N",
            "-B",
            "-r",
            "--default-character-set=utf8mb4",
            "--binary-mode",
        ]);
        client.stdin(Stdio::piped());
        client
    }

    /// Ends the server cleanly and starts it again on the same port and data.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    /// Ends the server cleanly.
    pub(crate) fn stop(&mut self) {
        self.sql("SHUTDOWN");
        if let Some(mut server) = self.server.take() {
            server.wait().unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("s.sock")
    }

    fn home(&self) -> PathBuf {
        let version = match self.flavour {
            Flavour::MariaDb => return PathBuf::from("/usr"),
            Flavour::MariaDb114 => "mariadb-11.4",
            Flavour::MySql80 => "mysql-8.0",
            Flavour::MySql57 => "mysql-5.7",
        };
        installed(interop().join(version), "scripts/setup interop")
    }

    fn initialise(&self) {
        let data = format!("--datadir={}", self.path("data").display());
        let mut command = if self.flavour.is_mariadb() {
            let mut command = match self.flavour {
                Flavour::MariaDb => {
                    installed(PathBuf::from("/usr/sbin/mariadbd"), "scripts/setup");
                    Command::new("mariadb-install-db")
                }
                _ => Command::new(self.home().join("scripts/mariadb-install-db")),
            };
            command.arg("--no-defaults");
            command.arg(format!("--basedir={}", self.home().display()));
            command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
            command
        } else {
            let mut command = self.mysqld();
            command.arg("--initialize-insecure");
            command
        };
        // A server removes what looks like a leftover of its own from its temporary directory, so each has one for itself.
        command.env("TMPDIR", self.directory.path());
        let output = command.arg("--user=root").arg(data).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "the server's data directory: {log}"
        );
    }

    fn mysqld(&self) -> Command {
        let home = self.home();
        let mut command = Command::new(home.join("bin/mysqld"));
        command
            .arg("--no-defaults")
            .arg(format!("--basedir={}", home.display()));
        command.arg(format!("--lc-messages-dir={}/share", home.display()));
        command
    }

    fn launch(&mut self) {
        for _ in 0..3 {
            self.server = Some(self.server_command().spawn().unwrap());
            if self.answers() {
                return;
            }
            self.port = free_port();
        }
        panic!(
            "the server does not start: {}",
            std::fs::read_to_string(self.path("log")).unwrap()
        );
    }

    fn server_command(&self) -> Command {
        let mut command = if self.flavour.is_mariadb() {
            let program = match self.flavour {
                Flavour::MariaDb => PathBuf::from("/usr/sbin/mariadbd"),
                _ => self.home().join("bin/mariadbd"),
            };
            let mut command = Command::new(program);
            command.arg("--no-defaults");
            command.arg(format!("--basedir={}", self.home().display()));
            command
        } else {
            let mut command = self.mysqld();
            command.args([
                "--gtid-mode=ON",
                "--enforce-gtid-consistency=ON",
                "--log-slave-updates=ON",
            ]);
            if self.flavour == Flavour::MySql80 {
                command.args(["--mysqlx=OFF", "--binlog-row-metadata=FULL"]);
                command.arg("--default-authentication-plugin=mysql_native_password");
            }
            command
        };
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        command
            .args([
                "--user=root",
                "--bind-address=127.0.0.1",
                "--server-id=1",
                "--skip-name-resolve",
            ])
            .args([
                "--binlog-format=ROW",
                "--binlog-row-image=FULL",
                "--character-set-server=utf8mb4",
            ])
            .args([
                "--innodb-buffer-pool-size=64M",
                "--innodb-flush-log-at-trx-commit=0",
            ])
            .args(["--sync-binlog=0", "--max-allowed-packet=1G"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--datadir={}", self.path("data").display()))
            .arg(format!("--log-bin={}", self.path("data/binlog").display()))
            .arg(format!("--pid-file={}", self.path("pid").display()))
            .env("TMPDIR", self.directory.path())
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    /// Waits until the server takes statements; false when it ended instead.
    fn answers(&mut self) -> bool {
        for _ in 0..1200 {
            let mut ping = self.client();
            ping.args(["-e", "SELECT 1"]).stdin(Stdio::null());
            if ping
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
            {
                return true;
            }
            if self
                .server
                .as_mut()
                .is_none_or(|server| server.try_wait().unwrap().is_some())
            {
                return false;
            }
            pause(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // Both fail only when the server has ended already.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
