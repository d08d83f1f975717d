//! What Hudi's write options say of a table that is being created.
//!
//! Java: HoodieSparkSqlWriter, HoodieTableMetaClient.TableBuilder#fromProperties. Jobs for Spark name keys, partitions and
//! generator with `hoodie.datasource.write.*`; the table keeps them under names of its own.

use std::collections::BTreeMap;

use crate::config::{KeyGeneratorType, MergeMode, TableVersion, kept_settings, key};
use crate::error::Result;
use crate::table::TableSpec;

const RECORD_KEY: &str = "hoodie.datasource.write.recordkey.field";
const PARTITION_PATH: &str = "hoodie.datasource.write.partitionpath.field";
const PRECOMBINE: [&str; 2] = [
    "hoodie.datasource.write.precombine.field",
    "hoodie.write.precombine.field",
];
const MERGE_MODE: &str = "hoodie.write.record.merge.mode";
const WRITE_TABLE_VERSION: &str = "hoodie.write.table.version";
const GENERATOR: [&str; 2] = [
    "hoodie.datasource.write.keygenerator.type",
    "hoodie.datasource.write.keygenerator.class",
];
const KEYGEN_PREFIX: &str = "hoodie.keygen.timebased.";
const OLD_KEYGEN_PREFIX: &str = "hoodie.deltastreamer.keygen.timebased.";
/// Writers give these; readers look for them under a prefix.
const DELETE_MARK_PREFIX: &str = "hoodie.payload.delete.";

/// User properties with one of these beginnings are kept in the table; others steer only the writer they are given to.
const KEPT: [&str; 10] = [
    "hoodie.table.",
    "hoodie.record.",
    "hoodie.timeline.",
    "hoodie.archivelog.",
    KEYGEN_PREFIX,
    key::HIVE_STYLE,
    key::URL_ENCODE,
    key::SLASHED_DATES,
    key::DROP_PARTITION_COLUMNS,
    key::POPULATE_META_FIELDS,
];

impl TableSpec {
    /// The version that the table is to have.
    ///
    /// # Errors
    /// `Unsupported` for a number that is none.
    pub(super) fn version(&self) -> Result<TableVersion> {
        self.properties
            .get(WRITE_TABLE_VERSION)
            .or_else(|| self.properties.get(key::TABLE_VERSION))
            .map_or(Ok(TableVersion::Nine), |version| version.parse())
    }

    /// Takes keys, partitions and merge mode from write options where the spec itself is silent.
    ///
    /// # Errors
    /// `Unsupported` for a merge mode that is none.
    pub(super) fn with_write_options(mut self) -> Result<Self> {
        let fields = |names: &[&str]| {
            let value = names.iter().find_map(|name| self.properties.get(*name));
            let fields = value.into_iter().flat_map(|value| value.split(','));
            fields
                .map(|field| field.trim().to_owned())
                .filter(|field| !field.is_empty())
                .collect::<Vec<_>>()
        };
        let record_key = fields(&[RECORD_KEY, key::RECORD_KEY_FIELDS]);
        let partition_by = fields(&[PARTITION_PATH, key::PARTITION_FIELDS]);
        let ordering = fields(&[
            key::ORDERING_FIELDS,
            key::PRECOMBINE_FIELD,
            PRECOMBINE[0],
            PRECOMBINE[1],
        ]);
        for (own, given) in [
            (&mut self.record_key, record_key),
            (&mut self.partition_by, partition_by),
            (&mut self.ordering, ordering),
        ] {
            if own.is_empty() {
                *own = given;
            }
        }
        let mode = [MERGE_MODE, key::MERGE_MODE];
        if let Some(mode) = mode.iter().find_map(|name| self.properties.get(*name)) {
            self.merge_mode = Some(mode.parse::<MergeMode>()?);
        }
        Ok(self)
    }

