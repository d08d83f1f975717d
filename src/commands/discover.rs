//! `lakebed discover`: the tables of a server, and a pipeline file to start from.

use ingest::config::{ScanMode, Secret};
use ingest::source::mysql::connection::{Connection, MySqlOptions};
use ingest::source::mysql::discovery::{DiscoveredTable, discover_all};
use ingest::source::mysql::preflight::{Finding, Level, PreflightRequest, preflight};
use regex::Regex;
use serde_json::{Value, json};
use url::Url;

use super::Failure;
use crate::display::grouped;
use crate::output::{aligned, print_lines};

/// The environment variable with the password, for addresses without one.
const PASSWORD: &str = "MYSQL_PASSWORD";
const SERVER_ID: u32 = 5400;

/// Arguments of `lakebed discover`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lakebed discover --source mysql://lakebed@db.example.com:3306/shop > shop.yaml
  lakebed discover --source mysql://lakebed@db.example.com/shop --format table
  lakebed discover --source mysql://lakebed@db.example.com --tables 'shop\\..*' --format json

The password comes from the address or, better, from the environment variable MYSQL_PASSWORD. The pipeline file names it and
does not hold it. Nothing is written to the server.")]
pub(crate) struct DiscoverArgs {
    /// The server: mysql://USER[:PASSWORD]@HOST[:PORT][/DATABASE]
    #[arg(long, value_name = "URL")]
    source: String,
    /// Only tables whose DATABASE.TABLE this regular expression matches
    #[arg(long, value_name = "REGEX")]
    tables: Option<String>,
    /// What is printed
    #[arg(long, value_enum, default_value_t = Format::Pipeline)]
    format: Format,
}

/// What `lakebed discover` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A pipeline file, with the tables in its comments
    Pipeline,
    /// The tables, aligned
    Table,
    /// The tables, one JSON object a line
    Json,
}

/// A table, and what stands against following it.
struct Candidate {
    found: DiscoveredTable,
    findings: Vec<Finding>,
}

pub(crate) async fn run(args: DiscoverArgs) -> Result<(), Failure> {
    let (options, database) = server(&args.source)?;
    let pattern = match (&args.tables, &database) {
        (Some(pattern), _) => pattern.clone(),
        (None, Some(database)) => format!("{}\\..*", regex::escape(database)),
        (None, None) => ".*".to_owned(),
    };
    let regex = Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| Failure::configuration(anyhow::anyhow!("--tables: {error}")))?;
    let mut connection = Connection::connect(&options).await?;
    let found = discover_all(&mut connection, &regex).await?;
    connection.close().await?;
    let request = PreflightRequest {
        tables: &regex,
        scan_mode: &ScanMode::Log,
        server_id: SERVER_ID,
        workers: 1,
        transforms: &[],
        routes: &[],
        compiler: None,
        start: None,
    };
    let (of_tables, of_server): (Vec<_>, Vec<_>) = preflight(&options, &request)
        .await
        .into_iter()
        .partition(|finding| {
            found
                .iter()
                .any(|found| found.table.to_string() == finding.subject)
        });
    let candidates: Vec<Candidate> = found
        .into_iter()
        .map(|found| {
            let name = found.table.to_string();
            let findings = of_tables.iter().filter(|finding| finding.subject == name);
            Candidate {
                findings: findings.cloned().collect(),
                found,
            }
        })
        .collect();
    for finding in of_server
        .iter()
        .filter(|finding| finding.level != Level::Info)
    {
        eprintln!("{finding}");
    }
    let lines = match args.format {
        Format::Table => aligned(&rows(&candidates)),
        Format::Json => candidates
            .iter()
            .map(|one| one.json().to_string())
            .collect(),
        Format::Pipeline => pipeline(&options, &candidates),
    };
    print_lines(&lines).map_err(Failure::other)
}

/// Address and account out of a URL, and the database if it names one.
fn server(text: &str) -> Result<(MySqlOptions, Option<String>), Failure> {
    let wrong = |what: &str| {
        Failure::configuration(anyhow::anyhow!(
            "--source {what}: write mysql://USER@HOST:PORT/DATABASE"
        ))
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "mysql" | "mariadb") {
        return Err(wrong("is not of the form mysql://…"));
    }
    let decoded = |text: &str| {
        let query = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs
            .next()
            .map_or_else(String::new, |(_, value)| value.into_owned())
    };
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| wrong("names no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let password = match url.password() {
        Some(password) => decoded(password),
        None => std::env::var(PASSWORD).unwrap_or_default(),
    };
    let mut options = MySqlOptions::new(host, decoded(url.username()), Secret::new(password));
    options.port = url.port().unwrap_or(options.port);
    let database = decoded(url.path().trim_start_matches('/'));
    Ok((options, (!database.is_empty()).then_some(database)))
}

