//! The exact audit: the cross-entropy method on a space whose every quality is known and whose every probability is computed.
//!
//! A policy proposes cells of NAS-Bench-201 or of a table of the user's own; quality is one training seed's accuracy from the table; the
//! elites of the cycle tune the policy. Before and after an update the distribution over all cells is exact, so what the update did is not
//! estimated: E\[S\], C, entropy, the divergence from the elites and the share of the cross-entropy update realised.

pub mod beyond;
pub mod cells;
pub mod climb;
pub mod codec;
pub mod exact;
pub mod policy;
pub mod record;
pub mod search;
pub mod settings;
pub mod verify;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use policy::CellPolicy;
use record::{Cycle, Inputs, same};
use settings::AuditConfig;

use crate::base::done::Done;
use crate::base::error::{AtPath, Error, Result};
use crate::base::home;
use crate::base::printer;
use crate::base::progress::Phase;
use crate::base::progress::PhaseRow;
use crate::base::range::Check;
use crate::base::show::in_shell;
use crate::decoder::settings::tune::StartFrom;
use crate::method::check::settings_it_began_with;
use crate::method::run::{More, cycles_asked, tell_of_another_processor};
use crate::oracle::{self, Table};
use crate::record::folder::{Folder, write_settings};
use crate::record::{Kind, Store, chain};

/// An audit that is open: its policy, its store, and the cycles that are closed.
pub struct Audit {
    /// What proposes, as it is after the last closed cycle; it holds the settings.
    pub policy: CellPolicy,
    /// Where the audit is recorded; locked as long as this lives.
    pub folder: Folder,
    /// The record in that folder.
    pub store: Store,
    /// What the audit began with.
    pub inputs: Inputs,
    /// The closed cycles in order, from 1.
    pub cycles: Vec<Cycle>,
    stop: Arc<AtomicBool>,
    /// No cycle begins after it.
    pub(crate) until: Option<Instant>,
}

impl Audit {
    /// Starts an audit in a new folder. Everything that can be wrong with the settings is found before the folder is made.
    pub fn create(path: &Path, config: AuditConfig, stop: Arc<AtomicBool>, say: impl FnMut(String)) -> Result<Self> {
        let table = Arc::new(oracle::load(&config.dataset, &home::data())?);
        let policy = CellPolicy::open(config, table)?;
        let inputs = inputs_of(&policy);
        let (folder, store) = Folder::create(path, Kind::Audit, &policy.config.to_toml(), |s| record::begin(s, &inputs, policy.space()))?;
        let audit = Self { policy, folder, store, inputs, cycles: Vec::new(), stop, until: None };
        audit.begin(say)
    }

    /// Goes on with an audit that was stopped or killed, as it was after the last cycle; what is asked for beside that goes over its
    /// settings.
    pub fn resume(path: &Path, more: &More, stop: Arc<AtomicBool>, say: impl FnMut(String)) -> Result<Self> {
        let mut config = record::settings(path)?;
        let folder = Folder::open(path)?;
        let store = Store::open(&folder.store())?;
        ask_for_more(&folder, &store, &mut config, more)?;
        if let Some(place) = more.device {
            let (settled, why) = place.settle();
            config.llm.device = settled;
            why.into_iter().for_each(printer::note);
        }
        let inputs = record::inputs(&store)?;
        let table = record::table(&config, &store)?;
        let mut policy = CellPolicy::open(config, Arc::new(table))?;
        if let Some(cells) = &policy.learner {
            let began = inputs.model_sha256.as_deref().unwrap_or(record::NO_ADAPTER);
            same("the model file", began, &cells.learner.model.identity.sha256)?;
            tell_of_another_processor(&store)?;
        }
        policy.gamma_star = inputs.gamma_star;
        let until = more.until;
        let Some(start) = record::start(&store)? else {
            return Self { policy, folder, store, inputs, cycles: Vec::new(), stop, until }.begin(say);
        };
        if policy.config.tune.from == StartFrom::Prior {
            policy.load(&folder.checkpoint(0), &start)?;
            policy.keep_prior()?;
        }
        load_last(&folder, &store, &mut policy)?;
        let cycles = record::cycles(&store)?;
        policy.catch_up(&cycles);
        Ok(Self { policy, folder, store, inputs, cycles, stop, until })
    }

    /// Warms the LLM up and closes cycle 0: the policy as it is before the first sample. Where that fails nothing is kept; where it is
    /// stopped it can be begun again.
    fn begin(mut self, say: impl FnMut(String)) -> Result<Self> {
        let phase = Phase::begin(0, "warm-up", 0);
        if let Err(error) = self.warm_up(say) {
            if !error.is_stop() {
                self.folder.abandon(self.store)?;
            }
            return Err(error);
        }
        self.policy.keep_prior()?;
        self.checkpoint(0)?;
        let hash = self.policy.adapter_hash()?;
        self.store.transaction(|s| {
            s.put_phase(&phase.finish())?;
            record::put_start(s, hash)?;
            chain::close(s, 0, &self.folder.checkpoint(0))
        })?;
        Ok(self)
    }

