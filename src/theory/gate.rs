//! The gate of claim 2: what the samples of a cycle say of the policy that the update would give.
//!
//! With samples from q and the new policy p', the self-normalised estimate of the mean quality is
//! `E'[S] = sum w S / sum w`, `w = p'/q`, worth `(sum w)^2 / sum w^2` samples. The change against the plain mean is tested on the
//! same resamples. The tuned samples are among those it is judged by, so it flatters the update: that it sees no fall is weak
//! evidence, that it sees one is strong.

use serde::{Deserialize, Serialize};

use super::Estimate;
use super::finite::{effective_samples, reweighted_mean, weights};
use super::statistics::{bootstrap, mean};

/// An estimate worth fewer samples decides nothing.
const FEWEST: f64 = 3.0;

/// What the samples say of an update before it is adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// The quality to be expected is not significantly lower.
    NoFall,
    /// It is: the 95% interval of the change is below 0.
    Fall,
    /// The samples are worth too little under the new policy.
    Unknown,
}

/// The mean quality under the policy and under the one that the update would give.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Whether a fall is to be expected.
    pub finding: Finding,
    /// Samples that have a quality.
    pub samples: usize,
    /// What these are worth under the new policy: (sum w)^2 / sum w^2.
    pub effective_samples: f64,
    /// Mean quality of the samples; 0 of none.
    pub before: f64,
    /// The estimate of the mean quality under the new policy; None where there is none.
    pub after: Option<Estimate>,
    /// `after - before`.
    pub change: Option<Estimate>,
}

/// `new_log_p` is of the new policy, `log_q` of what the samples were drawn from.
pub fn forecast(quality: &[f64], new_log_p: &[f64], log_q: &[f64], seed: u64) -> Forecast {
    let weights = weights(new_log_p, log_q);
    let change = bootstrap(quality.len(), seed, |units| {
        let total: f64 = units.iter().map(|&unit| weights[unit]).sum();
        let plain: f64 = units.iter().map(|&unit| quality[unit]).sum();
        units.iter().map(|&unit| weights[unit] * quality[unit]).sum::<f64>() / total - plain / units.len() as f64
    });
    let after = reweighted_mean(quality, new_log_p, log_q, seed);
    let effective_samples = effective_samples(&weights);
    let finding = match change {
        Some(change) if effective_samples >= FEWEST => {
            if change.high < 0.0 {
                Finding::Fall
            } else {
                Finding::NoFall
            }
        }
        _ => Finding::Unknown,
    };
    let before = if quality.is_empty() { 0.0 } else { mean(quality) };
    Forecast { finding, samples: quality.len(), effective_samples, before, after: after.map(|after| after.mean), change }
}
