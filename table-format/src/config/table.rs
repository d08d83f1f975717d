//! `hoodie.properties`, typed: raw properties stay as they are, accessors read them by the rules of the table's version.

use crate::codec::properties::{Properties, table_checksum};
use crate::config::key;
use crate::config::kind::{
    ColumnMerge, KeyGeneratorType, MergeMode, TableType, TableVersion, TimelineZone,
};
use crate::error::{Error, Result};

pub(super) const EVENT_TIME_STRATEGY: &str = "eeb8d96f-b1e4-49fd-bbf8-28ac514178e5";
pub(super) const COMMIT_TIME_STRATEGY: &str = "ce9acb64-bde0-424c-9b91-f6ebba25356d";

/// The configuration of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    properties: Properties,
    name: String,
    version: TableVersion,
    table_type: TableType,
    merge_mode: MergeMode,
}

impl TableConfig {
    /// Reads the bytes of `hoodie.properties`.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not of a table (name, layout or checksum); `Unsupported` for other table versions.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::try_new(Properties::parse(bytes)?)
    }

    /// Checks properties and reads what every caller needs.
    ///
    /// # Errors
    /// As [`TableConfig::parse`].
    pub fn try_new(properties: Properties) -> Result<Self> {
        let corrupt = |message: String| Error::corrupt("hoodie.properties", message);
        let name = properties.get_non_blank(key::TABLE_NAME);
        let name = name.ok_or_else(|| corrupt(format!("`{}` is missing", key::TABLE_NAME)))?;
        let name = name.to_owned();
        check_checksum(&properties, &name)?;
        // Hudi takes an absent version for its own current one.
        let version: TableVersion = properties
            .get_non_blank(key::TABLE_VERSION)
            .map_or(Ok(TableVersion::Nine), str::parse)?;
        let layout = properties.get_non_blank(key::TIMELINE_LAYOUT);
        if layout != Some(version.timeline_layout().to_string().as_str()) {
            return Err(corrupt(format!(
                "`{}` is {}; table version {version} needs {}",
                key::TIMELINE_LAYOUT,
                layout.unwrap_or("missing"),
                version.timeline_layout()
            )));
        }
        let table_type = properties
            .get_non_blank(key::TABLE_TYPE)
            .map_or(Ok(TableType::CopyOnWrite), str::parse)?;
        let merge_mode = infer_merge_mode(&properties, version)?;
        Ok(Self {
            properties,
            name,
            version,
            table_type,
            merge_mode,
        })
    }

    /// The properties as they stand in the file.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Name of the table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Database, if it has one.
    pub fn database(&self) -> Option<&str> {
        self.properties.get_non_blank(key::DATABASE_NAME)
    }

    /// Version of the format.
    pub fn version(&self) -> TableVersion {
        self.version
    }

    /// Copy-on-write or merge-on-read.
    pub fn table_type(&self) -> TableType {
        self.table_type
    }

    /// Which record of a key counts; event time without an ordering field is commit time.
    pub fn merge_mode(&self) -> MergeMode {
        self.merge_mode
    }

    /// Fields of the record key; empty when keys are made up by the writer.
    pub fn record_key_fields(&self) -> Vec<String> {
        self.fields(key::RECORD_KEY_FIELDS)
    }

    /// Columns that partition the table, without the types that a custom key generator adds.
    pub fn partition_fields(&self) -> Vec<String> {
        let mut fields = self.fields(key::PARTITION_FIELDS);
        for field in &mut fields {
            if let Some((name, _)) = field.split_once(':') {
                *field = name.trim().to_owned();
            }
        }
        fields
    }

    /// For each partition column the type that a custom key generator gives it.
    pub fn partition_field_types(&self) -> Vec<Option<String>> {
        let fields = self.fields(key::PARTITION_FIELDS).into_iter();
        fields
            .map(|field| {
                field
                    .split_once(':')
                    .map(|(_, kind)| kind.trim().to_owned())
            })
            .collect()
    }

    /// Whether dates become one folder each for year, month and day.
    pub fn has_slashed_dates(&self) -> bool {
        self.flag(key::SLASHED_DATES, false)
    }

    /// Whether rows lie in partitions.
    pub fn is_partitioned(&self) -> bool {
        self.properties
            .get_non_blank(key::PARTITION_FIELDS)
            .is_some()
    }

    /// Fields that decide between records of a key, most significant first.
    pub fn ordering_fields(&self) -> Vec<String> {
        ordering_fields(&self.properties)
    }

    /// Which columns of a winning record give way to those of the record that it replaces; `None` when none does.
    ///
    /// Java: PartialUpdateMode, EightToNineUpgradeHandler (which payload class becomes which mode).
    ///
    /// # Errors
    /// `Unsupported` for a mode that Hudi 1.2.0 does not know.
    pub fn column_merge(&self) -> Result<Option<ColumnMerge>> {
        let mode = self.properties.get_non_blank(key::PARTIAL_UPDATE_MODE);
        match (mode, payload_class(&self.properties)) {
            (Some("IGNORE_DEFAULTS"), _) => Ok(Some(ColumnMerge::KeepOnNull)),
            (Some("FILL_UNAVAILABLE"), _) => {
                let name = format!("{}{}", key::MERGE_PROPERTY_PREFIX, key::UNAVAILABLE_VALUE);
                let marker = self.properties.get_non_blank(&name);
                let marker = marker.unwrap_or("__debezium_unavailable_value").to_owned();
                Ok(Some(ColumnMerge::KeepOnMarker(marker)))
            }
            (Some(mode), _) => Err(Error::unsupported(format!(
                "table `{}`: {}={mode} is not known; read it with the engine that wrote it",
                self.name,
                key::PARTIAL_UPDATE_MODE
            ))),
            (
                None,
                Some("OverwriteNonDefaultsWithLatestAvroPayload" | "PartialUpdateAvroPayload"),
            ) => Ok(Some(ColumnMerge::KeepOnNull)),
            (None, _) => Ok(None),
        }
    }

    /// How keys and partition paths are made.
    pub fn key_generator(&self) -> KeyGeneratorType {
        let name = self
            .properties
            .get_non_blank(key::KEY_GENERATOR_TYPE)
            .or_else(|| self.properties.get_non_blank(key::KEY_GENERATOR_CLASS));
        match name {
            Some(name) => KeyGeneratorType::from_name(name),
            None if !self.is_partitioned() => KeyGeneratorType::NonPartition,
            None if self.partition_fields().len() + self.record_key_fields().len() > 2 => {
                KeyGeneratorType::Complex
            }
            None => KeyGeneratorType::Simple,
        }
    }

    /// Whether partition directories are `field=value`.
    pub fn is_hive_style(&self) -> bool {
        self.flag(key::HIVE_STYLE, false)
    }

    /// Whether values are escaped in partition directories.
    pub fn is_url_encoded(&self) -> bool {
        self.flag(key::URL_ENCODE, false)
    }

    /// Whether base files lack the partition columns.
    pub fn drops_partition_columns(&self) -> bool {
        self.flag(key::DROP_PARTITION_COLUMNS, false)
    }

    /// Whether rows carry the five meta columns.
    pub fn populates_meta_fields(&self) -> bool {
        self.flag(key::POPULATE_META_FIELDS, true)
    }

    /// Complete partitions of the metadata table; empty when there is none.
    pub fn metadata_partitions(&self) -> Vec<String> {
        self.fields(key::METADATA_PARTITIONS)
    }

    /// Zone of the table's instants.
    ///
    /// # Errors
    /// `Unsupported` for a zone that is neither `UTC` nor `LOCAL`.
    pub fn timeline_zone(&self) -> Result<TimelineZone> {
        self.properties
            .get_non_blank(key::TIMELINE_ZONE)
            .map_or(Ok(TimelineZone::Local), str::parse)
    }

    /// Whether completed instants bear their completion time: since layout 2.
    pub fn keeps_completion_times(&self) -> bool {
        self.version.keeps_completion_times()
    }

    /// Table-relative directory of the active timeline.
    pub fn timeline_dir(&self) -> String {
        match self.version {
            TableVersion::Six => ".hoodie".to_owned(),
            TableVersion::Eight | TableVersion::Nine => {
                let folder = self
                    .properties
                    .get_non_blank(key::TIMELINE_PATH)
                    .unwrap_or("timeline");
                format!(".hoodie/{folder}")
            }
        }
    }

    /// Table-relative directory of the archived timeline. Java: HoodieTableMetaClient#getArchivePath.
    pub fn archive_dir(&self) -> String {
        match self.version {
            TableVersion::Six => {
                let folder = self
                    .properties
                    .get_non_blank(key::ARCHIVE_FOLDER)
                    .unwrap_or("archived");
                format!(".hoodie/{folder}")
            }
            TableVersion::Eight | TableVersion::Nine => {
                let folder = self
                    .properties
                    .get_non_blank(key::HISTORY_PATH)
                    .unwrap_or("history");
                format!("{}/{folder}", self.timeline_dir())
            }
        }
    }

    /// Format of base files in upper case; `PARQUET` unless said.
    pub fn base_file_format(&self) -> String {
        let format = self
            .properties
            .get_non_blank(key::BASE_FILE_FORMAT)
            .unwrap_or("PARQUET");
        format.to_ascii_uppercase()
    }

    /// Avro schema given at creation, without meta columns.
    pub fn create_schema(&self) -> Option<&str> {
        self.properties.get_non_blank(key::CREATE_SCHEMA)
    }

    fn fields(&self, key: &str) -> Vec<String> {
        split_fields(&self.properties, key)
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        self.properties
            .get_non_blank(key)
            .map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
}

