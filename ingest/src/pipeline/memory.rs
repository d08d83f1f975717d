//! How a pipeline divides its memory ceiling among those who draw on it.

const MIB: u64 = 1 << 20;

/// Sizes that keep the sum of all buffers below the ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    /// Connections that read a snapshot in parallel.
    pub(crate) snapshot_workers: usize,
    /// Rows of a reader are handed on when they take this much.
    pub(crate) batch_bytes: u64,
    /// A base file's row group is written out when it takes this much.
    pub(crate) row_group_bytes: u64,
    /// A chunk of a snapshot is about this much at the source.
    pub(crate) chunk_bytes: u64,
    /// A run of chunks is about this much at the source, to fill one base file.
    pub(crate) file_source_bytes: u64,
    /// Changes from the log are handed to the writers when they take this much.
    pub(crate) stream_bytes: u64,
}

impl MemoryPlan {
    pub(crate) fn new(ceiling_bytes: u64, cores: usize) -> Self {
        let fitting = usize::try_from(ceiling_bytes / (20 * MIB)).unwrap_or(usize::MAX);
        let snapshot_workers = fitting.clamp(1, cores + 1).min(8);
        let per_worker = ceiling_bytes * 3 / 5 / snapshot_workers as u64;
        Self {
            snapshot_workers,
            batch_bytes: (per_worker / 16).clamp(256 << 10, 4 * MIB),
            row_group_bytes: (per_worker / 2).clamp(2 * MIB, 64 * MIB),
            chunk_bytes: 16 * MIB,
            file_source_bytes: 384 * MIB,
            stream_bytes: (ceiling_bytes / 8).clamp(2 * MIB, 128 * MIB),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_stay_below_the_ceiling() {
        for ceiling in [32 * MIB, 64 * MIB, 256 * MIB, 512 * MIB, 8192 * MIB] {
            let plan = MemoryPlan::new(ceiling, 2);
            let snapshot =
                plan.snapshot_workers as u64 * (plan.row_group_bytes + 4 * plan.batch_bytes);
            assert!(snapshot <= ceiling, "{ceiling}: {plan:?}");
            assert!(plan.stream_bytes * 4 <= ceiling, "{ceiling}: {plan:?}");
        }
    }
}
