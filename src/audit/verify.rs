//! Recomputes what an audit claims of itself: what can be drawn, looked up, selected and tuned again is, from the settings, the table
//! and the model alone; each step starts from what is stored of the cycles before it, so a change shows where it was made.
//!
//! Tables give the same numbers everywhere. An LLM gives the same bits on the same kind of processor only: where nothing comes out as
//! it is stored, that is no claim against the audit, and what hangs on it is named as not recomputed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::exact::{Measures, Update};
use super::policy::CellPolicy;
use super::record::{self, Cycle, Exact, Inputs, Sample};
use super::search;
use super::settings::AuditConfig;
use super::{is_kept, without_cycles};
use crate::base::done::Done;
use crate::base::error::{Error, Result};
use crate::base::home;
use crate::decoder::settings::llm::Dtype;
use crate::method::verify::{Asked, Check, NARROW_TOLERANCE, Sealed, TOLERANCE, Train, identity, settings_it_began_with};
use crate::oracle::{self, Cell};
use crate::record::{Store, Tuning, folder};

/// Largest differences of exact numbers, relative and absolute: of tables, and of an LLM on two kinds of processors.
const OF_TABLES: (f64, f64) = (1e-9, 1e-12);
const OF_LLMS: (f64, f64) = (1e-3, 1e-5);

/// Nobody stops a verification but by ending it.
static GO_ON: AtomicBool = AtomicBool::new(false);

fn finished<T>(done: Done<T>) -> Result<T> {
    match done {
        Done::Finished(value) => Ok(value),
        Done::Stopped => Err(Error::machine("stopped, though nobody asked for it")),
    }
}

/// What is drawn or tuned by an LLM, cycle by cycle: whether it came out to the bit.
#[derive(Default)]
struct Bits {
    same: Vec<u64>,
    other: Vec<u64>,
}

impl Bits {
    fn note(&mut self, cycle: u64, same: bool) {
        if same { self.same.push(cycle) } else { self.other.push(cycle) }
    }

    /// On a machine that is known to compute the same bits (`proven`), what came out otherwise is wrong.
    fn judge(&self, name: &'static str, proven: bool, what: &str) -> Check {
        match self.other.first() {
            None => Check::new(name, None, format!("{} {what}", self.same.len())),
            Some(cycle) if proven => Check::new(name, Some(format!("cycle {cycle} comes out otherwise")), String::new()),
            Some(_) => Check::not_recomputed(name, "this machine computes other bits than the one of the audit".into()),
        }
    }
}

/// The first wrong thing of each kind.
#[derive(Default)]
struct Wrong {
    parents: Option<String>,
    samples: Option<String>,
    qualities: Option<String>,
    elites: Option<String>,
    manifest: Option<String>,
    search: Option<String>,
    exact: Option<String>,
    likelihoods: Option<String>,
    tuned: Option<String>,
}

fn note(slot: &mut Option<String>, wrong: bool, why: impl FnOnce() -> String) {
    if wrong && slot.is_none() {
        *slot = Some(why());
    }
}

/// The cycles of an audit again.
struct Replay<'a> {
    policy: CellPolicy,
    audit: &'a Path,
    cycles: &'a [Cycle],
    wrong: Wrong,
    draws: Bits,
    updates: Bits,
    /// Whether the adapter is that of the audit.
    trusted: bool,
    /// The stored hash of the adapter before the cycle.
    previous: &'a str,
    /// Samples scored, the largest difference of a likelihood, and exact numbers of how many cycles computed again.
    scored: usize,
    worst: f64,
    measured: usize,
    /// Cycles of an LLM whose adapter is neither here nor comes out the same.
    skipped: Vec<u64>,
}

