//! Which file groups may hold the rows of some keys, where the hash of a key says its group.

use std::collections::BTreeSet;

use crate::config::{BucketConfig, IndexConfig, KeyGeneratorType, TableConfig};
use crate::file_group::FileSlice;
use crate::index::bucket_id::{bucket_in, bucket_of};

/// The buckets of a table that keeps the settings of its bucket index.
#[derive(Debug, Clone)]
pub struct KeyBuckets {
    key_fields: Vec<String>,
    config: BucketConfig,
}

impl KeyBuckets {
    /// `None` for a table without buckets, for one of another engine, which keeps no settings of them, and for one whose
    /// generator may or may not write the name of its only field into keys (hazard 23).
    pub fn of_table(config: &TableConfig) -> Option<Self> {
        let Ok(IndexConfig::Bucket(buckets)) = IndexConfig::of(config, &Default::default()) else {
            return None;
        };
        let key_fields = config.record_key_fields();
        let is_bare = matches!(
            config.key_generator(),
            KeyGeneratorType::Simple | KeyGeneratorType::NonPartition
        );
        (key_fields.len() > 1 || is_bare).then_some(Self {
            key_fields,
            config: buckets,
        })
    }

    /// The columns whose values say the bucket.
    pub fn hash_fields(&self) -> impl Iterator<Item = &str> {
        let hashed = |field: &&String| self.config.hash_fields.contains(*field);
        self.key_fields.iter().filter(hashed).map(String::as_str)
    }

    /// The bucket of the rows with these values of [`Self::hash_fields`], in their order, each as it stands in record keys;
    /// `None` for values that a key of several fields may hold in another way.
    pub fn bucket_of(&self, values: &[&str]) -> Option<u32> {
        if let ([_], [value]) = (self.key_fields.as_slice(), values) {
            return Some(self.bucket_of_key(value));
        }
        let is_odd = |value: &&str| value.is_empty() || value.contains([',', ':']);
        if values.iter().any(is_odd) {
            return None;
        }
        let mut values = values.iter();
        let mut pairs = Vec::with_capacity(self.key_fields.len());
        for field in &self.key_fields {
            let is_hashed = self.config.hash_fields.contains(field);
            // Values of other fields do not count.
            let value = if is_hashed { values.next()? } else { "0" };
            pairs.push(format!("{field}:{value}"));
        }
        Some(self.bucket_of_key(&pairs.join(",")))
    }

    /// The bucket of a record key.
    pub fn bucket_of_key(&self, record_key: &str) -> u32 {
        bucket_of(record_key, &self.config.hash_fields, self.config.buckets)
    }

    /// Whether a slice may hold rows of these buckets.
    pub fn may_hold(slice: &FileSlice, buckets: &BTreeSet<u32>) -> bool {
        bucket_in(&slice.file_id).is_none_or(|bucket| buckets.contains(&bucket))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::codec::properties::Properties;

    fn config(keys: &str, generator: &str, hash_fields: &str) -> TableConfig {
        let mut properties = Properties::default();
        for (name, value) in [
            ("hoodie.table.name", "t"),
            ("hoodie.table.version", "9"),
            ("hoodie.timeline.layout.version", "2"),
            ("hoodie.table.type", "MERGE_ON_READ"),
            ("hoodie.table.recordkey.fields", keys),
            ("hoodie.table.keygenerator.type", generator),
            ("hoodie.index.type", "BUCKET"),
            ("hoodie.bucket.index.num.buckets", "97"),
            ("hoodie.bucket.index.hash.field", hash_fields),
        ] {
            properties.set(name.to_owned(), value.to_owned());
        }
        TableConfig::try_new(properties).unwrap()
    }

    /// What Apache Hudi 1.2.0 answers for the whole keys: BucketIdentifier.getBucketId(key, fields, 97).
    #[rstest]
    #[case("id", "SIMPLE", "id", &["x,y"], Some(48))]
    #[case("id", "NON_PARTITION", "id", &["7"], Some(86))]
    #[case("id", "SIMPLE", "id", &["id:7"], Some(13))]
    #[case("id,name", "COMPLEX", "id,name", &["a", "b"], Some(89))]
    #[case("id,name", "COMPLEX", "name,id", &["a", "b"], Some(89))]
    #[case("id,name", "COMPLEX", "id", &["a"], Some(31))]
    #[case("id,name", "COMPLEX", "name", &["b"], Some(32))]
    #[case("id,name", "COMPLEX", "id,name", &["__null__", "x"], Some(14))]
    #[case("id,name", "COMPLEX", "id", &["a,b"], None)]
    #[case("id,name", "COMPLEX", "id", &[""], None)]
    fn values_say_the_bucket_of_their_keys(
        #[case] keys: &str,
        #[case] generator: &str,
        #[case] hash_fields: &str,
        #[case] values: &[&str],
        #[case] bucket: Option<u32>,
    ) {
        let buckets = KeyBuckets::of_table(&config(keys, generator, hash_fields)).unwrap();
        assert_eq!(buckets.bucket_of(values), bucket);
    }

    #[test]
    fn a_doubtful_generator_says_nothing() {
        assert!(KeyBuckets::of_table(&config("id", "COMPLEX", "id")).is_none());
    }
}
