//! Keys of earlier versions.

/// Table, key, and what to use in its place.
const RETIRED: [(&str, &str, &str, &str); 2] = [
    (
        "screen",
        "trace_seconds",
        "screen.trace_seconds",
        "traces end by what they do, not by the clock: screen.trace_steps (and screen.trace_cpu_seconds, of processor time)",
    ),
    (
        "proxy",
        "deadline_seconds",
        "proxy.deadline_seconds",
        "trainings are bounded by what they compute, not by the clock: proxy.max_training_macs (and proxy.cpu_seconds, of processor time)",
    ),
];

/// The first key in the settings of a run that this version has no more.
pub fn retired_key(text: &str) -> Option<&'static str> {
    let table: toml::Table = text.parse().ok()?;
    RETIRED.iter().find(|(group, key, ..)| table.get(*group).is_some_and(|t| t.get(key).is_some())).map(|(_, _, name, _)| *name)
}

/// The settings without such keys.
pub(super) fn without(text: &str) -> String {
    let Ok(mut table) = text.parse::<toml::Table>() else { return text.to_owned() };
    for (group, key, ..) in RETIRED {
        if let Some(toml::Value::Table(group)) = table.get_mut(group) {
            group.remove(key);
        }
    }
    toml::to_string(&table).unwrap_or_else(|_| text.to_owned())
}

/// What to use in place of the key that a message of the parser calls unknown.
pub(super) fn hint(message: &str) -> Option<&'static str> {
    RETIRED.iter().find(|(_, key, ..)| message.starts_with(&format!("unknown field `{key}`"))).map(|(.., hint)| *hint)
}
