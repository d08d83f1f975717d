//! Comparing a composite key with a bound, in a form that the server turns into an index range.
//!
//! `(a, b) > (1, 2)` is a full scan on MySQL and MariaDB; `a >= 1 AND (a > 1 OR (a = 1 AND b > 2))` reads its rows only.

use super::key::KeyColumn;
use crate::{Error, ErrorKind, Result};

/// Where keys lie that a condition lets through, seen from the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source::mysql) enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Comparison {
    /// The operator of the last column, and that of the columns before it.
    fn operators(self) -> (&'static str, &'static str) {
        match self {
            Self::Above => (">", ">"),
            Self::AtLeast => (">=", ">"),
            Self::Below => ("<", "<"),
            Self::AtMost => ("<=", "<"),
        }
    }
}

/// The condition `key <comparison> bound`, in lexicographic order.
pub(in crate::source::mysql) fn compare(
    key: &[KeyColumn],
    bound: &[String],
    comparison: Comparison,
) -> Result<String> {
    if key.len() != bound.len() || key.is_empty() {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "a bound of {} values for a key of {} columns: was the key changed?",
                bound.len(),
                key.len()
            ),
        ));
    }
    let literals = key
        .iter()
        .zip(bound)
        .map(|(column, value)| Ok((column.quoted.as_str(), column.literal(value)?)))
        .collect::<Result<Vec<_>>>()?;
    let (last, strict) = comparison.operators();
    let condition = lexicographic(&literals, last, strict);
    Ok(match &literals[..] {
        [(column, literal), _, ..] => {
            // Redundant, and what the optimiser finds the index by.
            format!("{column} {strict}= {literal} AND {condition}")
        }
        _ => condition,
    })
}

fn lexicographic(literals: &[(&str, String)], last: &str, strict: &str) -> String {
    match literals {
        [] => String::new(),
        [(column, literal)] => format!("{column} {last} {literal}"),
        [(column, literal), rest @ ..] => {
            let rest = lexicographic(rest, last, strict);
            format!("({column} {strict} {literal} OR ({column} = {literal} AND {rest}))")
        }
    }
}
