//! The bucket index: the hash of a key says its bucket, and a bucket is one file group of its partition.
//!
//! Nothing is read to answer. Spec: Hudi 1.2.0, "Bucket index"; Java: HoodieSimpleBucketIndex.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::config::BucketConfig;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::file_group::FileSlice;
use crate::index::bucket_id::{bucket_file_id, bucket_in, bucket_name, bucket_of};
use crate::index::groups::FileGroups;
use crate::index::log_keys::LogSource;
use crate::index::stored_keys::sample_keys;
use crate::index::{Asked, Homes, Index, Room, Target};
use crate::storage::Storage;

/// Where hash ranges of consistent hashing and numbers of buckets by partition are kept.
const BUCKET_FILES: &str = ".hoodie/.bucket_index";

/// See the module.
#[derive(Debug)]
pub(super) struct BucketIndex {
    config: BucketConfig,
}

impl BucketIndex {
    pub(super) fn new(config: BucketConfig) -> Self {
        Self { config }
    }

    fn bucket_of(&self, key: &str) -> u32 {
        bucket_of(key, &self.config.hash_fields, self.config.buckets)
    }
}

/// Refuses tables whose buckets are told by files of their own: consistent hashing, and other numbers of buckets in some
/// partitions. Spec: Hudi 1.2.0, "Bucket index".
///
/// # Errors
/// `Unsupported`; `Unavailable` when the store gives up.
pub(crate) async fn refuse_bucket_files(storage: &Storage) -> Result<()> {
    let found = storage.list(BUCKET_FILES).await?;
    match found.dirs.first() {
        None => Ok(()),
        Some(dir) => Err(Error::unsupported(format!(
            "{BUCKET_FILES}/{dir} tells the buckets of the table, which may change: such tables can be read only"
        ))),
    }
}

#[async_trait]
impl Index for BucketIndex {
    async fn locate(&self, asked: Asked<'_>, rows: &[u32]) -> Result<Homes> {
        let context = asked.context;
        let mut group_of: HashMap<u32, usize> = HashMap::new();
        for (position, group) in asked.partition.groups().iter().enumerate() {
            // What an instant overwrites makes room for new groups of the same buckets.
            let is_replaced =
                context.operation.is_replace() && group.slice.base_instant != context.instant;
            if let (false, Some(bucket)) = (is_replaced, bucket_in(&group.slice.file_id)) {
                group_of.insert(bucket, position);
            }
        }
        let mut homes = Homes::default();
        for &row in rows {
            match group_of.get(&self.bucket_of(asked.key(row))) {
                Some(&group) => homes.found.push((row, group)),
                None => homes.nowhere.push(row),
            }
        }
        Ok(homes)
    }

    fn place(&self, asked: Asked<'_>, rows: &[u32], _room: &Room) -> Result<Vec<(u32, Target)>> {
        let target = |&row| (row, Target::New(self.bucket_of(asked.key(row)) as usize));
        Ok(rows.iter().map(target).collect())
    }

    fn new_file_id(&self, env: &Env, new: usize) -> String {
        // Numbers of new groups are buckets, see `place`.
        let bucket = u32::try_from(new).unwrap_or(u32::MAX);
        bucket_file_id(bucket, &env.ids.next_uuid())
    }

    fn check(&self, groups: &FileGroups) -> Result<()> {
        for (path, partition) in groups.partitions() {
            let mut seen: HashMap<u32, &FileSlice> = HashMap::new();
            for group in partition.groups().iter() {
                let slice = &group.slice;
                let place = || slice.path_of(&slice.file_id);
                let bucket = bucket_in(&slice.file_id).ok_or_else(|| {
                    Error::invalid(format!(
                        "file group {} is no bucket: the table was not written with hoodie.index.type=BUCKET",
                        place()
                    ))
                })?;
                if bucket >= self.config.buckets {
                    return Err(Error::invalid(format!(
                        "file group {} is bucket {bucket}, but hoodie.bucket.index.num.buckets is {}; \
                         the number of buckets of a table cannot be changed",
                        place(),
                        self.config.buckets
                    )));
                }
                if let Some(other) = seen.insert(bucket, slice) {
                    return Err(Error::corrupt(
                        path,
                        format!(
                            "file groups {} and {} are the same bucket; a table with a bucket index has one for each",
                            other.file_id, slice.file_id
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Neither the table nor its file ids tell the number of buckets and the hash fields of other writers; keys do.
    async fn check_keys(&self, source: LogSource<'_>, groups: &FileGroups) -> Result<()> {
        let Some(smallest) = groups.groups().min_by_key(|group| group.bytes) else {
            return Ok(());
        };
        let slice = &smallest.slice;
        let known = bucket_in(&slice.file_id);
        let keys = sample_keys(source, slice).await?;
        let stranger = keys.iter().find(|key| Some(self.bucket_of(key)) != known);
        match stranger {
            None => Ok(()),
            Some(key) => Err(Error::invalid(format!(
                "key `{key}` lies in file group {}, but is of bucket {} among {} by `{}`: set \
                 hoodie.bucket.index.num.buckets and hoodie.bucket.index.hash.field to what the table was written with",
                slice.path_of(&slice.file_id),
                self.bucket_of(key),
                self.config.buckets,
                self.config.hash_fields.join(",")
            ))),
        }
    }

    fn finds_logged_keys(&self) -> bool {
        true
    }

    fn fixes_groups(&self) -> bool {
        true
    }

    fn group_name<'a>(&self, file_id: &'a str) -> &'a str {
        bucket_name(file_id)
    }
}
