//! By which index a table is written.
//!
//! Java: HoodieIndexConfig. Hudi takes these options with every write and keeps none of them in the table. What the place of
//! rows depends on for good, the settings of a bucket index, a table of ours keeps in its properties; Hudi's writers take
//! them from there, like all properties of a table, where their options are silent.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::config::TableConfig;
use crate::error::{Error, Result};

/// Which index.
pub(crate) const INDEX_TYPE: &str = "hoodie.index.type";
/// Kind of bucket index.
pub(crate) const BUCKET_ENGINE: &str = "hoodie.index.bucket.engine";
/// Buckets of a partition.
pub(crate) const BUCKETS: &str = "hoodie.bucket.index.num.buckets";
/// Fields of the record key that say the bucket; all of them by default.
pub(crate) const HASH_FIELDS: &str = "hoodie.bucket.index.hash.field";
/// Other numbers of buckets for some partitions.
const PARTITION_EXPRESSIONS: &str = "hoodie.bucket.index.partition.expressions";
/// Buckets of a partition at most: their numbers have eight digits.
const BUCKETS_MAX: u32 = 99_999_999;

/// What `hoodie.index.type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexType {
    /// By ranges of keys (ours, the default).
    KeyRange,
    /// The same with keys that are unique in the whole table.
    GlobalKeyRange,
    /// By the hash of the key.
    Bucket,
    /// By the bloom filters of base files.
    Bloom,
    /// The same with keys that are unique in the whole table.
    GlobalBloom,
    /// By the keys in base files.
    Simple,
    /// The same with keys that are unique in the whole table.
    GlobalSimple,
}

/// The index of a table's writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IndexConfig {
    /// Key ranges.
    KeyRange,
    /// Buckets.
    Bucket(BucketConfig),
    /// Bloom filters.
    Bloom,
    /// Stored keys.
    Simple,
}

/// How keys are spread over buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketConfig {
    /// Buckets of a partition.
    pub(crate) buckets: u32,
    /// Fields of the record key that count.
    pub(crate) hash_fields: Vec<String>,
}

impl FromStr for IndexType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.trim().to_ascii_uppercase().as_str() {
            "KEY_RANGE" => Self::KeyRange,
            "GLOBAL_KEY_RANGE" => Self::GlobalKeyRange,
            "BUCKET" => Self::Bucket,
            "BLOOM" => Self::Bloom,
            "GLOBAL_BLOOM" => Self::GlobalBloom,
            "SIMPLE" => Self::Simple,
            "GLOBAL_SIMPLE" => Self::GlobalSimple,
            _ => {
                return Err(Error::unsupported(format!(
                    "{INDEX_TYPE}={text}: expected KEY_RANGE, BLOOM or SIMPLE, each also with GLOBAL_, or BUCKET"
                )));
            }
        })
    }
}

impl IndexType {
    /// The type that `properties` name; the key range when they name none.
    ///
    /// # Errors
    /// `Unsupported` for an index that this version has not.
    pub(crate) fn of(properties: &BTreeMap<String, String>) -> Result<Self> {
        let named = properties.get(INDEX_TYPE);
        named.map_or(Ok(Self::KeyRange), |text| text.parse())
    }

    /// For an index of globally unique keys: the option that says whether rows move between partitions.
    pub(crate) fn update_partition_option(self) -> Option<&'static str> {
        match self {
            Self::GlobalKeyRange => Some("hoodie.lakebed.key.range.index.update.partition.path"),
            Self::GlobalBloom => Some("hoodie.bloom.index.update.partition.path"),
            Self::GlobalSimple => Some("hoodie.simple.index.update.partition.path"),
            Self::KeyRange | Self::Bucket | Self::Bloom | Self::Simple => None,
        }
    }
}

