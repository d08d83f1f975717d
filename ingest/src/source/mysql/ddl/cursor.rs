//! A position in the tokens of a statement.

use super::statement::TableName;
use super::tokens::Token;

/// Walks over tokens.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    tokens: &'a [Token<'a>],
    database: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(tokens: &'a [Token<'a>], database: &'a str) -> Self {
        Self { tokens, database }
    }

    pub(super) fn next(&mut self) -> Option<&'a Token<'a>> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    /// Whether the next token is the keyword `word`.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.tokens.first(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    /// Steps over the keyword `word` if it is next.
    pub(super) fn eat(&mut self, word: &str) -> bool {
        let is = self.is(word);
        if is {
            self.next();
        }
        is
    }

    /// Steps over whichever of `words` come next, in any order.
    pub(super) fn eat_any(&mut self, words: &[&str]) {
        while words.iter().any(|word| self.eat(word)) {}
    }

    pub(super) fn eat_symbol(&mut self, symbol: char) -> bool {
        let is = self.tokens.first() == Some(&Token::Symbol(symbol));
        if is {
            self.next();
        }
        is
    }

    /// IF EXISTS, IF NOT EXISTS.
    pub(super) fn eat_if_exists(&mut self) {
        if self.eat("IF") {
            self.eat("NOT");
            self.eat("EXISTS");
        }
    }

    /// Steps behind the first of `words` outside brackets and returns it.
    pub(super) fn skip_behind<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        let mut depth = 0_usize;
        while !self.tokens.is_empty() {
            let found = words
                .iter()
                .copied()
                .find(|word| depth == 0 && self.is(word));
            match self.next() {
                Some(Token::Symbol('(')) => depth += 1,
                Some(Token::Symbol(')')) => depth = depth.saturating_sub(1),
                _ => {}
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn identifier(&mut self) -> Option<String> {
        let name = match self.tokens.first()? {
            Token::Word(word) => (*word).to_owned(),
            Token::Name(name) => name.clone(),
            Token::Text | Token::Symbol(_) => return None,
        };
        self.next();
        Some(name)
    }

    /// `name` or `database.name`.
    pub(super) fn table(&mut self) -> Option<TableName> {
        // `.name` is a name of the default database.
        self.eat_symbol('.');
        let first = self.identifier()?;
        if !self.eat_symbol('.') {
            return Some(TableName {
                database: self.database.to_owned(),
                name: first,
            });
        }
        let name = self.identifier()?;
        Some(TableName {
            database: first,
            name,
        })
    }

    /// Names separated by commas.
    pub(super) fn tables(&mut self) -> Vec<TableName> {
        let mut tables = Vec::new();
        while let Some(table) = self.table() {
            tables.push(table);
            if !self.eat_symbol(',') {
                break;
            }
        }
        tables
    }

    /// A name without a database, or the default database where there is none.
    pub(super) fn database(&mut self) -> String {
        self.identifier()
            .unwrap_or_else(|| self.database.to_owned())
    }
}
