//! An audit in the store: cycles, elites, tunings and times as rows that runs have too, cells and exact numbers in tables of its own.
//!
//! Everything but the times is the same whether the audit was interrupted or not.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::beyond::Beyond;
use super::codec::Proposal;
use super::exact::{Measures, Update};
use super::settings::AuditConfig;
use crate::base::error::{Error, Result};
use crate::base::home;
use crate::oracle::{self, Cell, Space, Table, nasbench201};
use crate::record::folder;
use crate::record::store::{from_words32, words32};
use crate::record::{CycleRow, EliteRow, Kind, NetworkId, Store, Tuning};

const SCHEMA: &str = include_str!("schema.sql");
/// Where no LLM proposes.
pub(crate) const NO_ADAPTER: &str = "none";

/// One thing the policy proposed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Of a delta.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Cell>,
    /// A cell, or what was written instead.
    pub text: String,
    /// What the text names.
    #[serde(skip)]
    cell: Option<Cell>,
    /// What the LLM wrote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<u32>,
    /// Under the model as it is; None where the policy has no probabilities.
    pub log_p: Option<f64>,
    /// Under what it was drawn from: the model under its mask.
    pub log_q: Option<f64>,
    /// From 0 to 1, as the audit measures it; None for what is no cell, or is refused because it was queried before.
    pub quality: Option<f64>,
    /// Under the policy after the update of its cycle, where all cells have a probability of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_p_after: Option<f64>,
}

impl Sample {
    /// What was written, before anything else is known of it.
    pub fn new(space: &'static Space, parent: Option<Cell>, text: String) -> Self {
        let cell = Cell::parse(space, &text).ok();
        Self { parent, text, cell, tokens: Vec::new(), log_p: None, log_q: None, quality: None, log_p_after: None }
    }

    /// The cell that the text names; None where it names none.
    pub fn cell(&self) -> Option<Cell> {
        self.cell
    }

    /// The cell with its parent; None where the text names no cell.
    pub fn proposal(&self) -> Option<Proposal> {
        Some(Proposal { parent: self.parent, cell: self.cell? })
    }
}

/// A proposal that was chosen as elite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Elite {
    /// The sample that proposed it first.
    pub(crate) sample: NetworkId,
    /// Of a delta.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<Cell>,
    pub(crate) cell: Cell,
    pub(crate) quality: f64,
    pub(crate) held_out: bool,
}

impl Elite {
    pub(crate) fn proposal(&self) -> Proposal {
        Proposal { parent: self.parent, cell: self.cell }
    }
}

/// Of the cycles where it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exact {
    /// Of the distribution that the cycle sampled from.
    pub before: Measures,
    /// Of the distribution after the cycle's update, on the same parents; as before where there was no update.
    pub after: Measures,
    /// None where there was no update.
    pub update: Option<Update>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beyond: Option<Beyond>,
}

/// Where the search stands after a cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Distinct cells queried.
    pub distinct: usize,
    /// The distinct cells queried when the best cell of the space was.
    pub best_found_at: Option<usize>,
    /// Mean accuracy over the training seeds of the cell with the highest queried accuracy.
    pub incumbent: f64,
    /// The highest true mean over the training seeds among the cells queried.
    pub highest: f64,
}

/// A closed cycle of an audit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cycle {
    /// From 1.
    pub cycle: u64,
    /// In the order in which they were drawn.
    pub samples: Vec<Sample>,
    /// The quality of the worst elite.
    pub gamma: Option<f64>,
    /// Best first; empty where the elites are a distribution.
    pub elites: Vec<Elite>,
    /// SHA-256 of what is tuned on for each elite.
    #[serde(skip)]
    pub examples: Vec<String>,
    /// What the update did to the LLM; None where no LLM was tuned.
    pub tuning: Option<Tuning>,
    /// None in a cycle that `audit_every` leaves out, and of a policy without a distribution, as evolution.
    pub exact: Option<Exact>,
    /// After this cycle, over all cycles so far.
    pub search: Search,
    /// Of the adapter after the cycle.
    pub adapter_hash: String,
}

