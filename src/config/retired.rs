//! Keys of earlier versions.

use toml::{Table, Value};

/// A key, and what to use in its place.
const RETIRED: [(&str, &str); 2] = [
    (
        "screen.trace_seconds",
        "traces end by what they do, not by the clock: screen.trace_steps (and screen.trace_cpu_seconds, of processor time)",
    ),
    (
        "proxy.deadline_seconds",
        "trainings are bounded by what they compute, not by the clock: proxy.max_training_macs (and proxy.cpu_seconds, of processor time)",
    ),
];

/// The first key in the settings of a run that this version has no more.
pub fn retired_key(text: &str) -> Option<&'static str> {
    let mut table: Table = text.parse().ok()?;
    RETIRED.iter().find_map(|(key, _)| take(&mut table, key).map(|_| *key))
}

/// Takes such keys out.
pub(super) fn leave_out(table: &mut Table) {
    for (key, _) in RETIRED {
        take(table, key);
    }
}

fn take(table: &mut Table, key: &str) -> Option<Value> {
    let (group, name) = key.split_once('.')?;
    table.get_mut(group)?.as_table_mut()?.remove(name)
}

/// What to use in place of such a key.
pub(super) fn hint(key: &str) -> Option<&'static str> {
    RETIRED.iter().find(|(retired, _)| *retired == key).map(|(_, hint)| *hint)
}
