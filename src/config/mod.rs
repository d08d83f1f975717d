//! The pipeline file: YAML with the block names and keys of a Flink CDC pipeline, into typed settings.
//!
//! Every key is asked for by name; an unknown one is refused with file, line and the nearest known key.

mod error;
mod section;
mod source;
mod startup;
mod text;

use std::net::SocketAddr;
use std::time::Duration;

use ingest::config::{
    PipelineConfig, Route, ScanMode, SchemaChangeBehavior, SchemaChangeBehaviors, SchemaChangeKind,
    SinkConfig, SinkTableType, Transform,
};
use serde_yaml_ng::{Mapping, Value};
use table_format::config::LockSettings;

pub(crate) use error::ConfigError;
use section::{File, Section};
pub(crate) use text::parse_bytes;

const MIB: u64 = 1 << 20;
/// A lease is renewed at a third of it; shorter ones would be lost by every pause of the machine.
const LEASE_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Reads a pipeline file.
pub(crate) fn load(path: &str) -> Result<PipelineConfig, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new(path, None, "", format!("cannot be read: {error}")))?;
    parse(path, &text)
}

fn parse(path: &str, text: &str) -> Result<PipelineConfig, ConfigError> {
    let file = File { path, text };
    let root: Value = serde_yaml_ng::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        ConfigError::new(path, line, "", format!("is not YAML: {error}"))
    })?;
    let mut root = Section::new(file, "the pipeline file", root)?;
    let mut block = |name: &'static str| root.value(name).unwrap_or(Value::Mapping(Mapping::new()));
    let blocks = [
        block("pipeline"),
        block("source"),
        block("sink"),
        block("metrics"),
    ];
    let (routes, transforms) = (root.value("route"), root.value("transform"));
    root.finish()?;
    let [pipeline, source, sink, metrics] = blocks;

    let mut pipeline = Section::new(file, "pipeline", pipeline)?;
    let config = PipelineConfig {
        name: pipeline.required("name")?,
        schema_change: parse_behaviors(&mut pipeline)?,
        memory_bytes: pipeline.bytes("memory")?.unwrap_or(512 * MIB),
        source: source::parse(Section::new(file, "source", source)?)?,
        sink: parse_sink(Section::new(file, "sink", sink)?)?,
        routes: entries(file, "route", routes, parse_route)?,
        transforms: entries(file, "transform", transforms, parse_transform)?,
        metrics_listen: parse_metrics(Section::new(file, "metrics", metrics)?)?,
    };
    let is_polled = matches!(config.source.scan_mode, ScanMode::Query(_));
    if is_polled && config.transforms.iter().any(|transform| transform.appends) {
        let message =
            "has to be `log` for transforms of mode append: queries read a row more than once";
        return Err(pipeline.error("source.scan.mode", message));
    }
    if config.memory_bytes < 32 * MIB {
        return Err(pipeline.error("memory", "is below 32MiB, the least a pipeline works in"));
    }
    pipeline.finish()?;
    Ok(config)
}

/// `schema.change.behavior` for all kinds of changes, `schema.change.behavior.KIND` for one.
fn parse_behaviors(pipeline: &mut Section<'_>) -> Result<SchemaChangeBehaviors, ConfigError> {
    const BEHAVIORS: [(&str, SchemaChangeBehavior); 5] = [
        ("evolve", SchemaChangeBehavior::Evolve),
        ("try_evolve", SchemaChangeBehavior::TryEvolve),
        ("lenient", SchemaChangeBehavior::Lenient),
        ("ignore", SchemaChangeBehavior::Ignore),
        ("exception", SchemaChangeBehavior::Exception),
    ];
    const KINDS: [(&str, SchemaChangeKind); 7] = [
        (
            "schema.change.behavior.add.column",
            SchemaChangeKind::AddColumn,
        ),
        (
            "schema.change.behavior.alter.column.type",
            SchemaChangeKind::AlterColumnType,
        ),
        (
            "schema.change.behavior.create.table",
            SchemaChangeKind::CreateTable,
        ),
        (
            "schema.change.behavior.drop.column",
            SchemaChangeKind::DropColumn,
        ),
        (
            "schema.change.behavior.drop.table",
            SchemaChangeKind::DropTable,
        ),
        (
            "schema.change.behavior.rename.column",
            SchemaChangeKind::RenameColumn,
        ),
        (
            "schema.change.behavior.truncate.table",
            SchemaChangeKind::TruncateTable,
        ),
    ];
    let all = pipeline.choice("schema.change.behavior", &BEHAVIORS)?;
    let mut behaviors = all.map_or_else(SchemaChangeBehaviors::default, SchemaChangeBehaviors::all);
    for (key, kind) in KINDS {
        if let Some(behavior) = pipeline.choice(key, &BEHAVIORS)? {
            behaviors.set(kind, behavior);
        }
    }
    Ok(behaviors)
}

