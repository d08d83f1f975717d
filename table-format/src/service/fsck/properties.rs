//! `hoodie.properties`, and the backup that a change of it leaves when it is cut short.
//!
//! Java: HoodieTableConfig#recoverIfNeeded. The checksum is of the names only.

use crate::codec::properties::{Properties, table_checksum};
use crate::config::{TableConfig, key};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;
use crate::table::create::replace_config;
use crate::table::{PROPERTIES_BACKUP_PATH, PROPERTIES_PATH};

use super::finding::{Check, Problem, Repair};

/// The table's properties, from wherever they can be had, and what is wrong with their files.
pub(super) async fn check(storage: &Storage) -> Result<(TableConfig, Vec<Problem>)> {
    let backup = match storage.read_if_exists(PROPERTIES_BACKUP_PATH).await? {
        Some(bytes) => TableConfig::parse(&bytes).ok(),
        None => None,
    };
    let has_backup = storage.exists(PROPERTIES_BACKUP_PATH).await?;
    let main = storage.read_if_exists(PROPERTIES_PATH).await?;
    let problem = |what: String, how: &str, repair| {
        let path = PROPERTIES_PATH.to_owned();
        Problem::repairable(Check::Properties, path, what, how, repair)
    };
    let main = match main {
        None => Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "no Hudi table at {} ({PROPERTIES_PATH} is missing)",
                storage.location()
            ),
        )),
        Some(bytes) => TableConfig::parse(&bytes)
            .map(|config| (bytes.clone(), config))
            .or_else(|error| match (&backup, mend_checksum(&bytes)) {
                (None, Ok(config)) => Ok((bytes, config)),
                _ => Err(error),
            }),
    };
    match (main, backup) {
        (Ok((bytes, config)), _) => {
            let mut problems = Vec::new();
            let stated = Properties::parse(&bytes)?;
            let stated = stated.get_non_blank(key::CHECKSUM).map(str::to_owned);
            let expected = checksum_of(&config);
            if stated.as_deref() != Some(&expected) {
                let what = format!(
                    "the checksum is {}, the names give {expected}",
                    stated.as_deref().unwrap_or("missing")
                );
                problems.push(problem(what, "sets the checksum", Repair::Properties));
            } else if has_backup {
                problems.push(Problem::repairable(
                    Check::Properties,
                    PROPERTIES_BACKUP_PATH.to_owned(),
                    "a change of the properties was cut short; the properties are whole".to_owned(),
                    "deletes the backup",
                    Repair::Delete(vec![PROPERTIES_BACKUP_PATH.to_owned()]),
                ));
            }
            Ok((with_checksum(&config)?, problems))
        }
        (Err(error), Some(backup)) => {
            let what = format!("{error}; a change of it was cut short");
            let found = problem(
                what,
                "takes the properties of the backup",
                Repair::Properties,
            );
            Ok((with_checksum(&backup)?, vec![found]))
        }
        (Err(error), None) => Err(error.context(storage.location().to_owned())),
    }
}

/// Writes the properties as they were read, with their checksum.
pub(super) async fn rewrite(storage: &Storage, env: &Env, config: &TableConfig) -> Result<()> {
    replace_config(storage, env, config, config).await
}

/// Reads properties of which nothing but the checksum is wrong.
fn mend_checksum(bytes: &[u8]) -> Result<TableConfig> {
    let mut properties = Properties::parse(bytes)?;
    properties.remove(key::CHECKSUM);
    TableConfig::try_new(properties)
}

fn checksum_of(config: &TableConfig) -> String {
    table_checksum(config.properties().get(key::DATABASE_NAME), config.name()).to_string()
}

fn with_checksum(config: &TableConfig) -> Result<TableConfig> {
    let mut properties = config.properties().clone();
    properties.set(key::CHECKSUM, checksum_of(config));
    TableConfig::try_new(properties)
}
