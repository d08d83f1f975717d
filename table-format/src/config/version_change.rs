//! The properties of a table in another version of the format.
//!
//! Java: SevenToEightUpgradeHandler, EightToNineUpgradeHandler, NineToEightDowngradeHandler, EightToSevenDowngradeHandler
//! (version 7 is 6 under another number). What Hudi leaves to its defaults is written out.

use crate::codec::properties::Properties;
use crate::config::key;
use crate::config::kind::{KeyGeneratorType, MergeMode, TableType, TableVersion};
use crate::config::new_table::{set_key_generator, set_merging};
use crate::config::table::TableConfig;
use crate::error::{Error, Result};

/// Payload classes that the merge modes of version 8 stand for.
const BUILT_IN_PAYLOADS: [&str; 3] = [
    "org.apache.hudi.common.model.DefaultHoodieRecordPayload",
    "org.apache.hudi.common.model.EventTimeAvroPayload",
    "org.apache.hudi.common.model.OverwriteWithLatestAvroPayload",
];

impl TableConfig {
    /// The same table in version `target`, one version after the other.
    ///
    /// # Errors
    /// `Unsupported` for tables that the other version cannot express, or not surely.
    pub fn with_version(&self, target: TableVersion) -> Result<Self> {
        if self.merge_mode() == MergeMode::Custom {
            return Err(
                self.refused("only its own merger knows how it merges; change it with Hudi")
            );
        }
        let mut config = self.clone();
        while config.version() != target {
            config = match (config.version(), config.version() < target) {
                (TableVersion::Six, _) => config.six_to_eight()?,
                (TableVersion::Eight, true) => config.eight_to_nine()?,
                (TableVersion::Eight, false) => config.eight_to_six()?,
                (TableVersion::Nine, _) => config.nine_to_eight()?,
            };
        }
        Ok(config)
    }

    /// A table of the same name whose folders are those of another version, for looking into them.
    ///
    /// # Errors
    /// `Corrupt` when the properties are none of a table.
    pub(crate) fn placed_as(&self, version: TableVersion) -> Result<Self> {
        Self::try_new(self.of_version(version))
    }

    fn six_to_eight(&self) -> Result<Self> {
        let mut properties = self.of_version(TableVersion::Eight);
        if properties.get_non_blank(key::INITIAL_VERSION).is_none() {
            properties.set(key::INITIAL_VERSION, TableVersion::Six.to_string());
        }
        properties.set(key::TIMELINE_PATH, "timeline");
        properties.set(key::HISTORY_PATH, "history");
        rename(&mut properties, key::ORDERING_FIELDS, key::PRECOMBINE_FIELD);
        // Hudi takes the ordering field of a merge-on-read table for the will to go by it, whatever the payload class is.
        let has_ordering = properties.get_non_blank(key::PRECOMBINE_FIELD).is_some();
        let mode = match (self.merge_mode(), self.table_type()) {
            (MergeMode::CommitTime, TableType::MergeOnRead) if has_ordering => MergeMode::EventTime,
            (mode, _) => mode,
        };
        properties.remove(key::MERGER_STRATEGY);
        set_merging(&mut properties, TableVersion::Eight, mode);
        let generator = self.key_generator();
        set_key_generator(&mut properties, TableVersion::Eight, generator.as_str());
        Self::try_new(properties)
    }

    fn eight_to_nine(&self) -> Result<Self> {
        self.refuse_doubtful_keys()?;
        let mut properties = self.of_version(TableVersion::Nine);
        properties.set(key::TABLE_FORMAT, "native");
        rename(&mut properties, key::PRECOMBINE_FIELD, key::ORDERING_FIELDS);
        properties.remove(key::MERGE_STRATEGY_ID);
        if let Some(payload) = properties.remove(key::PAYLOAD_CLASS) {
            properties.set(key::LEGACY_PAYLOAD_CLASS, payload);
        }
        set_merging(&mut properties, TableVersion::Nine, self.merge_mode());
        Self::try_new(properties)
    }

    fn nine_to_eight(&self) -> Result<Self> {
        self.refuse_doubtful_keys()?;
        if self.ordering_fields().len() > 1 {
            return Err(self.refused("it has several ordering fields, and version 8 knows one"));
        }
        let mut properties = self.of_version(TableVersion::Eight);
        properties.remove(key::TABLE_FORMAT);
        properties.remove(key::PARTIAL_UPDATE_MODE);
        rename(&mut properties, key::ORDERING_FIELDS, key::PRECOMBINE_FIELD);
        set_merging(&mut properties, TableVersion::Eight, self.merge_mode());
        if let Some(payload) = properties.remove(key::LEGACY_PAYLOAD_CLASS) {
            if !BUILT_IN_PAYLOADS.contains(&payload.as_str()) {
                let what = format!("only Hudi knows how {payload} merges; downgrade it with Hudi");
                return Err(self.refused(&what));
            }
            let is_event_time = self.merge_mode() == MergeMode::EventTime;
            if is_event_time != payload.ends_with("OverwriteWithLatestAvroPayload") {
                properties.set(key::PAYLOAD_CLASS, payload);
            }
        }
        Self::try_new(properties)
    }