/// The claims of an audit, recomputed.
///
/// # Errors
/// When the audit, its table or its model cannot be read, or its store lacks rows.
pub fn verify(audit: &Path, asked: &Asked) -> Result<Vec<Check>> {
    if asked.train != Train::Nothing {
        return Err(Error::input("--train: an audit trains nothing").hint("its qualities are looked up again each time"));
    }
    let config = record::settings(audit)?;
    let store = Store::read(&folder::store_path(audit))?;
    let inputs = record::inputs(&store)?;
    let start =
        record::start(&store)?.ok_or_else(|| Error::input(format!("the audit in {} has not begun its first cycle", audit.display())))?;
    let cycles = record::cycles(&store)?;
    let policy = CellPolicy::open(config.clone(), Arc::new(oracle::load(&config.dataset, &home::data())?))?;
    let last = cycles.last().map_or(0, |c| c.cycle);
    let began = settings_it_began_with(&store)?;
    let began = AuditConfig::from_toml(&began, "the settings it began with").map_or(began, |config| without_cycles(&config));
    let must = |cycle: u64, _: &str| is_kept(cycle, last);
    let sealed = Sealed { folder: audit, store: &store, last, settings: [without_cycles(&config), began], must: &must };
    let mut checks = sealed.checks(asked)?;
    if asked.quick {
        return Ok(checks);
    }
    if policy.space() != record::space(&store)? {
        // No cell of the one is a cell of the other.
        checks.push(Check::new("table", Some("it is of other slots or words than the cells in the store".into()), String::new()));
        return Ok(checks);
    }
    checks.extend(given(&policy, &inputs));
    checks.push(complete(&store, &policy, &cycles)?);
    let mut replay = Replay {
        policy,
        audit,
        cycles: &cycles,
        wrong: Wrong::default(),
        draws: Bits::default(),
        updates: Bits::default(),
        trusted: true,
        previous: &start,
        scored: 0,
        worst: 0.0,
        measured: 0,
        skipped: Vec::new(),
    };
    if replay.policy.learner.is_some() {
        replay.warm_up()?;
    } else {
        note(&mut replay.wrong.tuned, start != record::NO_ADAPTER, || "cycle 0: an adapter where no LLM proposes".into());
    }
    for at in 0..cycles.len() {
        replay.cycle(at)?;
    }
    checks.extend(replay.checks());
    if config.policy.has_llm() {
        checks.push(identity(&store.cycles()?, tolerance(&config)));
        checks.push(checkpoints(audit, &mut replay.policy, &start, &cycles));
    }
    Ok(checks)
}

/// Table, model and gamma*.
fn given(policy: &CellPolicy, inputs: &Inputs) -> Vec<Check> {
    let other = |what: &str, found: &str, stored: &str| (found != stored).then(|| format!("{what}: SHA-256 {found}, then {stored}"));
    let table = other("the table", policy.table.sha256(), &inputs.table_sha256);
    let gamma = (policy.gamma_star.to_bits() != inputs.gamma_star.to_bits())
        .then(|| format!("the settings and the table give {}, the store {}", policy.gamma_star, inputs.gamma_star));
    let mut checks = vec![
        Check::new("table", table, "SHA-256 as in the store".into()),
        Check::new("gamma*", gamma, format!("{:.4}, by the settings and the table", policy.gamma_star)),
    ];
    let stored = inputs.model_sha256.as_deref();
    let model = match &policy.learner {
        Some(cells) => other("the model file", &cells.learner.model.identity.sha256, stored.unwrap_or(record::NO_ADAPTER)),
        None => stored.map(|_| "a model where no LLM proposes".to_owned()),
    };
    if policy.learner.is_some() || model.is_some() {
        checks.push(Check::new("model", model, "SHA-256 as in the store".into()));
    }
    checks
}

/// Whether all is there that the settings ask for.
fn complete(store: &Store, policy: &CellPolicy, cycles: &[Cycle]) -> Result<Check> {
    let config = &policy.config;
    let mut wrong = None;
    let finished = store.meta("finished")?.is_some();
    note(&mut wrong, finished && !super::is_finished(config, cycles), || "it says it is finished, and cycles are missing".into());
    for (expected, cycle) in (1..).zip(cycles) {
        note(&mut wrong, cycle.cycle != expected, || format!("cycle {expected} is missing"));
        note(&mut wrong, super::is_finished(config, &cycles[..expected as usize - 1]), || {
            format!("cycle {expected} began when the audit was finished")
        });
        note(&mut wrong, cycle.samples.len() != config.candidates, || format!("cycle {expected} has {} samples", cycle.samples.len()));
    }
    let open = if finished { "" } else { ", not finished" };
    Ok(Check::new("complete", wrong, format!("{} cycles of {} samples{open}", cycles.len(), config.candidates)))
}

fn tolerance(config: &AuditConfig) -> f64 {
    if config.llm.device.is_card() && config.llm.dtype != Dtype::F32 { NARROW_TOLERANCE } else { TOLERANCE }
}

