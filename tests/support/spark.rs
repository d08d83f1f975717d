//! Apache Hudi on Spark (`tests/interop/hudi_spark.py serve`), two JVMs for the whole suite: most of what Spark does keeps one
//! core busy.

use std::io::{BufRead, BufReader, Lines, Write};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{installed, interop, python::interpreter};

/// The JVM and its two pipes. It ends by itself when this process does, at the end of its input.
#[derive(Debug)]
pub(crate) struct Spark {
    _process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// The JVMs of the suite.
static JVMS: Mutex<Jvms> = Mutex::new(Jvms {
    idle: Vec::new(),
    started: 0,
});
static GIVEN_BACK: Condvar = Condvar::new();
const JVMS_MAX: usize = 2;

struct Jvms {
    idle: Vec<Spark>,
    started: usize,
}

impl Jvms {
    fn locked() -> MutexGuard<'static, Self> {
        JVMS.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A JVM for one test at a time; it goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct SharedSpark(Option<Spark>);

impl Deref for SharedSpark {
    type Target = Spark;

    fn deref(&self) -> &Spark {
        self.0.as_ref().unwrap()
    }
}

impl DerefMut for SharedSpark {
    fn deref_mut(&mut self) -> &mut Spark {
        self.0.as_mut().unwrap()
    }
}

impl Drop for SharedSpark {
    fn drop(&mut self) {
        Jvms::locked().idle.extend(self.0.take());
        GIVEN_BACK.notify_one();
    }
}

impl Spark {
    /// A JVM of the suite; waits when other tests hold them all.
    pub(crate) fn shared() -> SharedSpark {
        let mut jvms = Jvms::locked();
        loop {
            if let Some(spark) = jvms.idle.pop() {
                return SharedSpark(Some(spark));
            }
            if jvms.started < JVMS_MAX {
                let spark = Self::start();
                jvms.started += 1;
                return SharedSpark(Some(spark));
            }
            jvms = GIVEN_BACK
                .wait(jvms)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn start() -> Self {
        let bundle = interop().join("jars/hudi-spark3.5-bundle_2.12-1.2.0.jar");
        installed(bundle, "scripts/setup interop");
        let mut command = interpreter("scripts/setup interop");
        command
            .args(["hudi_spark.py", "serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.stderr(Stdio::null()).spawn().unwrap();
        let commands = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut spark = Self {
            _process: process,
            commands,
            answers,
        };
        assert_eq!(spark.answer()["ready"], true, "Spark does not start");
        spark
    }

    /// Fails with every finding of the judge, warnings included.
    pub(crate) fn judge(&mut self, table: &Path, probe: bool) {
        let answer = self.ask(json!({"cmd": "judge", "path": table, "probe": probe}));
        let findings = answer["findings"].as_array().unwrap();
        let shown = serde_json::to_string_pretty(findings).unwrap();
        assert!(
            findings.is_empty(),
            "Apache Hudi finds in {}: {shown}",
            table.display()
        );
    }

    /// The rows of a snapshot query.
    pub(crate) fn snapshot(&mut self, table: &Path) -> Vec<String> {
        self.rows(json!({"cmd": "read", "path": table, "query": "snapshot"}))
    }

    /// The rows changed in (begin, end], by completion times.
    pub(crate) fn incremental(&mut self, table: &Path, begin: &str, end: &str) -> Vec<String> {
        let range = json!({
            "cmd": "read", "path": table, "query": "incremental", "begin": begin, "end": end
        });
        self.rows(range)
    }

    /// Lets Spark's writer upsert rows into the table, as it stands.
    pub(crate) fn upsert(&mut self, table: &Path, schema: &str, rows: &Value) {
        self.ask(json!({
            "cmd": "write", "path": table, "rows": rows, "schema": schema, "operation": "upsert",
            "options": {"hoodie.metadata.enable": "false"}
        }));
    }

    /// Lets Spark delete rows by their keys.
    pub(crate) fn delete(&mut self, table: &Path, schema: &str, rows: &Value) {
        self.ask(json!({
            "cmd": "write", "path": table, "rows": rows, "schema": schema, "operation": "delete",
            "options": {"hoodie.metadata.enable": "false"}
        }));
    }

    /// Lets Spark plan (`schedule`) a compaction, or execute those that are planned (`run`).
    pub(crate) fn compaction(&mut self, table: &Path, op: &str) {
        self.compaction_of(9, table, op);
    }

    /// The same of a table of this version.
    pub(crate) fn compaction_of(&mut self, version: u32, table: &Path, op: &str) {
        let version = format!("hoodie.write.table.version={version}");
        let options = [
            "hoodie.compact.inline.max.delta.commits=1",
            "hoodie.metadata.enable=false",
            "hoodie.write.auto.upgrade=false",
            version.as_str(),
        ];
        let statement = format!(
            "CALL run_compaction(op => '{op}', path => '{}', options => '{}')",
            table.display(),
            options.join(",")
        );
        self.ask(json!({"cmd": "sql", "sql": statement}));
    }

    /// Lets Spark plan and execute a compaction, with schema on read.
    pub(crate) fn compact_on_read(&mut self, version: u32, table: &Path) {
        let options = format!(
            "hoodie.compact.inline.max.delta.commits=1,hoodie.metadata.enable=false,hoodie.write.auto.upgrade=false,\
             hoodie.write.table.version={version},hoodie.schema.on.read.enable=true,\
             hoodie.merge.use.record.positions=false"
        );
        for op in ["schedule", "run"] {
            let path = table.display();
            let statement = format!(
                "CALL run_compaction(op => '{op}', path => '{path}', options => '{options}')"
            );
            let set = json!({"hoodie.schema.on.read.enable": "true"});
            self.ask(json!({"cmd": "sql", "sql": statement, "set": set}));
        }
    }

    /// Lets Spark plan (`schedule`) a clustering, or execute those that are planned (`execute`).
    pub(crate) fn clustering(&mut self, table: &Path, op: &str) {
        self.clustering_of(9, table, op);
    }

    /// The same of a table of this version.
    pub(crate) fn clustering_of(&mut self, version: u32, table: &Path, op: &str) {
        let version = format!("hoodie.write.table.version={version}");
        let options = [
            "hoodie.metadata.enable=false",
            "hoodie.write.auto.upgrade=false",
            version.as_str(),
        ];
        let statement = format!(
            "CALL run_clustering(path => '{}', op => '{op}', options => '{}')",
            table.display(),
            options.join(",")
        );
        self.ask(json!({"cmd": "sql", "sql": statement}));
    }

    /// Lets Spark's writer do something with rows; a table that is not there is made with these options.
    pub(crate) fn write(
        &mut self,
        table: &Path,
        schema: &str,
        rows: &[Value],
        operation: &str,
        version: u32,
        options: &Value,
    ) {
        self.ask(json!({
            "cmd": "write", "path": table, "rows": rows, "schema": schema, "operation": operation,
            "table_version": version, "options": options
        }));
    }

    /// Lets Spark write rows, with options of Hudi; the first write makes the table.
    pub(crate) fn upsert_with(
        &mut self,
        table: &Path,
        version: u32,
        schema: &str,
        rows: &Value,
        options: &Value,
    ) {
        self.ask(json!({
            "cmd": "write", "path": table, "rows": rows, "schema": schema, "operation": "upsert",
            "table_version": version, "options": options
        }));
    }

    /// Lets Spark compact the table now.
    pub(crate) fn compact(&mut self, table: &Path) {
        let path = table.display();
        let options = "hoodie.compact.inline.max.delta.commits=1,hoodie.metadata.enable=false";
        for operation in ["schedule", "run"] {
            let call = format!(
                "CALL run_compaction(op => '{operation}', path => '{path}', options => '{options}')"
            );
            self.ask(json!({"cmd": "sql", "sql": call}));
        }
    }

    /// The same with these options; whether it succeeded. Losing against another writer is the only way in which it may not.
    pub(crate) fn try_upsert(
        &mut self,
        table: &Path,
        schema: &str,
        rows: &Value,
        options: &[(&str, &str)],
    ) -> bool {
        let mut settings = json!({"hoodie.metadata.enable": "false"});
        for (key, value) in options {
            settings[*key] = (*value).into();
        }
        let command = json!({
            "cmd": "write", "path": table, "rows": rows, "schema": schema, "operation": "upsert", "options": settings
        });
        writeln!(self.commands, "{command}").unwrap();
        let answer = self.answer();
        let text = answer.to_string();
        assert!(
            answer["ok"] == true || text.contains("HoodieWriteConflictException"),
            "{text}"
        );
        answer["ok"] == true
    }

    /// The rows as of an instant.
    pub(crate) fn time_travel(&mut self, table: &Path, as_of: &str) -> Vec<String> {
        self.rows(json!({"cmd": "read", "path": table, "query": "time_travel", "as_of": as_of}))
    }

    /// The instants of the archived and the active timeline, as Hudi reads them.
    pub(crate) fn timeline(&mut self, table: &Path) -> Vec<Value> {
        let answer = self.ask(json!({"cmd": "timeline", "path": table}));
        answer["instants"].as_array().unwrap().clone()
    }

    /// The rows of a statement over the table, which it names `name`.
    pub(crate) fn sql(&mut self, table: &Path, name: &str, statement: &str) -> Vec<Value> {
        let answer = self.ask(json!({"cmd": "sql", "sql": statement, "tables": {name: table}}));
        answer["rows"].as_array().unwrap().clone()
    }

    /// A statement over the table, which it names `name`, with schema on read. Every change of the columns wants a new name:
    /// Spark's catalogue keeps what it knows.
    pub(crate) fn sql_on_read(&mut self, table: &Path, name: &str, statement: &str) {
        let set = json!({
            "hoodie.schema.on.read.enable": "true", "hoodie.metadata.enable": "false",
            "hoodie.write.auto.upgrade": "false", "hoodie.merge.use.record.positions": "false",
            "hoodie.datasource.write.schema.allow.auto.evolution.column.drop": "true"
        });
        self.ask(json!({"cmd": "sql", "sql": statement, "tables": {name: table}, "set": set}));
    }

    /// The rows of a snapshot query with schema on read. Where it merges logs by positions, Hudi 1.2.0 fails on some renamed
    /// columns (`MutableInt cannot be cast to MutableLong`).
    pub(crate) fn snapshot_on_read(&mut self, table: &Path) -> Vec<String> {
        let options = json!({
            "hoodie.schema.on.read.enable": "true", "hoodie.merge.use.record.positions": "false"
        });
        self.rows(json!({"cmd": "read", "path": table, "query": "snapshot", "options": options}))
    }

    /// The table's configuration as Hudi reads it.
    pub(crate) fn info(&mut self, table: &Path) -> Value {
        self.ask(json!({"cmd": "info", "path": table}))
    }

    fn rows(&mut self, command: Value) -> Vec<String> {
        let answer = self.ask(command);
        answer["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(Value::to_string)
            .collect()
    }

    /// The answer to one command; see `tests/interop/hudi_spark.py`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers build the command in place"
    )]
    pub(crate) fn ask(&mut self, command: Value) -> Value {
        let answer = self.try_ask(&command);
        assert_eq!(
            answer["ok"], true,
            "{command}: {} {}",
            answer["error"], answer["causes"]
        );
        answer
    }

    /// The same for a command that may fail.
    pub(crate) fn try_ask(&mut self, command: &Value) -> Value {
        writeln!(self.commands, "{command}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let line = self.answers.next().expect("Spark ended").unwrap();
        serde_json::from_str(&line).unwrap()
    }
}
