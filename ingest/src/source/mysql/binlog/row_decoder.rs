//! Row images into a batch: which columns an image holds, what an update means, and column by column the values.

use std::ops::Range;
use std::sync::Arc;

use table_format::record::RowKind;

use super::column_decoder::ColumnDecoder;
use super::{RowsEvent, RowsKind, TableMap};
use crate::batch::{BatchBuilder, ByteReader, DecodeError, column_error};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::SourceTable;

/// Decodes the rows of one table as long as its layout stays the same.
#[derive(Debug)]
pub struct RowDecoder {
    table: Arc<SourceTable>,
    columns: Vec<ColumnDecoder>,
    /// Columns whose change moves a row to another record key or partition.
    identity: Vec<usize>,
    layout: Vec<u8>,
}

/// Where the values of one image lie in the rows of an event; `None` for nulls and columns that it lacks.
type Places = Vec<Option<Range<usize>>>;

impl RowDecoder {
    /// A decoder for rows of `map`, whose columns `table` describes. `identity` are the positions of the columns that
    /// make the record key and the partition path.
    ///
    /// # Errors
    /// `Conflict` when number, names or types of the columns differ: `table` is not the schema in force at this place
    /// of the log. `Unsupported` for columns that cannot be read.
    pub fn try_new(
        map: &TableMap,
        table: Arc<SourceTable>,
        mut identity: Vec<usize>,
    ) -> Result<Self> {
        check_columns(map, &table)?;
        let decoder = |(column, image)| ColumnDecoder::try_new(column, image);
        let decoders = table
            .columns
            .iter()
            .zip(map.columns.iter().copied())
            .map(|pair| {
                decoder(pair).map_err(|error| error.context(format!("{table}.{}", pair.0.name)))
            });
        let columns = decoders.collect::<Result<Vec<_>>>()?;
        identity.sort_unstable();
        identity.dedup();
        if identity.last().is_some_and(|last| *last >= columns.len()) {
            return Err(Error::internal(format!(
                "{table}: a key column is not one of its columns"
            )));
        }
        Ok(Self {
            table,
            columns,
            identity,
            layout: map.layout.clone(),
        })
    }

    /// Whether rows of `map` lie as this decoder expects.
    pub fn is_for(&self, map: &TableMap) -> bool {
        self.layout == map.layout
    }