/// The adapters that are kept are the stored ones.
fn checkpoints(audit: &Path, policy: &mut CellPolicy, start: &str, cycles: &[Cycle]) -> Check {
    let last = cycles.last().map_or((0, start), |c| (c.cycle, c.adapter_hash.as_str()));
    let mut wrong = None;
    for (cycle, hash) in [(0, start), last] {
        if let Err(error) = policy.load(&folder::checkpoint(audit, cycle), hash) {
            note(&mut wrong, true, || format!("cycle {cycle}: {error}"));
        }
    }
    Check::new("adapters", wrong, "the first and the last, SHA-256 as in the store".into())
}

impl<'a> Replay<'a> {
    /// The adapter before the first cycle: warmed up again, or else the stored one.
    fn warm_up(&mut self) -> Result<()> {
        let CellPolicy { config, learner: Some(cells), .. } = &mut self.policy else { return Ok(()) };
        let steps = config.warmup.steps;
        finished(cells.warm_up(&config.warmup, config.format, config.seed, &GO_ON, |_, _| ())?)?;
        let same = self.policy.adapter_hash()? == self.previous;
        if steps == 0 {
            note(&mut self.wrong.tuned, !same, || "it begins with another adapter than the settings give".into());
        } else {
            self.updates.note(0, same);
        }
        self.trusted = same || self.policy.load(&folder::checkpoint(self.audit, 0), self.previous).is_ok();
        self.policy.keep_prior()?;
        Ok(())
    }

    /// A cycle by the stored ones before it.
    fn cycle(&mut self, at: usize) -> Result<()> {
        let all: &'a [Cycle] = self.cycles;
        let (earlier, stored) = (&all[..at], &all[at]);
        let (cycle, has_llm) = (stored.cycle, self.policy.learner.is_some());
        let parents = search::parents(earlier, &self.policy.config, self.policy.space(), cycle);
        let drawn = parents.iter().flat_map(|(parent, share)| std::iter::repeat_n(*parent, *share));
        let shown: Vec<Option<Cell>> = stored.samples.iter().map(|s| s.parent).collect();
        note(&mut self.wrong.parents, drawn.collect::<Vec<_>>() != shown, || {
            format!("cycle {cycle} was shown other parents than its seed draws")
        });
        if self.trusted {
            let samples = finished(self.policy.propose(earlier, &parents, cycle, &GO_ON)?)?;
            let same =
                samples.len() == stored.samples.len() && samples.iter().zip(&stored.samples).all(|(a, b)| same_sample(a, b, has_llm));
            if has_llm {
                self.draws.note(cycle, same);
                self.score(stored);
            } else {
                note(&mut self.wrong.samples, !same, || format!("cycle {cycle}: its seed draws other samples"));
            }
        } else {
            self.skipped.push(cycle);
        }
        let mut queried = stored.samples.clone();
        self.policy.query(earlier, &mut queried);
        let odd = queried.iter().zip(&stored.samples).position(|(again, stored)| again.quality != stored.quality);
        note(&mut self.wrong.qualities, odd.is_some(), || {
            format!("sample {cycle}/{}: the table has another accuracy, or the filter another verdict", odd.unwrap_or(0))
        });

        let chosen = search::elites(earlier, &stored.samples, &self.policy.config, cycle);
        let elites: Vec<_> = chosen.iter().map(|c| c.elite.clone()).collect();
        let examples = self.policy.examples(&elites)?;
        let gamma = self.policy.gamma(&elites);
        let selected = elites == stored.elites && examples == stored.examples && gamma == stored.gamma;
        note(&mut self.wrong.elites, !selected, || format!("cycle {cycle} selects other elites"));
        let search = search::progress(earlier, cycle, &stored.samples, &self.policy.table);
        note(&mut self.wrong.search, search != stored.search, || format!("cycle {cycle}: the search stands elsewhere"));

        let due = self.policy.is_due(cycle);
        let before = if due && self.trusted { self.policy.distribution(&parents)? } else { None };
        let tuning = finished(self.policy.update(&stored.samples, &chosen, &examples, cycle, &GO_ON)?)?;
        self.compare_update(stored, tuning.as_ref())?;
        if let Some(before) = before {
            // The numbers after an update that came out otherwise are those of another adapter.
            if self.trusted {
                let exact = self.policy.measure(&parents, &before, &chosen)?;
                let close = stored.exact.as_ref().is_some_and(|stored| same_exact(&exact, stored, has_llm));
                let mut scored = stored.samples.clone();
                self.policy.score(&parents, &mut scored)?;
                let tolerance = if has_llm { OF_LLMS } else { OF_TABLES };
                let after = |(a, b): (&Sample, &Sample)| match (a.log_p_after, b.log_p_after) {
                    (Some(a), Some(b)) => near(a, b, tolerance),
                    (a, b) => a == b,
                };
                let close = close && scored.iter().zip(&stored.samples).all(after);
                note(&mut self.wrong.exact, !close, || format!("cycle {cycle}: other exact numbers"));
                self.measured += 1;
            }
        } else if !due || !has_llm {
            note(&mut self.wrong.exact, stored.exact.is_some(), || format!("cycle {cycle} has exact numbers that it cannot have"));
        }
        Ok(())
    }