impl Default for Cycle {
    fn default() -> Self {
        Self {
            cycle: 0,
            samples: Vec::new(),
            gamma: None,
            elites: Vec::new(),
            examples: Vec::new(),
            tuning: None,
            exact: None,
            search: Search::default(),
            adapter_hash: NO_ADAPTER.into(),
        }
    }
}

/// What an audit began with; a resumed one must find the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    pub(crate) program: String,
    pub(crate) table_sha256: String,
    pub(crate) model: Option<String>,
    pub(crate) model_sha256: Option<String>,
    /// The fixed accuracy whose probability of being reached is C, from 0 to 1.
    pub(crate) gamma_star: f64,
}

/// The space of a table of the user's own, as it is stored: with it an audit can be read where the table is not.
#[derive(Serialize, Deserialize)]
struct StoredSpace {
    slots: Vec<String>,
    words: Vec<String>,
}

/// Puts into a new store what an audit begins with.
///
/// # Errors
/// Those of the disk.
pub(crate) fn begin(store: &Store, inputs: &Inputs, space: &Space) -> Result<()> {
    store.batch(SCHEMA)?;
    if space != nasbench201::space() {
        let stored = StoredSpace { slots: space.slots().to_vec(), words: space.words().to_vec() };
        store.set_meta("space", &serde_json::to_string(&stored)?)?;
    }
    store.set_meta("program", &inputs.program)?;
    store.set_meta("dataset", &inputs.table_sha256)?;
    if let (Some(name), Some(sha256)) = (&inputs.model, &inputs.model_sha256) {
        store.set_meta("model_name", name)?;
        store.set_meta("model", sha256)?;
    }
    store.set_meta("gamma_star", &inputs.gamma_star.to_string())?;
    store.stamp("started")
}

/// Removes all that is stored of the last closed cycle.
///
/// # Errors
/// Those of the store.
pub(crate) fn forget(store: &Store, cycle: u64) -> Result<()> {
    store.reopen(cycle)?;
    store.transaction(|s| {
        ["sample", "exact", "exact_update", "search", "phase"]
            .iter()
            .try_for_each(|table| s.put(&format!("DELETE FROM {table} WHERE cycle = ?1"), [cycle]))
    })
}

/// The settings stored with an audit.
///
/// # Errors
/// When there is no audit, or its settings are not those of this version.
pub fn settings(audit: &Path) -> Result<AuditConfig> {
    let (text, origin) = folder::settings_text(audit, Kind::Audit)?;
    AuditConfig::from_toml(&text, &origin)
}

/// # Errors
/// When one is missing or is no number.
pub(crate) fn inputs(store: &Store) -> Result<Inputs> {
    let need = |key: &str| store.meta(key)?.ok_or_else(|| Error::machine(format!("the store does not say its {key}")));
    let gamma_star = need("gamma_star")?;
    Ok(Inputs {
        program: need("program")?,
        table_sha256: need("dataset")?,
        model: store.meta("model_name")?,
        model_sha256: store.meta("model")?,
        gamma_star: gamma_star
            .parse()
            .map_err(|e| Error::machine(format!("gamma_star in the store is no number: {gamma_star}")).caused_by(e))?,
    })
}

/// What the cells of an audit are of.
///
/// # Errors
/// When what is stored is no space.
pub(crate) fn space(store: &Store) -> Result<&'static Space> {
    let Some(stored) = store.meta("space")? else { return Ok(nasbench201::space()) };
    let StoredSpace { slots, words } = serde_json::from_str(&stored)?;
    Space::of(slots, words)
}

/// The table that an audit looks its cells up in, which has to be the one it began with.
///
/// # Errors
/// When it is not there or is another one.
pub(crate) fn table(config: &AuditConfig, store: &Store) -> Result<Table> {
    let table = oracle::load(&config.dataset, &home::data())?;
    same("the table", &inputs(store)?.table_sha256, table.sha256())?;
    if table.space() == space(store)? {
        return Ok(table);
    }
    Err(Error::machine("the store has cells of another space than the table").hint("the store was changed after it was written"))
}

/// Refuses another file than an audit began with.
pub(crate) fn same(what: &str, began: &str, found: &str) -> Result<()> {
    if began == found {
        return Ok(());
    }
    Err(Error::input(format!("{what} is not the one this audit began with (SHA-256 {found}, then {began})"))
        .hint("put the original back: an audit that goes on with other inputs would not be the same"))
}

