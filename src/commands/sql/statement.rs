//! Where statements end: at a semicolon that is in no text, name or comment.

/// What stands in front of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Statement,
    Text,
    Name,
    LineComment,
    BlockComment,
}

/// The statements that end in `text`, and what follows them; blanks and comments are no statements.
pub(super) fn split(text: &str) -> (Vec<&str>, &str) {
    let bytes = text.as_bytes();
    let (mut found, mut begin, mut inside) = (Vec::new(), 0, Inside::Statement);
    let (mut position, mut is_blank) = (0, true);
    while let Some(byte) = bytes.get(position).copied() {
        let (next, length) = step(inside, byte, bytes.get(position + 1).copied());
        if inside == Inside::Statement && byte == b';' {
            if !is_blank {
                found.push(text.get(begin..position).unwrap_or_default().trim());
            }
            (begin, is_blank) = (position + 1, true);
        } else if inside == Inside::Statement && !is_comment(next) {
            is_blank &= byte.is_ascii_whitespace();
        }
        inside = next;
        position += length;
    }
    let is_over = is_blank && inside != Inside::BlockComment;
    let rest = if is_over { None } else { text.get(begin..) };
    (found, rest.unwrap_or_default())
}

/// What follows a byte, and how many bytes it takes.
fn step(inside: Inside, byte: u8, next: Option<u8>) -> (Inside, usize) {
    match (inside, byte, next) {
        (Inside::Statement, b'\'', _) => (Inside::Text, 1),
        (Inside::Statement, b'"', _) => (Inside::Name, 1),
        (Inside::Statement, b'-', Some(b'-')) => (Inside::LineComment, 2),
        (Inside::Statement, b'/', Some(b'*')) => (Inside::BlockComment, 2),
        (Inside::Text, b'\'', _) | (Inside::Name, b'"', _) | (Inside::LineComment, b'\n', _) => {
            (Inside::Statement, 1)
        }
        (Inside::BlockComment, b'*', Some(b'/')) => (Inside::Statement, 2),
        (inside, _, _) => (inside, 1),
    }
}

fn is_comment(inside: Inside) -> bool {
    matches!(inside, Inside::LineComment | Inside::BlockComment)
}

/// Whether nothing has to follow: a command beginning with a dot ends with its line, a statement with its semicolon.
pub(super) fn is_complete(text: &str) -> bool {
    let text = text.trim();
    text.starts_with('.') || text.is_empty() || split(text).1.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_text_names_and_comments_end_nothing() {
        let text = "SELECT ';', 'it''s;', \";\" -- a;\n/* b; '*/ FROM t; ;\nSELECT 2;SELECT";
        let (statements, rest) = split(text);
        assert_eq!(statements.len(), 2);
        assert!(statements[0].ends_with("FROM t"));
        assert_eq!((statements[1], rest), ("SELECT 2", "SELECT"));
        let lines = "SELECT 1 -- one\nFROM t";
        assert_eq!(split(lines), (Vec::new(), lines));
    }

    #[test]
    fn comments_alone_are_no_statements() {
        assert_eq!(split("-- a\n/* b */ ; -- c"), (Vec::new(), ""));
        assert_eq!(split("/* b"), (Vec::new(), "/* b"));
    }

    #[test]
    fn a_statement_is_complete_at_its_semicolon() {
        assert!(is_complete("SELECT 1;"));
        assert!(is_complete(".help"));
        assert!(is_complete("  "));
        assert!(!is_complete("SELECT 1"));
        assert!(!is_complete("SELECT ';"));
    }
}
