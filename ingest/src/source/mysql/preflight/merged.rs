//! Checks of tables that go to one lake table.

use std::collections::BTreeMap;

use super::{Finding, Level, PreflightRequest};
use crate::config::{Transform, record_key, sink_table};
use crate::schema::SourceTable;
use crate::source::mysql::discovery::DiscoveredTable;

pub(super) fn check(
    found: &[DiscoveredTable],
    request: &PreflightRequest<'_>,
    findings: &mut Vec<Finding>,
) {
    let mut lakes: BTreeMap<String, Vec<&SourceTable>> = BTreeMap::new();
    for DiscoveredTable { table, .. } in found.iter().filter(|found| found.is_base_table()) {
        let lake = sink_table(request.routes, &table.database, &table.name);
        lakes.entry(lake).or_default().push(table);
    }
    let merged = lakes.into_iter().filter(|(_, tables)| tables.len() > 1);
    for (lake, tables) in merged {
        findings.extend(keys(lake, &tables, request.transforms));
    }
}

/// Whether rows of several tables can be told apart in the lake table that they go to.
fn keys(lake: String, tables: &[&SourceTable], transforms: &[Transform]) -> Option<Finding> {
    let key = |table: &SourceTable| record_key(transforms, table);
    let (first, rest) = tables.split_first()?;
    let first_key = key(first);
    if let Some(other) = rest.iter().find(|table| key(table) != first_key) {
        let message = format!(
            "{first} is keyed by {}, {other} by {}, and both go to it: choose `primary-keys` in a transform that matches both, \
             or give each a sink-table of its own",
            first_key.join(", "),
            key(other).join(", ")
        );
        return Some(Finding::new(Level::Error, lake, message));
    }
    let is_of_table = |name: &String| first.columns.iter().any(|column| column.name == *name);
    if !first_key.iter().all(is_of_table) {
        return None;
    }
    let message = format!(
        "{} tables are merged into it by {}: of rows that have the same key in two of them one is kept. Where that may happen, \
         let a transform add `__table__ AS shard` to the projection and `shard` to primary-keys",
        tables.len(),
        first_key.join(", ")
    );
    Some(Finding::new(Level::Info, lake, message))
}
