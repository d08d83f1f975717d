//! Which buckets may hold wanted rows: those of the keys that the filters name.

use std::collections::BTreeSet;

use datafusion::physical_expr::utils::Guarantee;
use datafusion::physical_optimizer::pruning::PruningPredicate;
use table_format::config::TableConfig;
use table_format::reader::KeyBuckets;
use table_format::schema::meta::RECORD_KEY;

use super::key_text;

/// More keys than this are not looked at: they are likely to be in all buckets.
const KEYS_MAX: usize = 4096;

/// `None` when the filters do not name the keys, or the table does not tell its buckets.
pub(super) fn wanted_buckets(
    predicate: &PruningPredicate,
    config: &TableConfig,
) -> Option<BTreeSet<u32>> {
    let buckets = KeyBuckets::of_table(config)?;
    if let Some(keys) = named_values(predicate, RECORD_KEY) {
        return Some(keys.iter().map(|key| buckets.bucket_of_key(key)).collect());
    }
    let mut keys: Vec<Vec<String>> = vec![Vec::new()];
    for field in buckets.hash_fields() {
        let values = named_values(predicate, field)?;
        if keys.len() * values.len() > KEYS_MAX {
            return None;
        }
        let with = |key: &Vec<String>, value: &String| {
            [key.as_slice(), std::slice::from_ref(value)].concat()
        };
        keys = keys
            .iter()
            .flat_map(|key| values.iter().map(move |value| with(key, value)))
            .collect();
    }
    let bucket = |key: &Vec<String>| {
        let values: Vec<&str> = key.iter().map(String::as_str).collect();
        buckets.bucket_of(&values)
    };
    keys.iter().map(bucket).collect()
}

/// The only values that the column may have in a wanted row, as they stand in record keys.
fn named_values(predicate: &PruningPredicate, column: &str) -> Option<Vec<String>> {
    let mut guarantees = predicate.literal_guarantees().iter();
    let named = guarantees.find(|guarantee| {
        guarantee.guarantee == Guarantee::In && guarantee.column.name == column
    })?;
    named.literals.iter().map(key_text).collect()
}
