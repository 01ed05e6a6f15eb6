//! The SQLite store of one run or audit. One writer; readers open it read-only and change nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row, Transaction, TransactionBehavior, params};

use super::absent::missing;
use super::faults::{reader_waits, writer_waits};
use super::{Candidate, CycleRow, EliteRow, Kind, LabelRow, NetworkId, NetworkRow, Screened, Training};
use crate::base::error::{Error, Result};
use crate::base::progress::PhaseRow;

/// Raised whenever the schema or the meaning of a column changes.
pub const FORMAT: &str = "4";

const SCHEMA: &str = include_str!("schema.sql");

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
    pub fn close(self) -> Result<()> {
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

    pub fn set_meta(&self, key: &str, value: &str) -> Result<()> {
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [key, value])?;
        Ok(())
    }

    pub fn meta(&self, key: &str) -> Result<Option<String>> {
        Ok(self.db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional()?)
    }

    /// What is recorded here; runs of before audits had a store do not say so.
    pub fn kind(&self) -> Result<Kind> {
        self.meta("kind")?.map_or(Ok(Kind::Run), |kind| kind.parse())
    }

    /// Notes under `key` what time it is.
    pub fn stamp(&self, key: &str) -> Result<()> {
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?1, strftime('%Y-%m-%d %H:%M UTC', 'now'))", [key])?;
        Ok(())
    }

    pub fn set_starts(&self, starts: &[(String, String)]) -> Result<()> {
        self.set_meta("starts", &serde_json::to_string(starts)?)
    }

    /// Names and sources of the networks that the run starts from.
    pub fn starts(&self) -> Result<Vec<(String, String)>> {
        let stored = self.meta("starts")?.ok_or_else(|| Error::machine("the store names no start networks"))?;
        Ok(serde_json::from_str(&stored)?)
    }

    pub fn put_network(&self, n: &NetworkRow) -> Result<()> {
        self.db.execute(
            "INSERT INTO network VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                n.id.to_string(),
                n.source,
                serde_json::to_string(&n.graph)?,
                n.graph_hash,
                words64(&n.signature),
                n.parameters,
                n.macs,
                n.activation_bytes
            ],
        )?;
        Ok(())
    }

    /// All traced networks: start networks first, then candidates in the order in which they were screened.
    pub fn networks(&self) -> Result<Vec<NetworkRow>> {
        self.rows("SELECT * FROM network ORDER BY rowid", [], network)
    }

    pub fn network(&self, wanted: &NetworkId) -> Result<NetworkRow> {
        let mut statement = self.db.prepare_cached("SELECT * FROM network WHERE id = ?1")?;
        let mut rows = statement.query([wanted.to_string()])?;
        let row = rows
            .next()?
            .ok_or_else(|| Error::input(format!("there is no network {wanted} in this run")).hint("write CYCLE/INDEX or start/NAME"))?;
        network(row)
    }

    /// Mean validation accuracy over the seeds of each network, where none of them failed.
    pub fn qualities(&self) -> Result<BTreeMap<NetworkId, f64>> {
        self.qualities_where("")
    }

    /// The same of the candidates of one cycle.
    pub fn qualities_of(&self, cycle: u64) -> Result<BTreeMap<NetworkId, f64>> {
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

    /// Stores a candidate, or replaces what was known of it.
    pub fn put_candidate(&self, c: &Candidate) -> Result<()> {
        let screened = c.screened.as_ref();
        self.db.execute(
            "INSERT OR REPLACE INTO candidate
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
            params![
                c.cycle,
                c.index,
                c.parent.to_string(),
                c.prompt_hash,
                c.text(),
                str::from_utf8(&c.completion).err().map(|_| &c.completion),
                words32(&c.tokens),
                c.log_p,
                c.log_q,
                c.ended,
                screened.map(|s| s.stage.name()),
                screened.map(|s| &s.reason),
                screened.map(|s| &s.detail),
                screened.map(|s| s.line),
                screened.map(|s| &s.source),
                screened.and_then(|s| s.nearest.as_ref()).map(ToString::to_string),
                screened.map(|s| s.jaccard),
                screened.map(|s| s.parent_jaccard),
            ],
        )?;
        Ok(())
    }

    /// All candidates by cycle and index.
    pub fn candidates(&self) -> Result<Vec<Candidate>> {
        self.rows("SELECT * FROM candidate ORDER BY cycle, idx", [], candidate)
    }

    pub fn candidate(&self, wanted: &NetworkId) -> Result<Candidate> {
        let none = || Error::input(format!("there is no candidate {wanted} in this run")).hint("write CYCLE/INDEX");
        let NetworkId::Candidate { cycle, index } = wanted else { return Err(none()) };
        let mut statement = self.db.prepare_cached("SELECT * FROM candidate WHERE cycle = ?1 AND idx = ?2")?;
        let mut rows = statement.query([cycle, index])?;
        candidate(rows.next()?.ok_or_else(none)?)
    }

    pub fn candidates_of(&self, cycle: u64) -> Result<Vec<Candidate>> {
        self.rows("SELECT * FROM candidate WHERE cycle = ?1 ORDER BY idx", [cycle], candidate)
    }

    pub fn put_labels(&self, l: &LabelRow) -> Result<()> {
        let valid: Vec<u8> = l.valid.iter().map(|&valid| u8::from(valid)).collect();
        self.db.execute("INSERT OR REPLACE INTO label VALUES (?1, ?2, ?3, ?4)", params![l.cycle, l.index, l.prompt_tokens, valid])?;
        Ok(())
    }

    /// Labels by cycle and index; none of a store that was made before there were any.
    pub fn labels(&self) -> Result<Vec<LabelRow>> {
        let there: bool = self.db.query_row("SELECT count(*) FROM sqlite_master WHERE name = 'label'", [], |r| r.get(0))?;
        if !there {
            return Ok(Vec::new());
        }
        self.rows("SELECT * FROM label ORDER BY cycle, idx", [], |r| {
            let valid = r.get::<_, Vec<u8>>(3)?.into_iter().map(|byte| byte == 1).collect();
            Ok(LabelRow { cycle: r.get(0)?, index: r.get(1)?, prompt_tokens: r.get(2)?, valid })
        })
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
    pub fn reopen(&self, cycle: u64) -> Result<()> {
        self.transaction(|s| {
            ["cycle", "elite", "chain", "checkpoint", "processor"]
                .iter()
                .try_for_each(|table| s.put(&format!("DELETE FROM {table} WHERE cycle = ?1"), [cycle]))?;
            s.put("DELETE FROM phase WHERE cycle = ?1 AND name = 'tune'", [cycle])?;
            s.put("DELETE FROM meta WHERE key = 'finished'", [])
        })
    }

    /// There is more to be done than when it was finished.
    pub fn unfinish(&self) -> Result<()> {
        self.put("DELETE FROM meta WHERE key = 'finished'", [])
    }

    /// Removes the trainings that ended in this failure, to be done again.
    pub fn forget_trainings(&self, failure: &str) -> Result<()> {
        self.put("DELETE FROM training WHERE failure = ?1", [failure])
    }

    pub fn put_phase(&self, p: &PhaseRow) -> Result<()> {
        self.db.execute("INSERT INTO phase VALUES (?1, ?2, ?3, ?4)", params![p.cycle, p.name, p.seconds, p.peak_mib])?;
        Ok(())
    }

    pub fn phases(&self) -> Result<Vec<PhaseRow>> {
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

fn id(row: &Row<'_>, column: usize) -> Result<NetworkId> {
    row.get::<_, String>(column)?.parse()
}

fn network(r: &Row<'_>) -> Result<NetworkRow> {
    Ok(NetworkRow {
        id: id(r, 0)?,
        source: r.get(1)?,
        graph: serde_json::from_str(&r.get::<_, String>(2)?)?,
        graph_hash: r.get(3)?,
        signature: from_words64(&r.get::<_, Vec<u8>>(4)?),
        parameters: r.get(5)?,
        macs: r.get(6)?,
        activation_bytes: r.get(7)?,
    })
}

fn candidate(r: &Row<'_>) -> Result<Candidate> {
    Ok(Candidate {
        cycle: r.get(0)?,
        index: r.get(1)?,
        parent: id(r, 2)?,
        prompt_hash: r.get(3)?,
        completion: match r.get::<_, Option<Vec<u8>>>(5)? {
            Some(bytes) => bytes,
            None => r.get::<_, String>(4)?.into_bytes(),
        },
        tokens: from_words32(&r.get::<_, Vec<u8>>(6)?),
        log_p: r.get(7)?,
        log_q: r.get(8)?,
        ended: r.get(9)?,
        screened: screened(r)?,
    })
}

fn screened(r: &Row<'_>) -> Result<Option<Screened>> {
    let Some(stage) = r.get::<_, Option<String>>(10)? else { return Ok(None) };
    Ok(Some(Screened {
        stage: stage.parse()?,
        reason: r.get(11)?,
        detail: r.get(12)?,
        line: r.get(13)?,
        source: r.get(14)?,
        nearest: r.get::<_, Option<String>>(15)?.map(|s| s.parse()).transpose()?,
        jaccard: r.get(16)?,
        parent_jaccard: r.get(17)?,
    }))
}

pub(crate) fn words32(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

pub(crate) fn from_words32(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}

fn words64(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn from_words64(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::Stage;

    fn sample(index: u64) -> Candidate {
        Candidate {
            cycle: 1,
            index,
            parent: NetworkId::Start("plain".into()),
            prompt_hash: "ab".into(),
            completion: b"5\nnn.GELU(),\n".to_vec(),
            tokens: vec![1, 70_000, 2],
            log_p: Some(-3.25),
            log_q: Some(-3.0),
            ended: true,
            screened: Some(Screened {
                stage: Stage::Applied,
                reason: Some("syntax".into()),
                detail: None,
                line: Some(7),
                source: Some("class Net: pass\n".into()),
                nearest: Some(NetworkId::Candidate { cycle: 0, index: 4 }),
                jaccard: Some(0.5),
                parent_jaccard: Some(0.75),
            }),
        }
    }

    #[test]
    fn candidates_survive_reopening_and_replace_by_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.sqlite");
        let store = Store::create(&path, Kind::Run).unwrap();
        store.put_candidate(&Candidate { screened: None, ..sample(3) }).unwrap();
        store.put_candidate(&sample(3)).unwrap();
        drop(store);
        assert_eq!(Store::read(&path).unwrap().candidates().unwrap(), vec![sample(3)]);
    }

    #[test]
    fn a_completion_that_is_not_utf8_is_kept_to_the_byte_and_shown_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.sqlite");
        let store = Store::create(&path, Kind::Run).unwrap();
        // The second is UTF-8 that says what the first is shown as.
        let written = [b"5\n# \xe2\x82\n".to_vec(), "5\n# \u{fffd}\n".into()];
        for (index, completion) in (0..).zip(&written) {
            store.put_candidate(&Candidate { completion: completion.clone(), ..sample(index) }).unwrap();
        }
        let read: Vec<Vec<u8>> = store.candidates().unwrap().into_iter().map(|c| c.completion).collect();
        assert_eq!(read, written);
        let texts: Vec<(String, bool)> = store
            .rows("SELECT completion, completion_bytes IS NULL FROM candidate ORDER BY idx", [], |r| Ok((r.get(0)?, r.get(1)?)))
            .unwrap();
        assert_eq!(texts, [("5\n# \u{fffd}\n".into(), false), ("5\n# \u{fffd}\n".into(), true)]);
    }

    #[test]
    fn one_candidate_and_the_qualities_of_one_cycle_are_found_by_key() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("run.sqlite"), Kind::Run).unwrap();
        let training = |cycle, seed_index, accuracy| Training {
            network: NetworkId::Candidate { cycle, index: 3 },
            seed_index,
            seed: 0,
            repeat: seed_index == 2,
            accuracy,
            curve: "[]".into(),
            failure: None,
            seconds: 0.0,
            estimates: None,
        };
        for cycle in [1, 10, 11, 2] {
            store.put_candidate(&Candidate { cycle, ..sample(3) }).unwrap();
            for (seed_index, accuracy) in [(0, 0.25), (1, 0.75), (2, 0.9)] {
                store.put_training(&training(cycle, seed_index, (cycle != 2).then_some(accuracy))).unwrap();
            }
        }
        store.put_training(&Training { network: NetworkId::Start("1".into()), ..training(1, 0, Some(0.1)) }).unwrap();
        let of = |cycle| store.qualities_of(cycle).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(of(1), [(NetworkId::Candidate { cycle: 1, index: 3 }, 0.5)]);
        assert_eq!((of(11).len(), of(2), of(0)), (1, vec![], vec![]));
        assert_eq!(store.qualities().unwrap().len(), 4);
        assert_eq!(store.candidate(&NetworkId::Candidate { cycle: 10, index: 3 }).unwrap().cycle, 10);
        for missing in [NetworkId::Candidate { cycle: 10, index: 4 }, NetworkId::Start("1".into())] {
            assert!(store.candidate(&missing).is_err());
        }
    }

    #[test]
    fn a_failed_transaction_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("run.sqlite"), Kind::Run).unwrap();
        let failed: Result<()> = store.transaction(|s| {
            s.put_candidate(&sample(0))?;
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
