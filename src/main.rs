//! The `lakebed` binary.

fn main() {}
