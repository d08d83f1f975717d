//! The properties of a table that is about to be created (instants in UTC).
//!
//! Spec: what Hudi 1.2.0 writes for a new table of version 9, 1.0 for one of version 8, and 0.14 for one of version 6.

use std::collections::BTreeMap;

use crate::codec::properties::{Properties, table_checksum};
use crate::config::key;
use crate::config::kind::{KeyGeneratorType, MergeMode, TableType, TableVersion, TimelineZone};
use crate::config::table::{COMMIT_TIME_STRATEGY, EVENT_TIME_STRATEGY, TableConfig};
use crate::error::{Error, Result};

/// With it a partition column holds times.
const TIMESTAMP_TYPE: &str = "hoodie.keygen.timebased.timestamp.type";

/// What a new table's properties depend on.
#[derive(Debug, Clone)]
pub struct NewTable<'a> {
    /// Version of the format.
    pub version: TableVersion,
    /// Name of the table.
    pub name: &'a str,
    /// Its database.
    pub database: Option<&'a str>,
    /// Copy-on-write or merge-on-read.
    pub table_type: TableType,
    /// Fields of the record key.
    pub record_key: &'a [String],
    /// Columns that partition it; for the CUSTOM key generator each as `column:type`.
    pub partition_by: &'a [String],
    /// Fields that decide between records of a key.
    pub ordering: &'a [String],
    /// Which record counts; by default event time when there are ordering fields.
    pub merge_mode: Option<MergeMode>,
    /// Avro schema without meta columns.
    pub create_schema: &'a str,
    /// `hoodie.*` table properties of the user, which win over the defaults.
    pub properties: &'a BTreeMap<String, String>,
}

impl NewTable<'_> {
    /// The configuration of the new table.
    ///
    /// # Errors
    /// `Invalid` when names or keys are missing, or the merge mode needs ordering fields or code of the user's.
    pub fn config(&self) -> Result<TableConfig> {
        self.check()?;
        let mut properties = Properties::default();
        let version = self.version.to_string();
        properties.set(key::TABLE_NAME, self.name);
        if let Some(database) = self.database {
            properties.set(key::DATABASE_NAME, database);
        }
        properties.set(key::TABLE_TYPE, self.table_type.as_str());
        properties.set(key::TABLE_VERSION, version.clone());
        properties.set(
            key::TIMELINE_LAYOUT,
            self.version.timeline_layout().to_string(),
        );
        if self.version > TableVersion::Six {
            properties.set(key::INITIAL_VERSION, version);
            properties.set(key::TIMELINE_PATH, "timeline");
            properties.set(key::HISTORY_PATH, "history");
        }
        properties.set(key::ARCHIVE_FOLDER, "archived");
        properties.set(key::TIMELINE_ZONE, TimelineZone::Utc.as_str());
        properties.set(key::RECORD_KEY_FIELDS, self.record_key.join(","));
        if !self.partition_by.is_empty() {
            properties.set(key::PARTITION_FIELDS, self.partition_by.join(","));
        }
        self.set_merging(&mut properties);
        set_key_generator(&mut properties, self.version, self.key_generator().as_str());
        properties.set(key::HIVE_STYLE, "true");
        properties.set(key::URL_ENCODE, "false");
        properties.set(key::DROP_PARTITION_COLUMNS, "false");
        properties.set(key::CREATE_SCHEMA, self.create_schema);
        for (name, value) in self.properties {
            if name == key::KEY_GENERATOR_TYPE {
                set_key_generator(&mut properties, self.version, value);
            } else {
                properties.set(name.clone(), value.clone());
            }
        }
        let checksum = table_checksum(self.database, self.name);
        properties.set(key::CHECKSUM, checksum.to_string());
        TableConfig::try_new(properties)
    }

    fn set_merging(&self, properties: &mut Properties) {
        if !self.ordering.is_empty() {
            let name = match self.version {
                TableVersion::Six | TableVersion::Eight => key::PRECOMBINE_FIELD,
                TableVersion::Nine => key::ORDERING_FIELDS,
            };
            properties.set(name, self.ordering.join(","));
        }
        if self.version == TableVersion::Nine {
            properties.set(key::TABLE_FORMAT, "native");
        }
        set_merging(properties, self.version, self.mode());
    }

    fn mode(&self) -> MergeMode {
        let default = if self.ordering.is_empty() {
            MergeMode::CommitTime
        } else {
            MergeMode::EventTime
        };
        self.merge_mode.unwrap_or(default)
    }

    /// Complex with one key field is a trap: releases differ on whether the key is `field:value` or the bare value.
    fn key_generator(&self) -> KeyGeneratorType {
        let has_types = self.partition_by.iter().any(|field| field.contains(':'));
        if has_types {
            return KeyGeneratorType::Custom;
        }
        let formats_times = self.properties.contains_key(TIMESTAMP_TYPE);
        match (self.record_key.len(), self.partition_by.len()) {
            (_, 0) => KeyGeneratorType::NonPartition,
            (_, 1) if formats_times => KeyGeneratorType::Timestamp,
            (1, 1) => KeyGeneratorType::Simple,
            _ => KeyGeneratorType::Complex,
        }
    }

    fn check(&self) -> Result<()> {
        if self.name.trim().is_empty() {
            return Err(Error::invalid("a table needs a name"));
        }
        if self.version < TableVersion::Nine && self.ordering.len() > 1 {
            return Err(Error::invalid(format!(
                "table `{}`: version {} knows one ordering field; choose version 9 for several",
                self.name, self.version
            )));
        }
        if self.version == TableVersion::Six && self.key_generator() == KeyGeneratorType::Custom {
            return Err(Error::unsupported(format!(
                "table `{}`: version 6 does not keep the types of partition fields; choose version 8 or 9",
                self.name
            )));
        }
        if self.record_key.is_empty() {
            return Err(Error::invalid(format!(
                "table `{}` needs record key fields",
                self.name
            )));
        }
        match self.mode() {
            MergeMode::EventTime if self.ordering.is_empty() => Err(Error::invalid(format!(
                "table `{}`: merge mode {} needs ordering fields",
                self.name,
                MergeMode::EventTime
            ))),
            MergeMode::Custom => Err(Error::invalid(format!(
                "table `{}`: merge mode {} runs code of the user's in the JVM; choose {} or {}",
                self.name,
                MergeMode::Custom,
                MergeMode::EventTime,
                MergeMode::CommitTime
            ))),
            MergeMode::EventTime | MergeMode::CommitTime => Ok(()),
        }
    }
}

