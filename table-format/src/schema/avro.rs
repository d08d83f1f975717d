//! Table schemas as Avro JSON, the form in which commits and log blocks carry them.
//!
//! Names follow Spark's converter (Java: SchemaConverters#toAvroType): a nested record is named after its field, in the
//! namespace of its parent's full name; a decimal is a `fixed` named `fixed` in the namespace of its field's path.

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde_json::{Value, json};

use crate::codec::avro::{AvroSchema, arrow_schema, decimal_fixed_size};
use crate::error::{Error, Result};

/// The Avro JSON of a table schema; nullable columns are `["null", T]` with default null.
///
/// # Errors
/// `Unsupported` for an Arrow type that Hudi tables cannot hold; `Invalid` for a name that Avro forbids. Both name the
/// column.
pub fn arrow_to_avro(schema: &Schema, record_name: &str, namespace: &str) -> Result<String> {
    let record = record(schema.fields(), record_name, namespace, "")?;
    Ok(record.to_string())
}

/// The Arrow schema of an Avro record schema.
///
/// # Errors
/// `Corrupt` or `Unsupported`, see [`AvroSchema::parse`].
pub fn avro_to_arrow(json: &str) -> Result<SchemaRef> {
    Ok(arrow_schema(&AvroSchema::parse(json)?))
}

/// The name under which a table's record goes: `<table>_record`, with whatever Avro forbids replaced by `_`.
///
/// Java: HoodieSchemaUtils.sanitizeName.
pub fn record_name(table_name: &str) -> String {
    format!("{}_record", sanitize_name(table_name))
}

/// The namespace of a table's record: `hoodie.<table>`.
pub fn record_namespace(table_name: &str) -> String {
    format!("hoodie.{}", sanitize_name(table_name))
}

fn sanitize_name(name: &str) -> String {
    let replaced = name.chars().enumerate().map(|(at, letter)| {
        let fits =
            letter.is_ascii_alphabetic() || letter == '_' || (at > 0 && letter.is_ascii_digit());
        if fits { letter } else { '_' }
    });
    replaced.collect()
}

fn is_avro_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn join(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn record(fields: &Fields, name: &str, namespace: &str, path: &str) -> Result<Value> {
    if !is_avro_name(name) {
        return Err(Error::invalid(format!(
            "`{name}` cannot be the name of an avro record: use letters, digits and underscores"
        )));
    }
    let inner_namespace = join(namespace, name);
    let fields = fields
        .iter()
        .map(|field| record_field(field, &inner_namespace, path))
        .collect::<Result<Vec<Value>>>()?;
    Ok(if namespace.is_empty() {
        json!({"type": "record", "name": name, "fields": fields})
    } else {
        json!({"type": "record", "name": name, "namespace": namespace, "fields": fields})
    })
}

fn record_field(field: &Field, namespace: &str, parent: &str) -> Result<Value> {
    let path = join(parent, field.name());
    if !is_avro_name(field.name()) {
        return Err(Error::invalid(format!(
            "column `{path}`: the name must be letters, digits and underscores, not starting with a digit"
        )));
    }
    let data_type = nullable(field, field.name(), namespace, &path)?;
    Ok(if field.is_nullable() {
        json!({"name": field.name(), "type": data_type, "default": null})
    } else {
        json!({"name": field.name(), "type": data_type})
    })
}

fn nullable(field: &Field, name: &str, namespace: &str, path: &str) -> Result<Value> {
    let data_type = avro_type(field.data_type(), name, namespace, path)?;
    Ok(if field.is_nullable() {
        json!(["null", data_type])
    } else {
        data_type
    })
}

fn logical(base: &str, logical: &str) -> Value {
    json!({"type": base, "logicalType": logical})
}

/// `name` and `namespace` are those of a named type at this place.
fn avro_type(data_type: &DataType, name: &str, namespace: &str, path: &str) -> Result<Value> {
    Ok(match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            json!("int")
        }
        DataType::Int64 | DataType::UInt32 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => json!("string"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => json!("bytes"),
        DataType::Dictionary(_, values) => avro_type(values, name, namespace, path)?,
        DataType::Date32 => logical("int", "date"),
        DataType::Time32(TimeUnit::Millisecond) => logical("int", "time-millis"),
        DataType::Time64(TimeUnit::Microsecond) => logical("long", "time-micros"),
        DataType::Timestamp(TimeUnit::Millisecond, Some(_)) => logical("long", "timestamp-millis"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => logical("long", "timestamp-micros"),
        DataType::Timestamp(TimeUnit::Millisecond, None) => {
            logical("long", "local-timestamp-millis")
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            logical("long", "local-timestamp-micros")
        }
        DataType::FixedSizeBinary(size) => {
            json!({"type": "fixed", "name": "fixed", "namespace": join(namespace, name), "size": size})
        }
        DataType::Decimal128(precision, scale) if *scale >= 0 => json!({
            "type": "fixed",
            "name": "fixed",
            "namespace": join(namespace, name),
            "size": decimal_fixed_size(*precision),
            "logicalType": "decimal",
            "precision": precision,
            "scale": scale,
        }),
        DataType::List(item) | DataType::LargeList(item) => {
            let items = nullable(item, name, namespace, &join(path, "element"))?;
            json!({"type": "array", "items": items})
        }
        DataType::Map(entries, _) => {
            let value = map_value(entries, path)?;
            let values = nullable(value, name, namespace, &join(path, "value"))?;
            json!({"type": "map", "values": values})
        }
        DataType::Struct(fields) => record(fields, name, namespace, path)?,
        other => {
            return Err(Error::unsupported(format!(
                "column `{path}`: a hudi table cannot hold the type {other}"
            )));
        }
    })
}

/// The value field of a map; the keys must be text.
fn map_value<'a>(entries: &'a Field, path: &str) -> Result<&'a Field> {
    match entries.data_type() {
        DataType::Struct(fields) => match fields.as_ref() {
            [key, value] if matches!(key.data_type(), DataType::Utf8 | DataType::LargeUtf8) => {
                Ok(value)
            }
            _ => Err(Error::unsupported(format!(
                "column `{path}`: the keys of a map must be text"
            ))),
        },
        other => Err(Error::invalid(format!(
            "column `{path}`: map entries of type {other}"
        ))),
    }
}
