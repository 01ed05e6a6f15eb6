//! What `verify` does with the changes that a run recorded of its updates: it measures them again.

use crate::base::error::Result;
use crate::config::RunConfig;
use crate::decoder::lora::divergence::Reference;
use crate::decoder::lora::objective::Target;
use crate::method::{elite, tuning_set, update};
use crate::policy::Learner;
use crate::policy::lesson::{Lesson, Measured};
use crate::record::{Store, Tuning};

/// Measures what an update changed again, with the adapter after it and the policy before it as `reference`; gives what is otherwise.
pub(crate) fn otherwise(
    store: &Store,
    learner: &Learner,
    config: &RunConfig,
    cycle: u64,
    tuning: &Tuning,
    reference: &Reference,
    limit: f64,
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
