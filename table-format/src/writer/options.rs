//! How a writer writes, from `hoodie.*` options and what the process grants it.

use std::collections::BTreeMap;

use parquet::basic::{Compression, GzipLevel, ZstdLevel};

use crate::config::IndexType;
use crate::error::{Error, Result};
use crate::file_group::BaseFileOptions;
use crate::transaction::FailedWrites;

const MIB: u64 = 1 << 20;
const SORT_MODE: &str = "hoodie.bulkinsert.sort.mode";
const PARTIAL_UPDATE: &str = "hoodie.lakebed.partial.update";

/// Settings of a [`TableWriter`](crate::writer::TableWriter).
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// What base files look like.
    pub(crate) base_file: BaseFileOptions,
    /// A base file is finished at about this length (`hoodie.parquet.max.file.size`, 120 MiB).
    pub(crate) file_bytes_max: u64,
    /// A group below this length takes new keys (`hoodie.parquet.small.file.limit`, 100 MiB).
    pub(crate) small_file_bytes: u64,
    /// A log block is closed at about this length (`hoodie.logfile.data.block.max.size`, at most 16 MiB).
    pub(crate) log_block_bytes: u64,
    /// File groups that are written side by side.
    pub(crate) parallelism: usize,
    /// What inserts do.
    pub(crate) inserts: InsertOptions,
    /// Whether a row keeps the columns that an upsert lacks (`hoodie.lakebed.partial.update`, false; an option of ours).
    pub(crate) updates_partially: bool,
    /// Keys are unique in the whole table (`hoodie.index.type=GLOBAL_SIMPLE` and its like); true: a row whose partition changes
    /// moves, false: it stays where it was.
    pub(crate) global_keys: Option<bool>,
    /// All properties, as they were given.
    pub(crate) properties: BTreeMap<String, String>,
    /// Which pending writes of others are rolled back (`hoodie.clean.failed.writes.policy`, EAGER).
    pub(crate) failed_writes: FailedWrites,
}

/// What operations do that look no keys up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InsertOptions {
    /// Whether one row of a key is kept (`hoodie.combine.before.insert`, false).
    pub(crate) combines: bool,
    /// Whether an insert into a small group leaves rows of the same key alone (`hoodie.merge.allow.duplicate.on.inserts`, true).
    pub(crate) allows_duplicates: bool,
    /// Whether bulk inserts are sorted by key (`hoodie.bulkinsert.sort.mode`, GLOBAL_SORT; Hudi's default is NONE, which
    /// makes the key ranges of its files overlap).
    pub(crate) sorts_bulk: bool,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            base_file: BaseFileOptions {
                compression: Compression::SNAPPY,
                row_group_bytes: 16 * MIB,
                bloom_fpp: 0.01,
            },
            file_bytes_max: 120 * MIB,
            small_file_bytes: 100 * MIB,
            log_block_bytes: 16 * MIB,
            parallelism: 2,
            inserts: InsertOptions {
                combines: false,
                allows_duplicates: true,
                sorts_bulk: true,
            },
            updates_partially: false,
            global_keys: None,
            properties: BTreeMap::new(),
            failed_writes: FailedWrites::default(),
        }
    }
}

impl WriterOptions {
    /// The options that `properties` set; keys that mean nothing here are left to others.
    ///
    /// # Errors
    /// `Invalid` for a value that does not parse or is out of range.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let mut options = Self {
            failed_writes: FailedWrites::from_properties(properties)?,
            ..Self::default()
        };
        if let Some(codec) = properties.get("hoodie.parquet.compression.codec") {
            options.base_file.compression = compression(codec)?;
        }
        if let Some(fpp) = properties.get("hoodie.index.bloom.fpp") {
            options.base_file.bloom_fpp = fpp
                .parse()
                .ok()
                .filter(|fpp| (1e-12..1.0).contains(fpp))
                .ok_or_else(|| {
                    bad_value("hoodie.index.bloom.fpp", fpp, "a number from 1e-12 to 1")
                })?;
        }
        let bytes_from = |least: u64, key: &str, target: &mut u64| -> Result<()> {
            match properties.get(key) {
                None => Ok(()),
                Some(text) => {
                    *target = text
                        .parse()
                        .ok()
                        .filter(|&bytes| bytes >= least)
                        .ok_or_else(|| bad_value(key, text, "a number of bytes"))?;
                    Ok(())
                }
            }
        };
        let bytes = |key: &str, target: &mut u64| bytes_from(1, key, target);
        bytes("hoodie.parquet.max.file.size", &mut options.file_bytes_max)?;
        // With none no file is small, and new rows get files of their own.
        bytes_from(
            0,
            "hoodie.parquet.small.file.limit",
            &mut options.small_file_bytes,
        )?;
        bytes(
            "hoodie.parquet.block.size",
            &mut options.base_file.row_group_bytes,
        )?;
        bytes(
            "hoodie.logfile.data.block.max.size",
            &mut options.log_block_bytes,
        )?;
        flag(
            properties,
            "hoodie.combine.before.insert",
            &mut options.inserts.combines,
        )?;
        flag(
            properties,
            "hoodie.merge.allow.duplicate.on.inserts",
            &mut options.inserts.allows_duplicates,
        )?;
        flag(properties, PARTIAL_UPDATE, &mut options.updates_partially)?;
        if let Some(mode) = properties.get(SORT_MODE) {
            options.inserts.sorts_bulk = sorts_bulk(mode)?;
        }
        options.global_keys = global_keys(properties)?;
        if options.updates_partially && options.global_keys == Some(true) {
            return Err(Error::invalid(format!(
                "{PARTIAL_UPDATE} does not go with an index that moves rows between partitions"
            )));
        }
        options.properties.clone_from(properties);
        options.log_block_bytes = options.log_block_bytes.min(16 * MIB);
        options.small_file_bytes = options.small_file_bytes.min(options.file_bytes_max);
        Ok(options)
    }

    /// Whether rows keep the columns that an upsert lacks.
    pub fn updates_partially(&self) -> bool {
        self.updates_partially
    }

    /// Closes row groups at `bytes`, so that writers stay within the memory they are granted.
    #[must_use]
    pub fn with_row_group_bytes(mut self, bytes: u64) -> Self {
        self.base_file.row_group_bytes = bytes.max(MIB);
        self
    }

    /// Closes row groups at `bytes` at the latest.
    #[must_use]
    pub fn with_row_group_bytes_max(self, bytes: u64) -> Self {
        let bytes = bytes.min(self.base_file.row_group_bytes);
        self.with_row_group_bytes(bytes)
    }

    /// Writes up to `groups` file groups side by side.
    #[must_use]
    pub fn with_parallelism(mut self, groups: usize) -> Self {
        self.parallelism = groups.max(1);
        self
    }
}