/// The hash of the adapter before the first cycle; None where the audit has not begun its first cycle.
///
/// # Errors
/// Those of the store.
pub fn start(store: &Store) -> Result<Option<String>> {
    Ok(store.cycles()?.into_iter().next().filter(|row| row.cycle == 0).map(|row| row.adapter_hash))
}

/// Closes the warm-up.
///
/// # Errors
/// Those of the store.
pub(crate) fn put_start(store: &Store, adapter_hash: String) -> Result<()> {
    store.put_cycle(&CycleRow { cycle: 0, gamma: None, adapter_hash, tuning: None })
}

/// Stores a closed cycle, within a transaction.
///
/// # Errors
/// Those of the store.
pub(crate) fn put_cycle(store: &Store, cycle: &Cycle) -> Result<()> {
    let of = cycle.cycle;
    for (index, Sample { parent, text, tokens, log_p, log_q, quality, log_p_after, .. }) in cycle.samples.iter().enumerate() {
        let parent = parent.map(|cell| cell.to_string());
        store.put(
            "INSERT INTO sample VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![of, index, parent, text, words32(tokens), log_p, log_q, quality, log_p_after],
        )?;
    }
    for (elite, example_hash) in cycle.elites.iter().zip(&cycle.examples) {
        let Elite { sample: network, quality, held_out, .. } = elite.clone();
        store.put_elite(&EliteRow { cycle: of, network, quality, held_out, example_hash: example_hash.clone() })?;
    }
    if let Some(exact) = &cycle.exact {
        put_measures(store, of, "before", &exact.before)?;
        put_measures(store, of, "after", &exact.after)?;
        if let Some(u) = &exact.update {
            store.put(
                "INSERT INTO exact_update VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![of, u.to_elites_before, u.to_elites_after, u.share, u.alpha, u.distance, u.to_table, u.target],
            )?;
        }
    }
    if let Some(beyond) = cycle.exact.as_ref().and_then(|exact| exact.beyond.as_ref()) {
        store.put("INSERT INTO exact_beyond VALUES (?1, ?2)", params![of, serde_json::to_string(beyond)?])?;
    }
    let Search { distinct, best_found_at, incumbent, highest } = cycle.search;
    store.put("INSERT INTO search VALUES (?1, ?2, ?3, ?4, ?5)", params![of, distinct, best_found_at, incumbent, highest])?;
    let (gamma, adapter_hash, tuning) = (cycle.gamma, cycle.adapter_hash.clone(), cycle.tuning.clone());
    store.put_cycle(&CycleRow { cycle: of, gamma, adapter_hash, tuning })
}

fn put_measures(store: &Store, cycle: u64, moment: &str, m: &Measures) -> Result<()> {
    store.put(
        "INSERT INTO exact VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![cycle, moment, m.outside, m.expected, m.elite, m.entropy, m.dependence, m.best, m.objective, m.reached],
    )
}