impl Candidate {
    fn can_be_followed(&self) -> bool {
        let is_error = |finding: &Finding| finding.level == Level::Error;
        self.found.is_base_table() && !self.findings.iter().any(is_error)
    }

    /// What stands against it, or weakens it.
    fn remarks(&self) -> String {
        let told = self
            .findings
            .iter()
            .filter(|finding| finding.level != Level::Info);
        told.map(|finding| finding.message.as_str())
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn json(&self) -> Value {
        let finding =
            |finding: &Finding| json!({"message": finding.message, "remedy": finding.remedy});
        json!({
            "table": self.found.table.to_string(),
            "type": self.found.table_type,
            "engine": self.found.engine,
            "key": self.found.table.primary_key_names(),
            "columns": self.found.table.columns.len(),
            "rows_estimated": self.found.rows_estimated,
            "data_bytes": self.found.data_bytes,
            "can_be_followed": self.can_be_followed(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

fn rows(candidates: &[Candidate]) -> Vec<Vec<String>> {
    let header = [
        "table", "key", "columns", "rows", "bytes", "follow", "remarks",
    ];
    let row = |one: &Candidate| {
        let key = one.found.table.primary_key_names().join(", ");
        vec![
            one.found.table.to_string(),
            if key.is_empty() { "-".to_owned() } else { key },
            one.found.table.columns.len().to_string(),
            format!("~{}", grouped(one.found.rows_estimated)),
            grouped(one.found.data_bytes),
            if one.can_be_followed() { "yes" } else { "no" }.to_owned(),
            one.remarks(),
        ]
    };
    std::iter::once(header.map(str::to_owned).to_vec())
        .chain(candidates.iter().map(row))
        .collect()
}

/// A pipeline file of the tables that can be followed.
fn pipeline(options: &MySqlOptions, candidates: &[Candidate]) -> Vec<String> {
    let mut text = String::from("# Tables of the server; rows are its estimates.\n#\n");
    for line in aligned(&rows(candidates)) {
        text.push_str(&format!("# {line}\n"));
    }
    let tables = patterns(candidates);
    let database = candidates.iter().find(|one| one.can_be_followed());
    let name = database.map_or("pipeline", |one| one.found.table.database.as_str());
    let plain: String = name
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    text.push_str(&format!(
        "pipeline:\n  name: {plain}\n  memory: 512MiB\n\
         source:\n  type: mysql\n  hostname: {}\n  port: {}\n  username: {}\n  password: ${{{PASSWORD}}}\n  \
         tables: {}\n  server-id: {SERVER_ID}        # unique among the server's replicas\n\
         sink:\n  type: hudi\n  path: ./lake\n  table.type: mor\n  commit.interval: 10s\n\
         # metrics:\n\
         #   listen: 127.0.0.1:9249\n",
        quoted(&options.host),
        options.port,
        quoted(&options.user),
        quoted(&tables),
    ));
    text.lines().map(str::to_owned).collect()
}

/// One regular expression that matches these tables and no other.
fn patterns(candidates: &[Candidate]) -> String {
    let mut databases: Vec<(&str, Vec<String>)> = Vec::new();
    for one in candidates.iter().filter(|one| one.can_be_followed()) {
        let (database, name) = (
            one.found.table.database.as_str(),
            regex::escape(&one.found.table.name),
        );
        match databases.last_mut().filter(|(last, _)| *last == database) {
            Some((_, names)) => names.push(name),
            None => databases.push((database, vec![name])),
        }
    }
    let of_database = |(database, names): &(&str, Vec<String>)| {
        let database = regex::escape(database);
        match names.as_slice() {
            [name] => format!("{database}\\.{name}"),
            names => format!("{database}\\.({})", names.join("|")),
        }
    };
    databases
        .iter()
        .map(of_database)
        .collect::<Vec<_>>()
        .join("|")
}

/// A YAML text in single quotes, in which nothing but the quote itself means something else.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_addresses_apart() {
        let (options, database) =
            server("mysql://us%40er:p%2Bw%25@db.example.com:3307/my%20shop").unwrap();
        assert_eq!(
            (options.host.as_str(), options.port),
            ("db.example.com", 3307)
        );
        assert_eq!(
            (options.user.as_str(), options.password.expose()),
            ("us@er", "p+w%")
        );
        assert_eq!(database.as_deref(), Some("my shop"));
        let (options, database) = server("mysql://u@[::1]").unwrap();
        assert_eq!(
            (options.host.as_str(), options.port, database),
            ("::1", 3306, None)
        );
        for wrong in [
            "db.example.com",
            "postgres://u@h",
            "mysql://",
            "mysql:///shop",
        ] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }
}