fn sorts_bulk(mode: &str) -> Result<bool> {
    match mode.to_ascii_uppercase().as_str() {
        "GLOBAL_SORT" | "PARTITION_SORT" => Ok(true),
        "NONE" => Ok(false),
        _ => Err(bad_value(
            SORT_MODE,
            mode,
            "GLOBAL_SORT, PARTITION_SORT or NONE",
        )),
    }
}

fn compression(codec: &str) -> Result<Compression> {
    Ok(match codec.to_ascii_lowercase().as_str() {
        "uncompressed" | "none" => Compression::UNCOMPRESSED,
        "snappy" => Compression::SNAPPY,
        "gzip" => Compression::GZIP(GzipLevel::default()),
        "zstd" => Compression::ZSTD(ZstdLevel::default()),
        "lz4_raw" => Compression::LZ4_RAW,
        _ => {
            let allowed = "uncompressed, snappy, gzip, zstd or lz4_raw";
            return Err(bad_value(
                "hoodie.parquet.compression.codec",
                codec,
                allowed,
            ));
        }
    })
}

/// Java: HoodieIndexConfig. Other indexes keep keys unique within partitions.
fn global_keys(properties: &BTreeMap<String, String>) -> Result<Option<bool>> {
    let Some(option) = IndexType::of(properties)?.update_partition_option() else {
        return Ok(None);
    };
    let mut moves = true;
    flag(properties, option, &mut moves)?;
    Ok(Some(moves))
}

fn flag(properties: &BTreeMap<String, String>, key: &str, target: &mut bool) -> Result<()> {
    match properties.get(key).map(|value| value.trim()) {
        None => {}
        Some(value) if value.eq_ignore_ascii_case("true") => *target = true,
        Some(value) if value.eq_ignore_ascii_case("false") => *target = false,
        Some(value) => return Err(bad_value(key, value, "true or false")),
    }
    Ok(())
}

fn bad_value(key: &str, value: &str, expected: &str) -> Error {
    Error::invalid(format!("{key}={value}: expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn options(pairs: &[(&str, &str)]) -> Result<WriterOptions> {
        let properties = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        WriterOptions::from_properties(&properties)
    }

    #[test]
    fn reads_hudi_keys_and_refuses_bad_values() {
        let set = options(&[
            ("hoodie.parquet.compression.codec", "ZSTD"),
            ("hoodie.parquet.max.file.size", "1048576"),
            ("hoodie.other", "x"),
        ])
        .unwrap();
        assert!(matches!(set.base_file.compression, Compression::ZSTD(_)));
        assert_eq!(
            (set.file_bytes_max, set.small_file_bytes),
            (1_048_576, 1_048_576)
        );
        let none_small = options(&[("hoodie.parquet.small.file.limit", "0")]).unwrap();
        assert_eq!(none_small.small_file_bytes, 0);
        for (key, value) in [
            ("hoodie.parquet.compression.codec", "brotli"),
            ("hoodie.parquet.max.file.size", "0"),
            ("hoodie.parquet.max.file.size", "many"),
            ("hoodie.index.bloom.fpp", "2"),
        ] {
            assert_eq!(
                options(&[(key, value)]).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{key}"
            );
        }
    }
}
