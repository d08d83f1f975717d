//! One block of the pipeline file: keys are taken out one by one, and what is left is an error.

use std::collections::BTreeMap;
use std::time::Duration;

use ingest::config::TablePattern;
use serde_yaml_ng::{Mapping, Value};

use super::error::ConfigError;
use super::text::{nearest, parse_bytes, parse_duration, substitute};

/// The pipeline file as text, for the line numbers of errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
}

impl File<'_> {
    /// An error at the line of `key` in block `section`.
    pub(super) fn error(
        &self,
        section: &str,
        key: &str,
        message: impl Into<String>,
    ) -> ConfigError {
        ConfigError::new(
            self.path,
            self.line_of(section, key),
            format!("{section}.{key}"),
            message,
        )
    }

    fn line_of(&self, section: &str, key: &str) -> Option<usize> {
        let opens = |line: &str, key: &str| {
            let line = line.trim_start().trim_start_matches("- ").trim_start();
            let bare = line.trim_start_matches(['"', '\'']);
            bare.strip_prefix(key).is_some_and(|rest| {
                rest.trim_start_matches(['"', '\''])
                    .trim_start()
                    .starts_with(':')
            })
        };
        let section = section.split('[').next().unwrap_or(section);
        let mut lines = self
            .text
            .lines()
            .enumerate()
            .skip_while(|(_, line)| !opens(line, section));
        let start = lines.next()?;
        if key.is_empty() {
            return Some(start.0 + 1);
        }
        lines
            .take_while(|(_, line)| line.is_empty() || line.starts_with([' ', '\t', '-', '#']))
            .find(|(_, line)| opens(line, key))
            .map(|(index, _)| index + 1)
    }
}

/// A mapping of the pipeline file and the keys that were asked for.
#[derive(Debug)]
pub(super) struct Section<'a> {
    file: File<'a>,
    name: String,
    values: Mapping,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(file: File<'a>, name: &str, value: Value) -> Result<Self, ConfigError> {
        match value {
            Value::Mapping(values) => Ok(Self {
                file,
                name: name.to_owned(),
                values,
                known: vec![],
            }),
            Value::Null => Ok(Self {
                file,
                name: name.to_owned(),
                values: Mapping::new(),
                known: vec![],
            }),
            _ => Err(file.error(name, "", "must hold keys and values")),
        }
    }

    pub(super) fn error(&self, key: &str, message: impl Into<String>) -> ConfigError {
        self.file.error(&self.name, key, message)
    }

    /// Takes a raw value out.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.values.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a text, with `${ENV}` and `${file:/path}` substituted.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let text = scalar(&value).ok_or_else(|| self.error(key, "must be a single value"))?;
        substitute(&text)
            .map(Some)
            .map_err(|message| self.error(key, message))
    }

    pub(super) fn required(&mut self, key: &'static str) -> Result<String, ConfigError> {
        self.text(key)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| {
                self.file
                    .error(&self.name, key, "is required")
                    .at(self.file.line_of(&self.name, ""))
            })
    }

    /// Takes a value that `parse` understands; `expected` says what that is.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error(key, format!("`{text}` is not {expected}"))),
        }
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        self.parsed(key, "a duration such as 10s, 500ms or 2m", parse_duration)
    }

    pub(super) fn bytes(&mut self, key: &'static str) -> Result<Option<u64>, ConfigError> {
        self.parsed(key, "a size such as 512MiB", parse_bytes)
    }

    /// Takes one of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, ConfigError> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", words.join(", "));
        self.parsed(key, &expected, |text| {
            choices
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, choice)| *choice)
        })
    }

    /// Takes a regular expression on `database.table`.
    pub(super) fn pattern(&mut self, key: &'static str) -> Result<TablePattern, ConfigError> {
        let text = self.required(key)?;
        text.parse()
            .map_err(|error| self.error(key, format!("is not a regular expression: {error}")))
    }

    /// Takes all keys that begin with `prefix`.
    pub(super) fn prefixed(
        &mut self,
        prefix: &str,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        let keys: Vec<String> = self
            .values
            .keys()
            .filter_map(Value::as_str)
            .filter(|key| key.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        let mut taken = BTreeMap::new();
        for key in keys {
            let value = self
                .values
                .remove(key.as_str())
                .and_then(|value| scalar(&value));
            let text = value.ok_or_else(|| self.error(&key, "must be a single value"))?;
            let text = substitute(&text).map_err(|message| self.error(&key, message))?;
            taken.insert(key, text);
        }
        Ok(taken)
    }

    /// Refuses what nobody asked for, with the nearest known key.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let Some(key) = self.values.keys().next() else {
            return Ok(());
        };
        let key = scalar(key).unwrap_or_else(|| "?".to_owned());
        let hint = match nearest(&key, &self.known) {
            Some(known) => format!("is not a key of `{}`; did you mean `{known}`?", self.name),
            None => format!(
                "is not a key of `{}`; keys are {}",
                self.name,
                self.known.join(", ")
            ),
        };
        Err(self.error(&key, hint))
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}
