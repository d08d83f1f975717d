//! Completed instants of a table, read off its timeline folder without any code of ours.

use std::path::Path;

/// The completion times of a table's commits and delta commits, ascending.
///
/// Spec: Hudi 1.0, "Timeline": `<requested>_<completed>.<action>` in `.hoodie/timeline`.
pub(crate) fn completion_times(table: &Path) -> Vec<String> {
    let folder = table.join(".hoodie/timeline");
    let mut times: Vec<String> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let (times, action) = name.split_once('.')?;
            let (_, completed) = times.split_once('_')?;
            ["commit", "deltacommit"]
                .contains(&action)
                .then(|| completed.to_owned())
        })
        .collect();
    times.sort();
    times
}
