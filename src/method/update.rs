//! The CE update: the LLM is fine-tuned on the elite set of the cycle (a control's choice where `tune.data` says so), and the
//! cycle is closed.
//!
//! `theta' = argmax (1/|E|) sum over E of log p(d|a)`, by LoRA steps from theta_t; then
//! `theta_{t+1} = alpha theta' + (1-alpha) theta_t` on the adapter's weights. Before it is adopted, the gate asks the logged samples
//! what quality it promises.

use crate::base::done::Done;
use crate::base::error::{Error, Result};
use crate::base::progress::Phase;
use crate::base::{progress, seed};
use crate::config::Gate;
use crate::config::{Policy, RunConfig};
use crate::decoder::model::pack::Example;
use crate::method::checkpoints;
use crate::method::elite::{CycleElites, hash_of};
use crate::method::propose::prompt_hash;
use crate::method::run::Run;
use crate::method::tuning_set::{self, Chosen};
use crate::policy::Learner;
use crate::policy::lesson::Lesson;
use crate::record::{CycleRow, GateAction, GateRecord, Store, TunedOn, Tuning, TuningStep, chain};
use crate::theory::gate::{self, Finding, Forecast};

/// Tunes on the tuning set but for what is held out; gives what that did, None where the policy is not tuned or there was nothing to
/// tune on.
pub(crate) fn tune(run: &mut Run, cycle: u64, elites: &CycleElites) -> Result<Done<Option<Tuning>>> {
    if run.config.policy != Policy::Llm {
        return Ok(Done::Finished(None));
    }
    let (held_out, trained): (Vec<_>, Vec<_>) =
        tuning_set::of_cycle(&run.store, &run.config, cycle, elites)?.into_iter().partition(|c| c.held_out);
    if trained.is_empty() {
        return Ok(Done::Finished(None));
    }
    let logged = logged_loss(&run.store, &trained, cycle)?;
    let weights = weights(&trained);
    let learner = run.learner.as_mut().ok_or_else(|| Error::machine("this policy needs an LLM"))?;
    let (chosen, kept) = (trained, held_out);
    let trained = examples(&run.store, learner, &run.config, &chosen)?;
    let held_out = examples(&run.store, learner, &run.config, &kept)?;
    let manifest = [manifest(&trained, &chosen), manifest(&held_out, &kept)].concat();
    let quality = run.store.qualities_of(cycle)?;
    let tune = &run.config.tune.tuning;
    let phase = Phase::begin(cycle, "tune", tune.until.most(tune.epochs) as u64);
    let (sampled, log_q): (Vec<_>, Vec<_>) = sampled(&run.store, learner, &run.config, cycle)?.into_iter().unzip();

    let seed = seed::derive(run.config.seed, "tune", &[cycle]);
    let lesson = Lesson { trained: &trained, weights: &weights, held_out: &held_out, sampled: &sampled, log_q: &log_q };
    let Done::Finished(update) = learner.update(&lesson, tune, seed, &run.stop, &mut |number, step| {
        phase.at(number as u64);
        phase.say(format!("loss {:.2}", step.loss));
    })?
    else {
        return Ok(Done::Stopped);
    };
    let mut tuning = Tuning {
        logged,
        before: update.measured.loss_before,
        after: update.measured.loss_after,
        held_out_before: update.held_out_before,
        held_out_after: update.held_out_after,
        steps: update.steps.iter().map(|s| TuningStep { loss: s.loss, gradient_norm: s.gradient_norm, lr: s.lr }).collect(),
        examples: trained.len(),
        tokens: update.tokens as usize,
        manifest,
        gate: None,
        change: update.measured.change(&lesson, |network| quality.get(network).copied())?,
    };
    if run.config.tune.gate != Gate::Off {
        let forecast = forecast(&run.store, learner, &run.config, cycle)?;
        let action = action(run.config.tune.gate, forecast.finding);
        if action == GateAction::RolledBack {
            learner.restore(update.before)?;
        }
        if action != GateAction::Adopted {
            progress::line(format_args!("cycle {cycle}: the samples promise less quality after the update; {}", action.past()));
        }
        tuning.gate = Some(GateRecord { forecast, action });
    }
    run.store.put_phase(&phase.finish())?;
    Ok(Done::Finished(Some(tuning)))
}

