//! What a finished run has on record, changed by a stranger.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use eliteloop::record::{Store, chain, folder};
use eliteloop::report;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::scratch;

/// A finished run, and where a value of it can be changed.
struct Finished {
    run: PathBuf,
    /// Its store as it was.
    store: Vec<u8>,
    /// Tables and columns.
    places: Vec<(String, String)>,
    /// The last cycle.
    last: u64,
}

impl Finished {
    /// A copy of the run that `ELITELOOP_RUN` names.
    fn open() -> Self {
        let run = scratch().join("run");
        copy(Path::new(&std::env::var_os("ELITELOOP_RUN").expect("ELITELOOP_RUN is a finished run")), &run);
        let path = folder::store_path(&run);
        let last = Store::read(&path).and_then(|store| store.cycles()).expect("the run can be read").last().map_or(0, |row| row.cycle);
        let names = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' \
                     AND m.name NOT LIKE 'sqlite%' ORDER BY 1, 2";
        let db = Connection::open(&path).expect("the store opens");
        let mut names = db.prepare(names).expect("the schema can be read");
        let places = names.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect).expect("the schema can be read");
        Self { store: std::fs::read(&path).expect("the store can be read"), run, places, last }
    }
}

/// Another value in one place of the store: which place, which row, what kind of value, the value. The record is read and shown, or an error
/// says what is wrong with it; and the chain of hashes notices, but for times and what is shown of them.
pub fn store(bytes: &[u8]) {
    static RUN: OnceLock<Finished> = OnceLock::new();
    let Finished { run, store, places, last } = RUN.get_or_init(Finished::open);
    let Some(([place, row, kind], value)) = bytes.split_first_chunk() else { return };
    let (table, column) = &places[usize::from(*place) % places.len()];
    let value = match (kind % 5, value.first_chunk()) {
        (0, _) => Value::Null,
        (1, Some(number)) => Value::Integer(i64::from_le_bytes(*number)),
        (2, Some(number)) => Value::Real(f64::from_le_bytes(*number)),
        (3, _) => Value::Blob(value.to_vec()),
        _ => Value::Text(String::from_utf8_lossy(value).into_owned()),
    };
    let path = folder::store_path(run);
    std::fs::write(&path, store).expect("the store can be written");
    let Some(was_changed) = change(&path, table, column, *row, &value) else { return };
    let _ = report::collect::collect(run).map(|data| report::render(&data));
    let Ok(read) = Store::read(&path) else { return };
    let noticed = !matches!(chain::broken(&read, *last, true), Ok(None));
    let is_outside = table == "phase" || column.starts_with("seconds");
    assert!(noticed || is_outside || !was_changed, "{table}.{column} was changed to {value:?}, and the chain holds");
}

/// Whether the value is another one now; None where the table has no rows or does not take it.
fn change(path: &Path, table: &str, column: &str, row: u8, value: &Value) -> Option<bool> {
    let db = Connection::open(path).expect("the store opens");
    // When it began and ended is outside of what the chain holds.
    let of = format!("FROM \"{table}\"") + if table == "meta" { " WHERE key NOT IN ('started', 'finished')" } else { "" };
    let rows: u64 = db.query_row(&format!("SELECT count(*) {of}"), [], |r| r.get(0)).expect("rows are counted");
    let row = u64::from(row).checked_rem(rows)?;
    let id: i64 = db.query_row(&format!("SELECT rowid {of} LIMIT 1 OFFSET {row}"), [], |r| r.get(0)).expect("the row is there");
    let get = || db.query_row(&format!("SELECT \"{column}\" FROM \"{table}\" WHERE rowid = {id}"), [], |r| r.get::<_, Value>(0));
    let before = get().ok()?;
    db.execute(&format!("UPDATE \"{table}\" SET \"{column}\" = ?1 WHERE rowid = {id}"), [value]).ok()?;
    let after = get();
    Some(after.map_or(true, |after| format!("{after:?}") != format!("{before:?}")))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("the run is there").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}
