//! Which bucket a record key falls into, and which one a file id names.
//!
//! Spec: Hudi 1.2.0, "Bucket index"; Java: BucketIdentifier, KeyGenUtils#extractRecordKeysByFields. Every writer of a table has
//! to come to the same answer, so the oddities are Hudi's: values are cut out of the text of the record key, and a bare key
//! that holds both `,` and `:` is taken for `field:value` pairs.

use crate::error::{Error, Result};
use crate::index::groups::FileGroups;

/// Digits of the bucket number at the beginning of a file id.
const DIGITS: usize = 8;
/// Digits that are 0 in the number of a bucket, if a table has no more than 100,000 in a partition.
const ZEROS: usize = 3;

const SEPARATOR: char = ',';
const NULL_VALUE: &str = "__null__";
const EMPTY_VALUE: &str = "__empty__";

/// The bucket of a record key among `buckets`. Values of `hash_fields` count, in the order of the key.
pub(crate) fn bucket_of(record_key: &str, hash_fields: &[String], buckets: u32) -> u32 {
    let hash = hash_of(record_key, hash_fields);
    // Java: (hash & Integer.MAX_VALUE) % buckets
    (hash.cast_unsigned() & 0x7fff_ffff) % buckets.max(1)
}

/// Java: List<String>#hashCode of the values.
fn hash_of(record_key: &str, hash_fields: &[String]) -> i32 {
    let whole = || push(1, string_hash(record_key));
    if !record_key.contains(SEPARATOR) || !record_key.contains(':') {
        return whole();
    }
    let mut hash = 1;
    let mut has_value = false;
    let mut rest = record_key;
    while let Some((field, after)) = rest.split_once(':') {
        let (value, next) = cut_value(after);
        if hash_fields.iter().any(|known| known == field) {
            has_value = true;
            hash = push(
                hash,
                match value {
                    NULL_VALUE | EMPTY_VALUE => 0,
                    value => string_hash(value),
                },
            );
        }
        rest = next;
    }
    if has_value { hash } else { whole() }
}

/// A value and the pairs behind it. It may hold `,` and `:` itself: it ends at the last `,` before the next `:` that has one
/// before it.
fn cut_value(text: &str) -> (&str, &str) {
    let end = text.find(SEPARATOR).and_then(|first| {
        let (_, behind) = text.split_at(first);
        let colon = first + behind.find(':')?;
        let (before, _) = text.split_at(colon);
        before.rfind(SEPARATOR)
    });
    let cut = end.and_then(|end| Some((text.get(..end)?, text.get(end + 1..)?)));
    cut.unwrap_or((text, ""))
}

fn push(hash: i32, value: i32) -> i32 {
    hash.wrapping_mul(31).wrapping_add(value)
}

/// Java: String#hashCode, over UTF-16.
fn string_hash(text: &str) -> i32 {
    if text.is_ascii() {
        return text
            .bytes()
            .fold(0, |hash, byte| push(hash, i32::from(byte)));
    }
    text.encode_utf16()
        .fold(0, |hash, unit| push(hash, i32::from(unit)))
}

/// The bucket that a file id names, if it begins with eight digits and a `-`.
pub(crate) fn bucket_in(file_id: &str) -> Option<u32> {
    let (number, rest) = file_id.split_at_checked(DIGITS)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with('-');
    is_number.then(|| number.parse().ok()).flatten()
}

/// The part of a file id that names its bucket; all of it if it names none.
pub(crate) fn bucket_name(file_id: &str) -> &str {
    match bucket_in(file_id) {
        Some(_) => file_id.get(..DIGITS).unwrap_or(file_id),
        None => file_id,
    }
}

/// The id of a new file group of `bucket`. Java: BucketIdentifier#newBucketFileIdPrefix.
pub(crate) fn bucket_file_id(bucket: u32, uuid: &str) -> String {
    let rest = uuid.get(DIGITS..).unwrap_or_default();
    format!("{bucket:08}{rest}-0")
}

