//! Settings in layers: tables of TOML, each over the one before.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::base::error::{Error, Result};
use crate::base::files::read_text;
use crate::base::range::Check;

/// All settings of something.
pub(crate) trait Settings: Check + DeserializeOwned {
    /// What to do about a key that is unknown or has a value of the wrong type, where more is known than the nearest key.
    fn instead_of(_key: &str) -> Option<String> {
        None
    }
}

/// What a file and `key=value` overrides give, the overrides over the file.
///
/// # Errors
/// See [`read`]; a file that is not TOML, with the line.
pub(crate) fn given<S: Settings>(file: Option<&Path>, overrides: &[String]) -> Result<Table> {
    let mut given = Table::new();
    if let Some(path) = file {
        let origin = path.display().to_string();
        given = parse(&read_text(path, "read the settings")?, &origin)?;
        // Here, so that what is wrong is told with its file.
        read::<S>(&given, &origin)?;
    }
    for assignment in overrides {
        merge(&mut given, override_table(assignment)?);
    }
    Ok(given)
}

/// The table of a text.
///
/// # Errors
/// Says which line is not TOML.
pub(crate) fn parse(text: &str, origin: &str) -> Result<Table> {
    text.parse().map_err(|e: toml::de::Error| {
        let at = e.span().map_or(text.len(), |span| span.start.min(text.len()));
        let number = text.as_bytes()[..at].split(|b| *b == b'\n').count();
        let line = text.lines().nth(number - 1).unwrap_or_default().trim();
        let error = Error::input(format!("{origin}, line {number} ({line}): {}", e.message()));
        if e.message().contains("too large") { error.hint(LARGEST) } else { error }
    })
}

/// Settings out of their table.
///
/// # Errors
/// Names the key that there is not, with the nearest there is, or whose value has the wrong type.
pub(crate) fn read<S: Settings>(table: &Table, origin: &str) -> Result<S> {
    table.clone().try_into::<S>().map_err(|error| {
        // Each setting by itself, since serde does not say where it was.
        let culprit = leaves(table).into_iter().find_map(|(key, alone)| Some((key, alone.try_into::<S>().err()?)));
        let (key, error) = culprit.unwrap_or((String::new(), error));
        let hint = S::instead_of(&key).or_else(|| nearest_key(error.message()).map(|near| format!("did you mean '{near}'?")));
        let place = if key.is_empty() { origin.to_owned() } else { format!("{origin}, {key}") };
        let error = Error::input(format!("{place}: {}", in_words(error.message())));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })
}

/// Whether there is a setting of this name, as `elite.rho`.
pub(crate) fn is_key<S: Settings>(key: &str) -> bool {
    let path: Vec<&str> = key.split('.').collect();
    nested(&path, Value::Boolean(true)).try_into::<S>().err().is_none_or(|e| !e.message().starts_with("unknown field"))
}

/// The keys in which two settings differ, given as TOML.
pub(crate) fn differences(one: &str, other: &str) -> Vec<String> {
    let [one, other] = [one, other].map(|text| leaves(&text.parse().unwrap_or_default()));
    let keys = |of: &[(String, Table)], beside: &[(String, Table)]| -> Vec<String> {
        of.iter().filter(|leaf| !beside.contains(leaf)).map(|(key, _)| key.clone()).collect()
    };
    let mut all = keys(&one, &other);
    all.extend(keys(&other, &one).into_iter().filter(|key| one.iter().all(|(own, _)| own != key)));
    all
}

/// Every value of a table by its full key, alone in a table of its own.
fn leaves(table: &Table) -> Vec<(String, Table)> {
    fn walk<'a>(path: &mut Vec<&'a str>, table: &'a Table, into: &mut Vec<(String, Table)>) {
        for (key, value) in table {
            path.push(key);
            match value {
                Value::Table(inner) if !inner.is_empty() => walk(path, inner, into),
                value => into.push((path.join("."), nested(path, value.clone()))),
            }
            path.pop();
        }
    }
    let mut all = Vec::new();
    walk(&mut Vec::new(), table, &mut all);
    all
}

