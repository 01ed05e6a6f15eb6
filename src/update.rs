//! The CE update: the LLM is fine-tuned on the elite set of the cycle (a control's choice where `tune.data` says so), and the
//! cycle is closed.
//!
//! `theta' = argmax (1/|E|) sum over E of log p(d|a)`, by LoRA steps from theta_t; then
//! `theta_{t+1} = alpha theta' + (1-alpha) theta_t` on the adapter's weights. Before it is adopted, the gate asks the logged samples
//! what quality it promises.

use crate::config::{Gate, Policy, RunConfig};
use crate::elite::{CycleElites, hash_of};
use crate::error::{Error, Result};
use crate::llm::Llm;
use crate::llm::pack::Example;
use crate::progress::Phase;
use crate::propose::prompt_hash;
use crate::record::{Candidate, CycleRow, GateAction, GateRecord, NetworkId, Store, TunedOn, Tuning, TuningStep};
use crate::run::Run;
use crate::theory::gate::{self, Finding, Forecast};
use crate::tuning_set::{self, Chosen};
use crate::{progress, seed};

/// What the update of a cycle did; None where the policy is not tuned or there was nothing to tune on.
pub type Update = Option<Tuning>;

/// Tunes on the tuning set but for what is held out. None when stopped by Ctrl-C.
pub fn tune(run: &mut Run, cycle: u64, elites: &CycleElites) -> Result<Option<Update>> {
    if run.config.policy != Policy::Llm {
        return Ok(Some(None));
    }
    let (held_out, trained): (Vec<_>, Vec<_>) =
        tuning_set::of_cycle(&run.store, &run.config, cycle, elites)?.into_iter().partition(|c| c.held_out);
    if trained.is_empty() {
        return Ok(Some(None));
    }
    let candidates = run.store.candidates()?;
    let logged = logged_loss(&candidates, &trained, cycle);
    let trained = examples(run, &candidates, &trained)?;
    let held_out = examples(run, &candidates, &held_out)?;
    let manifest = [manifest(&trained, false)?, manifest(&held_out, true)?].concat();
    let phase = Phase::begin(cycle, "tune", run.config.tune.epochs as u64);
    let llm = run.llm.as_mut().ok_or_else(|| Error::machine("this policy needs an LLM"))?;

    let before = llm.snapshot()?;
    let held_out_before = llm.mean_nll(&held_out)?;
    let seed = seed::derive(run.config.seed, "tune", &[cycle]);
    let Some(log) = llm.tune(&trained, &run.config.tune, seed, &run.stop, &mut |number, step| {
        phase.at(number as u64);
        phase.say(format!("loss {:.2}", step.loss));
    })?
    else {
        return Ok(None);
    };
    let smoothing = run.config.tune.smoothing;
    let after = if smoothing < 1.0 {
        llm.smooth(smoothing, &before)?;
        llm.mean_nll(&trained)?.unwrap_or(log.loss_after)
    } else {
        log.loss_after
    };
    let held_out_after = llm.mean_nll(&held_out)?;
    let gate = match run.config.tune.gate {
        Gate::Off => None,
        Gate::Warn | Gate::Rollback => {
            let forecast = forecast(&run.store, llm, &run.config, cycle)?;
            let action = action(run.config.tune.gate, forecast.finding);
            if action == GateAction::RolledBack {
                llm.restore(before)?;
            }
            if action != GateAction::Adopted {
                progress::line(format_args!("cycle {cycle}: the samples promise less quality after the update; {}", action.past()));
            }
            Some(GateRecord { forecast, action })
        }
    };
    let tuning = Tuning {
        logged,
        before: log.loss_before,
        after,
        held_out_before,
        held_out_after,
        steps: log.steps.iter().map(|s| TuningStep { loss: s.loss, gradient_norm: s.gradient_norm, lr: s.lr }).collect(),
        examples: trained.len(),
        tokens: log.tokens as usize,
        manifest,
        gate,
    };
    run.store.put_phase(&phase.finish())?;
    Ok(Some(Some(tuning)))
}

/// What the cycle's samples say of the policy that `llm` is now: see [`gate`].
pub fn forecast(store: &Store, llm: &Llm, config: &RunConfig, cycle: u64) -> Result<Forecast> {
    let quality = store.qualities()?;
    let (mut qualities, mut log_q, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    for candidate in store.candidates_of(cycle)? {
        let (Some(&quality), Some(q)) = (quality.get(&candidate.id()), candidate.log_q) else { continue };
        qualities.push(quality);
        log_q.push(q);
        let parent = store.network(&candidate.parent)?;
        let prompt = llm.prompt(config.delta.format, &parent.source)?;
        samples.push(Example { prompt, id: candidate.id().to_string(), completion: candidate.tokens });
    }
    Ok(gate::forecast(&qualities, &llm.log_p(&samples)?, &log_q, seed::derive(config.seed, "gate", &[cycle])))
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
fn logged_loss(candidates: &[Candidate], chosen: &[Chosen], cycle: u64) -> Option<f64> {
    let mut sum = 0.0;
    for one in chosen {
        let candidate = candidates.iter().find(|c| c.id() == one.network && c.cycle == cycle)?;
        sum -= candidate.log_p?;
    }
    Some(sum / chosen.len() as f64)
}

fn examples(run: &Run, candidates: &[Candidate], chosen: &[Chosen]) -> Result<Vec<Example>> {
    let llm = run.llm.as_ref().ok_or_else(|| Error::machine("this policy needs an LLM"))?;
    chosen.iter().map(|c| example(run, llm, candidates, &c.network)).collect()
}

fn example(run: &Run, llm: &Llm, candidates: &[Candidate], network: &NetworkId) -> Result<Example> {
    let missing = || Error::machine(format!("{network} is to be tuned on and is not in the store"));
    let candidate = candidates.iter().find(|c| c.id() == *network).ok_or_else(missing)?;
    let parent = run.store.network(&candidate.parent)?;
    Ok(Example {
        prompt: llm.prompt(run.config.delta.format, &parent.source)?,
        completion: candidate.tokens.clone(),
        id: network.to_string(),
    })
}

/// The record of what goes into the decoder.
fn manifest(examples: &[Example], held_out: bool) -> Result<Vec<TunedOn>> {
    let one = |e: &Example| {
        let example_hash = hash_of(&prompt_hash(&e.prompt), &e.completion);
        Ok(TunedOn { network: e.id.parse()?, held_out, example_hash })
    };
    examples.iter().map(one).collect()
}

/// Closes cycle 0: the LLM as it was before any update.
pub fn close_start(run: &mut Run) -> Result<()> {
    close(run, 0, &CycleElites::default(), None)
}

/// Closes a cycle: the checkpoint by rename, then everything else in one transaction. A kill before the transaction leaves the
/// cycle open, and its update is computed again to the same bytes.
pub fn close(run: &mut Run, cycle: u64, elites: &CycleElites, update: Update) -> Result<()> {
    let adapter_hash = match &run.llm {
        None => "none".to_owned(),
        Some(llm) => {
            run.folder.write_checkpoint(cycle, |path| llm.save_checkpoint(path, run.config.tune.moments))?;
            llm.adapter_hash()?
        }
    };
    run.store.transaction(|s| {
        elites.rows.iter().try_for_each(|e| s.put_elite(e))?;
        s.put_cycle(&CycleRow { cycle, gamma: elites.gamma, adapter_hash, tuning: update })
    })
}