/// What the cycle's samples say of the policy that `learner` is now: see [`gate`].
pub(crate) fn forecast(store: &Store, learner: &Learner, config: &RunConfig, cycle: u64) -> Result<Forecast> {
    let quality = store.qualities_of(cycle)?;
    let (mut qualities, mut log_q, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    for (sample, q) in sampled(store, learner, config, cycle)? {
        let Some(&quality) = quality.get(&sample.id.parse()?) else { continue };
        qualities.push(quality);
        log_q.push(q);
        samples.push(sample);
    }
    Ok(gate::forecast(&qualities, &learner.log_p(&samples)?, &log_q, seed::derive(config.seed, "gate", &[cycle])))
}

/// All that the LLM wrote in a cycle, and the log q it was drawn with.
pub(crate) fn sampled(store: &Store, learner: &Learner, config: &RunConfig, cycle: u64) -> Result<Vec<(Example, f64)>> {
    let mut samples = Vec::new();
    for candidate in store.candidates_of(cycle)? {
        let Some(log_q) = candidate.log_q.filter(|_| !candidate.tokens.is_empty()) else { continue };
        let parent = store.network(&candidate.parent)?;
        let prompt = learner.prompt(config.delta.format, &parent.source)?;
        samples.push((Example { prompt, id: candidate.id().to_string(), completion: candidate.tokens }, log_q));
    }
    Ok(samples)
}

/// What the gate does about a finding.
pub fn action(gate: Gate, finding: Finding) -> GateAction {
    match (finding, gate) {
        (Finding::NoFall | Finding::Unknown, _) | (_, Gate::Off) => GateAction::Adopted,
        (Finding::Fall, Gate::Warn) => GateAction::Warned,
        (Finding::Fall, Gate::Rollback) => GateAction::RolledBack,
    }
}

/// `-(1/|E|) sum log p` as it was logged at sampling; only where all examples were sampled in this cycle.
fn logged_loss(store: &Store, chosen: &[Chosen], cycle: u64) -> Result<Option<f64>> {
    let (mut sum, mut total) = (0.0, 0.0);
    for one in chosen {
        let candidate = store.candidate(&one.network)?;
        match candidate.log_p {
            Some(log_p) if candidate.cycle == cycle => (sum, total) = (sum - one.weight * log_p, total + one.weight),
            _ => return Ok(None),
        }
    }
    Ok(Some(sum / total))
}

/// Those of examples; none where all weigh the same.
pub(crate) fn weights(chosen: &[Chosen]) -> Vec<f64> {
    let all: Vec<f64> = chosen.iter().map(|c| c.weight).collect();
    if all.iter().any(|weight| *weight != all[0]) { all } else { Vec::new() }
}

/// What goes into the decoder of these candidates.
pub(crate) fn examples(store: &Store, learner: &Learner, config: &RunConfig, chosen: &[Chosen]) -> Result<Vec<Example>> {
    let example = |one: &Chosen| {
        let candidate = store.candidate(&one.network)?;
        let parent = store.network(&candidate.parent)?;
        let prompt = learner.prompt(config.delta.format, &parent.source)?;
        Ok(Example { prompt, completion: candidate.tokens, id: one.network.to_string() })
    };
    chosen.iter().map(example).collect()
}

/// The record of what goes into the decoder.
fn manifest(examples: &[Example], chosen: &[Chosen]) -> Vec<TunedOn> {
    let one = |(e, c): (&Example, &Chosen)| {
        let example_hash = hash_of(&prompt_hash(&e.prompt), &e.completion);
        TunedOn { network: c.network.clone(), held_out: c.held_out, example_hash, weight: c.weight }
    };
    examples.iter().zip(chosen).map(one).collect()
}

/// Closes cycle 0: the LLM as it was before any update.
pub(crate) fn close_start(run: &mut Run) -> Result<()> {
    close(run, 0, &CycleElites::default(), None)
}

/// Closes a cycle: the checkpoint by rename, then everything else in one transaction. A kill before the transaction leaves the
/// cycle open, and its update is computed again to the same bytes.
pub(crate) fn close(run: &mut Run, cycle: u64, elites: &CycleElites, tuning: Option<Tuning>) -> Result<()> {
    run.folder.check_there()?;
    let checkpoint = run.folder.checkpoint(cycle);
    let adapter_hash = match &run.learner {
        None => "none".to_owned(),
        Some(learner) => {
            learner.save_checkpoint(&checkpoint, run.config.tune.tuning.moments)?;
            learner.adapter_hash()?
        }
    };
    run.store.transaction(|s| {
        elites.rows.iter().try_for_each(|e| s.put_elite(e))?;
        s.put_cycle(&CycleRow { cycle, gamma: elites.gamma, adapter_hash, tuning })?;
        chain::close(s, cycle, &checkpoint)
    })?;
    checkpoints::thin(run.folder.path(), &run.config, cycle)
}
