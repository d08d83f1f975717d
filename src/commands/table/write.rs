//! `lakebed table write`: rows of a file into a table, in one instant.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::anyhow;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use serde_json::json;

use table_format::storage::Storage;
use table_format::table::Table;
use table_format::timeline::Instant;
use table_format::writer::{TableWriter, Transaction, WriteOperation, WriterOptions};

use super::create::NewTableArgs;
use super::settings::Settings;
use crate::commands::Failure;
use crate::config::parse_bytes;
use crate::input::{Input, InputFormat, Wanted, schema_of_file, storable};

/// The part of the memory ceiling that one row group may fill.
const ROW_GROUP_PART: u64 = 32;
/// Hudi's own option for the partitions to drop.
const PARTITIONS_TO_DELETE: &str = "hoodie.datasource.write.partitions.to.delete";

/// What is done with the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Operation {
    /// New rows into new files, sorted by key; keys are not looked up
    BulkInsert,
    /// New rows, small files first; keys are not looked up
    Insert,
    /// Changed and new rows, by key
    Upsert,
    /// Rows with these keys go
    Delete,
    /// The partitions of these rows hold nothing else afterwards
    InsertOverwrite,
    /// The table holds nothing else afterwards
    InsertOverwriteTable,
    /// The partitions of these rows, or those of --partition, go
    DeletePartition,
}

/// Arguments of `lakebed table write`.
#[derive(Debug, clap::Args)]
pub(crate) struct WriteArgs {
    /// The table: a path or URL; it is created when it is not there
    path: String,
    /// The rows: a file, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    input: Option<String>,
    /// Format of the input, when its name does not tell
    #[arg(long, value_enum, value_name = "FORMAT")]
    input_format: Option<InputFormat>,
    /// What is done with the rows
    #[arg(long, value_enum, value_name = "OP")]
    op: Operation,
    /// With delete-partition: the path of a partition, in which `*` stands for any text; may be given several times
    #[arg(long, value_name = "PATH")]
    partition: Vec<String>,
    /// Columns of a table that is created [default: those of the input]
    #[arg(long, value_name = "FILE")]
    schema: Option<String>,
    /// Add columns that the input has and the table has not
    #[arg(long)]
    add_columns: bool,
    #[command(flatten)]
    table: NewTableArgs,
    #[command(flatten)]
    settings: Settings,
    /// What rows on their way may take
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    memory: String,
    /// The instant as JSON
    #[arg(long)]
    json: bool,
}

impl From<Operation> for WriteOperation {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::BulkInsert => Self::BulkInsert,
            Operation::Insert => Self::Insert,
            Operation::Upsert => Self::Upsert,
            Operation::Delete => Self::Delete,
            Operation::InsertOverwrite => Self::InsertOverwrite,
            Operation::InsertOverwriteTable => Self::InsertOverwriteTable,
            Operation::DeletePartition => Self::DeletePartition,
        }
    }
}

pub(super) async fn write(args: &WriteArgs) -> Result<Vec<String>, Failure> {
    let properties = args.settings.properties();
    let memory = parse_bytes(&args.memory)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| {
            Failure::configuration(anyhow!(
                "--memory {}: expected a size such as 512MiB",
                args.memory
            ))
        })?;
    let env = args.settings.env(memory).map_err(Failure::configuration)?;
    let options = WriterOptions::from_properties(&properties).map_err(Failure::configuration)?;
    let options = options.with_row_group_bytes_max(memory / ROW_GROUP_PART);
    let only_present = options.updates_partially();
    let storage = Storage::open(&args.path).map_err(Failure::other)?;
    let (table, input) = match Table::open_storage(storage.clone()).await {
        Ok(table) => {
            args.table.check(&args.path, table.config())?;
            let schema = table.schema().await.map_err(Failure::other)?;
            let wanted = Wanted {
                schema: &schema,
                only_present,
            };
            (table, open_input(args, Some(wanted))?)
        }
        Err(error) if error.kind() == table_format::ErrorKind::NotFound => {
            if matches!(args.op, Operation::Delete | Operation::DeletePartition) {
                return Err(Failure::other(error));
            }
            let given = args.schema.as_deref().map(schema_of_file).transpose();
            let given = given.map_err(|error| input_failure(&error))?;
            let wanted = given.as_ref().map(|schema| Wanted {
                schema,
                only_present: false,
            });
            let input = open_input(args, wanted)?;
            let schema = match (given, &input) {
                (Some(schema), _) => schema,
                (None, Some(input)) => storable(input.schema()),
                (None, None) => {
                    return Err(Failure::usage("a new table needs --input or --schema"));
                }
            };
            let table = &args.table;
            let created =
                table.create(storage, env.clone(), &args.path, schema, properties.clone());
            (created.await?, input)
        }
        Err(error) => return Err(Failure::other(error)),
    };
    let mut writer = table.writer(env, options).await.map_err(Failure::other)?;
    if let (true, Some(input)) = (args.add_columns, &input) {
        add_columns(&mut writer, &storable(input.schema())).await?;
    }
    let instant = write_rows(args, &mut writer, input, &properties).await?;
    Ok(vec![shown(&instant, args)])
}