/// The closed cycles in order, from 1.
///
/// # Errors
/// When a row is not what was written, with its table and cycle.
pub fn cycles(store: &Store) -> Result<Vec<Cycle>> {
    let space = space(store)?;
    let mut samples: BTreeMap<u64, Vec<Sample>> = BTreeMap::new();
    for (cycle, index, row) in store.rows("SELECT * FROM sample ORDER BY cycle, idx", [], |r| sample(r, space))? {
        let own = samples.entry(cycle).or_default();
        if own.len() as u64 != index {
            return Err(Error::machine(format!("the store lacks sample {cycle}/{}", own.len())));
        }
        own.push(row);
    }
    let mut elites: BTreeMap<u64, Vec<(Elite, String)>> = BTreeMap::new();
    for EliteRow { cycle, network, quality, held_out, example_hash } in store.elites()? {
        let proposal = proposal_of(&samples, &network)
            .ok_or_else(|| Error::machine(format!("cycle {cycle}: the elite {network} is no cell that was proposed")))?;
        let elite = Elite { sample: network, parent: proposal.parent, cell: proposal.cell, quality, held_out };
        elites.entry(cycle).or_default().push((elite, example_hash));
    }
    let mut measures: BTreeMap<(u64, String), Measures> = store.rows("SELECT * FROM exact", [], measures)?.into_iter().collect();
    let mut updates: BTreeMap<u64, Update> = store.rows("SELECT * FROM exact_update", [], update)?.into_iter().collect();
    let read = |r: &Row<'_>| -> Result<(u64, Beyond)> { Ok((r.get(0)?, serde_json::from_str(&r.get::<_, String>(1)?)?)) };
    let mut beyond: BTreeMap<u64, Beyond> = store.rows("SELECT * FROM exact_beyond", [], read)?.into_iter().collect();
    let mut searches: BTreeMap<u64, Search> = store
        .rows("SELECT * FROM search", [], |r| {
            let found = r.get(2)?;
            Ok((r.get(0)?, Search { distinct: r.get(1)?, best_found_at: found, incumbent: r.get(3)?, highest: r.get(4)? }))
        })?
        .into_iter()
        .collect();
    let mut cycles = Vec::new();
    for row in store.cycles()?.into_iter().filter(|row| row.cycle > 0) {
        let cycle = row.cycle;
        let mut at = |moment: &str| measures.remove(&(cycle, moment.to_owned()));
        let exact = match (at("before"), at("after")) {
            (Some(before), Some(after)) => Some(Exact { before, after, update: updates.remove(&cycle), beyond: beyond.remove(&cycle) }),
            (None, None) => None,
            _ => return Err(Error::machine(format!("cycle {cycle} has exact numbers of one moment only"))),
        };
        let search =
            searches.remove(&cycle).ok_or_else(|| Error::machine(format!("cycle {cycle} does not say where the search stands")))?;
        let (elites, examples) = elites.remove(&cycle).unwrap_or_default().into_iter().unzip();
        let samples = samples.remove(&cycle).unwrap_or_default();
        let CycleRow { gamma, tuning, adapter_hash, .. } = row;
        cycles.push(Cycle { cycle, samples, gamma, elites, examples, tuning, exact, search, adapter_hash });
    }
    let rest = [samples.keys().next(), elites.keys().next(), searches.keys().next(), updates.keys().next()];
    match rest.into_iter().flatten().chain(measures.keys().map(|(cycle, _)| cycle)).next() {
        Some(cycle) => Err(Error::machine(format!("the store has rows of cycle {cycle}, which is not closed"))),
        None => Ok(cycles),
    }
}

/// What the sample of that name proposed.
fn proposal_of(samples: &BTreeMap<u64, Vec<Sample>>, network: &NetworkId) -> Option<Proposal> {
    let NetworkId::Candidate { cycle, index } = network else { return None };
    samples.get(cycle)?.get(usize::try_from(*index).ok()?)?.proposal()
}

fn sample(r: &Row<'_>, space: &'static Space) -> Result<(u64, u64, Sample)> {
    let parent = r.get::<_, Option<String>>(2)?.map(|cell| Cell::parse(space, &cell)).transpose()?;
    let mut sample = Sample::new(space, parent, r.get(3)?);
    sample.tokens = from_words32(&r.get::<_, Vec<u8>>(4)?);
    (sample.log_p, sample.log_q) = (r.get(5)?, r.get(6)?);
    (sample.quality, sample.log_p_after) = (r.get(7)?, r.get(8)?);
    Ok((r.get(0)?, r.get(1)?, sample))
}

fn measures(r: &Row<'_>) -> Result<((u64, String), Measures)> {
    let measures = Measures {
        outside: r.get(2)?,
        expected: r.get(3)?,
        elite: r.get(4)?,
        entropy: r.get(5)?,
        dependence: r.get(6)?,
        best: r.get(7)?,
        objective: r.get(8)?,
        reached: r.get(9)?,
    };
    Ok(((r.get(0)?, r.get(1)?), measures))
}

fn update(r: &Row<'_>) -> Result<(u64, Update)> {
    let update = Update {
        to_elites_before: r.get(1)?,
        to_elites_after: r.get(2)?,
        share: r.get(3)?,
        alpha: r.get(4)?,
        distance: r.get(5)?,
        to_table: r.get(6)?,
        target: r.get(7)?,
    };
    Ok((r.get(0)?, update))
}
