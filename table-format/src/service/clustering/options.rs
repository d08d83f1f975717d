//! What of `hoodie.*` steers clustering: Hudi's own keys, defaults and class names.
//!
//! Java: HoodieClusteringConfig.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use super::packing::Packing;
use super::partitions::PartitionChoice;
use super::sort::Layout;
use super::trigger::Trigger;
use crate::error::{Error, Result};
use crate::writer::WriterOptions;

pub(super) const SORT_COLUMNS: &str = "hoodie.clustering.plan.strategy.sort.columns";
pub(super) const LAYOUT: &str = "hoodie.layout.optimize.strategy";
const PLAN_STRATEGY: &str = "hoodie.clustering.plan.strategy.class";
const EXECUTION_STRATEGY: &str = "hoodie.clustering.execution.strategy.class";
const SMALL_FILE_LIMIT: &str = "hoodie.clustering.plan.strategy.small.file.limit";
const TARGET_FILE_BYTES: &str = "hoodie.clustering.plan.strategy.target.file.max.bytes";
const GROUP_BYTES_MAX: &str = "hoodie.clustering.plan.strategy.max.bytes.per.group";
const GROUPS_MAX: &str = "hoodie.clustering.plan.strategy.max.num.groups";
const SINGLE_GROUPS: &str = "hoodie.clustering.plan.strategy.single.group.clustering.enabled";
const FILTER_MODE: &str = "hoodie.clustering.plan.partition.filter.mode";
const PARTITION_REGEX: &str = "hoodie.clustering.plan.strategy.partition.regex.pattern";
const PARTITIONS: &str = "hoodie.clustering.plan.strategy.partition.selected";
const INLINE: &str = "hoodie.clustering.inline";
const INLINE_COMMITS: &str = "hoodie.clustering.inline.max.commits";
const ASYNC: &str = "hoodie.clustering.async.enabled";
const ASYNC_COMMITS: &str = "hoodie.clustering.async.max.commits";
const INDEX_TYPE: &str = "hoodie.index.type";
/// Where rows lie that are sorted and do not fit into memory. Java: HoodieMemoryConfig#SPILLABLE_MAP_BASE_PATH.
const SPILL_PATH: &str = "hoodie.memory.spillable.map.path";
/// Groups of slices that are rewritten side by side. Java: HoodieClusteringConfig#CLUSTERING_MAX_PARALLELISM.
const PARALLELISM: &str = "hoodie.clustering.max.parallelism";

/// Settings of the clusterings of one table.
#[derive(Debug, Clone)]
pub(super) struct ClusteringOptions {
    /// When a clustering is due beside a writer.
    pub(super) trigger: Trigger,
    /// In which partitions.
    pub(super) partitions: PartitionChoice,
    /// Which slices, and which of them together.
    pub(super) packing: Packing,
    /// By what rows are sorted, if the plan names no columns.
    pub(super) sort_columns: Vec<String>,
    /// How the columns make an order.
    pub(super) layout: Layout,
    /// For runs of sorted rows.
    pub(super) spill_dir: PathBuf,
    /// What base files look like, and how many groups are rewritten side by side.
    pub(super) writer: WriterOptions,
}

impl ClusteringOptions {
    /// The options that `properties` set; keys that mean nothing here are left to others.
    ///
    /// # Errors
    /// `Invalid` for a value that does not parse; `Unsupported` for what Hudi knows and this version does not.
    pub(super) fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        require_class(
            properties,
            PLAN_STRATEGY,
            "SparkSizeBasedClusteringPlanStrategy",
        )?;
        require_class(
            properties,
            EXECUTION_STRATEGY,
            "SparkSortAndSizeExecutionStrategy",
        )?;
        let mode = properties.get(FILTER_MODE).map(|text| text.trim());
        if let Some(mode) = mode.filter(|mode| !mode.eq_ignore_ascii_case("NONE")) {
            return Err(Error::unsupported(format!(
                "{FILTER_MODE}={mode}: only NONE; choose partitions by {PARTITIONS} or {PARTITION_REGEX}"
            )));
        }
        let trigger = Trigger {
            inline_commits: flag(properties, INLINE, false)?
                .then(|| number(properties, INLINE_COMMITS, 4))
                .transpose()?,
            async_commits: flag(properties, ASYNC, false)?
                .then(|| number(properties, ASYNC_COMMITS, 4))
                .transpose()?,
        };
        let index = properties.get(INDEX_TYPE).map(|text| text.trim());
        if trigger.is_asked_for()
            && let Some(bucket) = index.filter(|index| index.eq_ignore_ascii_case("BUCKET"))
        {
            return Err(Error::unsupported(format!(
                "{INDEX_TYPE}={bucket}: the buckets would lose their file groups; leave {INLINE} and {ASYNC} out, and cluster \
                 the table with Spark"
            )));
        }
        let writer = WriterOptions::from_properties(properties)?;
        let parallelism = number(properties, PARALLELISM, writer.parallelism as u64)?;
        let sort_columns = names(properties.get(SORT_COLUMNS));
        let spill_dir = properties.get(SPILL_PATH).map(|text| text.trim().into());
        Ok(Self {
            trigger,
            partitions: PartitionChoice::try_new(
                properties.get(PARTITIONS).map(String::as_str),
                properties.get(PARTITION_REGEX).map(String::as_str),
            )
            .map_err(|error| error.context(PARTITION_REGEX))?,
            packing: Packing {
                small_file_bytes: number(properties, SMALL_FILE_LIMIT, 300 << 20)?,
                target_file_bytes: number(properties, TARGET_FILE_BYTES, 1 << 30)?.max(1),
                group_bytes_max: number(properties, GROUP_BYTES_MAX, 2 << 30)?,
                groups_max: number(properties, GROUPS_MAX, 30)?,
                takes_single_groups: flag(properties, SINGLE_GROUPS, true)?
                    && !sort_columns.is_empty(),
                base_file_bytes: writer.file_bytes_max,
            },
            sort_columns,
            layout: properties
                .get(LAYOUT)
                .map_or(Ok(Layout::Linear), |text| text.trim().parse())?,
            spill_dir: spill_dir.unwrap_or_else(std::env::temp_dir),
            writer: writer.with_parallelism(usize::try_from(parallelism).unwrap_or(usize::MAX)),
        })
    }
}

