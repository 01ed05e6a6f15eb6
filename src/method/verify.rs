//! Recomputes what a run claims of itself, from its store and its checkpoints. Nothing here trusts a stored conclusion: the
//! deltas are applied again, the sources traced again, the filter, the selection and the likelihoods computed again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::base::error::Result;
use crate::config::RunConfig;
use crate::config::TuneData;
use crate::decoder::lora::divergence::Reference;
use crate::decoder::lora::objective::Target;
use crate::decoder::model::pack::Example;
use crate::decoder::settings::llm::CardDtype;
use crate::gates::Stage;
use crate::method::elite::{self, example_hash};
use crate::method::run::draw_split;
use crate::method::{labels, limits, propose, screen, train, tuning_set, update};
use crate::policy::Learner;
use crate::policy::lesson::{Lesson, Measured};
use crate::proxy::dataset::Format;
use crate::proxy::halving::Halving;
use crate::record::{Candidate, CycleRow, EliteRow, GateAction, NetworkId, Store, Tuning, folder};
use crate::tracer::novelty::Filter;

/// What recomputing a claim gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    Ok,
    Wrong,
    /// Nothing speaks against it, but not all of it could be recomputed here.
    NotRecomputed,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Wrong => "WRONG",
            Self::NotRecomputed => "not recomputed",
        })
    }
}

/// One claim of the run and what recomputing it gave.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub finding: Finding,
    /// How much was recomputed, the first thing that differs, or why it was not recomputed.
    pub detail: String,
}

impl Check {
    /// Of the first thing that is wrong, or else what is right.
    pub fn new(name: &'static str, wrong: Option<String>, right: String) -> Self {
        let finding = if wrong.is_some() { Finding::Wrong } else { Finding::Ok };
        Self { name, finding, detail: wrong.unwrap_or(right) }
    }

    pub fn not_recomputed(name: &'static str, why: String) -> Self {
        Self { name, finding: Finding::NotRecomputed, detail: why }
    }
}

/// Largest relative difference between likelihoods by cached decoding and by teacher forcing (f32).
pub(crate) const TOLERANCE: f64 = 1e-3;
/// The same where products are rounded to bf16, so that decoding and scoring round differently.
pub(crate) const NARROW_TOLERANCE: f64 = 2e-2;

pub fn verify(run: &Path) -> Result<Vec<Check>> {
    let config = folder::settings(run)?;
    let store = Store::read(&folder::store_path(run))?;
    let cycles = store.cycles()?;
    let last = cycles.last().map_or(0, |c| c.cycle);
    let candidates: Vec<Candidate> = store.candidates()?.into_iter().filter(|c| c.cycle <= last).collect();
    let elites = store.elites()?;
    let split = draw_split(&config)?;
    let mut checks = vec![
        parents_drawn(&store, &config, &candidates, last)?,
        data_split(&store, &split.hash())?,
        screened(&store, &config, &split.format, &candidates)?,
        training_seeds(&store, &config)?,
        training_lengths(&store, &config, last)?,
        selection(&store, &config, &cycles, &elites)?,
        manifest(&store, &config, &candidates, &cycles, &elites)?,
        identity(&cycles, tolerance(&config)),
    ];
    if config.policy.has_llm() {
        checks.extend(likelihoods(run, &store, &config, &candidates, &cycles)?);
    }
    Ok(checks)
}

fn tolerance(config: &RunConfig) -> f64 {
    let narrow = config.llm.device.is_card() && config.llm.card_dtype == CardDtype::Bf16;
    if narrow { NARROW_TOLERANCE } else { TOLERANCE }
}

fn parents_drawn(store: &Store, config: &RunConfig, candidates: &[Candidate], last: u64) -> Result<Check> {
    let mut wrong = None;
    for cycle in 1..=last {
        let drawn = propose::draw_parents(store, config, cycle)?;
        let stored: Vec<&NetworkId> = candidates.iter().filter(|c| c.cycle == cycle).map(|c| &c.parent).collect();
        if stored != drawn.iter().collect::<Vec<_>>() {
            wrong = wrong.or(Some(format!("cycle {cycle} was shown other parents than its seed draws")));
        }
    }
    Ok(Check::new("parents", wrong, format!("{last} cycles drawn again")))
}

fn data_split(store: &Store, found: &str) -> Result<Check> {
    let stored = store.meta("dataset")?.unwrap_or_default();
    let wrong = (stored != found).then(|| format!("SHA-256 {found}, the run used {stored}"));
    Ok(Check::new("data split", wrong, "drawn again, SHA-256 as in the store".into()))
}

