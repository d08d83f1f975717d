//! `--set KEY=VALUE`: options of Hudi, as they are.

use std::collections::BTreeMap;

use table_format::config::LockSettings;
use table_format::env::{Env, MemoryBudget};

/// Options that a table, writer or service takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Settings {
    /// An option of Hudi; may be given several times
    #[arg(long = "set", value_name = "hoodie.KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

impl Settings {
    /// What commands on a table take from outside: `memory_bytes`, and the locks that these options name.
    ///
    /// # Errors
    /// `Invalid` for lock settings that make no sense.
    pub(crate) fn env(&self, memory_bytes: u64) -> table_format::Result<Env> {
        let locks = LockSettings::from_properties(&self.properties())?;
        Ok(Env::system(MemoryBudget::new(memory_bytes)).with_locks(locks))
    }

    /// The options by key; of one given twice the last counts.
    pub(crate) fn properties(&self) -> BTreeMap<String, String> {
        self.set.iter().cloned().collect()
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.trim().starts_with("hoodie.") => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!(
            "`{text}` is not hoodie.KEY=VALUE, such as hoodie.parquet.compression.codec=zstd"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_at_the_first_equals_sign() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(key_and_value("hoodie.a=b=c"), pair("hoodie.a", "b=c"));
        assert_eq!(key_and_value("hoodie.a="), pair("hoodie.a", ""));
        assert!(key_and_value("hoodie.a").is_err());
        assert!(key_and_value("a=b").is_err());
    }
}