fn open_input(args: &WriteArgs, wanted: Option<Wanted<'_>>) -> Result<Option<Input>, Failure> {
    let Some(path) = &args.input else {
        if args.op == Operation::DeletePartition {
            return Ok(None);
        }
        return Err(Failure::usage("--input FILE is missing"));
    };
    // Columns that are to be added are in no schema yet.
    let wanted = wanted.filter(|_| !args.add_columns);
    Input::open(path, args.input_format, wanted)
        .map(Some)
        .map_err(|error| input_failure(&error))
}

fn input_failure(error: &anyhow::Error) -> Failure {
    Failure::other(anyhow!("{error:#}"))
}

/// Takes the columns of the input that the table lacks into its schema; they are nullable, because older rows have none.
async fn add_columns(writer: &mut TableWriter, input: &SchemaRef) -> Result<(), Failure> {
    let known = writer.schema().await;
    let new = input
        .fields()
        .iter()
        .filter(|field| known.index_of(field.name()).is_err());
    let new = new.map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    let fields: Vec<FieldRef> = known.fields().iter().cloned().chain(new).collect();
    let schema = Arc::new(Schema::new(fields));
    writer.set_schema(schema).await.map_err(Failure::other)
}

async fn write_rows(
    args: &WriteArgs,
    writer: &mut TableWriter,
    input: Option<Input>,
    properties: &BTreeMap<String, String>,
) -> Result<Instant, Failure> {
    let begun = writer.begin(args.op.into()).await;
    let mut transaction = begun.map_err(Failure::other)?;
    match fill(args, &mut transaction, input, properties).await {
        Ok(()) => {
            let committed = transaction.commit(BTreeMap::new()).await;
            committed.map_err(Failure::other)
        }
        Err(failure) => {
            if let Err(error) = transaction.abort().await {
                tracing::warn!(%error, "the instant is left pending; the next writer undoes it");
            }
            Err(failure)
        }
    }
}

async fn fill(
    args: &WriteArgs,
    transaction: &mut Transaction,
    input: Option<Input>,
    properties: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let set = properties.get(PARTITIONS_TO_DELETE).into_iter();
    let set = set
        .flat_map(|paths| paths.split(','))
        .map(str::trim)
        .map(str::to_owned);
    let partitions: Vec<String> = args.partition.iter().cloned().chain(set).collect();
    if !partitions.is_empty() {
        transaction
            .drop_partitions(&partitions)
            .map_err(Failure::other)?;
    } else if input.is_none() {
        return Err(Failure::usage(
            "name partitions with --partition, or give --input",
        ));
    }
    let Some(input) = input else {
        return Ok(());
    };
    let name = input.name().to_owned();
    let in_file = |error: table_format::Error| Failure::other(anyhow!("{name}: {error}"));
    let mut batches = input.into_stream();
    while let Some(batch) = batches.recv().await {
        let batch = batch.map_err(Failure::other)?;
        transaction.write(batch).await.map_err(in_file)?;
    }
    transaction.flush().await.map_err(in_file)
}

fn shown(instant: &Instant, args: &WriteArgs) -> String {
    if !args.json {
        return instant.time.to_string();
    }
    json!({
        "instant": instant.time.as_str(),
        "completion": instant.completion.as_ref().map(|time| time.as_str()),
        "action": instant.action.as_str(),
        "operation": WriteOperation::from(args.op).as_str(),
    })
    .to_string()
}
