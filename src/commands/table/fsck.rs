//! `lakebed table fsck`: looks for what is wrong with a table, and mends it.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde_json::json;
use table_format::Result;
use table_format::env::{Env, MemoryBudget};
use table_format::service::{Finding, Services};
use table_format::storage::Storage;

use crate::commands::Failure;

/// Log files are read one at a time.
const MEMORY_BYTES: u64 = 256 << 20;

/// Arguments of `lakebed table fsck`.
#[derive(Debug, clap::Args)]
pub(crate) struct FsckArgs {
    /// The table: a path or URL
    path: String,
    /// Mend what can be mended without losing rows
    #[arg(long)]
    repair: bool,
    /// JSON instead of text, an object a finding
    #[arg(long)]
    json: bool,
}

/// The findings as lines, and whether any of them is left as it is.
pub(super) async fn fsck(args: &FsckArgs) -> Result<(Vec<String>, Option<Failure>)> {
    let storage = Storage::open(&args.path)?;
    let env = Env::system(MemoryBudget::new(MEMORY_BYTES));
    let services = Services::unopened(storage, env, BTreeMap::new());
    let findings = services.fsck(args.repair).await?;
    let lines = findings.iter().map(|finding| {
        if args.json {
            as_json(finding)
        } else {
            as_text(finding)
        }
    });
    let left = findings.iter().filter(|it| !it.is_repaired).count();
    let failure = (left > 0).then(|| {
        let mendable = findings
            .iter()
            .any(|it| !it.is_repaired && it.repair.is_some());
        let hint = if mendable { "; see --repair" } else { "" };
        Failure::other(anyhow!("{left} findings in {}{hint}", args.path))
    });
    Ok((lines.collect(), failure))
}

fn as_json(finding: &Finding) -> String {
    json!({
        "check": finding.check.as_str(),
        "file": finding.file,
        "problem": finding.problem,
        "repair": finding.repair,
        "repaired": finding.is_repaired,
    })
    .to_string()
}

fn as_text(finding: &Finding) -> String {
    let Finding {
        check,
        file,
        problem,
        ..
    } = finding;
    let repair = match (&finding.repair, finding.is_repaired) {
        (Some(repair), true) => format!("repaired: {repair}"),
        (Some(repair), false) => format!("--repair {repair}"),
        (None, _) => "not repaired: rows could be lost".to_owned(),
    };
    format!("{check}: {file}: {problem} ({repair})")
}
