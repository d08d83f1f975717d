//! The markers of an instant: which data files it was going to write.
//!
//! A marker exists before the first byte of its file. DIRECT ones are empty files, one per data file; a timeline server
//! keeps lists (`MARKERS0`, `MARKERS1`, …, and `MARKERS.type` beside them). Spec: Hudi 1.2.0, "Markers".

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;
use crate::timeline::InstantTime;
use crate::writer::MARKER_ROOT;

/// What comes between the name of a data file and the kind of its marker.
const INFIX: &str = ".marker.";

/// One data file that an instant was going to write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Marker {
    /// Table-relative path of the data file.
    pub(crate) path: String,
    /// `CREATE`, `MERGE` or `APPEND`.
    pub(crate) kind: String,
}

impl Marker {
    fn parse(text: &str) -> Option<Self> {
        let (path, kind) = text.rsplit_once(INFIX)?;
        Some(Self {
            path: path.to_owned(),
            kind: kind.to_owned(),
        })
    }

    /// The partition of the data file, and its name.
    pub(crate) fn place(&self) -> (&str, &str) {
        self.path.rsplit_once('/').unwrap_or(("", &self.path))
    }

    /// Puts the marker into the folder of `instant`; fine when it is there.
    pub(crate) async fn write(&self, storage: &Storage, instant: &InstantTime) -> Result<()> {
        let marker = format!("{}/{}{INFIX}{}", folder(instant), self.path, self.kind);
        match storage.create(&marker, Bytes::new()).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }
}

/// Where the markers of an instant lie.
pub(crate) fn folder(instant: &InstantTime) -> String {
    format!("{MARKER_ROOT}/{instant}")
}

/// The markers of an instant; `None` when it has no marker folder, so that nothing is known of its files.
pub(crate) async fn read_markers(
    storage: &Storage,
    instant: &InstantTime,
) -> Result<Option<Vec<Marker>>> {
    let folder = folder(instant);
    let files = storage.list_recursive(&folder).await?;
    if files.is_empty() {
        return Ok(None);
    }
    let mut markers = Vec::new();
    for (path, file) in &files {
        let below = path.strip_prefix(&folder).unwrap_or(path);
        if file.name == "MARKERS.type" {
            continue;
        }
        match Marker::parse(below.trim_start_matches('/')) {
            Some(marker) => markers.push(marker),
            None => markers.extend(read_list(storage, path).await?),
        }
    }
    markers.sort_unstable();
    markers.dedup();
    Ok(Some(markers))
}

/// A list of a timeline server: one marker a line.
async fn read_list(storage: &Storage, path: &str) -> Result<Vec<Marker>> {
    let bytes = storage.read(path).await?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        Error::corrupt(path, "a list of markers is not UTF-8").with_source(error)
    })?;
    Ok(text.lines().filter_map(Marker::parse).collect())
}

/// Removes the marker folder of an instant.
pub(crate) async fn delete_markers(storage: &Storage, instant: &InstantTime) -> Result<()> {
    for (path, _) in storage.list_recursive(&folder(instant)).await? {
        storage.delete(&path).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_kinds_of_markers_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
        let instant: InstantTime = "20260101000000000".parse().unwrap();
        assert_eq!(read_markers(&storage, &instant).await.unwrap(), None);
        let marker = Marker {
            path: "day=1/f_0-0-0_20260101000000000.parquet".to_owned(),
            kind: "MERGE".to_owned(),
        };
        marker.write(&storage, &instant).await.unwrap();
        marker.write(&storage, &instant).await.unwrap();
        let lists = [
            ("MARKERS.type", "TIMELINE_SERVER_BASED"),
            ("MARKERS0", "a/.g_1.log.1_0-0-0.marker.APPEND\n"),
            ("MARKERS5", "h_0_1.parquet.marker.CREATE\n\n"),
        ];
        for (name, text) in lists {
            let path = format!("{}/{name}", folder(&instant));
            storage.create(&path, Bytes::from(text)).await.unwrap();
        }
        let markers = read_markers(&storage, &instant).await.unwrap().unwrap();
        let places: Vec<_> = markers
            .iter()
            .map(|marker| (marker.place(), marker.kind.as_str()))
            .collect();
        assert_eq!(
            places,
            [
                (("a", ".g_1.log.1_0-0-0"), "APPEND"),
                (("day=1", "f_0-0-0_20260101000000000.parquet"), "MERGE"),
                (("", "h_0_1.parquet"), "CREATE"),
            ]
        );
        delete_markers(&storage, &instant).await.unwrap();
        assert_eq!(read_markers(&storage, &instant).await.unwrap(), None);
    }
}
