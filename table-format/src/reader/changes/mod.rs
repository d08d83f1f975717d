//! The changes that one commit made to one file group: rows as they were before it, and after.
//!
//! A table that logs change data with both images is taken at its word. Otherwise the slices before and after the commit are
//! compared: rows of the later one that bear the commit's time are new or changed, keys that it lacks are deleted. Java:
//! HoodieCDCExtractor, CDCFileGroupIterator, which infer the same from the single files; Spec: Hudi 1.2.0, "CDC".

mod compare;
mod image;
mod log;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};

use crate::error::Result;
use crate::file_group::FileSlice;
use crate::timeline::InstantTime;

use super::{ReadContext, ReadOptions};

pub(crate) use image::{change_image, changes_schema, image_fields};

use compare::Comparison;

/// What a row of changes says of a key. Java: HoodieCDCOperation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Insert,
    Update,
    Delete,
}

impl Operation {
    /// As it stands in column `op`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "i",
            Self::Update => "u",
            Self::Delete => "d",
        }
    }
}

/// Where the changes of one file group in one commit are found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "one value a file group and commit"
)]
pub(crate) enum ChangeSource {
    /// Logs of change data with both images, by table-relative path.
    Logged(Vec<String>),
    /// All rows of the slice that the commit wrote are new.
    Inserted(FileSlice),
    /// All rows of the slice are gone.
    Deleted(FileSlice),
    /// The slices before and after; `may_delete` says whether keys may be gone.
    Compared {
        before: FileSlice,
        after: FileSlice,
        may_delete: bool,
    },
}

/// The slices of a table before and after a commit.
#[derive(Debug, Clone)]
pub(crate) struct ChangeContext {
    pub(crate) instant: InstantTime,
    pub(crate) before: ReadContext,
    pub(crate) after: ReadContext,
    /// See [`changes_schema`].
    pub(crate) schema: SchemaRef,
}

/// Reads the changes of one file group in one commit. Of those without log, the changed rows are held at once.
///
/// # Errors
/// As [`read_slice`](super::read_slice); `NotFound` when files that show the group as it was were cleaned away.
pub(crate) async fn read_changes(
    context: ChangeContext,
    source: &ChangeSource,
    options: &ReadOptions,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    match source {
        ChangeSource::Logged(paths) => {
            Ok(log::read(context, paths.clone(), options.clone()).boxed())
        }
        ChangeSource::Inserted(slice) => {
            let rows = super::read_slice(context.after.clone(), slice, options).await?;
            Ok(rows
                .map(move |rows| {
                    let rows = rows?;
                    let is_new = compare::bears(&rows, &context.instant)?;
                    image::inserts(&context, &filter_record_batch(&rows, &is_new)?)
                })
                .try_filter(|batch| std::future::ready(batch.num_rows() > 0))
                .boxed())
        }
        ChangeSource::Deleted(slice) => {
            let rows = super::read_slice(context.before.clone(), slice, options).await?;
            Ok(rows
                .map(move |rows| image::deletes(&context, &rows?))
                .boxed())
        }
        ChangeSource::Compared {
            before,
            after,
            may_delete,
        } => Comparison::read(context, before, after, *may_delete, options).await,
    }
}
