//! Cuts a statement into tokens, as far as it takes to find the names in it. Nothing is an error here.

use std::iter::Peekable;
use std::str::CharIndices;

/// How the session that wrote a statement read quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoting {
    /// Double quotes delimit names (`ANSI_QUOTES`).
    pub ansi_quotes: bool,
    /// A backslash escapes the next character of a text (unless `NO_BACKSLASH_ESCAPES`).
    pub backslash_escapes: bool,
}

impl Default for Quoting {
    fn default() -> Self {
        Self {
            ansi_quotes: false,
            backslash_escapes: true,
        }
    }
}

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, a name without quotes, or a number.
    Word(&'a str),
    /// A name in quotes.
    Name(String),
    /// A text, without quotes and escapes.
    Text(String),
    /// Anything else.
    Symbol(char),
}

/// The tokens of `sql` without comments. What stands in `/*! … */` and `/*M! … */` counts, since servers run it.
pub(super) fn tokenize(sql: &str, quoting: Quoting) -> Vec<Token<'_>> {
    let mut tokenizer = Tokenizer {
        sql,
        chars: sql.char_indices().peekable(),
        quoting,
    };
    let mut tokens = Vec::new();
    while let Some(token) = tokenizer.next() {
        tokens.extend(token);
    }
    tokens
}

struct Tokenizer<'a> {
    sql: &'a str,
    chars: Peekable<CharIndices<'a>>,
    quoting: Quoting,
}

impl<'a> Tokenizer<'a> {
    /// The next token, `Some(None)` for what is none, and `None` at the end.
    fn next(&mut self) -> Option<Option<Token<'a>>> {
        let (at, c) = self.chars.next()?;
        let token = match c {
            _ if c.is_whitespace() => None,
            '`' => Some(Token::Name(self.quoted('`', false))),
            '"' if self.quoting.ansi_quotes => Some(Token::Name(self.quoted('"', false))),
            '"' | '\'' => Some(Token::Text(self.quoted(c, self.quoting.backslash_escapes))),
            '#' => self.skip_line(),
            '-' if self.rest().starts_with('-') && is_comment_dash(self.rest()) => self.skip_line(),
            '/' if self.rest().starts_with('*') => self.open_comment(),
            // The end of a comment whose content counts.
            '*' if self.rest().starts_with('/') => {
                self.chars.next();
                None
            }
            _ if is_word(c) => Some(Token::Word(self.word(at))),
            _ => Some(Token::Symbol(c)),
        };
        Some(token)
    }

    fn rest(&mut self) -> &'a str {
        let at = self.chars.peek().map_or(self.sql.len(), |(at, _)| *at);
        self.sql.get(at..).unwrap_or_default()
    }

    fn skip_to(&mut self, end: usize) {
        while self.chars.next_if(|(at, _)| *at < end).is_some() {}
    }

    fn word(&mut self, start: usize) -> &'a str {
        while self.chars.next_if(|(_, c)| is_word(*c)).is_some() {}
        let end = self.chars.peek().map_or(self.sql.len(), |(at, _)| *at);
        self.sql.get(start..end).unwrap_or_default()
    }

    /// What stands up to the closing `quote`, which is doubled inside.
    fn quoted(&mut self, quote: char, escapes: bool) -> String {
        let mut content = String::new();
        while let Some((_, c)) = self.chars.next() {
            if c == '\\' && escapes {
                if let Some((_, escaped)) = self.chars.next() {
                    push_escaped(&mut content, escaped);
                }
            } else if c != quote {
                content.push(c);
            } else if self.chars.next_if(|(_, next)| *next == quote).is_some() {
                content.push(quote);
            } else {
                break;
            }
        }
        content
    }

    fn skip_line(&mut self) -> Option<Token<'a>> {
        while self.chars.next_if(|(_, c)| *c != '\n').is_some() {}
        None
    }

    /// Behind a `/`: skips a comment, or only its opening if the content counts.
    fn open_comment(&mut self) -> Option<Token<'a>> {
        let at = self.sql.len() - self.rest().len();
        let body = self.sql.get(at + 1..).unwrap_or_default();
        let marker = ["M!", "!"]
            .into_iter()
            .find(|marker| body.starts_with(marker));
        if let Some(marker) = marker {
            let version = body.get(marker.len()..).unwrap_or_default();
            let digits = version.len()
                - version
                    .trim_start_matches(|c: char| c.is_ascii_digit())
                    .len();
            self.skip_to(at + 1 + marker.len() + digits);
        } else {
            let end = body
                .find("*/")
                .map_or(self.sql.len(), |end| at + 1 + end + 2);
            self.skip_to(end);
        }
        None
    }
}

/// What a backslash and `escaped` mean in a text.
///
/// Source: MySQL manual, "String Literals", table of escape sequences.
fn push_escaped(content: &mut String, escaped: char) {
    match escaped {
        '0' => content.push('\0'),
        'b' => content.push('\u{8}'),
        'n' => content.push('\n'),
        'r' => content.push('\r'),
        't' => content.push('\t'),
        'Z' => content.push('\u{1a}'),
        // Patterns of LIKE keep their backslash.
        '%' | '_' => content.extend(['\\', escaped]),
        _ => content.push(escaped),
    }
}

/// Two dashes open a comment only in front of a blank or the end.
fn is_comment_dash(rest: &str) -> bool {
    rest.chars()
        .nth(1)
        .is_none_or(|c| c.is_whitespace() || c.is_control())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}