fn split_fields(properties: &Properties, key: &str) -> Vec<String> {
    let value = properties.get_non_blank(key).unwrap_or_default();
    value
        .split(',')
        .map(str::trim)
        .filter(|field| !field.is_empty())
        .map(str::to_owned)
        .collect()
}

fn ordering_fields(properties: &Properties) -> Vec<String> {
    let fields = split_fields(properties, key::ORDERING_FIELDS);
    if fields.is_empty() {
        split_fields(properties, key::PRECOMBINE_FIELD)
    } else {
        fields
    }
}

/// The name of the class that merges, without its package.
fn payload_class(properties: &Properties) -> Option<&str> {
    let class = properties.get_non_blank(key::PAYLOAD_CLASS)?;
    Some(class.rsplit('.').next().unwrap_or(class))
}

fn check_checksum(properties: &Properties, name: &str) -> Result<()> {
    let Some(stored) = properties.get_non_blank(key::CHECKSUM) else {
        return Ok(());
    };
    let computed = table_checksum(properties.get(key::DATABASE_NAME), name);
    if stored.parse() == Ok(computed) {
        Ok(())
    } else {
        let message = format!("`{}` is {stored}, the names give {computed}", key::CHECKSUM);
        Err(Error::corrupt("hoodie.properties", message))
    }
}

