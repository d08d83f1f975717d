//! From the JSON text of a schema to its types.
//!
//! Spec: Avro 1.12, "Schema Declaration". A foreign schema cannot make this expand without bound: named types that contain
//! themselves are refused, and so is what expands to too many nodes.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::schema::{AvroField, AvroRecord, AvroType, TimeUnit};
use crate::error::{Error, Result};

/// The most nodes that a schema may expand to; a few hundred nested references could ask for billions.
const NODES_MAX: usize = 65_536;
/// The largest `fixed` that is taken: a null in such a column costs this much memory.
const FIXED_BYTES_MAX: usize = 64 * 1024;
/// Arrow's `Decimal128` holds this many digits, and so do Spark's and Hudi's decimals.
const DECIMAL_PRECISION_MAX: u8 = 38;

/// Reads the JSON text of a record schema.
pub(super) fn parse_record(json: &str) -> Result<AvroRecord> {
    let value: Value = serde_json::from_str(json)
        .map_err(|error| corrupt("", format!("not JSON: {error}")).with_source(error))?;
    let mut parser = Parser {
        named: HashMap::new(),
        nodes: 0,
    };
    match parser.parse(&value, "", "")? {
        AvroType::Record(record) => Ok(Arc::unwrap_or_clone(record)),
        _ => Err(corrupt("", "the schema of a row must be a record")),
    }
}

fn corrupt(path: &str, message: impl std::fmt::Display) -> Error {
    Error::corrupt("avro schema", at(path, message))
}

fn unsupported(path: &str, message: impl std::fmt::Display) -> Error {
    Error::unsupported(format!("avro schema: {}", at(path, message)))
}

fn at(path: &str, message: impl std::fmt::Display) -> String {
    if path.is_empty() {
        message.to_string()
    } else {
        format!("field `{path}`: {message}")
    }
}

struct Parser {
    /// Named types by full name with the nodes they expand to; `None` while being defined.
    named: HashMap<String, Option<(AvroType, usize)>>,
    nodes: usize,
}

impl Parser {
    fn count(&mut self, nodes: usize, path: &str) -> Result<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(unsupported(
                path,
                format!("expands to more than {NODES_MAX} types"),
            ));
        }
        Ok(())
    }

    fn parse(&mut self, value: &Value, namespace: &str, path: &str) -> Result<AvroType> {
        self.count(1, path)?;
        match value {
            Value::String(name) => self.by_name(name, namespace, path),
            Value::Array(branches) => self.union(branches, namespace, path),
            Value::Object(object) => self.object(object, namespace, path),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                Err(corrupt(path, format!("`{value}` is not a type")))
            }
        }
    }

    fn by_name(&mut self, name: &str, namespace: &str, path: &str) -> Result<AvroType> {
        if let Some(primitive) = primitive(name) {
            return Ok(primitive);
        }
        let full = full_name(name, namespace);
        // Java falls back to the bare name: types of the null namespace are visible everywhere.
        let known = self.named.get(&full).or_else(|| self.named.get(name));
        match known {
            Some(Some((data_type, nodes))) => {
                let (data_type, nodes) = (data_type.clone(), *nodes);
                self.count(nodes, path)?;
                Ok(data_type)
            }
            Some(None) => Err(unsupported(path, format!("type `{full}` contains itself"))),
            None => Err(corrupt(path, format!("unknown type `{full}`"))),
        }
    }

    fn union(&mut self, branches: &[Value], namespace: &str, path: &str) -> Result<AvroType> {
        let is_null = |value: &Value| {
            value.as_str() == Some("null")
                || value.get("type").and_then(Value::as_str) == Some("null")
        };
        let (null_branch, inner) = match branches {
            [null, inner] if is_null(null) => (0, inner),
            [inner, null] if is_null(null) => (1, inner),
            _ => return Err(unsupported(path, "a union other than of null and one type")),
        };
        let inner = match self.parse(inner, namespace, path)? {
            AvroType::Nullable { .. } | AvroType::Null => {
                return Err(corrupt(path, "a union inside a union, or two nulls"));
            }
            inner => Arc::new(inner),
        };
        Ok(AvroType::Nullable { null_branch, inner })
    }

    fn object(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        path: &str,
    ) -> Result<AvroType> {
        let name = match object.get("type") {
            Some(Value::String(name)) => name.as_str(),
            Some(nested) => return self.parse(nested, namespace, path),
            None => return Err(corrupt(path, "a type without `type`")),
        };
        match name {
            "array" => Ok(AvroType::Array(Arc::new(
                self.child(object, "items", namespace, path)?,
            ))),
            "map" => Ok(AvroType::Map(Arc::new(
                self.child(object, "values", namespace, path)?,
            ))),
            "record" | "error" => self.record(object, namespace, path),
            "enum" => {
                let symbols = symbols(object, path)?;
                self.define(object, namespace, path, |_, _| Ok(AvroType::Enum(symbols)))
            }
            "fixed" => {
                let fixed = fixed(object, path)?;
                self.define(object, namespace, path, |_, _| Ok(fixed))
            }
            other => logical(self.by_name(other, namespace, path)?, object, path),
        }
    }

    fn child(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        namespace: &str,
        path: &str,
    ) -> Result<AvroType> {
        let value = object
            .get(key)
            .ok_or_else(|| corrupt(path, format!("no `{key}`")))?;
        self.parse(value, namespace, path)
    }

    /// Reads a named type with `body`, under the namespace that the name sets, and remembers it.
    fn define(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        path: &str,
        body: impl FnOnce(&mut Self, &str) -> Result<AvroType>,
    ) -> Result<AvroType> {
        let name =
            text(object, "name").ok_or_else(|| corrupt(path, "a named type without `name`"))?;
        let full = full_name(name, text(object, "namespace").unwrap_or(namespace));
        let inner_namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        self.named.insert(full.clone(), None);
        let before = self.nodes;
        let data_type = body(self, inner_namespace)?;
        self.named
            .insert(full, Some((data_type.clone(), self.nodes - before)));
        Ok(data_type)
    }

    fn record(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        path: &str,
    ) -> Result<AvroType> {
        let name = text(object, "name").unwrap_or_default();
        let full = full_name(name, text(object, "namespace").unwrap_or(namespace));
        let Some(Value::Array(entries)) = object.get("fields") else {
            return Err(corrupt(path, "a record without `fields`"));
        };
        self.define(object, namespace, path, |parser, namespace| {
            let mut fields: Vec<AvroField> = Vec::with_capacity(entries.len());
            for entry in entries {
                let name = entry.get("name").and_then(Value::as_str);
                let name = name.ok_or_else(|| corrupt(path, "a field without `name`"))?;
                let path = if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}.{name}")
                };
                let data_type = entry
                    .get("type")
                    .ok_or_else(|| corrupt(&path, "a field without `type`"))?;
                let data_type = parser.parse(data_type, namespace, &path)?;
                if fields.iter().any(|field| field.name == name) {
                    return Err(corrupt(&path, "the field is there twice"));
                }
                fields.push(AvroField {
                    name: name.to_owned(),
                    data_type,
                });
            }
            Ok(AvroType::Record(Arc::new(AvroRecord {
                full_name: full,
                fields,
            })))
        })
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

