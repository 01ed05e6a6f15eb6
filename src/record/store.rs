//! The SQLite store of one run or audit. One writer; readers open it read-only and change nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row, Transaction, TransactionBehavior, params};

use super::absent::missing;
use super::faults::{reader_waits, writer_waits};
use super::{CycleRow, EliteRow, Kind, NetworkId, Training};
use crate::base::error::{Error, Result};
use crate::base::progress::PhaseRow;

/// Raised whenever the schema or the meaning of a column changes.
pub(crate) const FORMAT: &str = "4";

const SCHEMA: &str = include_str!("schema.sql");

/// An open store.
pub struct Store {
    db: Connection,
    path: PathBuf,
}

impl Store {
    /// Creates the store of a new run or audit.
    pub fn create(path: &Path, kind: Kind) -> Result<Self> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let mut store = Self { db, path: path.into() };
        store.prepare_writer()?;
        store.transaction(|s| {
            s.db.execute_batch(SCHEMA)?;
            s.set_meta("format", FORMAT)?;
            s.set_meta("kind", kind.name())
        })?;
        Ok(store)
    }

    /// Opens the store of what goes on.
    pub fn open(path: &Path) -> Result<Self> {
        let mut store = Self { db: Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?, path: path.into() };
        store.db.busy_handler(Some(writer_waits))?;
        store.check_format()?;
        store.prepare_writer()?;
        // Tables that came later.
        store.db.execute_batch(SCHEMA)?;
        Ok(store)
    }

    /// Opens the store to look at it. Never changes or blocks the run.
    pub fn read(path: &Path) -> Result<Self> {
        let mut store = Self { db: Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?, path: path.into() };
        store.db.busy_handler(Some(reader_waits))?;
        store.check_format()?;
        Ok(store)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
        if !path.is_file() {
            return Err(missing(path.parent().unwrap_or(path)));
        }
        Ok(Connection::open_with_flags(path, flags)?)
    }

    fn prepare_writer(&mut self) -> Result<()> {
        self.db.busy_handler(Some(writer_waits))?;
        // A write-ahead log lets readers look at a run that goes on; FULL makes a commit survive a power cut.
        self.db.pragma_update(None, "journal_mode", "WAL")?;
        self.db.pragma_update(None, "synchronous", "FULL")?;
        self.db.pragma_update(None, "foreign_keys", true)?;
        Ok(())
    }

    fn check_format(&self) -> Result<()> {
        let found = match self.db.query_row("SELECT value FROM meta WHERE key = 'format'", [], |r| r.get::<_, String>(0)).optional() {
            // A database without our tables, or no database at all.
            Err(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::Unknown | ErrorCode::NotADatabase)) => {
                return Err(Error::input(format!("{} is not a run of eliteloop", self.path.display()))
                    .hint("the file is something else, or its beginning is damaged")
                    .caused_by(error));
            }
            found => found?,
        };
        if found.as_deref() != Some(FORMAT) {
            let found = found.unwrap_or_else(|| "none".into());
            return Err(Error::input(format!("{} has store format {found}; this program reads {FORMAT}", self.path.display()))
                .hint("use the version of eliteloop that made the run (run.toml names it)"));
        }
        Ok(())
    }

    /// Folds the write-ahead log into the one file, for what is finished. Where somebody looks at it meanwhile the log stays beside it,
    /// with everything in it.
    pub fn seal(self) -> Result<()> {
        self.db.busy_timeout(Duration::ZERO)?;
        if let Err(error) = self.db.pragma_update(None, "journal_mode", "DELETE") {
            let busy = [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked];
            if !error.sqlite_error_code().is_some_and(|code| busy.contains(&code)) {
                return Err(error.into());
            }
        }
        self.close()
    }

    /// Closes it; the write-ahead log is folded into the one file where nobody else has it open.
    pub(crate) fn close(self) -> Result<()> {
        self.db.close().map_err(|(_, e)| e)?;
        Ok(())
    }

    /// Runs `work` in one transaction: all of it is stored, or none.
    pub fn transaction<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        // At once for writing: from reading to writing nobody waits for a lock.
        let guard = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let value = work(self)?;
        guard.commit()?;
        Ok(value)
    }

    /// Sets what is noted under `key`, in place of what was.
    pub fn set_meta(&self, key: &str, value: &str) -> Result<()> {
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [key, value])?;
        Ok(())
    }

    /// What is noted under `key`; None where nothing is.
    pub fn meta(&self, key: &str) -> Result<Option<String>> {
        Ok(self.db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional()?)
    }

    /// What is recorded here; runs of before audits had a store do not say so.
    pub(crate) fn kind(&self) -> Result<Kind> {
        self.meta("kind")?.map_or(Ok(Kind::Run), |kind| kind.parse())
    }

    /// Notes under `key` what time it is.
    pub fn stamp(&self, key: &str) -> Result<()> {
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?1, strftime('%Y-%m-%d %H:%M UTC', 'now'))", [key])?;
        Ok(())
    }

    /// Notes names and sources of the networks that the run starts from.
    pub fn set_starts(&self, starts: &[(String, String)]) -> Result<()> {
        self.set_meta("starts", &serde_json::to_string(starts)?)
    }

    /// Names and sources of the networks that the run starts from.
    pub fn starts(&self) -> Result<Vec<(String, String)>> {
        let stored = self.meta("starts")?.ok_or_else(|| Error::machine("the store names no start networks"))?;
        Ok(serde_json::from_str(&stored)?)
    }

    /// Mean validation accuracy over the seeds of each network, where none of them failed.
    pub fn qualities(&self) -> Result<BTreeMap<NetworkId, f64>> {
        self.qualities_where("")
    }

    /// The same of the candidates of one cycle.
    pub(crate) fn qualities_of(&self, cycle: u64) -> Result<BTreeMap<NetworkId, f64>> {
        // All names that begin with `CYCLE/`: '0' comes next after '/'.
        self.qualities_where(&format!("AND network >= '{cycle}/' AND network < '{cycle}0'"))
    }

    fn qualities_where(&self, condition: &str) -> Result<BTreeMap<NetworkId, f64>> {
        let sql = format!("SELECT network, accuracy FROM training WHERE repeat = 0 {condition} ORDER BY network, seed_index");
        let mut seeds: BTreeMap<NetworkId, Vec<Option<f64>>> = BTreeMap::new();
        for (network, accuracy) in self.rows(&sql, [], |r| Ok((id(r, 0)?, r.get(1)?)))? {
            seeds.entry(network).or_default().push(accuracy);
        }
        let mean = |all: Vec<Option<f64>>| Some(all.iter().copied().sum::<Option<f64>>()? / all.len() as f64);
        Ok(seeds.into_iter().filter_map(|(network, all)| Some((network, mean(all)?))).collect())
    }

    /// Stores a training, or how far it has got since.
    pub fn put_training(&self, t: &Training) -> Result<()> {
        self.db.execute(
            "INSERT OR REPLACE INTO training VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                t.network.to_string(),
                t.seed_index,
                t.seed.cast_signed(),
                t.repeat,
                t.accuracy,
                t.curve,
                t.failure,
                t.seconds,
                t.estimates
            ],
        )?;
        Ok(())
    }

    /// All trainings, by network and number of the seed.
    pub fn trainings(&self) -> Result<Vec<Training>> {
        self.rows("SELECT * FROM training ORDER BY network, seed_index", [], |r| {
            Ok(Training {
                network: id(r, 0)?,
                seed_index: r.get(1)?,
                seed: r.get::<_, i64>(2)?.cast_unsigned(),
                repeat: r.get(3)?,
                accuracy: r.get(4)?,
                curve: r.get(5)?,
                failure: r.get(6)?,
                seconds: r.get(7)?,
                estimates: r.get(8)?,
            })
        })
    }

    /// Stores an elite.
    pub fn put_elite(&self, e: &EliteRow) -> Result<()> {
        self.db.execute(
            "INSERT INTO elite VALUES (?1, ?2, ?3, ?4, ?5)",
            params![e.cycle, e.network.to_string(), e.quality, e.held_out, e.example_hash],
        )?;
        Ok(())
    }

    /// Elites by cycle, best first.
    pub fn elites(&self) -> Result<Vec<EliteRow>> {
        self.rows("SELECT * FROM elite ORDER BY cycle, quality DESC, rowid", [], |r| {
            Ok(EliteRow { cycle: r.get(0)?, network: id(r, 1)?, quality: r.get(2)?, held_out: r.get(3)?, example_hash: r.get(4)? })
        })
    }

    /// Stores a cycle that closes; its number must be new.
    pub fn put_cycle(&self, c: &CycleRow) -> Result<()> {
        let tuning = c.tuning.as_ref().map(serde_json::to_string).transpose()?;
        self.db.execute("INSERT INTO cycle VALUES (?1, ?2, ?3, ?4)", params![c.cycle, c.gamma, c.adapter_hash, tuning])?;
        Ok(())
    }

    /// The closed cycles in order.
    ///
    /// # Errors
    /// When they are not 0, 1, 2 and so on.
    pub fn cycles(&self) -> Result<Vec<CycleRow>> {
        let cycles = self.rows("SELECT * FROM cycle ORDER BY cycle", [], |r| {
            let tuning = r.get::<_, Option<String>>(3)?.map(|t| serde_json::from_str(&t)).transpose()?;
            Ok(CycleRow { cycle: r.get(0)?, gamma: r.get(1)?, adapter_hash: r.get(2)?, tuning })
        })?;
        match (0..).zip(&cycles).find(|(expected, row)| row.cycle != *expected) {
            Some((expected, row)) => Err(Error::machine(format!("the store lacks cycle {expected}: its next one is {}", row.cycle))
                .hint("the store was changed after it was written")),
            None => Ok(cycles),
        }
    }

    /// Takes the end of the last closed cycle back: what was proposed, screened and trained in it stays.
    pub(crate) fn reopen(&self, cycle: u64) -> Result<()> {
        self.transaction(|s| {
            ["cycle", "elite", "chain", "checkpoint", "processor"]
                .iter()
                .try_for_each(|table| s.put(&format!("DELETE FROM {table} WHERE cycle = ?1"), [cycle]))?;
            s.put("DELETE FROM phase WHERE cycle = ?1 AND name = 'tune'", [cycle])?;
            s.put("DELETE FROM meta WHERE key = 'finished'", [])
        })
    }

    /// There is more to be done than when it was finished.
    pub(crate) fn unfinish(&self) -> Result<()> {
        self.put("DELETE FROM meta WHERE key = 'finished'", [])
    }

    /// Removes the trainings that ended in this failure, to be done again.
    pub(crate) fn forget_trainings(&self, failure: &str) -> Result<()> {
        self.put("DELETE FROM training WHERE failure = ?1", [failure])
    }

    /// Stores what a phase took.
    pub fn put_phase(&self, p: &PhaseRow) -> Result<()> {
        self.db.execute("INSERT INTO phase VALUES (?1, ?2, ?3, ?4)", params![p.cycle, p.name, p.seconds, p.peak_mib])?;
        Ok(())
    }

    pub(crate) fn phases(&self) -> Result<Vec<PhaseRow>> {
        self.rows("SELECT * FROM phase ORDER BY rowid", [], |r| {
            Ok(PhaseRow { cycle: r.get(0)?, name: r.get(1)?, seconds: r.get(2)?, peak_mib: r.get(3)? })
        })
    }

    /// Executes statements: the tables of a wing that keeps more than the rows here.
    pub(crate) fn batch(&self, sql: &str) -> Result<()> {
        self.db.execute_batch(sql)?;
        Ok(())
    }

    /// Stores one row.
    pub(crate) fn put(&self, sql: &str, values: impl Params) -> Result<()> {
        self.db.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    pub(crate) fn rows<T>(&self, sql: &str, values: impl Params, read: impl Fn(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            out.push(read(row)?);
        }
        Ok(out)
    }
}

