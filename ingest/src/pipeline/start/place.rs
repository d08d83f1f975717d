//! From where the log is needed, on the server that it came from or on one that takes over.

use super::{Start, StartLake, StartTable};
use crate::checkpoint::TableCheckpoint;
use crate::error::{Error, Result};
use crate::position::{BinlogPosition, GtidSet};
use crate::source::mysql::safe_position::current_position;

impl Start {
    /// From where the log is needed: the lowest position of the tables.
    ///
    /// File and offset mean nothing on another server. If the source has become another one, as after a failover, reading goes
    /// on by GTID, behind the transactions that all tables hold.
    pub(in crate::pipeline) async fn position(&mut self) -> Result<BinlogPosition> {
        let here = current_position(&mut self.control).await?;
        let positions = || {
            self.tables()
                .filter_map(|(_, table)| Some(&table.checkpoint.as_ref()?.position))
        };
        if positions().all(|position| position.is_same_server(&here) && !position.is_by_gtid()) {
            return positions()
                .min()
                .cloned()
                .ok_or_else(|| Error::internal("a pipeline without tables has no position"));
        }
        let mut common: Option<GtidSet> = None;
        for (lake, table) in self.tables() {
            let Some(checkpoint) = &table.checkpoint else {
                continue;
            };
            let is_moved = !checkpoint.position.is_same_server(&here);
            let gtid = checkpoint
                .position
                .gtid
                .as_ref()
                .filter(|_| here.gtid.is_some());
            let Some(gtid) = gtid.filter(|_| !is_moved || checkpoint.snapshot.is_none()) else {
                return Err(self.foreign(lake, checkpoint, &here));
            };
            let held: GtidSet = gtid.parse()?;
            common = Some(common.map_or_else(|| held.clone(), |common| common.common(&held)));
            if is_moved {
                tracing::warn!(
                    table = %table.discovered.table,
                    from = checkpoint.position.server,
                    to = here.server,
                    "the source is another server; reading goes on by GTID"
                );
            }
        }
        let common =
            common.ok_or_else(|| Error::internal("a pipeline without tables has no position"))?;
        Ok(BinlogPosition::of_gtid(common.to_string(), here.server))
    }

    /// A table whose position means nothing here.
    fn foreign(
        &self,
        lake: &StartLake,
        checkpoint: &TableCheckpoint,
        here: &BinlogPosition,
    ) -> Error {
        Error::invalid(format!(
            "{} was read up to {} of {}, but {} is {}, and {}; point source.hostname at that server, or remove the lake table to load it anew",
            lake.lake.name(),
            checkpoint.position,
            checkpoint.position.server,
            self.options.endpoint(),
            here.server,
            match checkpoint.snapshot {
                Some(_) => "a snapshot cannot be finished on another server",
                None => "without GTIDs on both one says nothing about the other",
            }
        ))
    }

    /// Names the tables and the server that they were read from, for an error about a position that this one does not know.
    pub(in crate::pipeline) fn origins(&self) -> String {
        let origin = |(lake, table): (&StartLake, &StartTable)| {
            let checkpoint = table.checkpoint.as_ref()?;
            Some(format!(
                "{} was read from {}",
                lake.lake.name(),
                checkpoint.position.server
            ))
        };
        self.tables()
            .filter_map(origin)
            .collect::<Vec<_>>()
            .join(", ")
    }
}
