//! Settings in layers: tables of TOML, each over the one before.

use crate::error::{Error, Result};

/// The expected key nearest to the unknown one, out of serde's message: "unknown field `x`, expected one of `a`, `b`".
pub(crate) fn nearest_key(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown ").then(|| quoted.next())??;
    quoted.min_by_key(|key| strsim::damerau_levenshtein(unknown, key))
}

pub(crate) fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// `elite.rho=0.2` as a table; a value that is not TOML is taken as a string.
pub(crate) fn override_table(assignment: &str) -> Result<toml::Table> {
    let (key, value) = assignment
        .split_once('=')
        .ok_or_else(|| Error::input(format!("--set {assignment}: there is no '='")).hint("write --set elite.rho=0.2"))?;
    let (key, value) = (key.trim(), value.trim());
    format!("{key} = {value}")
        .parse()
        .or_else(|_| format!("{key} = {}", toml::Value::String(value.into())).parse())
        .map_err(|e| Error::input(format!("--set {assignment}: not a key and a value")).caused_by(e))
}