pub(super) fn id(row: &Row<'_>, column: usize) -> Result<NetworkId> {
    row.get::<_, String>(column)?.parse()
}

pub(crate) fn words32(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

pub(crate) fn from_words32(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Candidate;

    #[test]
    fn a_failed_transaction_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("run.sqlite"), Kind::Run).unwrap();
        let failed: Result<()> = store.transaction(|s| {
            s.put_candidate(&Candidate::new(1, 0, NetworkId::Start("plain".into()), ""))?;
            Err(Error::machine("killed here"))
        });
        assert!(failed.is_err());
        assert!(store.candidates().unwrap().is_empty());
    }

    #[test]
    fn a_reader_cannot_write_and_another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.sqlite");
        let store = Store::create(&path, Kind::Run).unwrap();
        assert!(Store::read(&path).unwrap().set_meta("x", "y").is_err());
        store.set_meta("format", "99").unwrap();
        drop(store);
        let error = Store::read(&path).err().unwrap();
        assert!(error.to_string().contains("99") && error.hint_text().is_some(), "{error}");
        std::fs::write(&path, "not a database, but long enough to be read as one").unwrap();
        assert!(Store::open(&path).is_err());
        assert!(Store::read(&folder.path().join("nothing.sqlite")).is_err());
    }
}