    /// The properties that the table keeps, under the names that readers know.
    pub(super) fn table_properties(&self) -> BTreeMap<String, String> {
        let mut kept = BTreeMap::new();
        for (name, value) in &self.properties {
            let is_from_spec = [
                key::TABLE_NAME,
                key::DATABASE_NAME,
                key::TABLE_VERSION,
                key::RECORD_KEY_FIELDS,
                key::PARTITION_FIELDS,
                key::ORDERING_FIELDS,
                key::PRECOMBINE_FIELD,
                key::MERGE_MODE,
            ];
            if is_from_spec.contains(&name.as_str()) {
                continue;
            }
            if KEPT.iter().any(|beginning| name.starts_with(beginning)) {
                kept.insert(name.clone(), value.clone());
            } else if let Some(setting) = name.strip_prefix(OLD_KEYGEN_PREFIX) {
                kept.insert(format!("{KEYGEN_PREFIX}{setting}"), value.clone());
            } else if name.starts_with(DELETE_MARK_PREFIX) {
                let name = format!("{}{name}", key::MERGE_PROPERTY_PREFIX);
                kept.insert(name, value.clone());
            }
        }
        let index = kept_settings(&self.properties);
        if !index.is_empty() {
            // Hudi's procedures fail on a table that names a bucket index and not this.
            kept.insert(RECORD_KEY.to_owned(), self.record_key.join(","));
        }
        kept.extend(index);
        let generator = GENERATOR.iter().find_map(|name| self.properties.get(*name));
        if let Some(generator) = generator {
            let generator = KeyGeneratorType::from_name(generator);
            kept.entry(key::KEY_GENERATOR_TYPE.to_owned())
                .or_insert_with(|| generator.to_string());
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::*;
    use crate::config::TableType;

    fn spec(properties: &[(&str, &str)]) -> TableSpec {
        TableSpec {
            name: "t".to_owned(),
            database: String::new(),
            table_type: TableType::CopyOnWrite,
            schema: Arc::new(Schema::empty()),
            record_key: Vec::new(),
            partition_by: Vec::new(),
            ordering: Vec::new(),
            merge_mode: None,
            properties: properties
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn options_of_spark_jobs_are_honoured() {
        let spec = spec(&[
            ("hoodie.datasource.write.recordkey.field", "a, b"),
            (
                "hoodie.datasource.write.partitionpath.field",
                "p:simple,ts:timestamp",
            ),
            ("hoodie.datasource.write.precombine.field", "ts"),
            (
                "hoodie.datasource.write.keygenerator.class",
                "org.apache.hudi.keygen.CustomKeyGenerator",
            ),
            (
                "hoodie.deltastreamer.keygen.timebased.output.dateformat",
                "yyyy",
            ),
            ("hoodie.payload.delete.field", "op"),
            ("hoodie.write.table.version", "8"),
            ("hoodie.write.record.merge.mode", "COMMIT_TIME_ORDERING"),
            ("hoodie.parquet.max.file.size", "1"),
            ("hoodie.index.type", "BUCKET"),
            ("hoodie.bucket.index.num.buckets", "8"),
        ])
        .with_write_options()
        .unwrap();
        assert_eq!(spec.record_key, ["a", "b"]);
        assert_eq!(spec.partition_by, ["p:simple", "ts:timestamp"]);
        assert_eq!(spec.ordering, ["ts"]);
        assert_eq!(spec.merge_mode, Some(MergeMode::CommitTime));
        assert_eq!(spec.version().unwrap(), TableVersion::Eight);
        let expected = [
            ("hoodie.bucket.index.num.buckets", "8"),
            ("hoodie.datasource.write.recordkey.field", "a,b"),
            ("hoodie.index.type", "BUCKET"),
            ("hoodie.keygen.timebased.output.dateformat", "yyyy"),
            (
                "hoodie.record.merge.property.hoodie.payload.delete.field",
                "op",
            ),
            ("hoodie.table.keygenerator.type", "CUSTOM"),
        ];
        let kept = spec.table_properties();
        let kept: Vec<(&str, &str)> = kept.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(kept, expected);
    }
}
