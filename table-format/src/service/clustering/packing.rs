//! Which slices a clustering takes, and which of them together.
//!
//! Java: SparkSizeBasedClusteringPlanStrategy. The slices of a partition come largest first and fill one group after the
//! other; each group is rewritten on its own.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::file_group::FileSlice;

/// Chooses slices and packs them into groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packing {
    /// Slices with a base file of this length or more stay as they are.
    pub(super) small_file_bytes: u64,
    /// Length at which a new base file is finished.
    pub(super) target_file_bytes: u64,
    /// Base files of one group, together.
    pub(super) group_bytes_max: u64,
    /// Groups of one plan.
    pub(super) groups_max: usize,
    /// Whether a slice may be rewritten alone, which is of use only where rows are sorted.
    pub(super) takes_single_groups: bool,
    /// What a slice without a base file is taken for.
    pub(super) base_file_bytes: u64,
}

/// Slices of one partition that are rewritten together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedGroup {
    pub(super) slices: Vec<FileSlice>,
    /// About how many base files come out.
    pub(super) output_file_groups: u64,
}

impl Packing {
    /// Whether a slice is small. Whatever the limit, one that is as long as a new file would be is not: it would be taken
    /// again and again.
    pub(super) fn is_small(&self, slice: &FileSlice) -> bool {
        let limit = self.small_file_bytes.min(self.target_file_bytes);
        let base = slice.base_file.as_ref();
        base.map_or(0, |file| file.size_bytes) < limit
    }

    /// Packs small slices; `is_sorted` says of a slice whether its rows are in order already.
    pub(super) fn pack(
        &self,
        slices: Vec<FileSlice>,
        is_sorted: impl Fn(&FileSlice) -> bool,
    ) -> Vec<PlannedGroup> {
        let mut partitions: BTreeMap<String, Vec<FileSlice>> = BTreeMap::new();
        for slice in slices {
            let partition = partitions.entry(slice.partition_path.clone());
            partition.or_default().push(slice);
        }
        let mut groups: Vec<PlannedGroup> = Vec::new();
        for slices in partitions.into_values() {
            groups.extend(self.pack_partition(slices));
        }
        groups.retain(|group| match group.slices.as_slice() {
            [alone] => self.takes_single_groups && !is_sorted(alone),
            _ => true,
        });
        groups.truncate(self.groups_max);
        groups
    }

    fn pack_partition(&self, mut slices: Vec<FileSlice>) -> Vec<PlannedGroup> {
        slices.sort_by_key(|slice| Reverse(self.bytes_of(slice)));
        let mut groups = Vec::new();
        let (mut open, mut bytes) = (Vec::new(), 0);
        for slice in slices {
            let more = self.bytes_of(&slice);
            if !open.is_empty() && bytes + more > self.group_bytes_max {
                groups.push(self.group(std::mem::take(&mut open), bytes));
                bytes = 0;
            }
            open.push(slice);
            bytes += more;
        }
        if !open.is_empty() {
            groups.push(self.group(open, bytes));
        }
        groups
    }

    fn group(&self, slices: Vec<FileSlice>, bytes: u64) -> PlannedGroup {
        PlannedGroup {
            slices,
            output_file_groups: bytes.div_ceil(self.target_file_bytes).max(1),
        }
    }

    fn bytes_of(&self, slice: &FileSlice) -> u64 {
        let base = slice.base_file.as_ref();
        base.map_or(self.base_file_bytes, |file| file.size_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_group::BaseFile;
    use crate::timeline::InstantTime;

    fn slice(partition_path: &str, file_id: &str, bytes: u64) -> FileSlice {
        let instant: InstantTime = "1".parse().unwrap();
        let base_file = (bytes > 0).then(|| BaseFile {
            file_id: file_id.to_owned(),
            write_token: "0-0-0".to_owned(),
            instant: instant.clone(),
            extension: "parquet".to_owned(),
            size_bytes: bytes,
        });
        FileSlice {
            partition_path: partition_path.to_owned(),
            file_id: file_id.to_owned(),
            base_instant: instant,
            base_file,
            log_files: Vec::new(),
        }
    }

    const PACKING: Packing = Packing {
        small_file_bytes: 100,
        target_file_bytes: 150,
        group_bytes_max: 200,
        groups_max: 10,
        takes_single_groups: false,
        base_file_bytes: 120,
    };

    /// Groups as `ids>outputs`.
    fn packed(packing: Packing, slices: &[(&str, &str, u64)]) -> Vec<String> {
        let slices = slices
            .iter()
            .map(|(path, id, bytes)| slice(path, id, *bytes))
            .filter(|slice| packing.is_small(slice));
        let groups = packing.pack(slices.collect(), |slice| slice.file_id == "sorted");
        let text = |group: &PlannedGroup| {
            let ids: Vec<&str> = group.slices.iter().map(|it| it.file_id.as_str()).collect();
            format!("{}>{}", ids.join("+"), group.output_file_groups)
        };
        groups.iter().map(text).collect()
    }

    #[test]
    fn small_slices_of_a_partition_fill_groups_largest_first() {
        let slices = [
            ("p", "a", 90),
            ("p", "large", 100),
            ("p", "b", 99),
            ("p", "c", 20),
            ("q", "d", 0),
            ("q", "e", 1),
            ("r", "alone", 5),
        ];
        assert_eq!(packed(PACKING, &slices), ["b+a>2", "d+e>1"]);
        let limited = Packing {
            groups_max: 1,
            ..PACKING
        };
        assert_eq!(packed(limited, &slices), ["b+a>2"]);
    }

    #[test]
    fn lone_slices_are_taken_to_be_sorted_once() {
        let slices = [
            ("p", "a", 5),
            ("q", "sorted", 5),
            ("r", "sorted", 5),
            ("r", "b", 6),
        ];
        let sorting = Packing {
            takes_single_groups: true,
            ..PACKING
        };
        assert_eq!(packed(sorting, &slices), ["a>1", "b+sorted>1"]);
        assert_eq!(packed(PACKING, &slices), ["b+sorted>1"]);
    }

    #[test]
    fn what_is_as_long_as_a_new_file_is_not_small() {
        let packing = Packing {
            small_file_bytes: 1_000,
            ..PACKING
        };
        assert!(packing.is_small(&slice("p", "a", 149)));
        assert!(!packing.is_small(&slice("p", "a", 150)));
    }
}
