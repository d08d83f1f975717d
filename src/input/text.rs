//! CSV and JSON lines: text, whose columns have the types of the table, or those that the first rows suggest.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::csv;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::schema::storable_text;
use super::{BATCH_ROWS, Batches, Wanted};

/// What is looked at to tell types of columns.
const HEAD_BYTES: u64 = 4 << 20;
/// Rows that tell in which order columns come.
const ROWS_LOOKED_AT: usize = 1_000;

/// Reads comma-separated values with a header.
pub(super) fn csv(
    source: impl Read + Send + 'static,
    wanted: Option<Wanted<'_>>,
) -> Result<(SchemaRef, Batches)> {
    let mut source = BufReader::new(source);
    let head = head_of(&mut source)?;
    let format = csv::reader::Format::default().with_header(true);
    let (inferred, _) = format.infer_schema(complete_lines(&head), None)?;
    if inferred.fields().is_empty() {
        bail!("it has no header");
    }
    let schema = match wanted {
        None => storable_text(&inferred),
        Some(wanted) => {
            let fields = inferred.fields().iter().map(|column| {
                let known = wanted.schema.field_with_name(column.name());
                let field = known.map_err(|_| {
                    anyhow!(
                        "column `{}` of the header is no column of the table",
                        column.name()
                    )
                })?;
                Ok(Arc::new(field.clone().with_nullable(true)))
            });
            Arc::new(Schema::new(fields.collect::<Result<Vec<FieldRef>>>()?))
        }
    };
    let rows = csv::ReaderBuilder::new(readable(&schema))
        .with_header(true)
        .with_batch_size(BATCH_ROWS)
        .build(Cursor::new(head).chain(source))?;
    let names: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let rows = rows.map(move |batch| {
        batch.map_err(|error| anyhow!(with_column_name(&error.to_string(), &names)))
    });
    Ok((schema, Box::new(rows)))
}

/// Reads one JSON object a line.
pub(super) fn json(
    source: impl Read + Send + 'static,
    wanted: Option<Wanted<'_>>,
) -> Result<(SchemaRef, Batches)> {
    let mut source = BufReader::new(source);
    let head = head_of(&mut source)?;
    let schema = match wanted {
        None => {
            let lines = complete_lines(&head);
            let (inferred, _) = json::reader::infer_json_schema(lines, None)?;
            storable_text(&in_order_of_appearance(&inferred, lines))
        }
        Some(wanted) => {
            let present = names_of(complete_lines(&head));
            let fields = wanted.schema.fields().iter();
            let fields =
                fields.filter(|field| !wanted.only_present || present.contains(field.name()));
            let fields = fields.map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
            Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
        }
    };
    let rows = json::ReaderBuilder::new(readable(&schema))
        .with_batch_size(BATCH_ROWS)
        .with_strict_mode(true)
        .build(BufReader::new(Cursor::new(head).chain(source)))?;
    let target = SchemaRef::clone(&schema);
    Ok((
        schema,
        Box::new(rows.map(move |batch| decode_binary(&batch?, &target))),
    ))
}

/// Inferred columns come in no order; rows have theirs.
fn in_order_of_appearance(inferred: &Schema, lines: &[u8]) -> Schema {
    let names = names_of(lines);
    let mut fields: Vec<FieldRef> = inferred.fields().to_vec();
    fields.sort_by_key(|field| {
        let position = names.iter().position(|name| name == field.name());
        (position.unwrap_or(usize::MAX), field.name().clone())
    });
    Schema::new(fields)
}