fn full_name(name: &str, namespace: &str) -> String {
    if namespace.is_empty() || name.contains('.') {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn primitive(name: &str) -> Option<AvroType> {
    Some(match name {
        "null" => AvroType::Null,
        "boolean" => AvroType::Boolean,
        "int" => AvroType::Int,
        "long" => AvroType::Long,
        "float" => AvroType::Float,
        "double" => AvroType::Double,
        "bytes" => AvroType::Bytes,
        "string" => AvroType::String,
        _ => return None,
    })
}

/// Applies the logical type; one that is unknown or does not fit its base is ignored, as the specification asks.
fn logical(base: AvroType, object: &Map<String, Value>, path: &str) -> Result<AvroType> {
    let timestamp = |unit, utc| AvroType::Timestamp { unit, utc };
    Ok(
        match (base, text(object, "logicalType").unwrap_or_default()) {
            (AvroType::Int, "date") => AvroType::Date,
            (AvroType::Int, "time-millis") => AvroType::Time(TimeUnit::Millis),
            (AvroType::Long, "time-micros") => AvroType::Time(TimeUnit::Micros),
            (AvroType::Long, "timestamp-millis") => timestamp(TimeUnit::Millis, true),
            (AvroType::Long, "timestamp-micros") => timestamp(TimeUnit::Micros, true),
            (AvroType::Long, "timestamp-nanos") => timestamp(TimeUnit::Nanos, true),
            (AvroType::Long, "local-timestamp-millis") => timestamp(TimeUnit::Millis, false),
            (AvroType::Long, "local-timestamp-micros") => timestamp(TimeUnit::Micros, false),
            (AvroType::Long, "local-timestamp-nanos") => timestamp(TimeUnit::Nanos, false),
            (AvroType::Bytes, "decimal") => decimal(object, None, path)?,
            (base, _) => base,
        },
    )
}

fn fixed(object: &Map<String, Value>, path: &str) -> Result<AvroType> {
    let size = object
        .get("size")
        .and_then(Value::as_u64)
        .and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| corrupt(path, "a fixed without `size`"))?;
    if size > FIXED_BYTES_MAX {
        return Err(unsupported(
            path,
            format!("a fixed of {size} bytes (limit {FIXED_BYTES_MAX})"),
        ));
    }
    match text(object, "logicalType") {
        Some("decimal") => decimal(object, Some(size), path),
        _ => Ok(AvroType::Fixed(size)),
    }
}

fn decimal(object: &Map<String, Value>, fixed_size: Option<usize>, path: &str) -> Result<AvroType> {
    let number = |key: &str| object.get(key).and_then(Value::as_u64);
    let precision =
        number("precision").ok_or_else(|| corrupt(path, "a decimal without `precision`"))?;
    let scale = number("scale").unwrap_or(0);
    let narrow = (u8::try_from(precision), i8::try_from(scale));
    match narrow {
        (Ok(precision), Ok(scale))
            if (1..=DECIMAL_PRECISION_MAX).contains(&precision)
                && i16::from(scale) <= i16::from(precision) =>
        {
            Ok(AvroType::Decimal {
                precision,
                scale,
                fixed_size,
            })
        }
        _ => Err(unsupported(
            path,
            format!(
                "decimal({precision},{scale}); at most {DECIMAL_PRECISION_MAX} digits are handled"
            ),
        )),
    }
}

fn symbols(object: &Map<String, Value>, path: &str) -> Result<Arc<[String]>> {
    let symbols = object.get("symbols").and_then(Value::as_array);
    let symbols = symbols.ok_or_else(|| corrupt(path, "an enum without `symbols`"))?;
    symbols
        .iter()
        .map(|symbol| symbol.as_str().map(str::to_owned))
        .collect::<Option<Arc<[String]>>>()
        .ok_or_else(|| corrupt(path, "an enum symbol that is not text"))
}

#[cfg(test)]
mod tests {
    use super::super::schema::AvroSchema;
    use super::*;
    use crate::error::ErrorKind;

    fn field_types(json: &str) -> Vec<AvroType> {
        let schema = AvroSchema::parse(json).unwrap();
        schema
            .record
            .fields
            .into_iter()
            .map(|field| field.data_type)
            .collect()
    }

    #[test]
    fn resolves_names_through_namespaces() {
        let types = field_types(
            r#"{"type":"record","name":"r","namespace":"a.b","fields":[
                {"name":"x","type":{"type":"fixed","name":"f","size":3}},
                {"name":"y","type":["f","null"]},
                {"name":"z","type":["null","a.b.f"]}]}"#,
        );
        let inner = Arc::new(AvroType::Fixed(3));
        assert_eq!(
            types[1],
            AvroType::Nullable {
                null_branch: 1,
                inner: Arc::clone(&inner)
            }
        );
        assert_eq!(
            types[2],
            AvroType::Nullable {
                null_branch: 0,
                inner
            }
        );
    }

    #[test]
    fn accepts_attributes_of_java() {
        let types = field_types(
            r#"{"type":"record","name":"r","fields":[
                {"name":"s","type":["null",{"type":"string","avro.java.string":"String"}],"default":null},
                {"name":"m","type":{"type":"map","values":"long","avro.java.string":"String","default":null}},
                {"name":"t","type":{"type":{"type":"long","logicalType":"timestamp-micros"}}}]}"#,
        );
        assert_eq!(types[0].unwrap_nullable().0, &AvroType::String);
        assert_eq!(types[1], AvroType::Map(Arc::new(AvroType::Long)));
        assert_eq!(
            types[2],
            AvroType::Timestamp {
                unit: TimeUnit::Micros,
                utc: true
            }
        );
    }

    #[test]
    fn refuses_what_columns_cannot_hold() {
        let recursive =
            r#"{"type":"record","name":"n","fields":[{"name":"next","type":["null","n"]}]}"#;
        let error = AvroSchema::parse(recursive).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("`next`"), "{error}");
        let decimal = r#"{"type":"record","name":"n","fields":[
            {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":39,"scale":0}}]}"#;
        assert_eq!(
            AvroSchema::parse(decimal).unwrap_err().kind(),
            ErrorKind::Unsupported
        );
        assert_eq!(
            AvroSchema::parse("{").unwrap_err().kind(),
            ErrorKind::Corrupt
        );
        assert_eq!(
            AvroSchema::parse("\"int\"").unwrap_err().kind(),
            ErrorKind::Corrupt
        );
    }

    #[test]
    fn refuses_exponential_expansion() {
        let mut fields = String::from(
            r#"{"name":"f0","type":{"type":"record","name":"r0","fields":[{"name":"x","type":"int"}]}}"#,
        );
        for level in 1..40 {
            let below = level - 1;
            fields += &format!(
                r#",{{"name":"f{level}","type":{{"type":"record","name":"r{level}","fields":[
                    {{"name":"a","type":"r{below}"}},{{"name":"b","type":"r{below}"}}]}}}}"#
            );
        }
        let json = format!(r#"{{"type":"record","name":"top","fields":[{fields}]}}"#);
        assert_eq!(
            AvroSchema::parse(&json).unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    }
}
