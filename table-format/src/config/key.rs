//! Names of the table properties that are used in more than one place.

/// Name of the table.
pub const TABLE_NAME: &str = "hoodie.table.name";
/// Database of the table.
pub const DATABASE_NAME: &str = "hoodie.database.name";
/// Version of the format.
pub const TABLE_VERSION: &str = "hoodie.table.version";
/// Version at creation.
pub const INITIAL_VERSION: &str = "hoodie.table.initial.version";
/// Layout of the timeline.
pub const TIMELINE_LAYOUT: &str = "hoodie.timeline.layout.version";
/// Copy-on-write or merge-on-read.
pub const TABLE_TYPE: &str = "hoodie.table.type";
/// Fields of the record key.
pub const RECORD_KEY_FIELDS: &str = "hoodie.table.recordkey.fields";
/// Fields of the partition path.
pub const PARTITION_FIELDS: &str = "hoodie.table.partition.fields";
/// Ordering field up to version 8.
pub const PRECOMBINE_FIELD: &str = "hoodie.table.precombine.field";
/// Ordering fields of version 9.
pub const ORDERING_FIELDS: &str = "hoodie.table.ordering.fields";
/// Merge mode of version 8 and 9.
pub const MERGE_MODE: &str = "hoodie.record.merge.mode";
/// Merge strategy of version 8.
pub const MERGE_STRATEGY_ID: &str = "hoodie.record.merge.strategy.id";
/// Merge strategy of version 6.
pub const MERGER_STRATEGY: &str = "hoodie.compaction.record.merger.strategy";
/// Class that merges, up to version 8.
pub const PAYLOAD_CLASS: &str = "hoodie.compaction.payload.class";
/// Payload class that a version 9 table was asked for.
pub const LEGACY_PAYLOAD_CLASS: &str = "hoodie.table.legacy.payload.class";
/// Partial updates of version 9.
pub const PARTIAL_UPDATE_MODE: &str = "hoodie.table.partial.update.mode";
/// What stands, behind that prefix, in for a value that the source did not send.
pub const UNAVAILABLE_VALUE: &str = "hoodie.write.partial.update.unavailable.value";
/// Prefix of the properties that configure merging.
pub const MERGE_PROPERTY_PREFIX: &str = "hoodie.record.merge.property.";
/// Key generator class (version 6).
pub const KEY_GENERATOR_CLASS: &str = "hoodie.table.keygenerator.class";
/// Key generator type (version 8 and 9).
pub const KEY_GENERATOR_TYPE: &str = "hoodie.table.keygenerator.type";
/// `field=value` directories.
pub const HIVE_STYLE: &str = "hoodie.datasource.write.hive_style_partitioning";
/// Escaped partition values.
pub const URL_ENCODE: &str = "hoodie.datasource.write.partitionpath.urlencode";
/// Dates as `yyyy/MM/dd` folders.
pub const SLASHED_DATES: &str = "hoodie.datasource.write.slash.separated.date.partitioning";
/// Whether base files lack the partition columns.
pub const DROP_PARTITION_COLUMNS: &str = "hoodie.datasource.write.drop.partition.columns";
/// Whether rows carry the meta columns.
pub const POPULATE_META_FIELDS: &str = "hoodie.populate.meta.fields";
/// Partitions of the metadata table.
pub const METADATA_PARTITIONS: &str = "hoodie.table.metadata.partitions";
/// Zone of instants.
pub const TIMELINE_ZONE: &str = "hoodie.table.timeline.timezone";
/// Folder of the timeline under `.hoodie`.
pub const TIMELINE_PATH: &str = "hoodie.timeline.path";
/// Folder of the archive under the timeline.
pub const HISTORY_PATH: &str = "hoodie.timeline.history.path";
/// Folder of the archive (version 6).
pub const ARCHIVE_FOLDER: &str = "hoodie.archivelog.folder";
/// Format of base files.
pub const BASE_FILE_FORMAT: &str = "hoodie.table.base.file.format";
/// Avro schema before the first commit.
pub const CREATE_SCHEMA: &str = "hoodie.table.create.schema";
/// `native`.
pub const TABLE_FORMAT: &str = "hoodie.table.format";
/// CRC-32 of the names.
pub const CHECKSUM: &str = "hoodie.table.checksum";