    fn warm_up(&mut self, mut say: impl FnMut(String)) -> Result<()> {
        let CellPolicy { config, learner, .. } = &mut self.policy;
        let Some(cells) = learner else { return Ok(()) };
        let warm = cells.warm_up(&config.warmup, config.format, config.seed, &self.stop, |step, loss| {
            if step % 10 == 0 {
                say(format!("warm-up step {step} of {}: loss {loss:.2}", config.warmup.steps));
            }
        })?;
        if warm == Done::Stopped {
            return Err(Error::stopped("stopped in the warm-up, before there was anything to keep")
                .hint(format!("begin it again with: eliteloop resume {}", in_shell(self.folder.path()))));
        }
        Ok(())
    }

    /// Runs the cycles that are not closed yet.
    pub fn run(&mut self, on_cycle: impl FnMut(&Cycle)) -> Result<Done<()>> {
        let ending = self.all_cycles(on_cycle);
        self.folder.tell_if_gone(ending)
    }

    /// Whether the time is over that was given for it, and nobody stopped it.
    pub fn hours_are_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until) && !self.stop.load(Ordering::Relaxed)
    }

    fn all_cycles(&mut self, mut on_cycle: impl FnMut(&Cycle)) -> Result<Done<()>> {
        while !is_finished(&self.policy.config, &self.cycles) {
            if self.hours_are_over() {
                return Ok(Done::Stopped);
            }
            self.folder.check_there()?;
            if self.cycle(self.cycles.len() as u64 + 1)? == Done::Stopped {
                return Ok(Done::Stopped);
            }
            on_cycle(self.cycles.last().expect("it was closed a line ago"));
        }
        Ok(Done::Finished(()))
    }

    /// One cycle and its record. Where it is stopped nothing of the cycle is recorded.
    fn cycle(&mut self, cycle: u64) -> Result<Done<()>> {
        let Done::Finished((closed, phases)) = advance(&mut self.policy, &self.cycles, cycle, &self.stop)? else {
            return Ok(Done::Stopped);
        };
        self.folder.check_there()?;
        self.checkpoint(cycle)?;
        self.store.transaction(|s| {
            phases.iter().try_for_each(|phase| s.put_phase(phase))?;
            record::put_cycle(s, &closed)?;
            chain::close(s, cycle, &self.folder.checkpoint(cycle))
        })?;
        self.cycles.push(closed);
        self.forget(cycle)?;
        Ok(Done::Finished(()))
    }

    /// Writes the adapter and the optimiser's state as they are after a cycle.
    fn checkpoint(&self, cycle: u64) -> Result<()> {
        let Some(cells) = &self.policy.learner else { return Ok(()) };
        cells.learner.save_checkpoint(&self.folder.checkpoint(cycle), self.policy.config.tune.moments)
    }

    /// Removes the adapters but the last two: from the one after the warm-up, which stays, the updates can be computed again.
    fn forget(&self, last: u64) -> Result<()> {
        for cycle in (0..last).filter(|cycle| !is_kept(*cycle, last)) {
            let old = self.folder.checkpoint(cycle);
            if old.is_dir() {
                std::fs::remove_dir_all(&old).at("remove", &old)?;
            }
        }
        Ok(())
    }
}

/// One cycle: propose, query, select, update, measure; `earlier` are the cycles before it.
fn advance(policy: &mut CellPolicy, earlier: &[Cycle], cycle: u64, stop: &AtomicBool) -> Result<Done<(Cycle, Vec<PhaseRow>)>> {
    let stopped = || stop.load(Ordering::Relaxed);
    let phase = Phase::begin(cycle, "propose", 0);
    let parents = search::parents(earlier, &policy.config, policy.space(), cycle);
    let Done::Finished(mut samples) = policy.propose(earlier, &parents, cycle, stop)? else { return Ok(Done::Stopped) };
    let chosen = search::elites(earlier, &samples, &policy.config, cycle);
    let elites: Vec<_> = chosen.iter().map(|c| c.elite.clone()).collect();
    let examples = policy.examples(&elites)?;
    let gamma = policy.gamma(&elites);
    let mut phases = vec![phase.finish()];

    let phase = Phase::begin(cycle, "measure", 0);
    let before = if policy.is_due(cycle) { policy.distribution(&parents)? } else { None };
    let measured = phase.finish();
    if stopped() {
        return Ok(Done::Stopped);
    }

    let phase = Phase::begin(cycle, "tune", 0);
    let Done::Finished(tuning) = policy.update(&samples, &chosen, &examples, cycle, stop)? else { return Ok(Done::Stopped) };
    phases.push(phase.finish());
    if stopped() {
        return Ok(Done::Stopped);
    }

    let phase = Phase::begin(cycle, "measure", 0);
    let exact = before.map(|before| policy.measure(&parents, &before, &chosen)).transpose()?;
    if exact.is_some() || policy.learner.is_none() {
        policy.score(&parents, &mut samples)?;
    }
    phases.push(together(&measured, &phase.finish()));
    if stopped() {
        return Ok(Done::Stopped);
    }
    let search = search::progress(earlier, cycle, &samples, &policy.table);
    let adapter_hash = policy.adapter_hash()?;
    Ok(Done::Finished((Cycle { cycle, samples, gamma, elites, examples, tuning, exact, search, adapter_hash }, phases)))
}