/// Names the key generator as writers of the version do: by its class on version 6, by its type since.
pub(super) fn set_key_generator(properties: &mut Properties, version: TableVersion, name: &str) {
    let generator = KeyGeneratorType::from_name(name);
    match generator.class_name() {
        Some(class) if version == TableVersion::Six => {
            properties.remove(key::KEY_GENERATOR_TYPE);
            properties.set(key::KEY_GENERATOR_CLASS, class);
        }
        Some(_) => {
            properties.remove(key::KEY_GENERATOR_CLASS);
            properties.set(key::KEY_GENERATOR_TYPE, generator.as_str());
        }
        None => properties.set(key::KEY_GENERATOR_TYPE, name),
    }
}

/// Says which record counts, in the way of the version: by the payload class on version 6, by mode, strategy and payload
/// class on version 8, which have to agree, and by the mode alone on version 9.
pub(super) fn set_merging(properties: &mut Properties, version: TableVersion, mode: MergeMode) {
    let (strategy, payload) = if mode == MergeMode::EventTime {
        (EVENT_TIME_STRATEGY, "DefaultHoodieRecordPayload")
    } else {
        (COMMIT_TIME_STRATEGY, "OverwriteWithLatestAvroPayload")
    };
    let payload = format!("org.apache.hudi.common.model.{payload}");
    match version {
        TableVersion::Six => {
            // Hudi 0.14 names this strategy whatever the payload class is; the class decides.
            properties.set(key::MERGER_STRATEGY, EVENT_TIME_STRATEGY);
            properties.set(key::PAYLOAD_CLASS, payload);
        }
        TableVersion::Eight => {
            properties.set(key::MERGE_MODE, mode.as_str());
            properties.set(key::MERGE_STRATEGY_ID, strategy);
            properties.set(key::PAYLOAD_CLASS, payload);
        }
        TableVersion::Nine => properties.set(key::MERGE_MODE, mode.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazard_3_new_tables_name_their_partition_fields_and_open_again() {
        let key = ["id".to_owned()];
        let table = NewTable {
            version: TableVersion::Nine,
            name: "trips",
            database: Some("default"),
            table_type: TableType::MergeOnRead,
            record_key: &key,
            partition_by: &["city".to_owned()],
            ordering: &["ts".to_owned()],
            merge_mode: None,
            create_schema: "{\"type\":\"record\"}",
            properties: &BTreeMap::new(),
        };
        let config = table.config().unwrap();
        assert_eq!(config.properties().get(key::CHECKSUM), Some("2200697520"));
        assert_eq!(config.merge_mode(), MergeMode::EventTime);
        assert_eq!(config.partition_fields(), ["city"]);
        let bytes = config.properties().encode(&[]);
        assert_eq!(TableConfig::parse(&bytes).unwrap(), config);
        let unordered = NewTable {
            ordering: &[],
            merge_mode: Some(MergeMode::EventTime),
            ..table
        };
        assert!(unordered.config().is_err());
    }

    #[test]
    fn version_8_names_strategy_and_payload_class() {
        let (key, ordering) = (["id".to_owned()], ["ts".to_owned()]);
        let table = NewTable {
            version: TableVersion::Eight,
            name: "trips",
            database: None,
            table_type: TableType::CopyOnWrite,
            record_key: &key,
            partition_by: &[],
            ordering: &ordering,
            merge_mode: None,
            create_schema: "{}",
            properties: &BTreeMap::new(),
        };
        let config = table.config().unwrap();
        let properties = config.properties();
        assert_eq!(properties.get(key::INITIAL_VERSION), Some("8"));
        assert_eq!(properties.get(key::PRECOMBINE_FIELD), Some("ts"));
        assert_eq!(
            properties.get(key::MERGE_STRATEGY_ID),
            Some(EVENT_TIME_STRATEGY)
        );
        let payload = "org.apache.hudi.common.model.DefaultHoodieRecordPayload";
        assert_eq!(properties.get(key::PAYLOAD_CLASS), Some(payload));
        assert_eq!(properties.get(key::TABLE_FORMAT), None);
        let six = NewTable {
            version: TableVersion::Six,
            ..table
        };
        let config = six.config().unwrap();
        assert_eq!(config.merge_mode(), MergeMode::EventTime);
        assert_eq!(config.key_generator(), KeyGeneratorType::NonPartition);
        let properties = config.properties();
        for absent in [
            key::INITIAL_VERSION,
            key::MERGE_MODE,
            key::TIMELINE_PATH,
            key::KEY_GENERATOR_TYPE,
        ] {
            assert_eq!(properties.get(absent), None, "{absent}");
        }
        assert_eq!(properties.get(key::TIMELINE_LAYOUT), Some("1"));
    }
}