impl IndexConfig {
    /// The index of a table: what it keeps, else what a writer's `properties` say.
    ///
    /// # Errors
    /// `Invalid` when the two differ, or for settings that make no sense for the table; `Unsupported` for an index that this
    /// version has not.
    pub(crate) fn of(table: &TableConfig, properties: &BTreeMap<String, String>) -> Result<Self> {
        let setting = |name: &str| setting(table, properties, name);
        let index_type = setting(INDEX_TYPE)?;
        match index_type.map_or(Ok(IndexType::KeyRange), str::parse)? {
            IndexType::KeyRange | IndexType::GlobalKeyRange => Ok(Self::KeyRange),
            IndexType::Bloom | IndexType::GlobalBloom => Ok(Self::Bloom),
            IndexType::Simple | IndexType::GlobalSimple => Ok(Self::Simple),
            IndexType::Bucket => {
                let config = BucketConfig {
                    buckets: buckets(setting(BUCKETS)?)?,
                    hash_fields: hash_fields(table, setting(HASH_FIELDS)?)?,
                };
                refuse_other_engines(setting(BUCKET_ENGINE)?, setting(PARTITION_EXPRESSIONS)?)?;
                Ok(Self::Bucket(config))
            }
        }
    }
}

/// What a table keeps of the options with which it is created.
pub(crate) fn kept_settings(properties: &BTreeMap<String, String>) -> Vec<(String, String)> {
    if !matches!(IndexType::of(properties), Ok(IndexType::Bucket)) {
        return Vec::new();
    }
    let kept = |name: &str| {
        let value = properties.get(name)?.trim();
        // Hudi does not know its own names in other letters.
        let value = match name {
            INDEX_TYPE | BUCKET_ENGINE => value.to_ascii_uppercase(),
            _ => value.to_owned(),
        };
        Some((name.to_owned(), value))
    };
    [INDEX_TYPE, BUCKET_ENGINE, BUCKETS, HASH_FIELDS]
        .into_iter()
        .filter_map(kept)
        .collect()
}

/// A setting of the table, or of its writer; the two must not differ.
fn setting<'a>(
    table: &'a TableConfig,
    properties: &'a BTreeMap<String, String>,
    name: &str,
) -> Result<Option<&'a str>> {
    let kept = table.properties().get_non_blank(name);
    let given = properties.get(name).map(|value| value.trim());
    let given = given.filter(|value| !value.is_empty());
    if let (Some(kept), Some(given)) = (kept, given)
        && !fields_of(&kept.to_ascii_uppercase()).eq(fields_of(&given.to_ascii_uppercase()))
    {
        return Err(Error::invalid(format!(
            "{name}={given}: table {} was created with {name}={kept}, which cannot be changed",
            table.name()
        )));
    }
    Ok(kept.or(given))
}

fn fields_of(list: &str) -> impl Iterator<Item = &str> {
    let fields = list.split(',').map(str::trim);
    fields.filter(|field| !field.is_empty())
}

/// Engines disagree on the default (256 for Spark, 4 for Flink), so there is none here.
fn buckets(text: Option<&str>) -> Result<u32> {
    let Some(text) = text else {
        return Err(Error::invalid(format!(
            "{INDEX_TYPE}=BUCKET needs {BUCKETS}, the number of buckets of each partition; all writers of a table give the same"
        )));
    };
    text.parse()
        .ok()
        .filter(|buckets| (1..=BUCKETS_MAX).contains(buckets))
        .ok_or_else(|| {
            Error::invalid(format!(
                "{BUCKETS}={text}: expected a number from 1 to {BUCKETS_MAX}"
            ))
        })
}

/// Java: HoodieIndexConfig.Builder#validateBucketIndexConfig.
fn hash_fields(table: &TableConfig, text: Option<&str>) -> Result<Vec<String>> {
    let key = table.record_key_fields();
    let Some(text) = text else {
        return Ok(key);
    };
    let fields: Vec<String> = fields_of(text).map(str::to_owned).collect();
    if let Some(other) = fields.iter().find(|field| !key.contains(field)) {
        return Err(Error::invalid(format!(
            "{HASH_FIELDS}={text}: `{other}` is no record key field of table {}, whose key is `{}`",
            table.name(),
            key.join(",")
        )));
    }
    Ok(fields)
}

