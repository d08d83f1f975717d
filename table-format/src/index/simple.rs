//! The simple index: keys are joined with those in the base files of their partition.
//!
//! It trusts no footer, so it is right for base files of any writer. Java: HoodieSimpleIndex.

use async_trait::async_trait;

use crate::error::Result;
use crate::index::stored_keys::{fill_small_groups, find_stored};
use crate::index::{Asked, Homes, Index, Room, Target};

/// See the module.
#[derive(Debug)]
pub(super) struct SimpleIndex;

#[async_trait]
impl Index for SimpleIndex {
    async fn locate(&self, asked: Asked<'_>, rows: &[u32]) -> Result<Homes> {
        find_stored(asked, rows, &|_| true).await
    }

    fn place(&self, asked: Asked<'_>, rows: &[u32], room: &Room) -> Result<Vec<(u32, Target)>> {
        Ok(fill_small_groups(asked.partition, &asked, rows, room))
    }
}
