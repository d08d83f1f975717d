//! `--set hoodie.x.y=v`: any option of a table, a write or a service.

use std::collections::BTreeMap;

/// One `KEY=VALUE` of the command line.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    key: String,
    value: String,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(Self {
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            }),
            _ => Err(format!(
                "`{text}` is not KEY=VALUE, such as hoodie.parquet.compression.codec=zstd"
            )),
        }
    }
}

/// The settings by key; of one that is given twice the last counts.
pub(super) fn properties(settings: &[Setting]) -> BTreeMap<String, String> {
    let pairs = settings
        .iter()
        .map(|setting| (setting.key.clone(), setting.value.clone()));
    pairs.collect()
}
