//! Which captured table a table id of the binlog means, and how its rows are decoded.

use std::collections::HashMap;

use super::stream::StreamTable;
use crate::config::PipelineConfig;
use crate::error::{Error, Result};
use crate::source::mysql::binlog::{RowDecoder, TableMap};

/// Table ids of the current binlog file; `None` for tables that are not captured.
#[derive(Debug, Default)]
pub(super) struct TableMaps {
    by_id: HashMap<u64, Option<(usize, RowDecoder)>>,
}

impl TableMaps {
    /// Takes a TABLE_MAP event in; ids are recycled, so the newest map counts.
    pub(super) fn learn(
        &mut self,
        map: &TableMap,
        by_name: &HashMap<(String, String), usize>,
        tables: &[StreamTable],
        config: &PipelineConfig,
    ) -> Result<()> {
        let name = (map.database.clone(), map.table.clone());
        let Some(&index) = by_name.get(&name) else {
            self.by_id.insert(map.table_id, None);
            return Ok(());
        };
        if let Some(Some((known, decoder))) = self.by_id.get(&map.table_id)
            && *known == index
            && decoder.is_for(map)
        {
            return Ok(());
        }
        let source = &tables[index].source;
        let mut identity = source.primary_key.clone();
        if let Some(transform) = config.transform(&source.database, &source.name) {
            let positions = transform
                .partition_keys
                .iter()
                .chain(&transform.primary_keys);
            identity
                .extend(positions.filter_map(|key| {
                    source.columns.iter().position(|column| column.name == *key)
                }));
        }
        let decoder = RowDecoder::try_new(map, std::sync::Arc::clone(source), identity)?;
        self.by_id.insert(map.table_id, Some((index, decoder)));
        Ok(())
    }

    /// The captured table of `table_id` and its decoder; `None` if the table is not captured.
    pub(super) fn get(&self, table_id: u64) -> Result<Option<(usize, &RowDecoder)>> {
        match self.by_id.get(&table_id) {
            Some(Some((index, decoder))) => Ok(Some((*index, decoder))),
            Some(None) => Ok(None),
            None => Err(Error::new(
                crate::error::ErrorKind::Corrupt,
                format!("rows of table id {table_id} come before its TABLE_MAP event"),
            )),
        }
    }
}
