//! `lakebed table create`: an empty table.

use std::collections::BTreeMap;

use anyhow::anyhow;
use arrow::datatypes::SchemaRef;
use table_format::config::{TableConfig, TableType};
use table_format::env::{Env, MemoryBudget};
use table_format::storage::Storage;
use table_format::table::{Table, TableSpec};

use super::settings::Settings;
use crate::commands::Failure;
use crate::input::schema_of_file;

/// Memory for creating a table, which takes next to none.
const MEMORY_BYTES: u64 = 64 << 20;

/// Whether updates rewrite files or are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TableTypeName {
    /// Copy-on-write: updates rewrite base files
    Cow,
    /// Merge-on-read: updates go to log files
    Mor,
}

/// What a new table is to be.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct NewTableArgs {
    /// Copy-on-write or merge-on-read [default: cow]
    #[arg(long, value_enum)]
    table_type: Option<TableTypeName>,
    /// Columns of the record key
    #[arg(long, value_name = "A[,B]", value_delimiter = ',')]
    record_key: Vec<String>,
    /// Columns that partition the table; `column:timestamp` for times
    #[arg(long, value_name = "X[,Y]", value_delimiter = ',')]
    partition_by: Vec<String>,
    /// Columns that tell which version of a row is the latest; without them the last write wins
    #[arg(long, value_name = "F[,G]", value_delimiter = ',')]
    ordering: Vec<String>,
    /// Version of the format: 6, 8 or 9 [default: 9]
    #[arg(long, value_name = "N")]
    table_version: Option<String>,
    /// Name of the table [default: that of its directory]
    #[arg(long, value_name = "[DATABASE.]TABLE")]
    name: Option<String>,
}

/// Arguments of `lakebed table create`.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// The table: a path or URL
    path: String,
    /// Its columns: an Avro schema (.avsc), or a data file with such columns
    #[arg(long, value_name = "FILE")]
    schema: String,
    #[command(flatten)]
    table: NewTableArgs,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn create(args: &CreateArgs) -> Result<Vec<String>, Failure> {
    let schema =
        schema_of_file(&args.schema).map_err(|error| Failure::other(anyhow!("{error:#}")))?;
    let properties = args.settings.properties();
    let storage = Storage::open(&args.path).map_err(Failure::other)?;
    let env = Env::system(MemoryBudget::new(MEMORY_BYTES));
    let table = args
        .table
        .create(storage, env, &args.path, schema, properties)
        .await?;
    Ok(vec![table.storage().location().to_owned()])
}

impl NewTableArgs {
    /// Creates the table.
    pub(super) async fn create(
        &self,
        storage: Storage,
        env: Env,
        path: &str,
        schema: SchemaRef,
        mut properties: BTreeMap<String, String>,
    ) -> Result<Table, Failure> {
        if let Some(version) = &self.table_version {
            properties.insert("hoodie.write.table.version".to_owned(), version.clone());
        }
        let name = self.name.clone().or_else(|| {
            let set = properties.get("hoodie.table.name").cloned();
            set.or_else(|| directory_name(path).map(|name| name.replace('.', "_")))
        });
        let name = name.ok_or_else(|| Failure::usage("the path names no directory: add --name"))?;
        let (database, name) = match name.split_once('.') {
            Some((database, name)) => (database.to_owned(), name.to_owned()),
            None => (String::new(), name),
        };
        let spec = TableSpec {
            name,
            database,
            table_type: self.table_type(&properties)?,
            schema,
            record_key: self.record_key.clone(),
            partition_by: self.partition_by.clone(),
            ordering: self.ordering.clone(),
            merge_mode: None,
            properties,
        };
        let created = Table::create(storage, env, spec).await;
        created.map_err(|error| match error.kind() {
            table_format::ErrorKind::Invalid | table_format::ErrorKind::Unsupported => {
                Failure::configuration(anyhow!("{path}: {error}"))
            }
            _ => Failure::other(error),
        })
    }

    /// Refuses what an existing table is not.
    pub(super) fn check(&self, path: &str, config: &TableConfig) -> Result<(), Failure> {
        let differs = |what: &str, given: String, known: String| {
            Err(Failure::configuration(anyhow!(
                "{path}: {what} {given} was asked for, but the table has {known}"
            )))
        };
        let shown = |fields: &[String]| format!("`{}`", fields.join(","));
        let known_partitions = config.partition_fields();
        let given_partitions: Vec<String> = self
            .partition_by
            .iter()
            .map(|field| field.split(':').next().unwrap_or(field).to_owned())
            .collect();
        for (what, given, known) in [
            ("--record-key", &self.record_key, config.record_key_fields()),
            ("--partition-by", &given_partitions, known_partitions),
            ("--ordering", &self.ordering, config.ordering_fields()),
        ] {
            if !given.is_empty() && *given != known {
                return differs(what, shown(given), shown(&known));
            }
        }
        if let Some(version) = &self.table_version
            && *version != config.version().to_string()
        {
            return differs(
                "--table-version",
                version.clone(),
                config.version().to_string(),
            );
        }
        let table_type = match self.table_type {
            Some(TableTypeName::Cow) => TableType::CopyOnWrite,
            Some(TableTypeName::Mor) => TableType::MergeOnRead,
            None => config.table_type(),
        };
        if table_type != config.table_type() {
            return differs(
                "--table-type",
                table_type.to_string(),
                config.table_type().to_string(),
            );
        }
        Ok(())
    }

    fn table_type(&self, properties: &BTreeMap<String, String>) -> Result<TableType, Failure> {
        let set = ["hoodie.datasource.write.table.type", "hoodie.table.type"]
            .iter()
            .find_map(|name| properties.get(*name));
        match (self.table_type, set) {
            (Some(TableTypeName::Cow), _) | (None, None) => Ok(TableType::CopyOnWrite),
            (Some(TableTypeName::Mor), _) => Ok(TableType::MergeOnRead),
            (None, Some(set)) => set
                .parse()
                .map_err(|error: table_format::Error| Failure::configuration(error)),
        }
    }
}

/// The last part of a path or URL.
fn directory_name(path: &str) -> Option<&str> {
    let name = path.trim_end_matches('/').rsplit('/').next()?;
    (!matches!(name, "" | "." | "..")).then_some(name)
}
