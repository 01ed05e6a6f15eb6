//! How far a policy has moved from what it was: `KL(p' || p)` and the log-probabilities of what was sampled, p' being the policy now.
//!
//! `KL(p' || p) = sum_i w_i K_i / sum_i w_i` over the samples d_i of q, with `w_i = p'(d_i|a_i) / q(d_i|a_i)` and
//! `K_i = sum_t KL(p'(.|a_i, d_i<t) || p(.|a_i, d_i<t))`, each over all that may be said next. By the chain rule `E_p'[K]` is the
//! divergence of whole completions; every `K_i` is exact and at least 0, so that a small step is not lost in the noise of `log p'/p`,
//! and where p' is sure of what was sampled the weights are those samples'.

use candle_core::Tensor;
use rayon::prelude::*;

use super::matrices::Lora;
use crate::base::error::{Error, Result};
use crate::decoder::model::decoder::{Decoder, Mode};
use crate::decoder::model::pack::{Example, Pack, check, pack};
use crate::theory::change::divergence;

/// Tokens whose logits are held at a time.
const LOGIT_ROWS: usize = 64;

/// The policy as it was, on what it sampled.
pub struct Reference {
    samples: Vec<Example>,
    log_q: Vec<f64>,
    packs: Vec<Pack>,
    /// Of each pack the rows that predict, before the final norm; the head is no part of an adapter.
    hidden: Vec<Tensor>,
    log_p: Vec<f64>,
}

/// The policy now, beside what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// Of each sample.
    pub log_p: Vec<f64>,
    /// In nats.
    pub kl: f64,
    /// How many samples the estimate is worth.
    pub(crate) effective_samples: f64,
}

impl Reference {
    /// `log_q` is of what each sample was drawn from; passes have at most `budget` tokens.
    ///
    /// # Errors
    /// Where there is no sample or one is longer than a pass, or has no log q that is finite.
    pub fn new(decoder: &Decoder, lora: &Lora, samples: Vec<Example>, log_q: Vec<f64>, budget: usize) -> Result<Self> {
        check(&samples, budget.min(decoder.config().context))?;
        if samples.is_empty() || samples.len() != log_q.len() || log_q.iter().any(|q| !q.is_finite()) {
            return Err(Error::machine("a divergence needs samples, each with the log-probability that it was drawn with"));
        }
        let packs = pack(&samples, &(0..samples.len()).collect::<Vec<_>>(), budget);
        let hidden = packs.iter().map(|pack| predicting(decoder, lora, pack)).collect::<Result<Vec<_>>>()?;
        let mut reference = Self { samples, log_q, packs, hidden, log_p: Vec::new() };
        reference.log_p = reference.sums(decoder, &reference.hidden)?.0;
        Ok(reference)
    }

    pub(crate) fn samples(&self) -> &[Example] {
        &self.samples
    }

    pub(crate) fn log_q(&self) -> &[f64] {
        &self.log_q
    }

    /// `log p` of each sample before.
    pub fn log_p(&self) -> &[f64] {
        &self.log_p
    }

    /// The same with the adapter as it is now.
    ///
    /// # Errors
    /// Those of the decoder. A divergence that is no finite number is infinite.
    pub fn against(&self, decoder: &Decoder, lora: &Lora) -> Result<Moved> {
        let now = self.packs.iter().map(|pack| predicting(decoder, lora, pack)).collect::<Result<Vec<_>>>()?;
        let (log_p, steps) = self.sums(decoder, &now)?;
        let (kl, effective_samples) = divergence(&log_p, &self.log_q, &steps).unwrap_or((f64::INFINITY, 0.0));
        Ok(Moved { log_p, kl, effective_samples })
    }

    /// `log p` of each sample under `now`, and its divergence from what it was, token by token.
    fn sums(&self, decoder: &Decoder, now: &[Tensor]) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut log_p, mut steps) = (vec![0.0; self.samples.len()], vec![0.0; self.samples.len()]);
        for ((pack, before), now) in self.packs.iter().zip(&self.hidden).zip(now) {
            for start in (0..pack.at.len()).step_by(LOGIT_ROWS) {
                let rows = LOGIT_ROWS.min(pack.at.len() - start);
                let logits = |hidden: &Tensor| -> Result<Vec<Vec<f32>>> { Ok(decoder.logits(&hidden.narrow(0, start, rows)?)?.to_vec2()?) };
                let (before, now) = (logits(before)?, logits(now)?);
                let each: Vec<(f64, f64)> =
                    (0..rows).into_par_iter().map(|row| token(&before[row], &now[row], pack.targets[start + row])).collect();
                for (row, (own, step)) in each.into_iter().enumerate() {
                    log_p[pack.of[start + row]] += own;
                    steps[pack.of[start + row]] += step;
                }
            }
        }
        Ok((log_p, steps))
    }
}

/// The hidden rows of a pass that predict, one for each target.
fn predicting(decoder: &Decoder, lora: &Lora, pack: &Pack) -> Result<Tensor> {
    let hidden = decoder.hidden(&pack.rows, Some(lora), Mode::Evaluate)?;
    Ok(hidden.index_select(&Tensor::new(&pack.at[..], hidden.device())?, 0)?)
}

/// The log-probability of a token by logits `now`, and the divergence of what these say from what `before` did.
fn token(before: &[f32], now: &[f32], target: u32) -> (f64, f64) {
    let (log_before, log_now) = (log_sum(before), log_sum(now));
    let kl: f64 = before
        .iter()
        .zip(now)
        .map(|(z, new)| {
            let log_p = f64::from(*new) - log_now;
            log_p.exp() * (log_p - (f64::from(*z) - log_before))
        })
        .sum();
    // Rounding may leave a nothing below 0; a NaN stays one.
    (f64::from(now[target as usize]) - log_now, if kl < 0.0 { 0.0 } else { kl })
}

fn log_sum(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    most + logits.iter().map(|z| (f64::from(*z) - most).exp()).sum::<f64>().ln()
}
