//! The CE update: the LLM is fine-tuned on the elite set of the cycle, and the cycle is closed.
//!
//! `theta' = argmax (1/|E|) sum over E of log p(d|a)`, by LoRA steps from theta_t; then
//! `theta_{t+1} = alpha theta' + (1-alpha) theta_t` on the adapter's weights.

use crate::config::Policy;
use crate::elite::CycleElites;
use crate::error::{Error, Result};
use crate::files::replace_folder;
use crate::llm::Llm;
use crate::llm::pack::Example;
use crate::progress::Phase;
use crate::record::{Candidate, CycleRow, EliteRow, NetworkId, Tuning, TuningStep};
use crate::run::Run;
use crate::seed;

/// What the update of a cycle did; None where the policy is not tuned or there was nothing to tune on.
pub type Update = Option<Tuning>;

/// Tunes on the elites that are not held out. None when stopped by Ctrl-C.
pub fn tune(run: &mut Run, cycle: u64, elites: &CycleElites) -> Result<Option<Update>> {
    let (held_out, trained): (Vec<_>, Vec<_>) = elites.rows.iter().partition(|e| e.held_out);
    if run.config.policy != Policy::Llm || trained.is_empty() {
        return Ok(Some(None));
    }
    let candidates = run.store.candidates()?;
    let logged = logged_loss(&candidates, &trained, cycle);
    let trained = examples(run, &candidates, &trained)?;
    let held_out = examples(run, &candidates, &held_out)?;
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
    let tuning = Tuning {
        logged,
        before: log.loss_before,
        after,
        held_out_before,
        held_out_after: llm.mean_nll(&held_out)?,
        steps: log.steps.iter().map(|s| TuningStep { loss: s.loss, gradient_norm: s.gradient_norm, lr: s.lr }).collect(),
        examples: trained.len(),
        tokens: log.tokens as usize,
    };
    run.store.put_phase(&phase.finish())?;
    Ok(Some(Some(tuning)))
}

/// `-(1/|E|) sum log p` as it was logged at sampling; only where all elites were sampled in this cycle.
fn logged_loss(candidates: &[Candidate], elites: &[&EliteRow], cycle: u64) -> Option<f64> {
    let mut sum = 0.0;
    for elite in elites {
        let candidate = candidates.iter().find(|c| c.id() == elite.network && c.cycle == cycle)?;
        sum -= candidate.log_p?;
    }
    Some(sum / elites.len() as f64)
}

fn examples(run: &Run, candidates: &[Candidate], elites: &[&EliteRow]) -> Result<Vec<Example>> {
    let llm = run.llm.as_ref().ok_or_else(|| Error::machine("this policy needs an LLM"))?;
    elites.iter().map(|e| example(run, llm, candidates, &e.network)).collect()
}

fn example(run: &Run, llm: &Llm, candidates: &[Candidate], network: &NetworkId) -> Result<Example> {
    let missing = || Error::machine(format!("elite {network} is not in the store"));
    let candidate = candidates.iter().find(|c| c.id() == *network).ok_or_else(missing)?;
    let parent = run.store.network(&candidate.parent)?;
    Ok(Example {
        prompt: llm.prompt(run.config.delta.format, &parent.source)?,
        completion: candidate.tokens.clone(),
        id: network.to_string(),
    })
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
            let half_made = run.folder.path().join(format!(".cycle-{cycle:04}"));
            if half_made.exists() {
                std::fs::remove_dir_all(&half_made)?;
            }
            llm.save_checkpoint(&half_made, run.config.tune.moments)?;
            replace_folder(&half_made, &run.folder.checkpoint(cycle))?;
            llm.adapter_hash()?
        }
    };
    run.store.transaction(|s| {
        elites.rows.iter().try_for_each(|e| s.put_elite(e))?;
        s.put_cycle(&CycleRow { cycle, gamma: elites.gamma, adapter_hash, tuning: update })
    })
}