/// Applies, traces, and filters every candidate again, in order.
fn screened(store: &Store, config: &RunConfig, images: &Format, candidates: &[Candidate]) -> Result<Check> {
    let (gates, mut filter) = (limits::gates(config, images), Filter::new(&config.novelty, config.seed));
    screen::trace_starts(&store.starts()?, &gates, &mut filter)?;
    let mut wrong = None;
    let mut cycle_of = 0;
    for cycle in candidates.chunk_by(|a, b| a.cycle == b.cycle) {
        for (stored, (mut again, network)) in cycle.iter().zip(screen::decide(store, &gates, &mut filter, cycle)?) {
            let same_network = network.is_none_or(|n| store.network(&n.id).is_ok_and(|s| s == n));
            let same = stored.screened.as_ref().is_some_and(|stored| {
                // Training moves on what passed; the screen ends at the gate before it.
                if again.stage == Stage::Novel && stored.stage >= Stage::Novel {
                    again.stage = stored.stage;
                    (again.reason, again.detail) = (stored.reason.clone(), stored.detail.clone());
                }
                again == *stored
            });
            if !same || !same_network {
                wrong = wrong.or(Some(format!("candidate {} screens differently: {:?} {:?}", stored.id(), again.stage, again.reason)));
            }
        }
        cycle_of += 1;
    }
    Ok(Check::new("screen", wrong, format!("{} candidates of {cycle_of} cycles applied, traced and filtered again", candidates.len())))
}

fn training_seeds(store: &Store, config: &RunConfig) -> Result<Check> {
    let trainings = store.trainings()?;
    let odd = trainings.iter().find(|t| t.seed != train::seed_of(config.seed, &t.network, t.seed_index));
    Ok(Check::new(
        "training seeds",
        odd.map(|t| format!("{} was trained with another seed", t.network)),
        format!("{} trainings", trainings.len()),
    ))
}

/// Every training went through the epochs that the settings give it, by halving or all of them, and its accuracy is that of the last.
fn training_lengths(store: &Store, config: &RunConfig, last: u64) -> Result<Check> {
    let (mut wrong, mut epochs, mut dropped) = (None, 0, 0);
    let trainings = store.trainings()?;
    for cycle in 0..=last {
        let targets = train::targets(store, config, cycle)?;
        dropped += targets.values().filter(|&&target| target < config.proxy.epochs).count();
        for training in &trainings {
            let Some(&target) = targets.get(&training.network) else { continue };
            let curve = training.epochs()?;
            epochs += curve.len();
            let ended = curve.last().map(|epoch| epoch.valid_accuracy);
            if training.failure.is_none() && (curve.len() != target || training.accuracy != ended) {
                wrong = wrong.or(Some(format!("{}: {} epochs where {target} are due, or another accuracy", training.network, curve.len())));
            }
        }
    }
    let halved = if config.proxy.halving == Halving::Off { String::new() } else { format!(", {dropped} networks dropped by halving") };
    Ok(Check::new("training lengths", wrong, format!("{epochs} epochs of {} trainings{halved}", trainings.len())))
}

fn selection(store: &Store, config: &RunConfig, cycles: &[CycleRow], elites: &[EliteRow]) -> Result<Check> {
    let mut wrong = None;
    for row in cycles.iter().filter(|c| c.cycle > 0) {
        let again = elite::of_cycle(store, config, row.cycle)?;
        let mut stored: Vec<EliteRow> = elites.iter().filter(|e| e.cycle == row.cycle).cloned().collect();
        let mut rows = again.rows;
        stored.sort_by(|a, b| a.network.cmp(&b.network));
        rows.sort_by(|a, b| a.network.cmp(&b.network));
        if rows != stored || again.gamma != row.gamma {
            wrong = wrong.or(Some(format!("cycle {} selects other elites", row.cycle)));
        }
    }
    Ok(Check::new("elites", wrong, format!("{} elites of {} cycles selected again", elites.len(), cycles.len().saturating_sub(1))))
}

