//! `--set hoodie.x.y=v`: Hudi's own options on the command line.

use std::collections::BTreeMap;

use anyhow::anyhow;

use crate::commands::Failure;

/// Options of tables and writers, by their Hudi names.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Settings {
    /// A Hudi option; may be given several times
    #[arg(long = "set", value_name = "hoodie.KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// The options by name; of several values of a name the last one counts.
    pub(crate) fn properties(&self) -> Result<BTreeMap<String, String>, Failure> {
        let parsed = self.set.iter().map(|text| match text.split_once('=') {
            Some((name, value)) if name.trim().starts_with("hoodie.") => {
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(Failure::configuration(anyhow!(
                "--set {text}: expected hoodie.KEY=VALUE"
            ))),
        });
        parsed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_names_and_values() {
        let settings = |words: &[&str]| Settings {
            set: words.iter().map(ToString::to_string).collect(),
        };
        let good = settings(&["hoodie.a=1", "hoodie.b = x=y", "hoodie.a=2"]);
        let good = good.properties().unwrap();
        assert_eq!(good.get("hoodie.a").map(String::as_str), Some("2"));
        assert_eq!(good.get("hoodie.b").map(String::as_str), Some("x=y"));
        for word in ["hoodie.a", "a=b"] {
            assert!(settings(&[word]).properties().is_err());
        }
    }
}