    /// Likelihoods of what was sampled, under the adapter it was sampled from, and whether its tokens are its text.
    fn score(&mut self, stored: &Cycle) {
        let Some(cells) = &self.policy.learner else { return };
        for (index, sample) in stored.samples.iter().enumerate() {
            let other = cells.text(sample.parent, &sample.tokens) != sample.text;
            note(&mut self.wrong.samples, other, || format!("sample {}/{index}: the tokens are not the text", stored.cycle));
        }
        let limit = tolerance(&self.policy.config);
        let again = match cells.likelihoods(&stored.samples) {
            Ok(again) => again,
            Err(error) => {
                note(&mut self.wrong.likelihoods, true, || format!("cycle {}: {error}", stored.cycle));
                return;
            }
        };
        for (index, (sample, (log_p, log_q))) in stored.samples.iter().zip(again).enumerate() {
            for (again, logged) in [(log_p, sample.log_p), (log_q, sample.log_q)] {
                let logged = logged.unwrap_or(f64::NAN);
                let difference = (again - logged).abs() / logged.abs().max(1.0);
                self.worst = self.worst.max(difference);
                // A NaN is never small.
                let small = difference <= limit;
                note(&mut self.wrong.likelihoods, !small, || {
                    format!("sample {}/{index}: relative difference {difference:.1e}", stored.cycle)
                });
            }
            self.scored += 1;
        }
    }

    /// Holds the update of a cycle against the stored one; afterwards the policy is the stored one where it can be.
    fn compare_update(&mut self, stored: &'a Cycle, again: Option<&Tuning>) -> Result<()> {
        let cycle = stored.cycle;
        let manifest = |t: &Tuning| t.manifest.clone();
        note(&mut self.wrong.manifest, stored.tuning.as_ref().map(manifest) != again.map(manifest), || {
            format!("cycle {cycle}: the settings choose other examples than it was tuned on")
        });
        let hash = self.policy.adapter_hash()?;
        let same_hash = hash == stored.adapter_hash;
        if self.policy.learner.is_none() {
            note(&mut self.wrong.tuned, !same_hash, || format!("cycle {cycle}: an adapter where no LLM proposes"));
            return Ok(());
        }
        if again.is_none() {
            // Nothing is computed where nothing is tuned: the adapter is the one before.
            note(&mut self.wrong.tuned, stored.adapter_hash != self.previous, || {
                format!("cycle {cycle}: another adapter, though nothing is tuned")
            });
        } else {
            self.updates.note(cycle, same_hash && stored.tuning.as_ref() == again);
        }
        self.previous = &stored.adapter_hash;
        // Where an update came out the same before, what comes out now is the audit's, whatever is stored.
        let proven = !self.updates.same.is_empty();
        self.trusted = same_hash || proven || self.policy.load(&folder::checkpoint(self.audit, cycle), &stored.adapter_hash).is_ok();
        Ok(())
    }

