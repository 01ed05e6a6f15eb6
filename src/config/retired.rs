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
pub(crate) fn retired_key(text: &str) -> Option<&'static str> {
    let table: toml::Table = text.parse().ok()?;
    RETIRED.iter().find(|(group, key, ..)| table.get(*group).is_some_and(|t| t.get(key).is_some())).map(|(_, _, name, _)| *name)
}

/// Leaves such keys out.
pub(super) fn remove_from(settings: &mut toml::Table) {
    for (group, key, ..) in RETIRED {
        if let Some(toml::Value::Table(group)) = settings.get_mut(group) {
            group.remove(key);
        }
    }
}

/// What to use in place of such a key.
pub(super) fn hint(key: &str) -> Option<&'static str> {
    RETIRED.iter().find(|(.., name, _)| *name == key).map(|(.., hint)| *hint)
}