    fn eight_to_six(&self) -> Result<Self> {
        let mut properties = self.of_version(TableVersion::Six);
        for absent in [
            key::INITIAL_VERSION,
            key::MERGE_MODE,
            key::MERGE_STRATEGY_ID,
            key::TIMELINE_PATH,
            key::HISTORY_PATH,
        ] {
            properties.remove(absent);
        }
        set_merging(&mut properties, TableVersion::Six, self.merge_mode());
        let generator = self.key_generator();
        set_key_generator(&mut properties, TableVersion::Six, generator.as_str());
        // Version 6 leaves the types of a CUSTOM generator to its writers.
        let fields = self.partition_fields();
        if !fields.is_empty() {
            properties.set(key::PARTITION_FIELDS, fields.join(","));
        }
        Self::try_new(properties)
    }

    fn of_version(&self, version: TableVersion) -> Properties {
        let mut properties = self.properties().clone();
        properties.set(key::TABLE_VERSION, version.to_string());
        let layout = version.timeline_layout().to_string();
        properties.set(key::TIMELINE_LAYOUT, layout);
        properties
    }

    /// Up to version 8 releases differ in how a COMPLEX generator writes a single field (hazard 23); Hudi refuses, too.
    fn refuse_doubtful_keys(&self) -> Result<()> {
        let is_complex = self.key_generator() == KeyGeneratorType::Complex;
        if is_complex && self.record_key_fields().len() == 1 {
            return Err(self.refused(
                "its COMPLEX key generator has one key field, whose keys releases write differently",
            ));
        }
        Ok(())
    }

    fn refused(&self, what: &str) -> Error {
        Error::unsupported(format!("table {}: {what}", self.name()))
    }
}

/// Moves a value to the name that another version knows it by.
fn rename(properties: &mut Properties, from: &str, to: &str) {
    if let Some(value) = properties.remove(from)
        && properties.get_non_blank(to).is_none()
    {
        properties.set(to, value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::NewTable;

    fn table(
        version: TableVersion,
        table_type: TableType,
        ordering: &[&str],
        merge_mode: Option<MergeMode>,
    ) -> TableConfig {
        let ordering: Vec<String> = ordering.iter().map(|field| (*field).to_owned()).collect();
        NewTable {
            version,
            name: "t",
            database: Some("d"),
            table_type,
            record_key: &["id".to_owned()],
            partition_by: &["p".to_owned()],
            ordering: &ordering,
            merge_mode,
            create_schema: "{}",
            properties: &BTreeMap::new(),
        }
        .config()
        .unwrap()
    }

    #[test]
    fn there_and_back_a_table_is_what_a_new_one_is() {
        let versions = [TableVersion::Six, TableVersion::Eight, TableVersion::Nine];
        for table_type in [TableType::CopyOnWrite, TableType::MergeOnRead] {
            for ordering in [&[][..], &["ts"]] {
                for (from, to) in versions
                    .iter()
                    .flat_map(|from| versions.map(|to| (*from, to)))
                {
                    let old = table(from, table_type, ordering, None);
                    let changed = old.with_version(to).unwrap();
                    let new = table(to, table_type, ordering, None);
                    assert_eq!(changed.version(), to);
                    assert_eq!(changed.merge_mode(), new.merge_mode(), "{from} {to}");
                    assert_eq!(changed.key_generator(), new.key_generator());
                    assert_eq!(changed.ordering_fields(), new.ordering_fields());
                    assert_eq!(changed.timeline_dir(), new.timeline_dir());
                    assert_eq!(changed.archive_dir(), new.archive_dir());
                    let left_out = [key::INITIAL_VERSION, key::LEGACY_PAYLOAD_CLASS];
                    for (name, value) in new.properties().iter() {
                        if !left_out.contains(&name) {
                            assert_eq!(changed.properties().get(name), Some(value), "{name}");
                        }
                    }
                }
            }
        }
        let upgraded = table(TableVersion::Six, TableType::CopyOnWrite, &[], None);
        let upgraded = upgraded.with_version(TableVersion::Nine).unwrap();
        let initial = upgraded.properties().get(key::INITIAL_VERSION);
        assert_eq!(initial, Some("6"));
    }

    #[test]
    fn an_ordering_field_of_merge_on_read_counts_after_the_upgrade_as_with_hudi() {
        let commit_time = Some(MergeMode::CommitTime);
        for (table_type, expected) in [
            (TableType::CopyOnWrite, MergeMode::CommitTime),
            (TableType::MergeOnRead, MergeMode::EventTime),
        ] {
            let old = table(TableVersion::Six, table_type, &["ts"], commit_time);
            assert_eq!(old.merge_mode(), MergeMode::CommitTime);
            let upgraded = old.with_version(TableVersion::Nine).unwrap();
            assert_eq!(upgraded.merge_mode(), expected);
        }
    }

    #[test]
    fn what_another_version_cannot_say_is_refused() {
        let two = table(
            TableVersion::Nine,
            TableType::CopyOnWrite,
            &["a", "b"],
            None,
        );
        let error = two.with_version(TableVersion::Six).unwrap_err();
        assert!(error.to_string().contains("ordering fields"), "{error}");
    }
}