/// Every training example is the prompt and completion of what the settings choose, by hash; and so is the example of every elite.
fn manifest(store: &Store, config: &RunConfig, candidates: &[Candidate], cycles: &[CycleRow], elites: &[EliteRow]) -> Result<Check> {
    let examples_of: BTreeMap<NetworkId, String> = candidates.iter().map(|c| (c.id(), example_hash(c))).collect();
    let own = |network: &NetworkId, hash: &str| examples_of.get(network).is_some_and(|own| own == hash);
    let mut wrong = elites
        .iter()
        .find(|e| !own(&e.network, &e.example_hash))
        .map(|e| format!("cycle {}: the example of {} is not its elite's", e.cycle, e.network));
    let mut examples = 0;
    for row in cycles {
        let Some(tuning) = &row.tuning else { continue };
        let manifest = tuning.manifest(elites, row.cycle);
        examples += manifest.len();
        if let Some(foreign) = manifest.iter().find(|t| !own(&t.network, &t.example_hash)) {
            wrong = wrong.or(Some(format!("cycle {}: the example of {} is not what it wrote", row.cycle, foreign.network)));
        }
        let mut chosen: Vec<_> = tuning_set::of_cycle(store, config, row.cycle, &elite::of_cycle(store, config, row.cycle)?)?
            .into_iter()
            .map(|c| (c.network, c.held_out, c.weight))
            .collect();
        let mut stored: Vec<_> = manifest.into_iter().map(|t| (t.network, t.held_out, t.weight)).collect();
        chosen.sort_by(|a, b| a.0.cmp(&b.0));
        stored.sort_by(|a, b| a.0.cmp(&b.0));
        if chosen != stored {
            wrong = wrong.or(Some(format!("cycle {}: the settings choose other examples than it was tuned on", row.cycle)));
        }
    }
    let chosen = match config.tune.data {
        TuneData::Elites => "elites",
        TuneData::AllValid => "all valid candidates, not the elites",
        TuneData::RandomSubset => "a random subset, not the elites",
        TuneData::Archive => "the best of all cycles, not the elites",
        TuneData::Replay => "the elites of all cycles",
    };
    Ok(Check::new("manifest", wrong, format!("{examples} examples chosen again: {chosen}")))
}

/// The loss at step 0 of tuning is the mean of the log-probabilities logged at sampling.
pub(crate) fn identity(cycles: &[CycleRow], tolerance: f64) -> Check {
    let pairs: Vec<(u64, f64)> = cycles
        .iter()
        .filter_map(|c| c.tuning.as_ref().and_then(|t| Some((c.cycle, (t.before - t.logged?).abs() / t.logged?.abs().max(1e-9)))))
        .collect();
    let worst = pairs.iter().map(|p| p.1).fold(0.0, f64::max);
    let wrong = pairs.iter().find(|p| p.1 > tolerance).map(|(cycle, d)| format!("cycle {cycle}: relative difference {d:.1e}"));
    Check::new("identity at step 0", wrong, format!("{} updates, largest relative difference {worst:.1e}", pairs.len()))
}

/// Adapters by their hash, completions by their tokens, log p of every sample under the adapter it was sampled from.
fn likelihoods(run: &Path, store: &Store, config: &RunConfig, candidates: &[Candidate], cycles: &[CycleRow]) -> Result<Vec<Check>> {
    let mut learner = Learner::open(&config.llm, &config.lora.clone().unwrap_or_default(), config.seed)?;
    let model = store.meta("model")?.unwrap_or_default();
    let other = (learner.model.identity.sha256 != model).then(|| "the model file is not the one the run used".to_owned());
    let mut adapters = None;
    let mut texts = None;
    let (stored_labels, mut labelled) = (store.labels()?, None);
    let (mut gated, mut gates) = (0, None);
    let mut worst = (0.0_f64, None);
    // The policy before the update of a cycle, on what the cycle sampled.
    let (mut reference, mut changed, mut changes): (Option<Reference>, _, _) = (None, 0, None);
    for (at, row) in cycles.iter().enumerate() {
        if let Err(error) = learner.load_checkpoint(&folder::checkpoint(run, row.cycle), config.tune.tuning.moments, &row.adapter_hash) {
            adapters = adapters.or(Some(format!("cycle {}: {error}", row.cycle)));
            break;
        }
        if let (Some(reference), Some(tuning)) = (reference.take(), &row.tuning) {
            changed += 1;
            let wrong = change(store, &learner, config, row.cycle, tuning, &reference)?;
            changes = changes.or(wrong.map(|what| format!("cycle {}: {what} comes out otherwise", row.cycle)));
        }
        if let Some(next) = cycles.get(at + 1)
            && next.tuning.as_ref().is_some_and(|tuning| tuning.change.is_some() && !is_rolled_back(tuning))
        {
            let (samples, log_q): (Vec<_>, Vec<_>) = update::sampled(store, &learner, config, next.cycle)?.into_iter().unzip();
            reference = Some(learner.reference(&samples, log_q)?);
        }
        if let Some(gate) = row.tuning.as_ref().and_then(|t| t.gate.as_ref()) {
            gated += 1;
            let before = cycles.iter().find(|c| c.cycle + 1 == row.cycle).map(|c| &c.adapter_hash);
            // What was rolled back is gone; that the adapter is the old one can still be seen.
            let right = update::action(config.tune.gate, gate.forecast.finding) == gate.action
                && if gate.action == GateAction::RolledBack {
                    before == Some(&row.adapter_hash)
                } else {
                    update::forecast(store, &learner, config, row.cycle)?.finding == gate.forecast.finding
                };
            if !right {
                gates = gates.or(Some(format!("cycle {}: the gate decides otherwise", row.cycle)));
            }
        }
        for c in candidates.iter().filter(|c| c.cycle == row.cycle + 1) {
            if learner.model.tokenizer.completion(&c.tokens) != c.completion {
                texts = texts.or(Some(format!("candidate {}: the tokens say something else", c.id())));
            }
            let parent = store.network(&c.parent)?.source;
            let stored = stored_labels.iter().find(|l| (l.cycle, l.index) == (c.cycle, c.index));
            if let Some(stored) = stored
                && labels::of(&learner, config.delta.format, &parent, c)? != *stored
            {
                labelled = labelled.or(Some(format!("candidate {}: its tokens are labelled otherwise", c.id())));
            }
            let prompt = learner.prompt(config.delta.format, &parent)?;
            let logged = c.log_p.unwrap_or(f64::NAN);
            let again = -learner.mean_nll(&[Example { prompt, completion: c.tokens.clone(), id: c.id().to_string() }])?.unwrap_or(f64::NAN);
            let difference = (again - logged).abs() / logged.abs().max(1.0);
            if difference > worst.0 || difference.is_nan() {
                worst = (difference, Some(c.id()));
            }
        }
    }
    let off = worst
        .1
        .filter(|_| worst.0 > tolerance(config) || worst.0.is_nan())
        .map(|id| format!("candidate {id}: relative difference {:.1e}", worst.0));
    let gate = (gated > 0).then(|| Check::new("gate", gates, format!("{gated} decisions made again")));
    let change = (changed > 0).then(|| Check::new("changes", changes, format!("{changed} updates measured again")));
    Ok(gate
        .into_iter()
        .chain(change)
        .chain([
            Check::new("model", other, "SHA-256 as in the store".into()),
            Check::new("adapters", adapters, format!("{} checkpoints", cycles.len())),
            Check::new("labels", labelled, format!("{} completions labelled again", stored_labels.len())),
            Check::new("completions", texts, format!("{} token sequences", candidates.len())),
            Check::new(
                "log-probabilities",
                off,
                format!("{} samples scored again, largest relative difference {:.1e}", candidates.len(), worst.0),
            ),
        ])
        .collect())
}

