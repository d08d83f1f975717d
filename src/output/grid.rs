//! Cells as aligned columns.

/// Lines of cells under a header and a rule. Columns of `is_right` are aligned to the right; cells are measured in
/// characters.
pub(crate) fn grid(header: &[&str], is_right: &[bool], rows: &[Vec<String>]) -> Vec<String> {
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let mut widths: Vec<usize> = header.iter().map(|name| name.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    [&header, &rule]
        .into_iter()
        .chain(rows)
        .map(|row| line(row, &widths, is_right))
        .collect()
}

fn line(row: &[String], widths: &[usize], is_right: &[bool]) -> String {
    let mut line = String::new();
    for (position, (cell, width)) in row.iter().zip(widths).enumerate() {
        let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
        let is_right = is_right.get(position).copied().unwrap_or(false);
        if position > 0 {
            line.push_str("  ");
        }
        if is_right {
            line.push_str(&padding);
        }
        line.push_str(cell);
        if !is_right {
            line.push_str(&padding);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_to_the_right() {
        let rows = [
            vec!["ä".to_owned(), "1".to_owned()],
            vec!["bcd".to_owned(), "22".to_owned()],
        ];
        let lines = grid(&["name", "n"], &[false, true], &rows);
        assert_eq!(lines, ["name   n", "----  --", "ä      1", "bcd   22"]);
    }
}