fn refuse_other_engines(engine: Option<&str>, expressions: Option<&str>) -> Result<()> {
    if let Some(engine) = engine.filter(|engine| !engine.eq_ignore_ascii_case("SIMPLE")) {
        return Err(Error::unsupported(format!(
            "{BUCKET_ENGINE}={engine}: tables with other buckets than SIMPLE can be read only"
        )));
    }
    if let Some(expressions) = expressions {
        return Err(Error::unsupported(format!(
            "{PARTITION_EXPRESSIONS}={expressions}: tables with other numbers of buckets in some partitions can be read only"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::codec::properties::Properties;
    use crate::config::key;
    use crate::error::ErrorKind;

    fn table(settings: &[(&str, &str)]) -> TableConfig {
        let mut properties = Properties::default();
        let fixed = [
            (key::TABLE_NAME, "trips"),
            (key::TABLE_VERSION, "9"),
            (key::TIMELINE_LAYOUT, "2"),
            (key::TABLE_TYPE, "COPY_ON_WRITE"),
            (key::RECORD_KEY_FIELDS, "id,kind"),
        ];
        for (name, value) in fixed.iter().chain(settings) {
            properties.set((*name).to_owned(), (*value).to_owned());
        }
        TableConfig::try_new(properties).unwrap()
    }

    fn given(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
        settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_table_keeps_its_buckets() {
        let bucket = [(INDEX_TYPE, "bucket"), (BUCKETS, "8"), (HASH_FIELDS, "id")];
        let config = IndexConfig::Bucket(BucketConfig {
            buckets: 8,
            hash_fields: vec!["id".to_owned()],
        });
        assert_eq!(
            IndexConfig::of(&table(&[]), &given(&bucket)).unwrap(),
            config
        );
        assert_eq!(
            IndexConfig::of(&table(&bucket), &given(&[])).unwrap(),
            config
        );
        let kept: BTreeMap<_, _> = kept_settings(&given(&bucket)).into_iter().collect();
        assert_eq!((kept.len(), kept[INDEX_TYPE].as_str()), (3, "BUCKET"));
        assert_eq!(IndexConfig::of(&table(&bucket), &kept).unwrap(), config);
        let others = given(&[(INDEX_TYPE, "BLOOM"), (BUCKETS, "8")]);
        assert_eq!(kept_settings(&others), []);
        let all = IndexConfig::of(&table(&bucket[..2]), &given(&[])).unwrap();
        let IndexConfig::Bucket(all) = all else {
            panic!("{all:?}")
        };
        assert_eq!(all.hash_fields, ["id", "kind"]);
    }

    #[rstest]
    #[case(&[(INDEX_TYPE, "BUCKET")], BUCKETS)]
    #[case(&[(INDEX_TYPE, "BUCKET"), (BUCKETS, "0")], "from 1")]
    #[case(&[(INDEX_TYPE, "BUCKET"), (BUCKETS, "x")], "from 1")]
    #[case(&[(INDEX_TYPE, "BUCKET"), (BUCKETS, "8"), (HASH_FIELDS, "name")], "`name` is no record key field")]
    #[case(&[(INDEX_TYPE, "BUCKET"), (BUCKETS, "8"), (BUCKET_ENGINE, "CONSISTENT_HASHING")], "read only")]
    #[case(&[(INDEX_TYPE, "BUCKET"), (BUCKETS, "8"), (PARTITION_EXPRESSIONS, "a,2")], "read only")]
    #[case(&[(INDEX_TYPE, "RECORD_INDEX")], "expected KEY_RANGE")]
    fn settings_that_make_no_sense_are_refused(
        #[case] settings: &[(&str, &str)],
        #[case] said: &str,
    ) {
        let error = IndexConfig::of(&table(&[]), &given(settings)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }

    #[rstest]
    #[case(BUCKETS, "9")]
    #[case(HASH_FIELDS, "kind")]
    #[case(INDEX_TYPE, "SIMPLE")]
    fn what_a_table_keeps_cannot_be_changed(#[case] name: &str, #[case] value: &str) {
        let table = table(&[(INDEX_TYPE, "BUCKET"), (BUCKETS, "8"), (HASH_FIELDS, "id")]);
        let error = IndexConfig::of(&table, &given(&[(name, value)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("cannot be changed"), "{error}");
    }
}
