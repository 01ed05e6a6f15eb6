//! Recomputes what a run claims of itself, from its store and its checkpoints. Nothing here trusts a stored conclusion: the
//! deltas are applied again, the sources traced again, the filter, the selection and the likelihoods computed again.

use std::collections::BTreeMap;
use std::path::Path;

use crate::base::error::{Error, Result};
use crate::base::show::in_shell;
use crate::config::{EliteWeights, Policy, RunConfig, TuneData};
use crate::decoder::lora::divergence::Reference;
use crate::decoder::model::pack::Example;
use crate::decoder::settings::llm::CardDtype;
use crate::decoder::settings::tune::{Moments, Objective};
use crate::gates::Stage;
use crate::method::again::trained_again;
pub use crate::method::check::{Asked, Check, Finding, Sealed, Train, settings_it_began_with};
use crate::method::complete::{best_network, complete};
use crate::method::elite::{self, example_hash};
use crate::method::run::draw_split;
use crate::method::{changes, checkpoints, labels, limits, propose, screen, starts, train, tuning_set, update};
use crate::policy::Learner;
use crate::proxy::dataset::Format;
use crate::proxy::halving::Halving;
use crate::record::{Candidate, CycleRow, EliteRow, GateAction, NetworkId, Store, folder};
use crate::tracer::novelty::Filter;

/// Largest relative difference between likelihoods by cached decoding and by teacher forcing (f32).
pub(crate) const TOLERANCE: f64 = 1e-3;
/// The same where products are rounded to bf16, so that decoding and scoring round differently.
pub(crate) const NARROW_TOLERANCE: f64 = 2e-2;

/// The claims of a run, recomputed.
///
/// # Errors
/// When the run, its data or its model cannot be read.
pub fn verify(run: &Path, asked: &Asked) -> Result<Vec<Check>> {
    let Claims { config, store, cycles, candidates, last } = &Claims::read(run)?;
    let mut checks = quick(run, asked)?;
    if asked.quick {
        return Ok(checks);
    }
    let split = draw_split(config)?;
    let elites = store.elites()?;
    checks.extend([
        parents_drawn(store, config, candidates, *last)?,
        data_split(store, &split.hash())?,
        screened(store, config, &split.format, candidates)?,
        training_seeds(store, config)?,
        training_lengths(store, config, *last)?,
        selection(store, config, cycles, &elites)?,
        manifest(store, config, candidates, cycles, &elites)?,
        identity(cycles, tolerance(config)),
    ]);
    if config.policy.has_llm() {
        checks.extend(likelihoods(run, store, config, candidates, cycles)?);
    } else {
        checks.push(mutations(store, config, candidates)?);
    }
    checks.push(trained_again(store, config, &split, asked.train)?);
    Ok(checks)
}

/// What takes no computing: the chain of hashes, the settings, and whether all is there.
///
/// # Errors
/// When the run cannot be read.
fn quick(run: &Path, asked: &Asked) -> Result<Vec<Check>> {
    let Claims { config, store, candidates, last, .. } = &Claims::read(run)?;
    let mut checks = sealed(run, store, config, *last, asked)?;
    checks.push(complete(store, config, candidates, *last)?);
    checks.extend(best_network(store, run)?);
    Ok(checks)
}

/// What a run says of itself, of its closed cycles.
struct Claims {
    config: RunConfig,
    store: Store,
    cycles: Vec<CycleRow>,
    candidates: Vec<Candidate>,
    last: u64,
}

impl Claims {
    fn read(run: &Path) -> Result<Self> {
        let config = folder::settings(run)?;
        let store = Store::read(&folder::store_path(run))?;
        let cycles = store.cycles()?;
        let Some(last) = cycles.last().map(|c| c.cycle) else {
            return Err(Error::input(format!("the run in {} has not closed its first cycle", run.display()))
                .hint(format!("go on with it: eliteloop resume {}", in_shell(run))));
        };
        let candidates = store.candidates_up_to(last)?;
        Ok(Self { config, store, cycles, candidates, last })
    }
}

