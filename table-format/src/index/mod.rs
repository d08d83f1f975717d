//! Where a record key lives: which file group holds it, or is to hold it.
//!
//! The seam is [`Index`], which is asked for the rows of one partition at a time. Which one a table is written with is said
//! by [`IndexConfig`].

mod bloom;
pub(crate) mod bucket;
pub(crate) mod bucket_id;
pub(crate) mod groups;
mod key_range;
pub(crate) mod key_value;
pub(crate) mod load;
pub(crate) mod log_keys;
pub(crate) mod resolve;
pub(crate) mod shared;
mod simple;
mod stored_keys;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use async_trait::async_trait;

use crate::config::IndexConfig;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::index::groups::{FileGroups, PartitionGroups};
use crate::index::log_keys::LogSource;
use crate::writer::WriteContext;

/// Says which file group holds a key, and which one is to hold a new key. Java: HoodieIndex.
///
/// **Invariant:** a key that is in the table lies in a group that [`Index::locate`] gives for it.
#[async_trait]
pub(crate) trait Index: Debug + Send + Sync {
    /// The groups that hold the keys of `rows`, or would have to; a key that none holds is new.
    ///
    /// # Errors
    /// `Corrupt` for files that break their format; `Unavailable` when the store gives up.
    async fn locate(&self, asked: Asked<'_>, rows: &[u32]) -> Result<Homes>;

    /// Where rows go that are new.
    ///
    /// # Errors
    /// As [`Index::locate`].
    fn place(&self, asked: Asked<'_>, rows: &[u32], room: &Room) -> Result<Vec<(u32, Target)>>;

    /// The id of the n-th new group of a partition, as [`Target::New`] counts them.
    fn new_file_id(&self, env: &Env, _new: usize) -> String {
        format!("{}-0", new_file_id_prefix(env))
    }

    /// Whether the table's groups are such as this index makes, so that writing by it is safe.
    ///
    /// # Errors
    /// `Unsupported` or `Invalid`, naming a file group.
    fn check(&self, groups: &FileGroups) -> Result<()> {
        bucket_id::refuse_bucketed(groups)
    }

    /// The same for what lies in them: a look at a few keys.
    ///
    /// # Errors
    /// `Invalid`, naming a key.
    async fn check_keys(&self, _source: LogSource<'_>, _groups: &FileGroups) -> Result<()> {
        Ok(())
    }

    /// Whether ranges of groups must be known before it is asked.
    fn reads_ranges(&self) -> bool {
        false
    }

    /// Whether new rows that a group of a merge-on-read table takes in may be logged; otherwise they go into its base file,
    /// because the index finds no key that is only in logs (hazard 9). Java: HoodieIndex#canIndexLogFiles.
    fn finds_logged_keys(&self) -> bool {
        false
    }

    /// Whether a key can live in one group of its partition only, so that inserts have no choice but to be upserts.
    fn fixes_groups(&self) -> bool {
        false
    }

    /// What tells two groups of a partition apart for this index: writers that change groups of the same name conflict.
    fn group_name<'a>(&self, file_id: &'a str) -> &'a str {
        file_id
    }
}

/// The rows of a partition that an index is asked about, by their positions in a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) context: &'a WriteContext,
    pub(crate) partition: &'a PartitionGroups,
    /// The columns of the batch.
    pub(crate) records: &'a RecordBatch,
    /// Its record keys.
    pub(crate) keys: &'a StringArray,
}

/// Where the keys of rows live.
#[derive(Debug, Default)]
pub(crate) struct Homes {
    /// Rows with the position of a group that holds their key, or would have to. An insert may have put a key into several.
    pub(crate) found: Vec<(u32, usize)>,
    /// Rows whose keys no group holds.
    pub(crate) nowhere: Vec<u32>,
}

/// Where a row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into an existing group, by position.
    Group(usize),
    /// Into the new group of this number.
    New(usize),
}

/// How much groups may grow.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    /// A group of at least this length takes no new keys.
    pub(crate) small_group_bytes: u64,
    /// A new group is full at this length.
    pub(crate) group_bytes_max: u64,
    /// About what one row adds to a group.
    pub(crate) row_bytes: u64,
    /// New keys go to base files: a group with logs takes none.
    pub(crate) base_files_only: bool,
    /// Groups that take no new keys, by position.
    pub(crate) closed: BTreeSet<usize>,
}

/// The index that `config` names.
pub(crate) fn index_of(config: &IndexConfig) -> Arc<dyn Index> {
    match config {
        IndexConfig::KeyRange => Arc::new(key_range::KeyRangeIndex),
        IndexConfig::Bucket(config) => Arc::new(bucket::BucketIndex::new(config.clone())),
        IndexConfig::Bloom => Arc::new(bloom::BloomIndex),
        IndexConfig::Simple => Arc::new(simple::SimpleIndex),
    }
}

/// What the ids of new groups that are no buckets begin with. One that looks like a bucket's by chance (one of some 40,000)
/// is not taken.
pub(crate) fn new_file_id_prefix(env: &Env) -> String {
    loop {
        let prefix = env.ids.next_uuid();
        if !bucket_id::looks_like_bucket(&prefix) {
            return prefix;
        }
    }
}

impl Homes {
    /// No key is there yet.
    fn all_new(rows: &[u32]) -> Self {
        Self {
            found: Vec::new(),
            nowhere: rows.to_vec(),
        }
    }
}

impl<'a> Asked<'a> {
    /// The key of a row.
    fn key(&self, row: u32) -> &'a str {
        self.keys.value(row as usize)
    }
}

impl Room {
    /// Whether the group at `position` takes new keys while it is `bytes` long.
    fn is_open(&self, partition: &PartitionGroups, position: usize, bytes: u64) -> bool {
        let Some(group) = partition.groups().get(position) else {
            return false;
        };
        let has_logs = group.slice.base_file.is_none() || !group.slice.log_files.is_empty();
        bytes < self.small_group_bytes
            && !(self.base_files_only && has_logs)
            && !self.closed.contains(&position)
    }
}

/// The column by which the key-range index goes.
fn range_column<'a>(asked: &Asked<'a>) -> Result<key_value::KeyColumn<'a>> {
    let field = asked.context.range_field();
    let column = asked.records.column_by_name(field).ok_or_else(|| {
        Error::invalid(format!("record key column `{field}` is not in the batch"))
    })?;
    Ok(key_value::KeyColumn::new(column))
}
