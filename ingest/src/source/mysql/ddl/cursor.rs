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

    /// The next token, without stepping over it.
    pub(super) fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.first()
    }

    /// The next token if it is a word without quotes, in lower case.
    pub(super) fn word(&self) -> Option<String> {
        match self.tokens.first()? {
            Token::Word(word) => Some(word.to_ascii_lowercase()),
            Token::Name(_) | Token::Text(_) | Token::Symbol(_) => None,
        }
    }

    pub(super) fn is_symbol(&self, symbol: char) -> bool {
        self.tokens.first() == Some(&Token::Symbol(symbol))
    }

    /// Steps over the next token, and over everything in the brackets that it opens.
    pub(super) fn skip_one(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.next() {
                Some(Token::Symbol('(')) => depth += 1,
                Some(Token::Symbol(')')) => depth = depth.saturating_sub(1),
                Some(_) => {}
                None => return,
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Steps over everything up to a comma or a closing bracket of this level, or the end.
    pub(super) fn skip_item(&mut self) {
        while self.peek().is_some() && !self.is_symbol(',') && !self.is_symbol(')') {
            self.skip_one();
        }
    }

    /// A name or a text behind an optional `=`: the value of an option.
    pub(super) fn option_value(&mut self) -> Option<String> {
        self.eat_symbol('=');
        if let Some(Token::Text(text)) = self.peek() {
            self.next();
            return Some(text.clone());
        }
        self.identifier()
    }

    /// `(name, …)`; lengths and orders behind the names are stepped over.
    pub(super) fn names_in_brackets(&mut self) -> Option<Vec<String>> {
        if !self.eat_symbol('(') {
            return None;
        }
        let mut names = Vec::new();
        loop {
            names.push(self.identifier()?);
            self.skip_item();
            if self.eat_symbol(')') {
                return Some(names);
            }
            if !self.eat_symbol(',') {
                return None;
            }
        }
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

    /// A name, in quotes or not.
    pub(super) fn identifier(&mut self) -> Option<String> {
        let name = match self.tokens.first()? {
            Token::Word(word) => (*word).to_owned(),
            Token::Name(name) => name.clone(),
            Token::Text(_) | Token::Symbol(_) => return None,
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
