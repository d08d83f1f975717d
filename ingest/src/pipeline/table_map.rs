//! Which captured table a table id of the binlog means, and how its rows are decoded.

use std::collections::HashMap;
use std::sync::Arc;

use super::stream_lake::StreamLake;
use super::stream_table::StreamTable;
use crate::config::PipelineConfig;
use crate::error::{Error, ErrorKind, Result};
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
        lakes: &[StreamLake],
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
            let keys = transform.key_of(source);
            let positions = transform.partition_keys.iter().chain(&keys);
            identity
                .extend(positions.filter_map(|key| {
                    source.columns.iter().position(|column| column.name == *key)
                }));
        }
        let decoder = RowDecoder::try_new(map, Arc::clone(source), identity)
            .map_err(|error| with_remedy(error, &tables[index], lakes))?;
        self.by_id.insert(map.table_id, Some((index, decoder)));
        Ok(())
    }

    /// Leaves the rows of an id out until its next map.
    pub(super) fn ignore(&mut self, table_id: u64) {
        self.by_id.insert(table_id, None);
    }

    /// Forgets all ids: the next rows of each table come behind a map of it.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }

    /// The captured table of `table_id` and its decoder; `None` if the table is not captured.
    pub(super) fn get(&self, table_id: u64) -> Result<Option<(usize, &RowDecoder)>> {
        match self.by_id.get(&table_id) {
            Some(Some((index, decoder))) => Ok(Some((*index, decoder))),
            Some(None) => Ok(None),
            None => Err(Error::new(
                ErrorKind::Corrupt,
                format!("rows of table id {table_id} come before its TABLE_MAP event"),
            )),
        }
    }
}

/// Says what to do about rows that do not look as the columns that are known say: trying again would not help.
fn with_remedy(error: Error, table: &StreamTable, lakes: &[StreamLake]) -> Error {
    if error.kind() != ErrorKind::Conflict {
        return error;
    }
    let why = match &table.not_understood {
        Some(sql) => format!(
            "the statement `{sql}` was not understood, and the columns of today are not those of that time"
        ),
        None => "the log does not tell how the columns came to differ".to_owned(),
    };
    Error::invalid(format!(
        "{error}; {why}: remove the lake table {} and start again to load it anew",
        lakes[table.lake].lake.name()
    ))
    .with_source(error)
}
