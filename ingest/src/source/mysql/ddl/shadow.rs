//! Tables that tools for online schema changes build beside a table, to take its place at the end.
//!
//! gh-ost makes `_orders_gho` and `_orders_ghc`, pt-online-schema-change `_orders_new`; at the cut-over one statement renames
//! `orders` to `_orders_del` or `_orders_old`, and the new table to `orders`.

/// The table that a table of this name is a new version of in the making, by the names that the tools give.
pub fn original_of(name: &str) -> Option<&str> {
    let stem = name
        .strip_suffix("_gho")
        .or_else(|| name.strip_suffix("_new"))?;
    // pt-online-schema-change puts more underscores in front when a name is taken.
    let original = stem.trim_start_matches('_');
    (original.len() < stem.len() && !original.is_empty()).then_some(original)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_names_that_tools_give() {
        assert_eq!(original_of("_orders_gho"), Some("orders"));
        assert_eq!(original_of("__orders_new"), Some("orders"));
        assert_eq!(original_of("_order_lines_new"), Some("order_lines"));
        for other in [
            "orders_new",
            "_orders_old",
            "_orders_ghc",
            "orders",
            "__new",
            "_gho",
            "",
        ] {
            assert_eq!(original_of(other), None, "{other}");
        }
    }
}
