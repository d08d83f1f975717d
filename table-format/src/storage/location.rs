//! From what the user names (a path, a URL) to a store and the place of a table in it.

use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::Url;

use crate::error::{Error, Result};

/// A store, the place in it, and how that place is named to others.
pub(super) struct Located {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    pub(super) name: String,
    pub(super) is_local: bool,
}

/// Variables of the environment with one of these beginnings set up the clients of object stores. Others must not: a
/// `BUCKET` or `TOKEN` that belongs to something else would be taken for theirs.
const VARIABLES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// What the environment says of object stores.
pub(super) fn environment() -> Vec<(String, String)> {
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts
        .filter(|(name, _)| {
            VARIABLES
                .iter()
                .any(|beginning| name.starts_with(beginning))
        })
        .collect()
}

/// Takes a local path, `file://`, or (by feature) `s3://`, `gs://`, `az://` and their aliases; `options` are named as the
/// variables of the respective cloud.
pub(super) fn locate(location: &str, options: Vec<(String, String)>) -> Result<Located> {
    let Some(url) = parse_url(location)? else {
        return locate_path(std::path::Path::new(location));
    };
    let invalid = |error: object_store::Error| {
        Error::invalid(format!("`{location}`: {error}")).with_source(error)
    };
    let (scheme, _) = ObjectStoreScheme::parse(&url)
        .map_err(|error| invalid(object_store::Error::from(error)))?;
    if scheme == ObjectStoreScheme::Local {
        let path = url
            .to_file_path()
            .map_err(|()| Error::invalid(format!("`{location}` is no local path")))?;
        return locate_path(&path);
    }
    if scheme == ObjectStoreScheme::Http {
        return Err(Error::invalid(format!(
            "`{location}`: name a local path or an s3, gs or az URL"
        )));
    }
    if let Some(feature) = missing_feature(&scheme) {
        return Err(Error::unsupported(format!(
            "`{location}`: this lakebed was built without the feature `{feature}`; build it with `--features {feature}`"
        )));
    }
    let (store, root) = object_store::parse_url_opts(&url, options).map_err(invalid)?;
    let name = location.trim_end_matches('/').to_owned();
    Ok(Located {
        store: Arc::from(store),
        root,
        name,
        is_local: false,
    })
}

/// The feature that is needed for a scheme and not built in.
fn missing_feature(scheme: &ObjectStoreScheme) -> Option<&'static str> {
    match scheme {
        ObjectStoreScheme::AmazonS3 if !cfg!(feature = "aws") => Some("aws"),
        ObjectStoreScheme::GoogleCloudStorage if !cfg!(feature = "gcp") => Some("gcp"),
        ObjectStoreScheme::MicrosoftAzure if !cfg!(feature = "azure") => Some("azure"),
        _ => None,
    }
}

fn parse_url(location: &str) -> Result<Option<Url>> {
    let is_scheme =
        |scheme: &str| scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match location.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => Url::parse(location)
            .map(Some)
            .map_err(|error| Error::invalid(format!("`{location}`: {error}")).with_source(error)),
        _ => Ok(None),
    }
}

/// The store is rooted at `/`, so that a table that does not exist yet needs no directory.
fn locate_path(path: &std::path::Path) -> Result<Located> {
    let shown = path.display();
    let absolute = std::path::absolute(path)
        .map_err(|error| Error::invalid(format!("`{shown}`: {error}")).with_source(error))?;
    // An existing directory may be named by a way that holds `..`, which paths of a store must not.
    let absolute = std::fs::canonicalize(&absolute).unwrap_or(absolute);
    let root = Path::from_absolute_path(&absolute)
        .map_err(|error| Error::invalid(format!("`{shown}`: {error}")).with_source(error))?;
    let name = absolute
        .to_str()
        .ok_or_else(|| Error::invalid(format!("`{shown}` is not UTF-8")))?;
    // Directories that have become empty (of markers, of partitions) go, as on an object store.
    let store = LocalFileSystem::new().with_automatic_cleanup(true);
    Ok(Located {
        store: Arc::new(store),
        root,
        name: name.to_owned(),
        is_local: true,
    })
}