fn nested(path: &[&str], value: Value) -> Table {
    let (last, above) = path.split_last().expect("a key has a name");
    let one = |key: &str, value| Table::from_iter([(key.to_owned(), value)]);
    above.iter().rev().fold(one(last, value), |table, key| one(key, Value::Table(table)))
}

/// serde's message without the names of Rust's types.
fn in_words(message: &str) -> String {
    let Some((start, expected)) = message.split_once("expected ") else { return message.to_owned() };
    let words = match expected {
        "u64" | "usize" => "a whole number from 0 up",
        "f64" => "a number",
        _ if expected.starts_with("struct ") => "a table",
        other => other,
    };
    format!("{start}expected {words}")
}

/// The expected key nearest to the unknown one, out of serde's message: "unknown field `x`, expected one of `a`, `b`". None where none
/// is near.
pub(crate) fn nearest_key(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown ").then(|| quoted.next())??;
    nearest(quoted, unknown)
}

/// The key that was meant, as far as can be told.
pub(super) fn nearest<'a>(keys: impl Iterator<Item = &'a str>, unknown: &str) -> Option<&'a str> {
    let distance = |key: &str| strsim::damerau_levenshtein(unknown, key);
    keys.min_by_key(|key| distance(key)).filter(|key| 2 * distance(key) <= key.len().max(unknown.len()))
}

pub(crate) fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

const LARGEST: &str = "the largest whole number of TOML is 2^63-1 = 9223372036854775807";

/// `elite.rho=0.2` as a table; a value that is not TOML is taken as a string.
fn override_table(assignment: &str) -> Result<Table> {
    let (key, value) = assignment
        .split_once('=')
        .ok_or_else(|| Error::input(format!("--set {assignment}: there is no '='")).hint("write --set elite.rho=0.2"))?;
    let (key, value) = (key.trim(), value.trim());
    let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && value.parse::<i64>().is_err() {
        return Err(Error::input(format!("setting {key} = {value}: the number is too large")).hint(LARGEST));
    }
    format!("{key} = {value}")
        .parse()
        .or_else(|_| format!("{key} = {}", Value::String(value.into())).parse())
        .map_err(|e: toml::de::Error| Error::input(format!("--set {assignment}: not a key and a value")).caused_by(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_offered_where_it_is_near() {
        let nearest =
            |unknown: &str| nearest_key(&format!("unknown field `{unknown}`, expected one of `rho`, `held_out`")).map(String::from);
        assert_eq!(nearest("roh").as_deref(), Some("rho"));
        assert_eq!(nearest("heldout").as_deref(), Some("held_out"));
        assert_eq!(nearest("temperature"), None);
        assert_eq!(nearest_key("invalid type: string \"x\", expected f64"), None);
    }

    #[test]
    fn the_keys_in_which_settings_differ_are_named_by_their_full_names() {
        let (one, other) = ("a = 1\nb = 2\n[c]\nd = 3\ne = [1]\n", "a = 1\nb = 3\n[c]\nf = 1\ne = [2]\n");
        assert_eq!(differences(one, other), ["b", "c.d", "c.e", "c.f"]);
        assert!(differences(one, one).is_empty());
    }

    #[test]
    fn a_value_that_is_not_toml_is_a_string() {
        let value = |assignment: &str| override_table(assignment).unwrap()["a"].clone();
        assert_eq!(value("a=b c"), Value::String("b c".into()));
        assert_eq!(value("a = 007"), Value::String("007".into()));
        assert_eq!(value("a=-7"), Value::Integer(-7));
        for bad in ["a", "=1", "a=9223372036854775808", "a=-99999999999999999999"] {
            assert_eq!(override_table(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
