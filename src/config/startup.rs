//! `scan.startup.*`: where reading begins for tables that are new to the pipeline.

use ingest::config::StartupMode;

use super::error::ConfigError;
use super::section::Section;

/// The modes, by the names of Flink CDC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Initial,
    Snapshot,
    Latest,
    Earliest,
    Specific,
    Gtid,
    Timestamp,
}

pub(super) fn parse(source: &mut Section<'_>) -> Result<StartupMode, ConfigError> {
    let mode = source.choice(
        "scan.startup.mode",
        &[
            ("initial", Mode::Initial),
            ("snapshot", Mode::Snapshot),
            ("latest-offset", Mode::Latest),
            ("earliest-offset", Mode::Earliest),
            ("specific-offset", Mode::Specific),
            ("gtid", Mode::Gtid),
            ("timestamp", Mode::Timestamp),
        ],
    )?;
    let file = source.text("scan.startup.specific-offset.file")?;
    let pos = source.parsed("scan.startup.specific-offset.pos", "an offset", |text| {
        text.parse().ok()
    })?;
    let gtid = source.text("scan.startup.specific-offset.gtid-set")?;
    let expected = "a time such as 2026-11-21T09:30:00Z, or milliseconds since 1970";
    let time = source.parsed("scan.startup.timestamp", expected, parse_time)?;
    let needs =
        |key, what: &str| source.error(key, format!("is required for scan.startup.mode {what}"));
    Ok(match mode.unwrap_or(Mode::Initial) {
        Mode::Initial => StartupMode::Initial,
        Mode::Snapshot => StartupMode::Snapshot,
        Mode::Latest => StartupMode::LatestOffset,
        Mode::Earliest => StartupMode::EarliestOffset,
        Mode::Specific => match (file, pos, gtid) {
            (Some(file), Some(pos), _) => StartupMode::SpecificOffset { file, pos },
            (None, None, Some(gtid)) => StartupMode::Gtid(gtid),
            (None, _, _) => {
                return Err(needs(
                    "scan.startup.specific-offset.file",
                    "specific-offset",
                ));
            }
            (_, None, _) => {
                return Err(needs("scan.startup.specific-offset.pos", "specific-offset"));
            }
        },
        Mode::Gtid => StartupMode::Gtid(
            gtid.ok_or_else(|| needs("scan.startup.specific-offset.gtid-set", "gtid"))?,
        ),
        Mode::Timestamp => StartupMode::Timestamp(
            time.ok_or_else(|| needs("scan.startup.timestamp", "timestamp"))?,
        ),
    })
}

fn parse_time(text: &str) -> Option<chrono::DateTime<chrono::Utc>> {
    match text.parse::<i64>() {
        Ok(millis) => chrono::DateTime::from_timestamp_millis(millis),
        Err(_) => text
            .parse::<chrono::DateTime<chrono::FixedOffset>>()
            .ok()
            .map(|time| time.to_utc()),
    }
}
