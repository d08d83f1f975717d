//! Java properties text: `hoodie.properties`, partition metadata, and the checksum inside the former.
//!
//! Spec: java.util.Properties#load and #store. The bytes are ISO-8859-1, other characters are written as `\uXXXX` units of
//! UTF-16; the first unescaped `=`, `:` or blank ends a key.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter::Peekable;

use crate::error::{Error, Result};

/// Keys and values of a properties file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Reads the bytes of a properties file; of a key that occurs twice the last value counts.
    ///
    /// # Errors
    /// `Corrupt` for a malformed `\uXXXX` escape.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut entries = BTreeMap::new();
        for line in logical_lines(bytes) {
            let mut units = line.iter().copied().map(char::from).peekable();
            let key = read_text(&mut units, true)?;
            skip_separator(&mut units);
            let value = read_text(&mut units, false)?;
            entries.insert(key, value);
        }
        Ok(Self(entries))
    }

    /// The file's bytes (ASCII), with `comments` on top and keys in order.
    pub fn encode(&self, comments: &[String]) -> Vec<u8> {
        let mut out = String::new();
        for comment in comments {
            out.push('#');
            out.extend(comment.chars().map(|c| {
                if c.is_ascii() && !c.is_control() {
                    c
                } else {
                    '?'
                }
            }));
            out.push('\n');
        }
        for (key, value) in &self.0 {
            push_escaped(&mut out, key, true);
            out.push('=');
            push_escaped(&mut out, value, false);
            out.push('\n');
        }
        out.into_bytes()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The value of a key that is neither absent nor blank.
    pub fn get_non_blank(&self, key: &str) -> Option<&str> {
        self.get(key)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// Sets a key.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), value.into());
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// All keys and values in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

/// `hoodie.table.checksum`: CRC-32 of `<database>.<table>`.
///
/// Java: HoodieTableConfig#generateChecksum.
pub fn table_checksum(database: Option<&str>, table: &str) -> u32 {
    crc32fast::hash(format!("{}.{table}", database.unwrap_or_default()).as_bytes())
}

/// Lines without comments and blank ones, leading blanks stripped, continuations joined.
fn logical_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut continued = false;
    for natural in bytes.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let start = natural
            .iter()
            .position(|byte| !is_blank(*byte))
            .unwrap_or(natural.len());
        let text = natural.get(start..).unwrap_or_default();
        if !continued && (text.is_empty() || matches!(text.first(), Some(b'#' | b'!'))) {
            continue;
        }
        let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\').count();
        let goes_on = backslashes % 2 == 1;
        let kept = text
            .get(..text.len() - usize::from(goes_on))
            .unwrap_or_default();
        match lines.last_mut() {
            Some(line) if continued => line.extend_from_slice(kept),
            _ => lines.push(kept.to_vec()),
        }
        continued = goes_on;
    }
    lines
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

fn is_blank_char(unit: char) -> bool {
    matches!(unit, ' ' | '\t' | '\u{c}')
}

fn skip_separator(units: &mut Peekable<impl Iterator<Item = char>>) {
    while units.next_if(|unit| is_blank_char(*unit)).is_some() {}
    if units.next_if(|unit| matches!(unit, '=' | ':')).is_some() {
        while units.next_if(|unit| is_blank_char(*unit)).is_some() {}
    }
}

/// Reads a key (up to its separator) or a value (up to the end), resolving escapes.
fn read_text(units: &mut Peekable<impl Iterator<Item = char>>, is_key: bool) -> Result<String> {
    let mut utf16 = Vec::new();
    let ends_key = |unit: &char| matches!(unit, '=' | ':') || is_blank_char(*unit);
    while let Some(unit) = units.next_if(|unit| !(is_key && ends_key(unit))) {
        let code = match unit {
            '\\' => match units.next() {
                Some('u') => read_unicode(units)?,
                Some('n') => u16::from(b'\n'),
                Some('t') => u16::from(b'\t'),
                Some('r') => u16::from(b'\r'),
                Some('f') => 0x0c,
                Some(other) => other as u16,
                None => break,
            },
            other => other as u16,
        };
        utf16.push(code);
    }
    Ok(String::from_utf16_lossy(&utf16))
}

fn read_unicode(units: &mut impl Iterator<Item = char>) -> Result<u16> {
    let digits: String = units.take(4).collect();
    let is_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = u16::from_str_radix(&digits, 16).ok().filter(|_| is_hex);
    code.ok_or_else(|| {
        Error::corrupt(
            "properties",
            format!("`\\u{digits}` is not an escape of 4 digits"),
        )
    })
}

fn push_escaped(out: &mut String, text: &str, is_key: bool) {
    for (position, character) in text.chars().enumerate() {
        match character {
            ' ' if is_key || position == 0 => out.push_str("\\ "),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => {
                out.push('\\');
                out.push(character);
            }
            ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing into a string does not fail.
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    proptest! {
        #[test]
        fn text_round_trips(entries in prop::collection::btree_map(any::<String>(), any::<String>(), 0..6)) {
            let properties: Properties = entries.into_iter().collect();
            let bytes = properties.encode(&["Properties saved on now".to_owned()]);
            assert!(bytes.is_ascii());
            assert_eq!(Properties::parse(&bytes).unwrap(), properties);
        }
    }

    #[test]
    fn reads_what_java_accepts() {
        let text = b"#c\n! c\n\n a.b : x:y=z \nkey\\:1=v\\\n   w\nempty=\nlone\nu=\\u00e9\xe9\r\n";
        let properties = Properties::parse(text).unwrap();
        let all: Vec<_> = properties.iter().collect();
        assert_eq!(
            all,
            [
                ("a.b", "x:y=z "),
                ("empty", ""),
                ("key:1", "vw"),
                ("lone", ""),
                ("u", "éé")
            ]
        );
        assert!(Properties::parse(b"a=\\u12").is_err());
    }

    #[test]
    fn checksum_is_that_of_hudi() {
        assert_eq!(
            table_checksum(Some("default"), "v8_trips_8i3u1d"),
            1_197_752_875
        );
        assert_eq!(table_checksum(None, "v9cow"), 289_440_047);
    }
}