/// The names in the first rows, in the order of their appearance.
fn names_of(lines: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let rows = serde_json::Deserializer::from_slice(lines).into_iter::<Map<String, Value>>();
    for row in rows.map_while(Result::ok).take(ROWS_LOOKED_AT) {
        let new = row.into_iter().map(|(name, _)| name);
        for name in new {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn head_of(source: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    source.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

/// The head without a line that it cuts.
fn complete_lines(head: &[u8]) -> &[u8] {
    if (head.len() as u64) < HEAD_BYTES {
        return head;
    }
    let end = head.iter().rposition(|byte| *byte == b'\n');
    head.get(..end.map_or(head.len(), |end| end + 1))
        .unwrap_or(head)
}

/// The types under which values are read: zones as offsets, which need no names, and binary as text.
fn readable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let data_type = match field.data_type() {
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
            DataType::Binary => DataType::Utf8,
            other => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn decode_binary(batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch> {
    let mut fields: Vec<FieldRef> = batch.schema().fields().to_vec();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    let wanted = target.fields().iter().enumerate();
    for (position, field) in wanted.filter(|(_, field)| *field.data_type() == DataType::Binary) {
        let text: &StringArray = batch.column(position).as_string();
        let bytes = text.iter().map(|text| {
            let bytes = text.map(|text| STANDARD.decode(text)).transpose();
            bytes.map_err(|error| anyhow!("column `{}`: not base64: {error}", field.name()))
        });
        let bytes: Vec<Option<Vec<u8>>> = bytes.collect::<Result<_>>()?;
        let array: BinaryArray = bytes.iter().map(Option::as_deref).collect();
        columns[position] = Arc::new(array);
        fields[position] = Arc::new(Field::new(field.name(), DataType::Binary, true));
    }
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// Adds the name of the column to a message of the CSV reader, which tells its number only.
fn with_column_name(message: &str, names: &[String]) -> String {
    let number = message
        .split_once(" for column ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse::<usize>().ok());
    match number.and_then(|number| names.get(number)) {
        Some(name) => format!("column `{name}`: {message}"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn typed(schema: &SchemaRef) -> Option<Wanted<'_>> {
        Some(Wanted {
            schema,
            only_present: false,
        })
    }

    fn all((schema, batches): (SchemaRef, Batches)) -> (SchemaRef, Result<Vec<RecordBatch>>) {
        (schema, batches.collect())
    }

    #[test]
    fn types_of_csv_come_from_its_rows_or_from_the_table() {
        let text = "id,at,name\n1,2024-01-02T03:04:05,x\n2,,\n";
        let (schema, batches) = all(csv(Cursor::new(text), None).unwrap());
        let types: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| field.data_type().to_string())
            .collect();
        assert_eq!(types, ["Int64", "Timestamp(µs, \"UTC\")", "Utf8"]);
        assert_eq!(batches.unwrap()[0].num_rows(), 2);
        let wanted: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8, true),
            Field::new("at", DataType::Utf8, true),
            Field::new("id", DataType::Int32, false),
        ]));
        let (schema, batches) = all(csv(Cursor::new(text), typed(&wanted)).unwrap());
        assert_eq!(schema.field(0).data_type(), &DataType::Int32);
        assert_eq!(batches.unwrap()[0].num_columns(), 3);
    }

    #[test]
    fn a_bad_value_of_csv_is_named_with_column_and_line() {
        let wanted: SchemaRef =
            Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false)]));
        let (_, batches) = all(csv(Cursor::new("id\n1\nx\n"), typed(&wanted)).unwrap());
        let error = batches.unwrap_err().to_string();
        assert!(
            error.contains("`id`") && error.contains("line 2"),
            "{error}"
        );
        let unknown = csv(Cursor::new("id,other\n1,2\n"), typed(&wanted)).map(|_| ());
        assert!(unknown.unwrap_err().to_string().contains("`other`"));
    }

    #[test]
    fn columns_of_json_keep_their_order() {
        let text = "{\"z\":1,\"b\":\"x\"}\n{\"a\":true,\"z\":2}\n";
        let (schema, _) = all(json(Cursor::new(text), None).unwrap());
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["z", "b", "a"]);
    }

    #[test]
    fn json_reads_base64_and_refuses_unknown_fields() {
        let wanted: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("raw", DataType::Binary, true),
        ]));
        let (_, batches) = all(json(
            Cursor::new("{\"id\":1,\"raw\":\"AAE=\"}\n{\"id\":2}\n"),
            typed(&wanted),
        )
        .unwrap());
        let batches = batches.unwrap();
        assert_eq!(batches[0].column(0).as_ref(), &Int64Array::from(vec![1, 2]));
        assert_eq!(batches[0].column(1).as_binary::<i32>().value(0), [0, 1]);
        let (_, unknown) = all(json(Cursor::new("{\"id\":1,\"x\":1}\n"), typed(&wanted)).unwrap());
        assert!(unknown.unwrap_err().to_string().contains('x'));
    }
}