/// An audit that is recorded nowhere: what it would have recorded.
///
/// # Errors
/// When the settings ask for an LLM that cannot be read.
pub(crate) fn simulate(config: AuditConfig, table: Arc<Table>) -> Result<(Inputs, Vec<Cycle>)> {
    let mut policy = CellPolicy::open(config, table)?;
    let (inputs, never) = (inputs_of(&policy), AtomicBool::new(false));
    let mut cycles = Vec::new();
    while !is_finished(&policy.config, &cycles) {
        let Done::Finished((cycle, _)) = advance(&mut policy, &cycles, cycles.len() as u64 + 1, &never)? else {
            return Err(Error::machine("stopped, though nobody asked for it"));
        };
        cycles.push(cycle);
    }
    Ok((inputs, cycles))
}

/// Whether the adapter of a cycle is kept when `last` is closed.
pub(crate) fn is_kept(cycle: u64, last: u64) -> bool {
    cycle == 0 || cycle + 2 > last
}

/// Loads the adapter of the last closed cycle; where it is missing or damaged, that cycle is done again from the one before.
fn load_last(folder: &Folder, store: &Store, policy: &mut CellPolicy) -> Result<()> {
    let cycles = store.cycles()?;
    let Some(last) = cycles.last() else { return Ok(()) };
    let Err(error) = policy.load(&folder.checkpoint(last.cycle), &last.adapter_hash) else { return Ok(()) };
    if let Some(before) = cycles.iter().rev().nth(1)
        && policy.load(&folder.checkpoint(before.cycle), &before.adapter_hash).is_err()
    {
        return Err(error);
    }
    printer::note(format_args!("the checkpoint of cycle {} cannot be used ({error}); the cycle is done again", last.cycle));
    record::forget(store, last.cycle)
}

/// Holds the settings against those that the audit began with, and writes down that more cycles are asked for.
fn ask_for_more(folder: &Folder, store: &Store, config: &mut AuditConfig, more: &More) -> Result<()> {
    if more.until_quality.is_some() {
        return Err(
            Error::input("--until-quality: an audit trains no networks").hint("leave it out; stop_at_best ends an audit at the best cell")
        );
    }
    let began = AuditConfig::from_toml(&settings_it_began_with(store)?, "the settings it began with")?;
    let planned = config.cycles;
    config.cycles = cycles_asked(folder, store, [&without_cycles(&began), &without_cycles(config)], planned, more)?;
    config.check()?;
    if config.cycles == planned { Ok(()) } else { write_settings(folder, Kind::Audit, &config.to_toml()) }
}

/// The settings that an audit may not change once it has begun, as TOML.
fn without_cycles(config: &AuditConfig) -> String {
    AuditConfig { threads: 0, cycles: 0, ..config.clone() }.to_toml()
}

/// One phase in two parts.
fn together(a: &PhaseRow, b: &PhaseRow) -> PhaseRow {
    PhaseRow { seconds: a.seconds + b.seconds, peak_mib: a.peak_mib.max(b.peak_mib), ..b.clone() }
}

/// What an audit of this policy begins with.
fn inputs_of(policy: &CellPolicy) -> Inputs {
    let model = policy.learner.as_ref().map(|cells| &cells.learner.model.identity);
    Inputs {
        program: env!("CARGO_PKG_VERSION").into(),
        table_sha256: policy.table.sha256().into(),
        model: model.map(|m| m.name.clone()),
        model_sha256: model.map(|m| m.sha256.clone()),
        gamma_star: policy.gamma_star,
    }
}

/// Whether no cycle is left: all are closed, or the budget is spent.
pub(crate) fn is_finished(config: &AuditConfig, cycles: &[Cycle]) -> bool {
    let search = cycles.last().map(|c| c.search).unwrap_or_default();
    cycles.len() as u64 >= config.cycles
        || config.stop_at_best && search.best_found_at.is_some()
        || config.budget.is_some_and(|budget| search.distinct >= budget)
}
