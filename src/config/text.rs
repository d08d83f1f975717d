//! Values of the pipeline file: durations, sizes, substitutions, and the nearest known key.

use std::time::Duration;

/// `500ms`, `10s`, `2m`, `1h`; a bare number is seconds.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit.as_str() {
        "ms" => 1.0,
        "" | "s" | "sec" => 1e3,
        "m" | "min" => 6e4,
        "h" => 3.6e6,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * millis / 1e3).ok()
}

/// `512MiB`, `64MB`, `1GiB`; a bare number is bytes.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit.as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * factor;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked before"
    )]
    (0.0..9e18).contains(&bytes).then_some(bytes as u64)
}

fn split_unit(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

/// Replaces `${NAME}` by the environment variable and `${file:/path}` by the file's text without its last newline.
pub(super) fn substitute(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) = after.split_once('}').ok_or("has `${` without `}`")?;
        out.push_str(before);
        match name.strip_prefix("file:") {
            Some(path) => {
                let content = std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read the file {path}: {error}"))?;
                out.push_str(content.trim_end_matches(['\n', '\r']));
            }
            None => {
                out.push_str(&std::env::var(name).map_err(|_| {
                    format!("needs the environment variable {name}, which is not set")
                })?)
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// The known key that `key` begins, or that differs least from it, if it is near enough to be meant.
pub(super) fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    if let Some(longer) = known.iter().find(|candidate| candidate.starts_with(key)) {
        return Some(longer);
    }
    let distance = |candidate: &str| edit_distance(key, candidate);
    let best = known.iter().min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= 2 + key.len() / 4).then_some(best)
}

fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(parse_duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse_duration("500 ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("-1s"), None);
        assert_eq!(parse_bytes("64MiB"), Some(64 << 20));
        assert_eq!(parse_bytes("1.5k"), Some(1536));
        assert_eq!(parse_bytes("many"), None);
    }

    #[test]
    fn the_nearest_key_is_proposed() {
        assert_eq!(nearest("host", &["hostname", "port"]), Some("hostname"));
        assert_eq!(nearest("hostnme", &["hostname", "port"]), Some("hostname"));
        assert_eq!(nearest("zzz", &["hostname", "port"]), None);
    }

    #[test]
    fn substitutes_environment_and_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let text = format!("a ${{file:{}}} b", file.path().display());
        assert_eq!(substitute(&text).unwrap(), "a secret b");
        assert!(
            substitute("${LAKEBED_NOT_SET_ANYWHERE}")
                .unwrap_err()
                .contains("not set")
        );
        assert!(substitute("${X").is_err());
    }
}