    fn checks(&mut self) -> Vec<Check> {
        let wrong = std::mem::take(&mut self.wrong);
        let cycles = self.cycles.len();
        let samples: usize = self.cycles.iter().map(|c| c.samples.len()).sum();
        let elites: usize = self.cycles.iter().map(|c| c.elites.len()).sum();
        let has_llm = self.policy.learner.is_some();
        let skipped = || {
            let all: Vec<String> = self.skipped.iter().map(u64::to_string).collect();
            format!("cycles {}: their adapters are not kept and do not come out the same on this machine", all.join(", "))
        };
        // Wrong before not recomputed before right.
        let partly = |name, wrong: Option<String>, right: String| match wrong {
            None if !self.skipped.is_empty() => Check::not_recomputed(name, format!("{right}, but not {}", skipped())),
            wrong => Check::new(name, wrong, right),
        };
        let mut checks = vec![Check::new("parents", wrong.parents, format!("{cycles} cycles drawn again"))];
        if has_llm {
            let proven = !(self.draws.same.is_empty() && self.updates.same.is_empty());
            checks.push(self.draws.judge("samples", proven && wrong.samples.is_none(), "cycles of samples drawn again"));
            if let Some(why) = wrong.samples {
                *checks.last_mut().expect("it was pushed a line ago") = Check::new("samples", Some(why), String::new());
            }
            let scored = format!("{} of {samples} samples scored again, largest relative difference {:.1e}", self.scored, self.worst);
            checks.push(partly("log-probabilities", wrong.likelihoods, scored));
            checks.push(match wrong.tuned {
                Some(why) => Check::new("updates", Some(why), String::new()),
                None => self.updates.judge("updates", proven, "times tuned again, the warm-up included, to the same adapter"),
            });
            checks.push(Check::new("manifest", wrong.manifest, format!("{elites} examples chosen again")));
        } else {
            checks.push(Check::new("samples", wrong.samples, format!("{samples} samples drawn again")));
            let tuned = wrong.tuned.or(wrong.manifest);
            checks.push(Check::new("updates", tuned, "no adapter, as no LLM proposes".into()));
        }
        checks.push(Check::new("qualities", wrong.qualities, format!("{samples} looked up again")));
        checks.push(Check::new("elites", wrong.elites, format!("{elites} elites of {cycles} cycles selected again")));
        checks.push(Check::new("search", wrong.search, format!("{cycles} cycles")));
        checks.push(partly("exact numbers", wrong.exact, format!("{} cycles computed again", self.measured)));
        checks
    }
}

/// An LLM's draw is compared by its tokens: likelihoods are scored.
fn same_sample(again: &Sample, stored: &Sample, has_llm: bool) -> bool {
    let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => near(a, b, OF_TABLES),
        (a, b) => a == b,
    };
    let likelihoods = has_llm || (close(again.log_p, stored.log_p) && close(again.log_q, stored.log_q));
    (again.parent, &again.text, &again.tokens) == (stored.parent, &stored.text, &stored.tokens) && likelihoods
}

fn near(a: f64, b: f64, (relative, absolute): (f64, f64)) -> bool {
    a == b || (a - b).abs() <= relative * b.abs() + absolute
}

fn same_exact(again: &Exact, stored: &Exact, has_llm: bool) -> bool {
    let tolerance = if has_llm { OF_LLMS } else { OF_TABLES };
    let measures = |m: &Measures| [m.outside, m.expected, m.elite, m.entropy, m.dependence, m.best, m.objective, m.reached].map(Some);
    let update = |u: &Update| [u.to_elites_before, u.to_elites_after, u.share, Some(u.alpha), u.distance, u.to_table, Some(u.target)];
    let close = |a: &[Option<f64>], b: &[Option<f64>]| {
        a.iter().zip(b).all(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => near(*a, *b, tolerance),
            (a, b) => a == b,
        })
    };
    let updates = match (&again.update, &stored.update) {
        (Some(a), Some(b)) => close(&update(a), &update(b)),
        (a, b) => a.is_none() && b.is_none(),
    };
    let beyond = match (&again.beyond, &stored.beyond) {
        (Some(a), Some(b)) => a.kernel.len() == b.kernel.len() && a.figures().iter().zip(b.figures()).all(|(a, b)| close(&[a.1], &[b.1])),
        (a, b) => a.is_none() && b.is_none(),
    };
    beyond
        && close(&measures(&again.before), &measures(&stored.before))
        && close(&measures(&again.after), &measures(&stored.after))
        && updates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::verify::Finding;

    #[test]
    fn what_comes_out_otherwise_is_wrong_only_where_something_comes_out_the_same() {
        let bits = |same: &[u64], other: &[u64]| Bits { same: same.to_vec(), other: other.to_vec() };
        let finding = |bits: Bits, proven| bits.judge("updates", proven, "times").finding;
        assert_eq!(finding(bits(&[0, 1, 2], &[]), true), Finding::Ok);
        assert_eq!(finding(bits(&[0, 1], &[2]), true), Finding::Wrong);
        assert_eq!(finding(bits(&[], &[0, 1]), true), Finding::Wrong, "the samples came out the same");
        assert_eq!(finding(bits(&[], &[0, 1]), false), Finding::NotRecomputed, "another kind of processor");
    }
}
