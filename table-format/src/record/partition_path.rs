//! Partition paths: the folder of a row, made from the partition columns.
//!
//! Java: KeyGenUtils#getRecordPartitionPath, PartitionPathEncodeUtils#escapePathName, CustomAvroKeyGenerator.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{RecordBatch, StringArray};

use crate::config::{KeyGeneratorType, TableConfig, key};
use crate::error::{Error, Result};
use crate::record::key_generator::TextColumn;
use crate::record::text::CellText;
use crate::record::time_partition::{TimeColumn, TimePartition};

const DEFAULT_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Makes the partition path of every row of a batch.
#[derive(Debug, Clone)]
pub struct PartitionPathGenerator {
    fields: Vec<String>,
    /// For each field how its values become folders.
    kinds: Vec<FieldKind>,
    hive_style: bool,
    url_encode: bool,
}

/// How the values of a partition column become folders.
#[derive(Debug, Clone)]
enum FieldKind {
    /// By their text.
    Simple,
    /// By their text, a date's dashes turned to slashes.
    SlashedDate,
    /// As times, formatted.
    Time(TimePartition),
}

/// A partition column of a batch.
enum FieldColumn<'a> {
    Text(CellText<'a>),
    SlashedDate(CellText<'a>),
    Time(TimeColumn<'a>),
}

impl PartitionPathGenerator {
    /// A generator over `fields`; none means a non-partitioned table, whose path is empty.
    pub fn new(fields: &[String], hive_style: bool, url_encode: bool) -> Self {
        Self {
            fields: fields.to_vec(),
            kinds: vec![FieldKind::Simple; fields.len()],
            hive_style,
            url_encode,
        }
    }

    /// The generator of a table. Spark keeps the settings of a CUSTOM generator's times in no table: they may come with a
    /// writer's `properties`.
    ///
    /// # Errors
    /// `Unsupported` for a key generator that is code of the user's; `Invalid` for settings that make no sense.
    pub fn for_table(config: &TableConfig, properties: &BTreeMap<String, String>) -> Result<Self> {
        let fields = config.partition_fields();
        let mut generator = Self::new(&fields, config.is_hive_style(), config.is_url_encoded());
        match config.key_generator() {
            KeyGeneratorType::Simple
            | KeyGeneratorType::Complex
            | KeyGeneratorType::NonPartition => {}
            KeyGeneratorType::Timestamp => {
                let [_] = fields.as_slice() else {
                    return Err(Error::invalid(format!(
                        "table {}: the TIMESTAMP key generator takes one partition field, not {}",
                        config.name(),
                        fields.len()
                    )));
                };
                generator.kinds =
                    vec![FieldKind::Time(TimePartition::try_new(config, properties)?)];
            }
            KeyGeneratorType::Custom => {
                let kinds = config.partition_field_types().into_iter().zip(&fields);
                let kinds = kinds
                    .map(|(kind, field)| custom_kind(config, properties, field, kind.as_deref()));
                generator.kinds = kinds.collect::<Result<Vec<_>>>()?;
            }
            other => {
                return Err(Error::unsupported(format!(
                    "table {}: its key generator is {other}, none of SIMPLE, COMPLEX, NON_PARTITION, TIMESTAMP, CUSTOM",
                    config.name()
                )));
            }
        }
        if config.has_slashed_dates() {
            let ([FieldKind::Simple], false) = (generator.kinds.as_slice(), generator.hive_style)
            else {
                return Err(Error::invalid(format!(
                    "table {}: {} goes with one simple partition field, and not with Hive-style folders",
                    config.name(),
                    key::SLASHED_DATES
                )));
            };
            generator.kinds = vec![FieldKind::SlashedDate];
        }
        Ok(generator)
    }

    /// Whether the table has partitions.
    pub fn is_partitioned(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The partition columns.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The partition paths of all rows.
    ///
    /// # Errors
    /// `Invalid` when a partition column is missing or a value would leave its folder; `Unsupported` for a type that
    /// cannot be a partition.
    pub fn paths(&self, batch: &RecordBatch) -> Result<StringArray> {
        let columns = self.fields.iter().zip(&self.kinds).map(|(name, kind)| {
            let column = batch.column_by_name(name).ok_or_else(|| {
                Error::invalid(format!("partition column `{name}` is not in the batch"))
            })?;
            Ok(match kind {
                FieldKind::Simple => FieldColumn::Text(CellText::try_new(name, column)?),
                FieldKind::SlashedDate => {
                    FieldColumn::SlashedDate(CellText::try_new(name, column)?)
                }
                FieldKind::Time(time) => FieldColumn::Time(time.of(name, column)?),
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let mut paths = TextColumn::with_capacity(batch.num_rows(), 16 * columns.len());
        let mut value = String::new();
        for row in 0..batch.num_rows() {
            for (level, (field, column)) in self.fields.iter().zip(&columns).enumerate() {
                value.clear();
                column.append(row, &mut value)?;
                if level > 0 {
                    paths.text.push('/');
                }
                self.append_segment(field, &value, &mut paths.text)?;
            }
            paths.end_row()?;
        }
        paths.finish()
    }

    /// The rows of `batch` by partition path, in the order of their first appearance.
    ///
    /// # Errors
    /// As [`PartitionPathGenerator::paths`].
    pub fn group(&self, batch: &RecordBatch) -> Result<Vec<(String, Vec<u32>)>> {
        let rows = u32::try_from(batch.num_rows()).map_err(|_| {
            Error::invalid("a batch holds at most 2^32 rows; write smaller batches")
        })?;
        if !self.is_partitioned() {
            return Ok(vec![(String::new(), (0..rows).collect())]);
        }
        let paths = self.paths(batch)?;
        let mut groups: Vec<(String, Vec<u32>)> = Vec::new();
        let mut by_path: HashMap<&str, usize> = HashMap::new();
        for (row, path) in (0..rows).zip(paths.iter().flatten()) {
            let group = *by_path.entry(path).or_insert_with(|| {
                groups.push((path.to_owned(), Vec::new()));
                groups.len() - 1
            });
            groups[group].1.push(row);
        }
        Ok(groups)
    }

    fn append_segment(&self, field: &str, value: &str, out: &mut String) -> Result<()> {
        let value = if value.is_empty() {
            DEFAULT_PARTITION
        } else {
            value
        };
        if value.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(Error::invalid(format!(
                "value `{value}` of partition column `{field}` would leave its folder; \
                 set hoodie.datasource.write.partitionpath.urlencode=true or choose another column"
            )));
        }
        if self.hive_style {
            out.push_str(field);
            out.push('=');
        }
        if self.url_encode {
            append_escaped(value, out)
        } else {
            out.push_str(value)
        }
        Ok(())
    }
}

impl FieldColumn<'_> {
    /// Appends the value of a row; nothing for null, which a time never is.
    fn append(&self, row: usize, out: &mut String) -> Result<()> {
        match self {
            Self::Text(text) | Self::SlashedDate(text) => {
                if !text.is_null(row) {
                    text.append(row, out);
                }
                if matches!(self, Self::SlashedDate(_)) && is_iso_date(out) {
                    *out = out.replace('-', "/");
                }
                Ok(())
            }
            Self::Time(time) => time.append(row, out),
        }
    }
}

/// Java: CustomAvroKeyGenerator.PartitionKeyType.
fn custom_kind(
    config: &TableConfig,
    properties: &BTreeMap<String, String>,
    field: &str,
    kind: Option<&str>,
) -> Result<FieldKind> {
    match kind.map(str::to_ascii_lowercase).as_deref() {
        Some("simple") => Ok(FieldKind::Simple),
        Some("timestamp") => Ok(FieldKind::Time(TimePartition::try_new(config, properties)?)),
        _ => Err(Error::invalid(format!(
            "table {}: partition field `{field}` of the CUSTOM key generator needs its type: `{field}:simple` or `{field}:timestamp`",
            config.name()
        ))),
    }
}

/// Whether a text is `yyyy-MM-dd`.
fn is_iso_date(text: &str) -> bool {
    let shape = text
        .bytes()
        .map(|byte| if byte.is_ascii_digit() { b'd' } else { byte });
    shape.eq(*b"dddd-dd-dd")
}

/// Java: PartitionPathEncodeUtils#escapePathName.
fn append_escaped(value: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for symbol in value.chars() {
        let is_escaped = symbol <= '\u{1f}'
            || matches!(
                symbol,
                '\u{7f}'
                    | '"'
                    | '#'
                    | '%'
                    | '\''
                    | '*'
                    | '/'
                    | ':'
                    | '='
                    | '?'
                    | '\\'
                    | '{'
                    | '['
                    | ']'
                    | '^'
            );
        if is_escaped {
            let code = symbol as usize;
            out.push('%');
            out.push(char::from(DIGITS[code >> 4]));
            out.push(char::from(DIGITS[code & 15]));
        } else {
            out.push(symbol);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array};

    use super::*;

    fn batch() -> RecordBatch {
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            (
                "p",
                Arc::new(StringArray::from(vec![
                    Some("a b/r?%é"),
                    None,
                    Some(""),
                    Some("x"),
                ])),
                true,
            ),
            (
                "d",
                Arc::new(Date32Array::from(vec![19_782, 0, 0, 0])),
                true,
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn paths(fields: &[&str], hive_style: bool, url_encode: bool) -> Vec<String> {
        let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        let generator = PartitionPathGenerator::new(&fields, hive_style, url_encode);
        generator
            .paths(&batch())
            .unwrap()
            .iter()
            .map(|path| path.unwrap().to_owned())
            .collect()
    }

    #[test]
    fn values_become_folders() {
        let default = "__HIVE_DEFAULT_PARTITION__";
        assert_eq!(
            paths(&["p"], false, false),
            ["a b/r?%é", default, default, "x"]
        );
        assert_eq!(paths(&["p"], false, true)[0], "a b%2Fr%3F%25é");
        assert_eq!(
            paths(&["d", "p"], true, true)[0],
            "d=2024-02-29/p=a b%2Fr%3F%25é"
        );
        assert_eq!(paths(&["p"], true, false)[1], format!("p={default}"));
    }

    #[test]
    fn rows_are_grouped_by_path() {
        let generator = PartitionPathGenerator::new(&["d".to_owned()], false, false);
        let groups = generator.group(&batch()).unwrap();
        assert_eq!(groups[0], ("2024-02-29".to_owned(), vec![0]));
        assert_eq!(groups[1], ("1970-01-01".to_owned(), vec![1, 2, 3]));
        let whole = PartitionPathGenerator::new(&[], true, false)
            .group(&batch())
            .unwrap();
        assert_eq!(whole, [(String::new(), vec![0, 1, 2, 3])]);
    }

    #[test]
    fn a_value_cannot_leave_its_folder() {
        let batch = RecordBatch::try_from_iter([(
            "p",
            Arc::new(StringArray::from(vec!["../other"])) as ArrayRef,
        )])
        .unwrap();
        assert!(
            PartitionPathGenerator::new(&["p".to_owned()], false, false)
                .paths(&batch)
                .is_err()
        );
    }

    fn table(properties: &str) -> Result<PartitionPathGenerator> {
        let text = format!(
            "hoodie.table.name=t\nhoodie.table.version=9\nhoodie.timeline.layout.version=2\n{properties}"
        );
        let config = TableConfig::parse(text.as_bytes()).unwrap();
        PartitionPathGenerator::for_table(&config, &BTreeMap::new())
    }

    fn first_path(generator: &PartitionPathGenerator) -> String {
        generator.paths(&batch()).unwrap().value(0).to_owned()
    }

    #[test]
    fn custom_fields_are_formatted_each_in_its_way() {
        let custom = table(
            "hoodie.table.keygenerator.type=CUSTOM\n\
             hoodie.table.partition.fields=d\\:timestamp,p\\:SIMPLE\n\
             hoodie.datasource.write.hive_style_partitioning=true\n\
             hoodie.datasource.write.partitionpath.urlencode=true\n\
             hoodie.keygen.timebased.timestamp.type=SCALAR\n\
             hoodie.keygen.timebased.timestamp.scalar.time.unit=days\n\
             hoodie.keygen.timebased.output.dateformat=yyyy-MM\n",
        );
        assert_eq!(first_path(&custom.unwrap()), "d=2024-02/p=a b%2Fr%3F%25é");
        for wrong in [
            "hoodie.table.keygenerator.type=CUSTOM\nhoodie.table.partition.fields=p\n",
            "hoodie.table.keygenerator.type=TIMESTAMP\nhoodie.table.partition.fields=p,d\n",
            "hoodie.table.keygenerator.type=USER_PROVIDED\nhoodie.table.partition.fields=p\n",
        ] {
            assert!(table(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn dates_may_become_three_folders() {
        let slashed = "hoodie.datasource.write.slash.separated.date.partitioning=true\n";
        let dates = table(&format!("hoodie.table.partition.fields=d\n{slashed}"));
        assert_eq!(first_path(&dates.unwrap()), "2024/02/29");
        let hive = "hoodie.datasource.write.hive_style_partitioning=true\n";
        let both = format!("hoodie.table.partition.fields=d\n{slashed}{hive}");
        assert!(table(&both).is_err());
    }
}
