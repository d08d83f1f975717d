//! The prompt: a line editor with history, that waits for the semicolon and completes names.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::statement::is_complete;

/// Words of SQL that are worth completing.
const KEYWORDS: [&str; 24] = [
    "AND",
    "BETWEEN",
    "COUNT",
    "DESCRIBE",
    "DISTINCT",
    "EXPLAIN",
    "FROM",
    "GROUP BY",
    "HAVING",
    "INNER JOIN",
    "IS NOT NULL",
    "IS NULL",
    "JOIN",
    "LEFT JOIN",
    "LIKE",
    "LIMIT",
    "NOT",
    "ORDER BY",
    "SELECT",
    "SUM",
    "UNION ALL",
    "USING",
    "WHERE",
    "WITH",
];

/// Names that can be completed, in order; filled while the prompt waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Words(Arc<Mutex<Vec<String>>>);

impl Words {
    /// The words of the language itself, commands and functions among them.
    pub(super) fn of_language(others: impl IntoIterator<Item = String>) -> Self {
        let words = Self::default();
        words.add(KEYWORDS.iter().map(|word| (*word).to_owned()).chain(others));
        words
    }

    pub(super) fn add(&self, more: impl IntoIterator<Item = String>) {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend(more);
        words.sort_unstable();
        words.dedup();
    }

    /// Those that begin like this; in another case when there are none.
    fn beginning_with(&self, prefix: &str) -> Vec<String> {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |is_alike: &dyn Fn(&str) -> bool| -> Vec<String> {
            let alike = words.iter().filter(|word| is_alike(word));
            alike.cloned().collect()
        };
        let alike = find(&|word| word.starts_with(prefix));
        if !alike.is_empty() {
            return alike;
        }
        let prefix = prefix.to_lowercase();
        find(&|word| word.to_lowercase().starts_with(&prefix))
    }
}

/// Where the word under the cursor begins.
fn word_start(line: &str, position: usize) -> usize {
    let before = line.get(..position).unwrap_or(line);
    let is_outside = |letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | '.'));
    before
        .char_indices()
        .rev()
        .find(|(_, letter)| is_outside(*letter))
        .map_or(0, |(at, letter)| at + letter.len_utf8())
}

struct SqlHelper {
    words: Words,
}

impl Completer for SqlHelper {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let start = word_start(line, position);
        let word = line.get(start..position).unwrap_or_default();
        let found = self.words.beginning_with(word);
        if found.is_empty()
            && let Some((_, column)) = word.rsplit_once('.')
        {
            // A column behind the alias of its table.
            return Ok((position - column.len(), self.words.beginning_with(column)));
        }
        Ok((start, found))
    }
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Hinter for SqlHelper {
    type Hint = String;
}

impl Highlighter for SqlHelper {}

impl Helper for SqlHelper {}

/// The editor, with what was typed before.
pub(super) struct Prompt {
    editor: Editor<SqlHelper, DefaultHistory>,
    history: Option<PathBuf>,
}

impl Prompt {
    pub(super) fn open(words: Words) -> Result<Self> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .max_history_size(1_000)?
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(SqlHelper { words }));
        let history = std::env::home_dir().map(|home| home.join(".lakebed_history"));
        if let Some(history) = &history
            && let Err(error) = editor.load_history(history)
        {
            tracing::debug!(%error, "there is no history yet");
        }
        Ok(Self { editor, history })
    }

    /// The next statements or command; `None` at the end. Ctrl-C drops what was typed.
    pub(super) fn read(&mut self) -> Result<Option<String>> {
        loop {
            match self.editor.readline("lakebed> ") {
                Ok(line) => return Ok(Some(line)),
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        if let Some(history) = &self.history
            && let Err(error) = self.editor.append_history(history)
        {
            tracing::warn!(
                "what was typed is not kept in {}: {error}",
                history.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_in_any_case() {
        let words = Words::of_language(["orders".to_owned(), ".mode".to_owned()]);
        words.add(["order_id".to_owned(), "orders".to_owned()]);
        assert_eq!(
            words.beginning_with("Ord"),
            ["ORDER BY", "order_id", "orders"]
        );
        assert_eq!(words.beginning_with("or"), ["order_id", "orders"]);
        assert_eq!(words.beginning_with("OR"), ["ORDER BY"]);
        assert_eq!(words.beginning_with(".m"), [".mode"]);
    }

    #[test]
    fn a_word_begins_after_what_is_no_name() {
        assert_eq!(word_start("SELECT o.id, shop.or", 20), 13);
        assert_eq!(word_start(".mo", 3), 0);
        assert_eq!(word_start("f(ä", 4), 2);
    }
}
