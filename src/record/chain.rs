//! A chain of hashes over all that a run or an audit stores, a link a cycle, as git has one over commits: a link is the SHA-256 of the
//! link before it and of every row of its cycle, so the last one stands for everything. The first one holds the settings and the inputs too
//! (they are rows of `meta`), and the SHA-256 of a checkpoint's files is a row of its cycle.
//!
//! Rows are taken from the tables as they are, whatever their columns: what a later version stores is in the chain without a line here.
//! Left out are times and memory (the table `phase`, columns named `seconds*`, the keys in [`TIMES`]), which alone may differ between two
//! runs of the same settings on the same kind of processor. Who changes rows can make the chain again, but not the last link that was
//! printed when the run ended.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement, params};

use super::{Store, folder};
use crate::base::error::{AtPath, Result};
use crate::base::hash::{Hash, sha256_file};
use crate::base::processor;

/// Keys of `meta` that say when.
const TIMES: &str = "'started', 'finished'";
/// Between the kinds of processors of a cycle.
const BETWEEN: &str = "; ";
const BEGIN: &str = "eliteloop: the chain of a record, 1";

/// A table, and how its rows are told apart by cycles.
struct Table {
    name: String,
    key: Key,
}

enum Key {
    /// A column `cycle`.
    Cycle,
    /// The column that names a network.
    Network(&'static str),
    /// All are of the first link.
    Begin,
    /// None: they are in no link.
    Unknown,
}

impl Table {
    fn of(store: &Store, name: &str) -> Result<Self> {
        let columns = store.rows("SELECT name FROM pragma_table_info(?1)", [name], |r| Ok(r.get::<_, String>(0)?))?;
        let has = |column: &str| columns.iter().any(|c| c == column);
        let key = match name {
            "meta" => Key::Begin,
            _ if has("cycle") => Key::Cycle,
            "network" if has("id") => Key::Network("id"),
            _ if has("network") => Key::Network("network"),
            _ => Key::Unknown,
        };
        Ok(Self { name: format!("\"{}\"", name.replace('"', "\"\"")), key })
    }

    /// SQL of the rows of a cycle.
    fn condition(&self, cycle: u64) -> String {
        match self.key {
            Key::Cycle => format!("cycle = {cycle}"),
            // All names that begin with it: '0' comes next after '/'.
            Key::Network(column) => {
                let of = if cycle == 0 { "start".to_owned() } else { cycle.to_string() };
                format!("{column} >= '{of}/' AND {column} < '{of}0'")
            }
            Key::Begin if cycle == 0 => format!("key NOT IN ({TIMES})"),
            Key::Begin | Key::Unknown => "0".into(),
        }
    }

    /// How many rows are to be in some link.
    fn total(&self, store: &Store) -> Result<u64> {
        let condition = if matches!(self.key, Key::Begin) { self.condition(0) } else { "1".into() };
        count(store, &format!("SELECT count(*) FROM {} WHERE {condition}", self.name))
    }
}

fn count(store: &Store, sql: &str) -> Result<u64> {
    Ok(store.rows(sql, [], |r| Ok(r.get::<_, u64>(0)?))?.into_iter().sum())
}

fn tables(store: &Store) -> Result<Vec<Table>> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               AND name NOT IN ('phase', 'chain') ORDER BY name";
    store.rows(sql, [], |r| Ok(r.get::<_, String>(0)?))?.iter().map(|name| Table::of(store, name)).collect()
}

/// The link of a cycle after `previous`, and how many rows are in it of each table.
fn link(store: &Store, tables: &[Table], cycle: u64, previous: &str) -> Result<(String, Vec<u64>)> {
    let (mut rows, mut counts) = (Vec::new(), Vec::new());
    for table in tables {
        let sql = format!("SELECT * FROM {} WHERE {}", table.name, table.condition(cycle));
        let own = store.rows(&sql, [], |row| hash_of(&table.name, row))?;
        counts.push(own.len() as u64);
        rows.extend(own);
    }
    // In what order they were stored depends on which worker was first.
    rows.sort_unstable();
    let mut hash = Hash::of(format!("{previous}\n{cycle}\n"));
    for row in rows {
        hash.update(row);
    }
    Ok((hash.hex(), counts))
}

