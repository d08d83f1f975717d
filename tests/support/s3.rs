//! S3 endpoints (`tests/interop/s3.py`): moto in memory, one for the whole suite, and versitygw on disk, for crashes of the store.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;

use super::python::interpreter;
use super::{installed, interop};

/// Names another kind of server than moto: versitygw.
const KIND: &str = "LAKEBED_TEST_STORE";

static SERVER: OnceLock<S3> = OnceLock::new();

/// The suite's server. It ends by itself when this process does, at the end of its input.
#[derive(Debug)]
pub(crate) struct S3 {
    control: Mutex<(Child, BufReader<ChildStdout>)>,
    bucket: String,
    environment: Vec<(String, String)>,
}

impl S3 {
    /// A new place in the suite's bucket. From now on every `lakebed` that a test starts finds the server by its environment.
    pub(crate) fn place() -> String {
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let server = SERVER.get_or_init(Self::start);
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        format!("s3://{}/place-{number}", server.bucket)
    }

    /// The variables by which the server is found, if it was started.
    pub(crate) fn environment() -> &'static [(String, String)] {
        SERVER.get().map_or(&[], |server| &server.environment)
    }

    /// Kills the server at whatever it does, and starts it again over the same objects: one that keeps them on disk.
    pub(crate) fn restart() {
        let server = SERVER.get().expect("no test has asked for a place");
        let mut control = server
            .control
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (process, replies) = &mut *control;
        writeln!(process.stdin.as_mut().unwrap(), "restart").unwrap();
        let mut line = String::new();
        replies.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "restarted");
    }

    fn start() -> Self {
        let mut command = interpreter("scripts/setup");
        command.args(["s3.py", "serve"]);
        match std::env::var(KIND) {
            Ok(kind) => {
                installed(interop().join("bin").join(&kind), "make test-s3");
                command.arg(kind);
            }
            Err(_) => drop(installed(
                interop().join("bin/moto_server"),
                "scripts/setup",
            )),
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        let mut replies = BufReader::new(process.stdout.take().unwrap());
        replies.read_line(&mut line).unwrap();
        let started: Value = serde_json::from_str(&line).expect("the server does not start");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let environment = started["environment"].as_object().unwrap().iter();
        Self {
            control: Mutex::new((process, replies)),
            bucket: text(&started["bucket"]),
            environment: environment
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
        }
    }
}