    /// Appends the changes of `event`: inserts, deletes, and updates as [`RowKind::UpdateAfter`]; an update of the
    /// identity as a delete of the old row and an insert of the new one. Returns how many source rows changed.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not rows of this table; `Unsupported` when images lack columns.
    pub fn append(&self, event: &RowsEvent<'_>, batch: &mut BatchBuilder) -> Result<usize> {
        if event.column_count != self.columns.len() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "{}: rows of {} columns where the schema has {}",
                    self.table,
                    event.column_count,
                    self.columns.len()
                ),
            ));
        }
        if event.rows.is_empty() {
            return Ok(0);
        }
        if self.columns.is_empty() {
            return Err(DecodeError::Invalid("a table without columns has rows").into());
        }
        match event.kind {
            RowsKind::Write => self.append_whole(event, RowKind::Insert, batch),
            RowsKind::Delete => self.append_whole(event, RowKind::Delete, batch),
            RowsKind::Update => self.append_updates(event, batch),
        }
    }

    /// Events whose rows are one image each.
    fn append_whole(
        &self,
        event: &RowsEvent<'_>,
        kind: RowKind,
        batch: &mut BatchBuilder,
    ) -> Result<usize> {
        let present = Present(event.first_columns);
        if !present.has_all(self.columns.len()) {
            return self.append_partial_deletes(event, kind, batch);
        }
        let mut reader = ByteReader::new(event.rows);
        let mut rows = 0;
        while !reader.is_empty() {
            self.append_image(&mut reader, kind, batch)?;
            rows += 1;
        }
        Ok(rows)
    }

    /// A delete is complete once its identity is there; an insert needs every column.
    fn append_partial_deletes(
        &self,
        event: &RowsEvent<'_>,
        kind: RowKind,
        batch: &mut BatchBuilder,
    ) -> Result<usize> {
        let present = Present(event.first_columns);
        if kind != RowKind::Delete || !self.identity.iter().all(|column| present.has(*column)) {
            return Err(self.lacks_columns());
        }
        let mut reader = ByteReader::new(event.rows);
        let mut places = Places::new();
        let mut rows = 0;
        while !reader.is_empty() {
            let start = reader.len();
            self.locate(&mut reader, event.rows, present, &mut places)?;
            self.append_places(event.rows, &places, kind, start - reader.len(), batch)?;
            rows += 1;
        }
        Ok(rows)
    }

    fn append_updates(&self, event: &RowsEvent<'_>, batch: &mut BatchBuilder) -> Result<usize> {
        let (first, second) = (Present(event.first_columns), Present(event.after_columns));
        let before_is_whole = first.has_all(self.columns.len());
        let after_is_whole = second.has_all(self.columns.len());
        // FULL_NODUP of MariaDB leaves out of the after image what did not change; MINIMAL and NOBLOB leave more out.
        if !before_is_whole && !after_is_whole {
            return Err(self.lacks_columns());
        }
        if before_is_whole && after_is_whole {
            return self.append_whole_updates(event.rows, batch);
        }
        let has_identity = self.identity.iter().all(|column| first.has(*column));
        if !has_identity {
            return Err(self.lacks_columns());
        }
        let mut reader = ByteReader::new(event.rows);
        let (mut before, mut after) = (Places::new(), Places::new());
        let mut rows = 0;
        while !reader.is_empty() {
            let start = reader.len();
            self.locate(&mut reader, event.rows, first, &mut before)?;
            let before_bytes = start - reader.len();
            let mut image = reader;
            self.locate(&mut reader, event.rows, second, &mut after)?;
            let after_bytes = start - before_bytes - reader.len();
            let moved = self.is_moved(event.rows, &before, &after, second);
            if moved {
                self.append_places(event.rows, &before, RowKind::Delete, before_bytes, batch)?;
            }
            let kind = if moved {
                RowKind::Insert
            } else {
                RowKind::UpdateAfter
            };
            if after_is_whole {
                self.append_image(&mut image, kind, batch)?;
            } else {
                for column in (0..self.columns.len()).filter(|column| !second.has(*column)) {
                    if let (Some(to), Some(from)) = (after.get_mut(column), before.get(column)) {
                        to.clone_from(from);
                    }
                }
                self.append_places(event.rows, &after, kind, before_bytes + after_bytes, batch)?;
            }
            rows += 1;
        }
        Ok(rows)
    }

    /// Updates whose images both hold every column: beyond the after images only the identity is looked at.
    fn append_whole_updates(&self, rows: &[u8], batch: &mut BatchBuilder) -> Result<usize> {
        let mut reader = ByteReader::new(rows);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut updates = 0;
        while !reader.is_empty() {
            let mut old = reader;
            self.identity_of(&mut reader, self.columns.len(), &mut before)?;
            let columns = self.identity.last().map_or(0, |last| last + 1);
            self.identity_of(&mut ByteReader::new(reader.rest()), columns, &mut after)?;
            let kind = if before == after {
                RowKind::UpdateAfter
            } else {
                self.append_image(&mut old, RowKind::Delete, batch)?;
                RowKind::Insert
            };
            self.append_image(&mut reader, kind, batch)?;
            updates += 1;
        }
        Ok(updates)
    }

    /// Steps over the first `count` columns of an image that holds every column and collects the bytes of those that
    /// make the identity; `None` for nulls.
    fn identity_of<'a>(
        &self,
        reader: &mut ByteReader<'a>,
        count: usize,
        identity: &mut Vec<Option<&'a [u8]>>,
    ) -> Result<()> {
        let nulls = Present(reader.take(self.columns.len().div_ceil(8))?);
        identity.clear();
        let mut wanted = self.identity.iter().copied().peekable();
        for (index, decoder) in self.columns.iter().enumerate().take(count) {
            let is_wanted = wanted.next_if_eq(&index).is_some();
            if nulls.has(index) {
                identity.extend(is_wanted.then_some(None));
                continue;
            }
            let image = reader.rest();
            decoder
                .skip(reader)
                .map_err(|error| column_error(&self.table, index, error))?;
            if is_wanted {
                identity.push(image.get(..image.len() - reader.len()));
            }
        }
        Ok(())
    }

    /// Whether the identity differs between two images, by its bytes.
    fn is_moved(&self, rows: &[u8], before: &Places, after: &Places, present: Present<'_>) -> bool {
        let value = |places: &Places, column: usize| {
            places
                .get(column)
                .cloned()
                .flatten()
                .and_then(|place| rows.get(place))
        };
        self.identity
            .iter()
            .any(|&column| present.has(column) && value(before, column) != value(after, column))
    }

    /// Reads an image that holds every column.
    #[inline]
    fn append_image(
        &self,
        reader: &mut ByteReader<'_>,
        kind: RowKind,
        batch: &mut BatchBuilder,
    ) -> Result<()> {
        let start = reader.len();
        let nulls = Present(reader.take(self.columns.len().div_ceil(8))?);
        let (columns, scratch) = batch.columns_mut();
        self.check_batch(columns.len())?;
        for (index, (decoder, column)) in self.columns.iter().zip(columns).enumerate() {
            if nulls.has(index) {
                column.append_null();
            } else if let Err(error) = decoder.append(reader, column, scratch) {
                return Err(column_error(&self.table, index, error));
            }
        }
        batch.finish_row(kind, start - reader.len());
        Ok(())
    }

    /// Steps over an image and notes where its values lie in `rows`, whose end is the end of `reader`.
    fn locate(
        &self,
        reader: &mut ByteReader<'_>,
        rows: &[u8],
        present: Present<'_>,
        places: &mut Places,
    ) -> Result<()> {
        let count = (0..self.columns.len())
            .filter(|column| present.has(*column))
            .count();
        let nulls = Present(reader.take(count.div_ceil(8))?);
        places.clear();
        let mut number = 0;
        for (index, decoder) in self.columns.iter().enumerate() {
            let is_here = present.has(index);
            let is_null = is_here && nulls.has(number);
            number += usize::from(is_here);
            if !is_here || is_null {
                places.push(None);
                continue;
            }
            let start = rows.len() - reader.len();
            decoder
                .skip(reader)
                .map_err(|error| column_error(&self.table, index, error))?;
            places.push(Some(start..rows.len() - reader.len()));
        }
        Ok(())
    }

    /// Reads a row whose values lie at `places`.
    fn append_places(
        &self,
        rows: &[u8],
        places: &Places,
        kind: RowKind,
        image_bytes: usize,
        batch: &mut BatchBuilder,
    ) -> Result<()> {
        let (columns, scratch) = batch.columns_mut();
        self.check_batch(columns.len())?;
        let values = self.columns.iter().zip(places).zip(columns);
        for (index, ((decoder, place), column)) in values.enumerate() {
            let Some(value) = place.clone().and_then(|place| rows.get(place)) else {
                column.append_null();
                continue;
            };
            decoder
                .append(&mut ByteReader::new(value), column, scratch)
                .map_err(|error| column_error(&self.table, index, error))?;
        }
        batch.finish_row(kind, image_bytes);
        Ok(())
    }

    fn check_batch(&self, columns: usize) -> Result<()> {
        if columns == self.columns.len() {
            return Ok(());
        }
        Err(Error::internal(format!(
            "{}: rows meet the batch of another table",
            self.table
        )))
    }

    fn lacks_columns(&self) -> Error {
        Error::unsupported(format!(
            "{}: the server logs rows without some of their columns; SET GLOBAL binlog_row_image = 'FULL' and let \
             every session that writes connect anew",
            self.table
        ))
    }
}

