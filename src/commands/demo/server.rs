//! A private MariaDB server for the demo: its own data directory, a free port on loopback, gone when dropped.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const INSTALL_HINT: &str = "install it: apt-get install mariadb-server";
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The account of the pipeline.
pub(super) const USER: &str = "lakebed";
/// Its password; the server listens on loopback only.
pub(super) const PASSWORD: &str = "demo";

/// A running server.
#[derive(Debug)]
pub(super) struct PrivateServer {
    process: Child,
    pub(super) port: u16,
    socket: PathBuf,
}

impl PrivateServer {
    /// Makes a data directory in `dir`, starts a server on it and creates the pipeline's account.
    pub(super) async fn start(dir: &Path) -> Result<Self> {
        let daemon = find("mariadbd")?;
        let data = dir.join("data");
        fs::create_dir_all(&data).with_context(|| format!("creating {}", data.display()))?;
        let as_root = fs::metadata(&data)?.uid() == 0;
        let user: &[&str] = if as_root { &["--user=root"] } else { &[] };
        let log = dir.join("mariadb.log");
        let installed = Command::new(find("mariadb-install-db")?)
            .args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ])
            .arg(format!("--datadir={}", data.display()))
            .args(user)
            // A starting server deletes temporary tables of others in a shared directory.
            .env("TMPDIR", dir)
            .stdout(fs::File::create(&log)?)
            .stderr(Stdio::null())
            .status()
            .context("running mariadb-install-db")?;
        if !installed.success() {
            bail!("mariadb-install-db failed; see {}", log.display());
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let socket = dir.join("mariadb.sock");
        let process = Command::new(daemon)
            .args([
                "--no-defaults",
                "--bind-address=127.0.0.1",
                "--server-id=1",
                "--skip-name-resolve",
            ])
            .args([
                "--binlog-format=ROW",
                "--character-set-server=utf8mb4",
                "--sync-binlog=0",
            ])
            .args([
                "--innodb-buffer-pool-size=256M",
                "--innodb-flush-log-at-trx-commit=0",
            ])
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--log-bin={}", data.join("mariadb-bin").display()))
            .arg(format!("--port={port}"))
            .arg(format!("--tmpdir={}", dir.display()))
            .args(user)
            .stdout(Stdio::null())
            .stderr(fs::File::options().append(true).open(&log)?)
            .spawn()
            .context("starting mariadbd")?;
        let mut server = Self {
            process,
            port,
            socket,
        };
        server.wait_until_ready(&log).await?;
        server.sql(&format!(
            "CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO '{USER}'@'%';"
        ))?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        while self.sql("SELECT 1").is_err() {
            let ended = self.process.try_wait()?.is_some();
            if ended || tokio::time::Instant::now() > deadline {
                bail!(
                    "the private MariaDB server did not start; see {}",
                    log.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn sql(&self, sql: &str) -> Result<()> {
        let done = Command::new(find("mariadb")?)
            .args(["--no-defaults", "-uroot", "--batch", "-e", sql])
            .arg(format!("--socket={}", self.socket.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if done.success() {
            Ok(())
        } else {
            bail!("the server refused: {sql}")
        }
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        // The data directory goes with it, so there is nothing to shut down in order.
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            tracing::warn!(%error, "the demo's MariaDB server could not be stopped");
        }
    }
}

/// Finds a program on the path or in the directories where Debian puts daemons.
fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(extra)
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{program} is not installed; {INSTALL_HINT}"))
}
