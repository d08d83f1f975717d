//! JSON text without the blanks between tokens: the form in which result rows and row images meet.

use super::DecodeError;

/// Appends `text` to `out` without blanks outside strings. Numbers, escapes and the order of keys stay as they are.
pub(crate) fn compact_json(text: &str, out: &mut String) -> Result<(), DecodeError> {
    out.reserve(text.len());
    let mut rest = text;
    while let Some((between, string)) = rest.split_once('"') {
        push_tokens(between, out);
        let end = string_end(string).ok_or(DecodeError::Invalid("a JSON string has no end"))?;
        let (string, after) = string.split_at_checked(end).unwrap_or((string, ""));
        out.push('"');
        // Inside a string the server leaves a line break bare only where it breaks base64 into lines.
        string.split('\n').for_each(|line| out.push_str(line));
        rest = after;
    }
    push_tokens(rest, out);
    Ok(())
}

fn push_tokens(text: &str, out: &mut String) {
    for part in text.split([' ', '\t', '\n', '\r']) {
        out.push_str(part);
    }
}

/// Length of a string up to and with its closing quote.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        r#"{"a": 1, "b": [1.0, null, "x, y: \" z"]}"#,
        r#"{"a":1,"b":[1.0,null,"x, y: \" z"]}"#
    )]
    #[case("[ ]", "[]")]
    #[case(r#""\\""#, r#""\\""#)]
    #[case(" 12345678901234567890 ", "12345678901234567890")]
    fn drops_blanks_between_tokens(#[case] text: &str, #[case] expected: &str) {
        let mut out = String::new();
        compact_json(text, &mut out).unwrap();
        assert_eq!(out, expected);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(text).unwrap(),
            serde_json::from_str::<serde_json::Value>(&out).unwrap()
        );
    }

    #[test]
    fn joins_the_lines_of_base64() {
        let mut out = String::new();
        compact_json("[\"base64:type15:YmJi\nYmI=\"]", &mut out).unwrap();
        assert_eq!(out, r#"["base64:type15:YmJiYmI="]"#);
    }

    #[test]
    fn an_open_string_is_an_error() {
        assert!(compact_json(r#"{"a": "b\"}"#, &mut String::new()).is_err());
    }
}