fn hash_of(table: &str, row: &Row<'_>) -> Result<[u8; 32]> {
    let mut hash = Hash::default();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(table.as_bytes());
    let statement: &Statement = row.as_ref();
    for (at, column) in statement.column_names().enumerate().filter(|(_, column)| !column.starts_with("seconds")) {
        let (kind, bytes): (&[u8], Cow<[u8]>) = match row.get_ref(at)? {
            ValueRef::Null => (b"null", Cow::default()),
            ValueRef::Integer(number) => (b"integer", number.to_le_bytes().to_vec().into()),
            ValueRef::Real(number) => (b"real", number.to_bits().to_le_bytes().to_vec().into()),
            ValueRef::Text(text) => (b"text", text.into()),
            ValueRef::Blob(bytes) => (b"blob", bytes.into()),
        };
        [column.as_bytes(), kind, &bytes].into_iter().for_each(&mut part);
    }
    Ok(hash.digest())
}

/// The links in order: cycle and hash.
fn links(store: &Store) -> Result<Vec<(u64, String)>> {
    store.rows("SELECT cycle, hash FROM chain ORDER BY cycle", [], |r| Ok((r.get(0)?, r.get(1)?)))
}

/// The last link, which stands for everything; None before the first cycle is closed.
///
/// # Errors
/// Those of the store.
pub fn head(store: &Store) -> Result<Option<String>> {
    Ok(links(store)?.pop().map(|(_, hash)| hash))
}

/// Adds the link of a cycle, in the transaction that closes it; where there is a checkpoint in the folder, its files are in it.
///
/// # Errors
/// Those of the store and of the checkpoint.
pub fn close(store: &Store, cycle: u64, checkpoint: &Path) -> Result<()> {
    note_processor(store, cycle, &processor::kind())?;
    store.put("DELETE FROM checkpoint WHERE cycle = ?1", [cycle])?;
    for (file, sha256) in files(checkpoint)? {
        store.put("INSERT INTO checkpoint VALUES (?1, ?2, ?3)", params![cycle, file, sha256])?;
    }
    let previous = links(store)?.into_iter().rfind(|(of, _)| *of < cycle).map_or_else(|| BEGIN.to_owned(), |(_, hash)| hash);
    let (hash, _) = link(store, &tables(store)?, cycle, &previous)?;
    store.put("INSERT OR REPLACE INTO chain VALUES (?1, ?2)", params![cycle, hash])
}

/// Notes that something of an open cycle was computed on this kind of processor. The first of the kinds that a row names is this machine's,
/// where it closed the cycle; those of other machines that trained for it come after it, so that nobody takes them for one kind.
///
/// # Errors
/// Those of the store.
pub(crate) fn note_processor(store: &Store, cycle: u64, kind: &str) -> Result<()> {
    let known: Vec<String> = store.rows("SELECT kind FROM processor WHERE cycle = ?1", [cycle], |r| Ok(r.get(0)?))?;
    let mut others: Vec<&str> = known.iter().flat_map(|kinds| kinds.split(BETWEEN)).chain([kind]).collect();
    let own = processor::kind();
    // In what order trainings came is no matter.
    others.sort_unstable_by_key(|other| (*other != own, *other));
    others.dedup();
    store.put("INSERT OR REPLACE INTO processor VALUES (?1, ?2)", params![cycle, others.join(BETWEEN)])
}

/// Names and hashes of the files of a folder; none where there is no folder.
fn files(folder: &Path) -> Result<Vec<(String, String)>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in folder.read_dir().at("read the folder", folder)? {
        let entry = entry.at("read the folder", folder)?;
        files.push((entry.file_name().to_string_lossy().into_owned(), sha256_file(&entry.path())?));
    }
    files.sort();
    Ok(files)
}

/// The first thing in which a record is not what its chain says; None where it holds. `last` is the last closed cycle; of a record that is
/// not finished there may be rows of the next one.
///
/// # Errors
/// Those of the store.
pub fn broken(store: &Store, last: u64, finished: bool) -> Result<Option<String>> {
    let (links, tables) = (links(store)?, tables(store)?);
    if !links.iter().map(|(cycle, _)| *cycle).eq(0..=last) {
        return Ok(Some(format!("there are {} links, and {} cycles are closed", links.len(), last + 1)));
    }
    let (mut previous, mut in_links) = (BEGIN.to_owned(), vec![0; tables.len()]);
    for (cycle, stored) in links {
        let (again, counts) = link(store, &tables, cycle, &previous)?;
        if again != stored {
            return Ok(Some(format!("cycle {cycle}: its rows are not those that were stored when it was closed")));
        }
        in_links.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        previous = stored;
    }
    for (table, in_links) in tables.iter().zip(in_links) {
        let open =
            if finished { 0 } else { count(store, &format!("SELECT count(*) FROM {} WHERE {}", table.name, table.condition(last + 1)))? };
        let total = table.total(store)?;
        if in_links + open != total {
            return Ok(Some(format!("table {}: {} rows of no cycle that is there", table.name, total - in_links.min(total))));
        }
    }
    Ok(None)
}

