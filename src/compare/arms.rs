//! Arms: the runs, or audits, whose settings are the same but for the seed.

use std::path::Path;

use toml::{Table, Value};

use crate::base::error::{Error, Result};

/// One of an arm.
pub(crate) trait Member {
    fn folder(&self) -> &Path;
    fn seed(&self) -> u64;
    /// Its policy by name.
    fn policy(&self) -> &'static str;
    /// Whether this is the method and not one of its controls.
    fn is_method(&self) -> bool;
    /// The settings that make its arm.
    fn identity(&self) -> Table;
}

/// Groups members into arms, in the order of their first one and by seed, named by how their settings differ from those of the method
/// (or else of the first arm).
///
/// # Errors
/// When there is none, or one twice.
pub(crate) fn grouped<M: Member>(members: Vec<M>) -> Result<Vec<(String, Vec<M>)>> {
    let mut arms: Vec<(Table, Vec<M>)> = Vec::new();
    for member in members {
        let identity = member.identity();
        let Some((_, own)) = arms.iter_mut().find(|(of, _)| *of == identity) else {
            arms.push((identity, vec![member]));
            continue;
        };
        if let Some(other) = own.iter().find(|other| other.seed() == member.seed()) {
            return Err(Error::input(format!(
                "{} and {} are the same run: same settings, same seed",
                member.folder().display(),
                other.folder().display()
            ))
            .hint("give each run once"));
        }
        own.push(member);
    }
    let Some(at) = arms.iter().position(|(_, own)| own[0].is_method()).or_else(|| (!arms.is_empty()).then_some(0)) else {
        return Err(Error::input("there is no run to compare").hint("give the folders of two runs or more"));
    };
    let reference = flat(&arms[at].0);
    let named = arms.into_iter().enumerate().map(|(place, (identity, mut own))| {
        own.sort_by_key(Member::seed);
        let name = if place == at { own[0].policy().to_owned() } else { difference(&reference, flat(&identity)) };
        (name, own)
    });
    Ok(named.collect())
}

/// Keys of tables as `table.key`.
fn flat(settings: &Table) -> Vec<(String, Value)> {
    let mut keys = Vec::new();
    for (key, value) in settings {
        match value {
            Value::Table(inner) => keys.extend(inner.iter().map(|(k, v)| (format!("{key}.{k}"), v.clone()))),
            value => keys.push((key.clone(), value.clone())),
        }
    }
    keys
}

/// How settings differ from those known, as `key=value`.
fn difference(known: &[(String, Value)], other: Vec<(String, Value)>) -> String {
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let changed = other.into_iter().filter(|entry| !known.contains(entry));
    changed.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(" ")
}