/// A list of names, separated by commas.
pub(super) fn names(text: Option<&String>) -> Vec<String> {
    let names = text.into_iter().flat_map(|text| text.split(','));
    names
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Fails for any other Java class, with or without its package.
fn require_class(properties: &BTreeMap<String, String>, key: &str, known: &str) -> Result<()> {
    let Some(text) = properties.get(key) else {
        return Ok(());
    };
    if text.trim().rsplit('.').next() == Some(known) {
        return Ok(());
    }
    Err(Error::unsupported(format!("{key}={text}: only {known}")))
}

fn number<T: FromStr>(properties: &BTreeMap<String, String>, key: &str, default: T) -> Result<T> {
    let Some(text) = properties.get(key) else {
        return Ok(default);
    };
    let number = text.trim().parse();
    number.map_err(|_| Error::invalid(format!("{key}={text}: expected a number from 0 on")))
}

fn flag(properties: &BTreeMap<String, String>, key: &str, default: bool) -> Result<bool> {
    match properties.get(key).map(|text| text.trim()) {
        None => Ok(default),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(text) => Err(Error::invalid(format!(
            "{key}={text}: expected true or false"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn options(pairs: &[(&str, &str)]) -> Result<ClusteringOptions> {
        let properties = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ClusteringOptions::from_properties(&properties.collect())
    }

    #[test]
    fn takes_the_keys_and_defaults_of_hudi() {
        let default = options(&[]).unwrap();
        assert_eq!(
            (default.packing.small_file_bytes, default.packing.groups_max),
            (314_572_800, 30)
        );
        assert!(!default.trigger.is_asked_for() && !default.packing.takes_single_groups);
        let set = options(&[
            (
                PLAN_STRATEGY,
                "org.apache.hudi.client.clustering.plan.strategy.SparkSizeBasedClusteringPlanStrategy",
            ),
            (SORT_COLUMNS, "city, ts"),
            (LAYOUT, "Z-ORDER"),
            (TARGET_FILE_BYTES, "1000"),
            (ASYNC, "true"),
            (ASYNC_COMMITS, "7"),
            (PARALLELISM, "5"),
        ])
        .unwrap();
        assert_eq!(set.sort_columns, ["city", "ts"]);
        assert_eq!(set.layout, Layout::ZOrder);
        assert_eq!(set.packing.target_file_bytes, 1000);
        assert_eq!(
            (set.trigger.inline_commits, set.trigger.async_commits),
            (None, Some(7))
        );
        assert!(set.packing.takes_single_groups);
        assert_eq!(set.writer.parallelism, 5);
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for (key, value, kind) in [
            (SMALL_FILE_LIMIT, "-1", ErrorKind::Invalid),
            (INLINE, "yes", ErrorKind::Invalid),
            (PARTITION_REGEX, "(", ErrorKind::Invalid),
            (LAYOUT, "hilbert", ErrorKind::Unsupported),
            (LAYOUT, "spiral", ErrorKind::Invalid),
            (FILTER_MODE, "RECENT_DAYS", ErrorKind::Unsupported),
            (
                PLAN_STRATEGY,
                "org.example.MyPlanStrategy",
                ErrorKind::Unsupported,
            ),
        ] {
            let error = options(&[(key, value)]).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    /// The settings of a daemon: a bucketed table is no mistake as long as nobody asks for its clustering.
    #[test]
    fn refuses_buckets_where_clustering_is_asked_for() {
        assert!(options(&[(INDEX_TYPE, "BUCKET")]).is_ok());
        let error = options(&[(INDEX_TYPE, "BUCKET"), (ASYNC, "true")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(INDEX_TYPE), "{error}");
    }
}
