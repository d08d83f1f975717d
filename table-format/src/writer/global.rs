//! Keys that are unique in the whole table, not in their partition: a row that changes partition leaves the old one.
//!
//! Java: HoodieGlobalSimpleIndex, HoodieIndexUtils#mergeForPartitionUpdatesAndDeletionsIfNeeded. Asked for with
//! `hoodie.index.type=GLOBAL_SIMPLE` and its like; whether the row moves or stays where it was is said by
//! `hoodie.simple.index.update.partition.path` and its twins.

use std::collections::{BTreeMap, HashMap};

use crate::error::Result;
use crate::file_group::FileSlice;
use crate::index::Asked;
use crate::index::resolve::alive;
use crate::record::RowKind;
use crate::writer::combine::{Rows, combine};
use crate::writer::current_rows::{current_rows, record_keys};
use crate::writer::key_table::KeyTable;
use crate::writer::prepare::Prepared;
use crate::writer::upsert::Upserter;

/// A key of the batch that lives in another partition than its row.
struct Elsewhere<'a> {
    row: u32,
    path: &'a str,
    slice: &'a FileSlice,
}

impl Upserter {
    /// The changes of each partition, wherever their keys live now.
    pub(super) async fn spread_globally(
        &self,
        batch: &Prepared,
        moves: bool,
    ) -> Result<BTreeMap<String, Rows>> {
        let all: Vec<u32> = (0..).take(batch.records.num_rows()).collect();
        let combined = combine(&batch.keys, &batch.kinds, batch.order.as_ref(), &all);
        let mut own_path: Vec<&str> = vec![""; batch.records.num_rows()];
        for (path, rows) in &batch.partitions {
            for &row in rows {
                own_path[row as usize] = path;
            }
        }
        let rows: Vec<u32> = combined
            .upserts
            .iter()
            .chain(&combined.deletes)
            .copied()
            .collect();
        let elsewhere = self.find_elsewhere(batch, &own_path, &rows).await?;
        let stays = self.newer_elsewhere(batch, &elsewhere).await?;
        let mut spread: BTreeMap<String, Rows> = BTreeMap::new();
        let mut home: HashMap<u32, &str> = HashMap::new();
        for (Elsewhere { row, path, .. }, stays) in elsewhere.iter().zip(stays) {
            let is_delete = batch.kinds[*row as usize] == RowKind::Delete;
            if moves && !is_delete && stays {
                // The row that is there is newer than the change: neither moves.
                home.insert(*row, path);
            } else if moves || is_delete {
                let rows = spread.entry((*path).to_owned()).or_default();
                rows.deletes.push(*row);
            } else {
                home.insert(*row, path);
            }
        }
        for row in combined.upserts {
            let path = home.get(&row).copied().unwrap_or(own_path[row as usize]);
            spread.entry(path.to_owned()).or_default().upserts.push(row);
        }
        for row in combined.deletes {
            let path = own_path[row as usize];
            spread.entry(path.to_owned()).or_default().deletes.push(row);
        }
        Ok(spread)
    }

    async fn find_elsewhere<'a>(
        &'a self,
        batch: &Prepared,
        own_path: &[&str],
        rows: &[u32],
    ) -> Result<Vec<Elsewhere<'a>>> {
        let mut elsewhere = Vec::new();
        for (path, partition) in self.groups.partitions() {
            let strangers = rows.iter().filter(|row| own_path[**row as usize] != path);
            let strangers: Vec<u32> = strangers.copied().collect();
            let asked = Asked {
                context: &self.context,
                partition,
                records: &batch.records,
                keys: &batch.keys,
            };
            let homes = self.context.index.locate(asked, &strangers).await?;
            for (row, group) in alive(asked, homes.found).await? {
                if let Some(group) = partition.groups().get(group) {
                    elsewhere.push(Elsewhere {
                        row,
                        path,
                        slice: &group.slice,
                    });
                }
            }
        }
        Ok(elsewhere)
    }

    /// For each of them whether the row that is there has the higher ordering value.
    async fn newer_elsewhere(
        &self,
        batch: &Prepared,
        elsewhere: &[Elsewhere<'_>],
    ) -> Result<Vec<bool>> {
        let mut is_newer = vec![false; elsewhere.len()];
        let (Some(ordering), Some(order)) = (&self.context.ordering, &batch.order) else {
            return Ok(is_newer);
        };
        let mut by_slice: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (position, found) in elsewhere.iter().enumerate() {
            let group = (found.path, found.slice.file_id.as_str());
            by_slice.entry(group).or_default().push(position);
        }
        for positions in by_slice.into_values() {
            let Some(first) = positions.first() else {
                continue;
            };
            let mut table = KeyTable::with_room(batch.keys.clone(), positions.len());
            let mut of_row: HashMap<u32, usize> = HashMap::new();
            for &position in &positions {
                table.insert(elsewhere[position].row);
                of_row.insert(elsewhere[position].row, position);
            }
            let current = current_rows(
                &self.context,
                elsewhere[*first].slice,
                &table,
                ordering.names(),
            )
            .await?;
            let current_order = ordering.of(&current)?;
            for (row, key) in record_keys(&current)?.iter().enumerate() {
                let found = key.and_then(|key| table.find(key));
                if let Some(change) = found
                    && let Some(&position) = of_row.get(&change)
                {
                    is_newer[position] = current_order.row(row) > order.row(change as usize);
                }
            }
        }
        Ok(is_newer)
    }
}
