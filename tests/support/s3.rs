//! An S3 endpoint, one for the whole suite (`tests/interop/s3.py serve`): moto, in memory.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::python::interpreter;
use super::{installed, interop};

static SERVER: OnceLock<S3> = OnceLock::new();

/// The server. It ends by itself when this process does, at the end of its input.
#[derive(Debug)]
pub(crate) struct S3 {
    _process: Child,
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

    fn start() -> Self {
        installed(interop().join("bin/moto_server"), "scripts/setup");
        let mut command = interpreter("scripts/setup");
        command
            .args(["s3.py", "serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        let output = process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let started: Value = serde_json::from_str(&line).expect("moto does not start");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let environment = started["environment"].as_object().unwrap().iter();
        Self {
            _process: process,
            bucket: text(&started["bucket"]),
            environment: environment
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
        }
    }
}
