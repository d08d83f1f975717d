//! The enumerations of table properties, each with its spelling in one place.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Defines an enum whose variants have one text each, with `as_str`, `Display` and `FromStr`.
macro_rules! named_enum {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// The text in `hoodie.properties`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let upper = text.trim().to_ascii_uppercase();
                match upper.as_str() {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(Error::unsupported(format!("`{text}` is not a {} that this version knows", $what))),
                }
            }
        }
    };
}

named_enum! {
    /// Whether updates rewrite base files or go to log files.
    TableType, "table type", {
        /// Updates rewrite base files.
        CopyOnWrite = "COPY_ON_WRITE",
        /// Updates go to log files, which are compacted later.
        MergeOnRead = "MERGE_ON_READ",
    }
}

/// Which columns of the record that counts are taken from the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnMerge {
    /// Those that are null.
    KeepOnNull,
    /// Those whose text or bytes are this, which stands for a value that the source did not send.
    KeepOnMarker(String),
}

named_enum! {
    /// Which of two records of a key counts.
    MergeMode, "record merge mode", {
        /// The one with the higher ordering value; on a tie the later one.
        EventTime = "EVENT_TIME_ORDERING",
        /// The later one.
        CommitTime = "COMMIT_TIME_ORDERING",
        /// What a class of the user says.
        Custom = "CUSTOM",
    }
}

named_enum! {
    /// Zone of the instants of a table.
    TimelineZone, "timeline time zone", {
        /// Coordinated universal time.
        Utc = "UTC",
        /// The zone of whoever writes.
        Local = "LOCAL",
    }
}

named_enum! {
    /// How keys and partition paths come from columns.
    KeyGeneratorType, "key generator", {
        /// One key field, one partition field.
        Simple = "SIMPLE",
        /// Several fields.
        Complex = "COMPLEX",
        /// No partitions.
        NonPartition = "NON_PARTITION",
        /// Partition from a formatted time.
        Timestamp = "TIMESTAMP",
        /// A type per partition field.
        Custom = "CUSTOM",
        /// Keys without partitions, for deletes.
        GlobalDelete = "GLOBAL_DELETE",
        /// Keys made up by the writer.
        AutoRecord = "AUTO_RECORD",
        /// Spark SQL's wrapper.
        SparkSql = "SPARK_SQL",
        /// Spark SQL's wrapper with made-up keys.
        SparkSqlUuid = "SPARK_SQL_UUID",
        /// The metadata table's.
        MetadataTable = "HOODIE_TABLE_METADATA",
        /// A class of the user.
        UserProvided = "USER_PROVIDED",
    }
}

impl KeyGeneratorType {
    /// The class that Hudi's writers of version 6 know this type by; `None` where the user has one of his own.
    ///
    /// Java: KeyGeneratorType.
    pub(crate) fn class_name(self) -> Option<&'static str> {
        Some(match self {
            Self::Simple => "org.apache.hudi.keygen.SimpleKeyGenerator",
            Self::Complex => "org.apache.hudi.keygen.ComplexKeyGenerator",
            Self::NonPartition => "org.apache.hudi.keygen.NonpartitionedKeyGenerator",
            Self::Timestamp => "org.apache.hudi.keygen.TimestampBasedKeyGenerator",
            Self::Custom => "org.apache.hudi.keygen.CustomKeyGenerator",
            Self::GlobalDelete => "org.apache.hudi.keygen.GlobalDeleteKeyGenerator",
            Self::AutoRecord => "org.apache.hudi.keygen.AutoRecordGenWrapperKeyGenerator",
            Self::SparkSql => "org.apache.spark.sql.hudi.command.SqlKeyGenerator",
            Self::SparkSqlUuid => "org.apache.spark.sql.hudi.command.UuidKeyGenerator",
            Self::MetadataTable => "org.apache.hudi.metadata.HoodieTableMetadataKeyGenerator",
            Self::UserProvided => return None,
        })
    }

    /// The type of a key generator class, or of a type name with an `_AVRO` twin.
    ///
    /// Java: KeyGeneratorType#fromClassName.
    pub(crate) fn from_name(name: &str) -> Self {
        let simple_name = name.rsplit('.').next().unwrap_or(name);
        let stem = simple_name
            .strip_suffix("KeyGenerator")
            .map_or(simple_name, |stem| {
                stem.strip_suffix("Avro").unwrap_or(stem)
            });
        match stem {
            "Simple" => Self::Simple,
            "Complex" => Self::Complex,
            "Nonpartitioned" => Self::NonPartition,
            "TimestampBased" => Self::Timestamp,
            "Custom" => Self::Custom,
            "GlobalDelete" => Self::GlobalDelete,
            "AutoRecordGenWrapper" => Self::AutoRecord,
            "Sql" => Self::SparkSql,
            "Uuid" => Self::SparkSqlUuid,
            "HoodieTableMetadata" => Self::MetadataTable,
            other => other
                .strip_suffix("_AVRO")
                .unwrap_or(other)
                .parse()
                .unwrap_or(Self::UserProvided),
        }
    }
}

/// Version of a table's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableVersion {
    /// Hudi 0.14 and 0.15.
    Six,
    /// Hudi 1.0.
    Eight,
    /// Hudi 1.1 and 1.2.
    Nine,
}

impl TableVersion {
    /// The number in `hoodie.properties`.
    pub fn number(self) -> u32 {
        match self {
            Self::Six => 6,
            Self::Eight => 8,
            Self::Nine => 9,
        }
    }

    /// The timeline layout that goes with it.
    pub fn timeline_layout(self) -> u32 {
        match self {
            Self::Six => 1,
            Self::Eight | Self::Nine => 2,
        }
    }

    /// Whether completed instants bear their completion time.
    pub fn keeps_completion_times(self) -> bool {
        self >= Self::Eight
    }

    /// Whether log files bear the base instant of their slice and are added to by several instants, whose blocks a command
    /// undoes. Since version 8 each instant writes log files of its own.
    pub fn shares_logs(self) -> bool {
        self == Self::Six
    }

    /// Whether pending clusterings have an action of their own.
    pub fn has_clustering_action(self) -> bool {
        self >= Self::Eight
    }

    /// Whether the archive is a tree of Parquet files; before it is log files.
    pub fn archives_into_tree(self) -> bool {
        self >= Self::Eight
    }

    /// Whether commits, delta commits and replace commits are JSON; all other files of the timeline are Avro.
    pub fn has_json_commits(self) -> bool {
        self == Self::Six
    }
}

impl FromStr for TableVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.trim() {
            "6" => Ok(Self::Six),
            "8" => Ok(Self::Eight),
            "9" => Ok(Self::Nine),
            other => Err(Error::unsupported(format!(
                "table version {other}; versions 6, 8 and 9 are handled (upgrade older tables with Hudi)"
            ))),
        }
    }
}

impl fmt::Display for TableVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}