/// The kinds of processors that closed cycles, in the order of the cycles, each named once.
///
/// # Errors
/// Those of the store.
pub(crate) fn processors(store: &Store) -> Result<Vec<String>> {
    let mut kinds: Vec<String> = store.rows("SELECT kind FROM processor ORDER BY cycle", [], |r| Ok(r.get(0)?))?;
    kinds.dedup();
    Ok(kinds)
}

/// The kinds of processors of each closed cycle, as they stand in its row.
///
/// # Errors
/// Those of the store.
pub(crate) fn processors_of(store: &Store) -> Result<BTreeMap<u64, String>> {
    Ok(store.rows("SELECT cycle, kind FROM processor", [], |r| Ok((r.get(0)?, r.get(1)?)))?.into_iter().collect())
}

/// How the files of the checkpoints are kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The first that is missing, added or another one.
    pub(crate) wrong: Option<String>,
    /// Files that are what they were, and cycles whose checkpoint was removed by the settings.
    pub(crate) files: usize,
    pub(crate) thinned: usize,
}

/// Holds the checkpoints in a folder against the hashes that were stored. `must` says which files (cycle, name) have to be there.
///
/// # Errors
/// Those of the store and the disk.
pub(crate) fn checkpoints(store: &Store, run: &Path, last: u64, must: impl Fn(u64, &str) -> bool) -> Result<Kept> {
    let sql = "SELECT file, sha256 FROM checkpoint WHERE cycle = ?1 ORDER BY file";
    let mut kept = Kept::default();
    for cycle in 0..=last {
        let stored: Vec<(String, String)> = store.rows(sql, [cycle], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let found = files(&folder::checkpoint(run, cycle))?;
        kept.thinned += usize::from(found.is_empty() && !stored.is_empty());
        let mut wrong = None;
        for (file, sha256) in &stored {
            match found.iter().find(|(name, _)| name == file) {
                Some((_, hash)) if hash == sha256 => kept.files += 1,
                Some(_) => wrong = wrong.or(Some(format!("{file} is not the one that was written"))),
                None if must(cycle, file) => wrong = wrong.or(Some(format!("{file} is missing"))),
                None => (),
            }
        }
        let foreign = found.iter().find(|(file, _)| stored.iter().all(|(name, _)| name != file));
        wrong = wrong.or_else(|| foreign.map(|(file, _)| format!("{file} was not written by it")));
        kept.wrong = kept.wrong.or_else(|| wrong.map(|why| format!("cycle {cycle}: {why}")));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Error;
    use crate::record::{Candidate, CycleRow, Kind, NetworkId, Training};

    fn training(cycle: u64, index: u64, seconds: f64) -> Training {
        Training {
            network: NetworkId::Candidate { cycle, index },
            seed_index: 0,
            seed: 1,
            repeat: false,
            accuracy: Some(0.5),
            curve: "[]".into(),
            failure: None,
            seconds,
            estimates: None,
        }
    }

    /// Two cycles after the start, the rows of each cycle stored in the order given.
    fn record(folder: &Path, order: [u64; 2], seconds: f64) -> Store {
        let store = Store::create(&folder.join("run.sqlite"), Kind::Run).unwrap();
        store.stamp("started").unwrap();
        for cycle in 0..=2 {
            store
                .transaction(|s| {
                    if cycle > 0 {
                        order.into_iter().try_for_each(|index| {
                            s.put_candidate(&Candidate::new(cycle, index, NetworkId::Start("a".into()), "x"))?;
                            s.put_training(&training(cycle, index, seconds))
                        })?;
                    }
                    s.put_cycle(&CycleRow { cycle, gamma: None, adapter_hash: "none".into(), tuning: None })?;
                    close(s, cycle, &folder::checkpoint(folder, cycle))
                })
                .unwrap();
        }
        store
    }

    #[test]
    fn the_chain_does_not_hang_on_times_or_on_the_order_in_which_rows_came() {
        let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (one, two) = (record(a.path(), [0, 1], 1.5), record(b.path(), [1, 0], 9.0));
        assert_eq!(head(&one).unwrap(), head(&two).unwrap());
        two.set_meta("finished", "now").unwrap();
        assert_eq!((broken(&one, 2, false).unwrap(), broken(&two, 2, true).unwrap()), (None, None));
        // A cycle that is open may have rows, and one after it none.
        one.put_training(&training(3, 0, 0.0)).unwrap();
        assert_eq!(broken(&one, 2, false).unwrap(), None);
        assert!(broken(&one, 2, true).unwrap().unwrap().contains("rows of no cycle"));
        one.put_training(&training(4, 0, 0.0)).unwrap();
        assert!(broken(&one, 2, false).unwrap().is_some());
    }

    #[test]
    fn a_cycle_names_the_processor_that_closed_it_and_then_all_that_trained_for_it() {
        let base = tempfile::tempdir().unwrap();
        let store = record(base.path(), [0, 1], 0.0);
        let here = processor::kind();
        assert_eq!(processors(&store).unwrap(), [here.as_str()]);
        for kind in ["b", "a", "b", &here] {
            note_processor(&store, 3, kind).unwrap();
        }
        assert_eq!(processors(&store).unwrap(), [here.clone(), format!("{here}; a; b")]);
        assert_eq!(broken(&store, 2, false).unwrap(), None, "a cycle that is open may have one");
    }

    #[test]
    fn any_change_of_a_row_breaks_the_chain_where_it_was_made() {
        for (sql, wanted) in [
            ("UPDATE training SET accuracy = 0.75 WHERE network = '1/0'", "cycle 1"),
            ("UPDATE training SET accuracy = NULL WHERE network = '2/1'", "cycle 2"),
            ("UPDATE training SET network = '01/0' WHERE network = '1/0'", "cycle 1"),
            ("DELETE FROM candidate WHERE cycle = 2 AND idx = 0", "cycle 2"),
            ("INSERT INTO meta VALUES ('model', 'another')", "cycle 0"),
            (
                "INSERT INTO training SELECT 'x', seed_index, seed, repeat, accuracy, curve, failure, seconds, estimates FROM training LIMIT 1",
                "rows of no",
            ),
            ("CREATE TABLE more (a TEXT); INSERT INTO more VALUES ('x')", "more"),
            ("DELETE FROM chain WHERE cycle = 2", "2 links"),
            ("UPDATE chain SET hash = 'x' WHERE cycle = 1", "cycle 1"),
            ("DELETE FROM chain", "0 links"),
        ] {
            let base = tempfile::tempdir().unwrap();
            let store = record(base.path(), [0, 1], 0.0);
            store.batch(sql).unwrap();
            let why = broken(&store, 2, true).unwrap().unwrap_or_else(|| panic!("{sql}"));
            assert!(why.contains(wanted), "{sql}: {why}");
        }
    }

    #[test]
    fn files_of_checkpoints_are_held_against_what_was_stored() -> Result<(), Error> {
        let base = tempfile::tempdir()?;
        let of = |cycle| folder::checkpoint(base.path(), cycle);
        for cycle in 0..=2 {
            std::fs::create_dir(of(cycle))?;
            std::fs::write(of(cycle).join("weights"), [cycle as u8])?;
        }
        let store = record(base.path(), [0, 1], 0.0);
        let look = |must: bool| checkpoints(&store, base.path(), 2, move |_, _| must);
        assert_eq!(look(true)?, Kept { wrong: None, files: 3, thinned: 0 });
        std::fs::remove_dir_all(of(0))?;
        assert_eq!(look(false)?, Kept { wrong: None, files: 2, thinned: 1 });
        assert_eq!(look(true)?.wrong.as_deref(), Some("cycle 0: weights is missing"));
        std::fs::write(of(1).join("more"), "x")?;
        assert_eq!(look(false)?.wrong.as_deref(), Some("cycle 1: more was not written by it"));
        std::fs::remove_file(of(1).join("more"))?;
        std::fs::write(of(2).join("weights"), "x")?;
        assert_eq!(look(false)?.wrong.as_deref(), Some("cycle 2: weights is not the one that was written"));
        Ok(())
    }
}