/// A bitmap of columns, the lowest bit first.
#[derive(Debug, Clone, Copy)]
struct Present<'a>(&'a [u8]);

impl Present<'_> {
    #[inline]
    fn has(self, column: usize) -> bool {
        self.0
            .get(column / 8)
            .is_some_and(|byte| byte >> (column % 8) & 1 == 1)
    }

    fn has_all(self, columns: usize) -> bool {
        (0..columns).all(|column| self.has(column))
    }
}

/// Compares what a server tells about columns with the schema in force.
fn check_columns(map: &TableMap, table: &SourceTable) -> Result<()> {
    let differs = |what: String| {
        Error::new(
            ErrorKind::Conflict,
            format!("{table}: the log and the known schema differ: {what}"),
        )
    };
    if map.columns.len() != table.columns.len() {
        let (logged, known) = (map.columns.len(), table.columns.len());
        return Err(differs(format!("{logged} columns against {known}")));
    }
    let names = map.metadata.column_names.iter().flatten();
    for (name, column) in names.zip(&table.columns) {
        if *name != column.name {
            return Err(differs(format!("column {name} against {}", column.name)));
        }
    }
    let unsigned = map.metadata.unsigned.iter().flatten();
    for (unsigned, column) in unsigned.zip(&table.columns) {
        if unsigned.is_some_and(|logged| {
            column
                .mysql_type()
                .is_ok_and(|t| t.is_unsigned() == Some(!logged))
        }) {
            return Err(differs(format!(
                "{} is signed in one and unsigned in the other",
                column.name
            )));
        }
    }
    for (index, count) in &map.metadata.label_counts {
        let Some(column) = table.columns.get(*index) else {
            continue;
        };
        if column
            .mysql_type()?
            .label_count()
            .is_some_and(|known| known != *count)
        {
            return Err(differs(format!(
                "{} has {count} labels in the log",
                column.name
            )));
        }
    }
    Ok(())
}