fn is_rolled_back(tuning: &Tuning) -> bool {
    tuning.gate.as_ref().is_some_and(|gate| gate.action == GateAction::RolledBack)
}

/// Measures what an update changed again, with the adapter after it and the policy before it as `reference`; gives what is otherwise.
fn change(
    store: &Store,
    learner: &Learner,
    config: &RunConfig,
    cycle: u64,
    tuning: &Tuning,
    reference: &Reference,
) -> Result<Option<&'static str>> {
    let Some(stored) = &tuning.change else { return Ok(None) };
    let chosen = tuning_set::of_cycle(store, config, cycle, &elite::of_cycle(store, config, cycle)?)?;
    let trained: Vec<_> = chosen.into_iter().filter(|c| !c.held_out).collect();
    let weights = update::weights(&trained);
    let trained = update::examples(store, learner, config, &trained)?;
    let target = Target { objective: config.tune.tuning.objective, examples: &trained, weights: &weights };
    let lesson =
        Lesson { trained: &trained, weights: &weights, sampled: reference.samples(), log_q: reference.log_q(), ..Lesson::default() };
    let measured = Measured {
        loss_before: tuning.before,
        loss_after: target.loss(&learner.log_p(&trained)?),
        floor: target.floor(),
        ending: stored.ending,
        refused: stored.refused,
        moved: Some((reference.log_p().to_vec(), learner.moved(reference)?)),
    };
    let quality = store.qualities_of(cycle)?;
    let Some(again) = measured.change(&lesson, |network| quality.get(network).copied())? else { return Ok(Some("everything")) };
    let limit = tolerance(config);
    let near = |a: f64, b: f64, relative: f64| (a - b).abs() <= relative * b.abs().max(1e-3);
    let same = |a: Option<f64>, b: Option<f64>| match (a, b) {
        // Weights are exponentials of differences of log-probabilities.
        (Some(a), Some(b)) => near(a, b, 20.0 * limit),
        (a, b) => a == b,
    };
    let samples = again.samples.len() == stored.samples.len()
        && again
            .samples
            .iter()
            .zip(&stored.samples)
            .all(|(a, b)| a.network == b.network && near(a.before, b.before, limit) && near(a.after, b.after, limit));
    let checks = [
        ("the loss after it", near(measured.loss_after, tuning.after, limit)),
        ("the floor of the loss", near(again.floor, stored.floor, limit)),
        ("a sample's log-probability", samples),
        ("the share realised", same(again.share, stored.share)),
        ("its divergence", same(again.kl, stored.kl)),
        ("the memorised part", same(again.memorised, stored.memorised)),
        ("the generalised part", same(again.generalised, stored.generalised)),
    ];
    Ok(checks.into_iter().find(|(_, right)| !right).map(|(what, _)| what))
}
