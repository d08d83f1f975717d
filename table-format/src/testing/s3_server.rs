//! A private S3 endpoint for a test: `tests/interop/s3.py serve`, or whatever the environment names.

#![expect(
    clippy::expect_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::storage::Storage;

/// An endpoint with an empty bucket; it ends with this value.
#[derive(Debug)]
pub(crate) struct S3Server {
    process: Option<Child>,
    options: Vec<(String, String)>,
    place: String,
}

impl S3Server {
    /// Starts moto. With `LAKEBED_TEST_S3` (a URL such as `s3://bucket/prefix`, with the usual `AWS_…` variables) that
    /// server is taken instead: versitygw, MinIO, or S3 itself.
    ///
    /// # Panics
    /// When it does not start; says what to install.
    pub(crate) fn start() -> Self {
        if let Ok(place) = std::env::var("LAKEBED_TEST_S3") {
            let options = std::env::vars().filter(|(name, _)| name.starts_with("AWS_"));
            let place = format!("{place}/{}", std::process::id());
            let options = options.collect();
            return Self {
                process: None,
                options,
                place,
            };
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let interop = std::env::var_os("LAKEBED_INTEROP")
            .map_or_else(|| root.join(".interop"), PathBuf::from);
        let python = interop.join("bin/python");
        assert!(
            interop.join("bin/moto_server").exists(),
            "moto is missing: run `scripts/setup`"
        );
        let mut command = Command::new(python);
        command.arg(root.join("tests/interop/s3.py")).arg("serve");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("its output is piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("moto says where it listens");
        let started: serde_json::Value = serde_json::from_str(&line).expect("moto starts");
        let environment = started["environment"].as_object().expect("an environment");
        let options = environment
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        Self {
            process: Some(process),
            options: options.collect(),
            place: "s3://lake".to_owned(),
        }
    }

    /// A place in the bucket.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub(crate) fn storage(&self, path: &str) -> Storage {
        let location = format!("{}/{path}", self.place);
        Storage::open_with(&location, self.options.clone()).expect("the feature aws is built in")
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It ends at the end of its input.
            drop(process.stdin.take());
            process.wait().ok();
        }
    }
}