/// The merge mode, by the rules of the version.
///
/// Java: HoodieTableConfig#inferMergingConfigs. Below version 8 the payload class wins over the strategy id.
fn infer_merge_mode(properties: &Properties, version: TableVersion) -> Result<MergeMode> {
    let has_ordering = !ordering_fields(properties).is_empty();
    let by_ordering = if has_ordering {
        MergeMode::EventTime
    } else {
        MergeMode::CommitTime
    };
    let payload = payload_class(properties);
    let strategy = properties
        .get_non_blank(key::MERGE_STRATEGY_ID)
        .or_else(|| properties.get_non_blank(key::MERGER_STRATEGY));
    let stated = match version {
        TableVersion::Six => None,
        TableVersion::Eight | TableVersion::Nine => properties.get_non_blank(key::MERGE_MODE),
    };
    let of_payload = match payload {
        Some("OverwriteWithLatestAvroPayload" | "OverwriteNonDefaultsWithLatestAvroPayload") => {
            MergeMode::CommitTime
        }
        Some(
            "DefaultHoodieRecordPayload" | "EventTimeAvroPayload" | "PartialUpdateAvroPayload",
        ) => by_ordering,
        _ => MergeMode::Custom,
    };
    let mode = match (stated.map(str::parse).transpose()?, payload, strategy) {
        (Some(MergeMode::Custom) | None, Some(_), _) => of_payload,
        (Some(mode), _, _) => mode,
        (None, None, Some(COMMIT_TIME_STRATEGY)) => MergeMode::CommitTime,
        (None, None, Some(EVENT_TIME_STRATEGY) | None) => by_ordering,
        (None, None, Some(_)) => MergeMode::Custom,
    };
    Ok(if mode == MergeMode::EventTime {
        by_ordering
    } else {
        mode
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lines: &str) -> Result<TableConfig> {
        TableConfig::parse(format!("hoodie.table.name=t\n{lines}").as_bytes())
    }

    #[test]
    fn payload_class_decides_the_merge_mode_of_version_6() {
        let lines = "hoodie.table.version=6\nhoodie.timeline.layout.version=1\n\
             hoodie.compaction.payload.class=org.apache.hudi.common.model.OverwriteWithLatestAvroPayload\n\
             hoodie.compaction.record.merger.strategy=eeb8d96f-b1e4-49fd-bbf8-28ac514178e5\n\
             hoodie.table.precombine.field=ts\n\
             hoodie.table.keygenerator.class=org.apache.hudi.keygen.NonpartitionedKeyGenerator";
        let config = config(lines).unwrap();
        assert_eq!(config.merge_mode(), MergeMode::CommitTime);
        assert_eq!(config.key_generator(), KeyGeneratorType::NonPartition);
        assert_eq!(config.timeline_dir(), ".hoodie");
        assert_eq!(config.archive_dir(), ".hoodie/archived");
        assert_eq!(config.ordering_fields(), ["ts"]);
    }

    #[test]
    fn event_time_needs_an_ordering_field() {
        let base = "hoodie.table.version=9\nhoodie.timeline.layout.version=2\n\
             hoodie.record.merge.mode=EVENT_TIME_ORDERING\n";
        assert_eq!(config(base).unwrap().merge_mode(), MergeMode::CommitTime);
        let ordered = format!("{base}hoodie.table.ordering.fields=a,b");
        assert_eq!(config(&ordered).unwrap().merge_mode(), MergeMode::EventTime);
    }

    #[test]
    fn hazard_3_broken_properties_and_other_layouts_are_refused() {
        for lines in [
            "hoodie.table.version=9",
            "hoodie.table.version=9\nhoodie.timeline.layout.version=1",
            "hoodie.table.version=10\nhoodie.timeline.layout.version=2",
            "hoodie.table.version=9\nhoodie.timeline.layout.version=2\nhoodie.table.checksum=1",
        ] {
            assert!(config(lines).is_err(), "{lines}");
        }
    }
}