/// Whether a file id can hardly be other than a bucket's: random ones look like this once in some 40,000.
pub(crate) fn looks_like_bucket(file_id: &str) -> bool {
    bucket_in(file_id).is_some() && file_id.bytes().take(ZEROS).all(|byte| byte == b'0')
}

/// Refuses a table whose groups are all buckets. Properties do not tell of the bucket index of other engines, and a writer
/// that does not know of it would put second groups beside their buckets.
///
/// # Errors
/// `Unsupported`, naming one of them.
pub(crate) fn refuse_bucketed(groups: &FileGroups) -> Result<()> {
    let mut ids = groups.groups().map(|group| group.slice.file_id.as_str());
    let Some(first) = ids.next() else {
        return Ok(());
    };
    if looks_like_bucket(first) && ids.all(looks_like_bucket) {
        return Err(Error::unsupported(format!(
            "file groups such as {first} belong to a bucket index: set hoodie.index.type=BUCKET, and \
             hoodie.bucket.index.num.buckets and hoodie.bucket.index.hash.field to what its other writers use"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// What Apache Hudi 1.2.0 answers: BucketIdentifier.getBucketId(key, fields, 97).
    #[rstest]
    #[case("plain", "id", 87)]
    #[case("x,y", "id", 48)]
    #[case("7", "id", 86)]
    #[case("id:7", "id", 13)]
    #[case("a:b", "id", 84)]
    #[case("id:1,2", "id", 34)]
    #[case("id:a,name:b", "id,name", 89)]
    #[case("id:a,name:b", "name,id", 89)]
    #[case("id:a,name:b", "id", 31)]
    #[case("id:a,name:b", "name", 32)]
    #[case("id:a,name:b", "other", 69)]
    #[case("id:__null__,name:x", "id,name", 14)]
    #[case("id:__empty__,name:x", "id,name", 14)]
    #[case("id:__null__,name:__null__", "id,name", 88)]
    #[case("id:1,name:u,name:v", "id,name", 18)]
    #[case("id:x,y,name:z", "id,name", 58)]
    #[case("id:ab:cd,id2:ef", "id,id2", 33)]
    #[case("id:1,id2:2,", "id,id2", 0)]
    #[case("id:1,ts:2024-01-01 10:00:00", "id,ts", 84)]
    #[case("id:1,ts:2024-01-01 10:00:00,x", "id,ts", 1)]
    #[case(
        "id1:1,,,id2:2024-10-22 14:11:53.023,id3:,,3,id4:::1:2::4::",
        "id2,id1,id3,id4",
        42
    )]
    #[case("a:b:c,d:e", "a,d", 32)]
    #[case("a:,b:", "a,b", 88)]
    #[case("x,y:z", "id", 52)]
    #[case("x,y:z", "y", 52)]
    #[case(",:", "id", 95)]
    #[case(":,", "id", 30)]
    #[case("Zürich 😀", "id", 85)]
    fn buckets_are_hudis(#[case] key: &str, #[case] fields: &str, #[case] bucket: u32) {
        let fields: Vec<String> = fields.split(',').map(str::to_owned).collect();
        assert_eq!(bucket_of(key, &fields, 97), bucket);
    }

    #[test]
    fn negative_hashes_have_buckets_too() {
        assert_eq!(bucket_of("-9223372036854775808", &[], 256), 245);
    }

    #[test]
    fn file_ids_name_their_buckets() {
        let uuid = "7f3b2c1d-9217-476b-8f4d-0e5f46cb2647";
        let id = bucket_file_id(42, uuid);
        assert_eq!(id, "00000042-9217-476b-8f4d-0e5f46cb2647-0");
        assert_eq!(bucket_in(&id), Some(42));
        assert_eq!(bucket_name(&id), "00000042");
        assert!(looks_like_bucket(&id));
        for other in ["12345678-9217-0", "0000004a-9217-0", "00000042", "ü", ""] {
            assert!(!looks_like_bucket(other), "{other}");
        }
        assert_eq!(bucket_in("12345678-9217-0"), Some(12_345_678));
        assert_eq!(bucket_name("0000004a-9217-0"), "0000004a-9217-0");
    }
}
