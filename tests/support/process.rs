//! A child process with its output in files, a deadline on every wait, and its peak memory.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::pause;

/// A running child; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    output: TempDir,
    peak_rss_kib: u64,
}

/// What a child left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    name: String,
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Its whole standard output.
    pub(crate) stdout: String,
    /// Its whole standard error.
    pub(crate) stderr: String,
    /// The largest resident set seen (`VmHWM`), in KiB.
    pub(crate) peak_rss_kib: u64,
}

impl Process {
    /// Starts `command`.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let arguments: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        let name = format!(
            "{} {}",
            name.rsplit('/').next().unwrap(),
            arguments.join(" ")
        );
        let output = TempDir::new().unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(output.path().join("stdout")).unwrap())
            .stderr(File::create(output.path().join("stderr")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            name,
            child,
            output,
            peak_rss_kib: 0,
        }
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.sample_memory();
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to finish (SIGTERM).
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(
            status.success(),
            "{}: was gone before SIG{name}: {}",
            self.name,
            self.stderr()
        );
    }

    /// Ends it at whatever instruction it is (SIGKILL).
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self, limit: Duration) -> Finished {
        let began = Instant::now();
        while self.is_running() {
            assert!(
                began.elapsed() < limit,
                "{}: did not end within {limit:?}; its standard error: {}",
                self.name,
                self.stderr()
            );
            pause(Duration::from_millis(10));
        }
        Finished {
            name: self.name.clone(),
            status: self.child.wait().unwrap(),
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
            peak_rss_kib: self.peak_rss_kib,
        }
    }

    fn read(&self, stream: &str) -> String {
        let path: PathBuf = self.output.path().join(stream);
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    }

    /// `VmHWM` only grows, so that the last reading before the end is the peak but for the last milliseconds.
    fn sample_memory(&mut self) {
        let status = format!("/proc/{}/status", self.child.id());
        let Ok(status) = std::fs::read_to_string(status) else {
            return;
        };
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        self.peak_rss_kib = self.peak_rss_kib.max(peak.unwrap_or(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Its standard output, once it ended with exit code 0.
    pub(crate) fn success(self) -> String {
        self.expect_code(0).stdout
    }

    /// The same, once it ended with this exit code.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}\nstandard output: {}\nstandard error: {}",
            self.name,
            head(&self.stdout),
            self.stderr
        );
        self
    }
}

fn head(text: &str) -> String {
    text.chars().take(2000).collect()
}