/// Rows, settings and files against the chain of hashes.
fn sealed(run: &Path, store: &Store, config: &RunConfig, last: u64, asked: &Asked) -> Result<Vec<Check>> {
    let without = |config: &RunConfig| RunConfig { cycles: 0, ..config.essential() }.to_toml();
    // What cannot be read as settings is another text than ours.
    let began = settings_it_began_with(store)?;
    let began = RunConfig::from_toml(&began, "the settings it began with").map_or(began, |config| without(&config));
    let must = |cycle: u64, file: &str| checkpoints::is_kept(config, cycle, last, file);
    Sealed { folder: run, store, last, settings: [without(config), began], must: &must }.checks(asked)
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
    let starts = starts::trace(&store.starts()?, &gates, &mut filter)?;
    let mut wrong = starts
        .iter()
        .find(|start| store.network(&start.id).ok().as_ref() != Some(start))
        .map(|start| format!("{} traces differently", start.id));
    let mut cycle_of = 0;
    let (trainings, epochs) = (store.trainings()?, config.proxy.epochs);
    for cycle in candidates.chunk_by(|a, b| a.cycle == b.cycle) {
        let targets = train::targets(store, config, cycle[0].cycle)?;
        for (stored, (mut again, network)) in cycle.iter().zip(screen::decide(store, &gates, &mut filter, cycle)?) {
            let found = store.network(&stored.id()).ok();
            let same_network = network == found;
            // The screen ends at the gate before training, which moves on what passed.
            if again.stage == Stage::Novel && again.reason.is_none() {
                let target = targets.get(&stored.id()).copied().unwrap_or(epochs);
                train::settle(&mut again, &stored.id(), &trainings, target, epochs);
            }
            let same = stored.screened.as_ref() == Some(&again);
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
    let odd = trainings.iter().find(|t| t.seed != train::seed_of(config, &t.network, t.seed_index));
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
    let (mut skipped, mut scored, mut losses) = (Vec::new(), 0, Losses::default());
    // The policy before the update of a cycle, on what the cycle sampled.
    let (mut reference, mut changed, mut unlike): (Option<Reference>, _, _) = (None, 0, None);
    let last = cycles.len().saturating_sub(1) as u64;
    for (at, row) in cycles.iter().enumerate() {
        let checkpoint = folder::checkpoint(run, row.cycle);
        let is_kept = config.record.keeps(row.cycle, last).0;
        if !checkpoint.is_dir() && !is_kept && learner.adapter_hash()? != row.adapter_hash {
            skipped.push(row.cycle);
            reference = None;
            continue;
        }
        // To score takes no moments.
        if (checkpoint.is_dir() || is_kept)
            && let Err(error) = learner.load_checkpoint(&checkpoint, Moments::Fresh, &row.adapter_hash)
        {
            adapters = adapters.or(Some(format!("cycle {}: {error}", row.cycle)));
            break;
        }
        losses.look(store, &learner, config, row)?;
        if let (Some(reference), Some(tuning)) = (reference.take(), &row.tuning) {
            changed += 1;
            let wrong = changes::otherwise(store, &learner, config, row.cycle, tuning, &reference, tolerance(config))?;
            unlike = unlike.or(wrong.map(|what| format!("cycle {}: {what} comes out otherwise", row.cycle)));
        }
        if let Some(next) = cycles.get(at + 1)
            && next.tuning.as_ref().is_some_and(|tuning| tuning.change.is_some() && !tuning.is_rolled_back())
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
            if propose::prompt_hash(&prompt) != c.prompt_hash {
                texts = texts.or(Some(format!("candidate {}: it was asked with another prompt", c.id())));
            }
            scored += 1;
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
    let change = (changed > 0).then(|| Check::new("changes", unlike, format!("{changed} updates measured again")));
    let partly = |name, wrong: Option<String>, right: String| match wrong {
        None if !skipped.is_empty() => {
            let cycles: Vec<String> = skipped.iter().map(u64::to_string).collect();
            Check::not_recomputed(
                name,
                format!("{right}; not what hangs on the adapters of cycles {}, which are not kept", cycles.join(", ")),
            )
        }
        wrong => Check::new(name, wrong, right),
    };
    let scored_again = format!("{scored} samples scored again, largest relative difference {:.1e}", worst.0);
    Ok(gate
        .into_iter()
        .chain(change)
        .chain([
            Check::new("model", other, "SHA-256 as in the store".into()),
            partly("adapters", adapters, format!("{} checkpoints", cycles.len() - skipped.len())),
            partly("labels", labelled, format!("{scored} completions labelled again")),
            partly("completions", texts, format!("{scored} token sequences, and the prompts they answer")),
            partly("log-probabilities", off, scored_again),
            partly("losses after", losses.wrong, format!("{} losses after updates computed again", losses.count)),
            Check::not_recomputed(
                "draws and steps",
                "log q, the draws themselves and the steps of updates hang in the chain; they are not done again".into(),
            ),
        ])
        .collect())
}

/// The losses after the updates, of what was tuned on and of what was held out.
#[derive(Default)]
struct Losses {
    wrong: Option<String>,
    count: usize,
}

impl Losses {
    /// Under the adapter after a cycle, which `learner` has.
    fn look(&mut self, store: &Store, learner: &Learner, config: &RunConfig, row: &CycleRow) -> Result<()> {
        let Some(tuning) = &row.tuning else { return Ok(()) };
        let rolled_back = tuning.is_rolled_back();
        // By tokens or with weights is another objective than the mean of sums; what was rolled back is gone.
        let is_weighted = config.elite.weights != EliteWeights::Truncation || config.tune.data == TuneData::Replay;
        if rolled_back || is_weighted || config.tune.tuning.objective != Objective::Sum {
            return Ok(());
        }
        for (held_out, stored) in [(false, Some(tuning.after)), (true, tuning.held_out_after)] {
            let mut examples = Vec::new();
            for one in tuning.manifest.iter().filter(|one| one.held_out == held_out) {
                let candidate = store.candidate(&one.network)?;
                let prompt = learner.prompt(config.delta.format, &store.network(&candidate.parent)?.source)?;
                examples.push(Example { prompt, completion: candidate.tokens, id: one.network.to_string() });
            }
            let again = learner.mean_nll(&examples)?;
            self.count += usize::from(again.is_some());
            let close = match (again, stored) {
                (Some(again), Some(stored)) => (again - stored).abs() <= tolerance(config) * stored.abs().max(1.0),
                (again, stored) => again.is_none() && stored.is_none(),
            };
            if !close && self.wrong.is_none() {
                let shown = |loss: Option<f64>| loss.map_or_else(|| "none".to_owned(), |loss| loss.to_string());
                self.wrong = Some(format!("cycle {}: the loss is {}, stored is {}", row.cycle, shown(again), shown(stored)));
            }
        }
        Ok(())
    }
}

/// What the policies without an LLM wrote, written again.
fn mutations(store: &Store, config: &RunConfig, candidates: &[Candidate]) -> Result<Check> {
    debug_assert!(matches!(config.policy, Policy::Random | Policy::Evolution));
    let mut wrong = None;
    for candidate in candidates {
        let source = store.network(&candidate.parent)?.source;
        let again = propose::mutation(config, candidate.cycle, candidate.index, candidate.parent.clone(), &source);
        if (Candidate { screened: None, ..candidate.clone() }) != again {
            wrong = wrong.or(Some(format!("candidate {}: its seed writes something else", candidate.id())));
        }
    }
    Ok(Check::new("completions", wrong, format!("{} written again", candidates.len())))
}