fn parse_sink(mut sink: Section<'_>) -> Result<SinkConfig, ConfigError> {
    sink.choice("type", &[("hudi", ())])?
        .ok_or_else(|| sink.error("type", "is required"))?;
    let number = |text: &str| {
        text.replace('_', "")
            .parse()
            .ok()
            .filter(|rows: &u64| *rows > 0)
    };
    let config = SinkConfig {
        path: sink.required("path")?,
        table_type: sink
            .choice(
                "table.type",
                &[
                    ("cow", SinkTableType::CopyOnWrite),
                    ("mor", SinkTableType::MergeOnRead),
                ],
            )?
            .unwrap_or(SinkTableType::MergeOnRead),
        commit_interval: sink
            .duration("commit.interval")?
            .unwrap_or(Duration::from_secs(10)),
        commit_rows_max: sink
            .parsed("commit.rows", "a number of rows", number)?
            .unwrap_or(1_000_000),
        commit_bytes_max: sink.bytes("commit.bytes")?.unwrap_or(256 * MIB),
        lease_timeout: sink
            .duration("lease.timeout")?
            .unwrap_or(Duration::from_secs(60)),
        hoodie: sink.prefixed("hoodie.")?,
    };
    if config.lease_timeout < LEASE_TIMEOUT_MIN {
        return Err(sink.error("lease.timeout", "must be at least 1s"));
    }
    LockSettings::from_properties(&config.hoodie)
        .map_err(|error| sink.error("hoodie.write", error.to_string()))?;
    sink.finish()?;
    Ok(config)
}

fn parse_metrics(mut metrics: Section<'_>) -> Result<Option<SocketAddr>, ConfigError> {
    let expected = "an address such as 127.0.0.1:9249";
    let listen = metrics.parsed("listen", expected, |text| text.parse().ok())?;
    metrics.finish()?;
    Ok(listen)
}

fn parse_route(mut route: Section<'_>) -> Result<Route, ConfigError> {
    let source_table = route.pattern("source-table")?;
    let sink_table = route.required("sink-table")?;
    if sink_table.split('.').count() != 2 {
        return Err(route.error("sink-table", "must be DATABASE.TABLE"));
    }
    let replace_symbol = route.text("replace-symbol")?;
    route.finish()?;
    Ok(Route {
        source_table,
        sink_table,
        replace_symbol,
    })
}

fn parse_transform(mut transform: Section<'_>) -> Result<Transform, ConfigError> {
    let list = |text: Option<String>| -> Vec<String> {
        let names = text.iter().flat_map(|text| text.split(','));
        names
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect()
    };
    let parsed = Transform {
        source_table: transform.pattern("source-table")?,
        projection: transform.text("projection")?,
        filter: transform.text("filter")?,
        partition_keys: list(transform.text("partition-keys")?),
        primary_keys: list(transform.text("primary-keys")?),
        appends: transform
            .choice("mode", &[("upsert", false), ("append", true)])?
            .unwrap_or(false),
    };
    if parsed.appends && !parsed.primary_keys.is_empty() {
        return Err(transform.error("primary-keys", "means nothing with mode append"));
    }
    transform.finish()?;
    Ok(parsed)
}

fn entries<'a, T>(
    file: File<'a>,
    name: &str,
    value: Option<Value>,
    parse: impl Fn(Section<'a>) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Sequence(items)) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| parse(Section::new(file, &format!("{name}[{index}]"), item)?))
            .collect(),
        Some(_) => Err(file.error(name, "", "must be a list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
pipeline:
  name: shop
  memory: 64MiB
source:
  type: mysql
  hostname: 127.0.0.1
  username: lakebed
  password: p#w
  tables: shop\\.(orders|items)
  server-id: 5400-5403
sink:
  type: hudi
  path: ./lake
  table.type: cow
  commit.interval: 500ms
  hoodie.cleaner.commits.retained: 10
transform:
  - source-table: shop.items
    partition-keys: day, region
";

    #[test]
    fn reads_a_pipeline() {
        let config = parse("p.yaml", FILE).unwrap();
        assert_eq!(
            (config.name.as_str(), config.memory_bytes),
            ("shop", 64 * MIB)
        );
        assert_eq!((config.source.port, config.source.server_id), (3306, 5400));
        assert_eq!(config.source.password.expose(), "p#w");
        assert_eq!(config.sink.commit_interval, Duration::from_millis(500));
        assert_eq!(config.sink.hoodie["hoodie.cleaner.commits.retained"], "10");
        assert_eq!(config.transforms[0].partition_keys, ["day", "region"]);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
        let error = |from: &str, to: &str| {
            parse("p.yaml", &FILE.replace(from, to))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error("hostname:", "hostnam:"),
            "p.yaml:4: `source.hostname` is required",
        );
        assert_eq!(
            error("  hostname:", "  prt: 1\n  hostname:"),
            "p.yaml:6: `source.prt` is not a key of `source`; did you mean `port`?",
        );
        assert_eq!(
            error("64MiB", "much"),
            "p.yaml:3: `pipeline.memory` `much` is not a size such as 512MiB"
        );
        assert_eq!(error("path:", "pth:"), "p.yaml:11: `sink.path` is required");
        assert!(error("shop\\.(orders", "shop\\.((orders").contains("is not a regular expression"));
        assert!(
            error("partition-keys", "partition-key").contains("did you mean `partition-keys`?")
        );
        assert!(error("sink:", "sinc:").contains("did you mean `sink`?"));
    }
}
