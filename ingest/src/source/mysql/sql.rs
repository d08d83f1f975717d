//! Quoting of names and texts; sessions run with an empty sql_mode, so that backslashes escape.

/// A name between backticks.
pub(super) fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text literal.
pub(super) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_be_left() {
        assert_eq!(quote_name("a`b"), "`a``b`");
        assert_eq!(quote_text(r"it's \"), r"'it''s \\'");
    }
}
