//! The built binary.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::database::PASSWORD;
use super::pipeline::{PASSWORD_VARIABLE, Pipeline};
use super::process::{Finished, Process};
use super::s3::S3;
use super::wait_until;

/// How long any one call may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs `lakebed` with these words to its end.
pub(crate) fn lakebed(words: &[&str]) -> Finished {
    Process::spawn(command(words)).wait(LIMIT)
}

/// Runs the pipeline until it has caught up with the source.
pub(crate) fn run_until_current(pipeline: &Pipeline) -> Finished {
    let file = pipeline.file();
    lakebed(&["run", file.to_str().unwrap(), "--until-current"]).expect_code(0)
}

/// The lines that `lakebed query` prints for one table, with further words such as `--since`.
pub(crate) fn query(table: &Path, words: &[&str]) -> Vec<String> {
    let table = table.to_str().unwrap();
    let words = [&["query", "-t", table, "--format", "json"], words].concat();
    lakebed(&words)
        .success()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The rows of a statement over one table, which it names `t`.
pub(crate) fn query_rows(table: &Path, sql: &str) -> Vec<Value> {
    let table = format!("t={}", table.display());
    let output = lakebed(&["query", sql, "-t", &table, "--meta", "--format", "json"]).success();
    output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A pipeline that runs until it is told to stop.
#[derive(Debug)]
pub(crate) struct Daemon(Process);

impl Daemon {
    /// Starts `lakebed run`.
    pub(crate) fn start(pipeline: &Pipeline) -> Self {
        let file = pipeline.file();
        Self(Process::spawn(command(&["run", file.to_str().unwrap()])))
    }

    /// Waits until `condition` holds; fails when the daemon ends before.
    pub(crate) fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        wait_until(what, LIMIT, || {
            assert!(
                self.0.is_running(),
                "the daemon ended by itself: {}",
                self.0.stderr()
            );
            condition()
        });
    }

    /// Waits until it has written `words` to standard error.
    pub(crate) fn wait_until_said(&mut self, words: &str) {
        wait_until(words, LIMIT, || {
            let said = self.0.stderr();
            assert!(self.0.is_running(), "the daemon ended by itself: {said}");
            said.contains(words)
        });
    }

    /// Sends a signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        self.0.signal(name);
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(self, limit: Duration) -> Finished {
        self.0.wait(limit)
    }

    /// SIGTERM: it has to finish its batch, commit and exit with 0.
    pub(crate) fn stop(self) -> Finished {
        self.0.terminate();
        self.0.wait(Duration::from_secs(60)).expect_code(0)
    }

    /// SIGKILL. Fails when the daemon had ended by itself.
    pub(crate) fn kill(mut self) {
        assert!(
            self.0.is_running(),
            "the daemon ended by itself: {}",
            self.0.stderr()
        );
        self.0.kill();
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakebed"));
    command
        .args(words)
        .env(PASSWORD_VARIABLE, PASSWORD)
        .env("NO_COLOR", "1")
        .envs(S3::environment().iter().cloned());
    command
}
