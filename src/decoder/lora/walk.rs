//! The steps of an update, one after the other, each held to what the settings ask of it: that it lowers the loss, and that the policy
//! stays near what it was.

use super::adamw::AdamW;
use super::divergence::Reference;
use super::matrices::Lora;
use super::natural::Fisher;
use super::objective::Target;
use super::score::log_p;
use super::step::{Gradient, Rule};
use crate::base::error::{Error, Result};
use crate::decoder::model::decoder::Decoder;
use crate::decoder::settings::tune::{Optimizer, TuneConfig};
use crate::theory::change::share;

/// How often a step is halved before it is given up: a thousandth of its size.
const HALVINGS: usize = 10;
/// From this share of a trust region's radius on its edge is reached: steps that only shrink would never get there.
const EDGE: f64 = 0.95;

/// How a step left things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Step,
    /// No size lowered the loss.
    NoDescent,
    /// Every size that lowered the loss left the trust region.
    Outside,
}

/// What is looked at after each step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    loss: f64,
    /// 0 where no trust region is asked for.
    kl: f64,
}

pub(crate) struct Walk<'a> {
    decoder: &'a Decoder,
    config: &'a TuneConfig,
    target: Target<'a>,
    reference: Option<&'a Reference>,
    budget: usize,
    /// Of the natural gradient.
    metric: Option<Fisher>,
    before: f64,
    floor: f64,
    now: State,
    /// Of the last step that was taken.
    size: f64,
    /// Steps that were taken back.
    pub(crate) refused: usize,
}

impl<'a> Walk<'a> {
    /// `loss` is that of the target under the adapter as it is.
    ///
    /// # Errors
    /// Where a trust region or the natural gradient has no samples to be about.
    pub(crate) fn new(
        decoder: &'a Decoder,
        lora: &Lora,
        config: &'a TuneConfig,
        target: Target<'a>,
        reference: Option<&'a Reference>,
        loss: f64,
        budget: usize,
    ) -> Result<Self> {
        let needed = config.until.kl.is_some() || config.optimizer == Optimizer::Natural;
        if needed && reference.is_none() {
            return Err(Error::machine("a trust region and the natural gradient need what the cycle sampled"));
        }
        let metric = match reference {
            Some(r) if config.optimizer == Optimizer::Natural => {
                Some(Fisher::new(decoder, lora, r.samples(), (r.log_p(), r.log_q()), config.damping, budget)?)
            }
            _ => None,
        };
        let (now, floor) = (State { loss, kl: 0.0 }, target.floor());
        Ok(Self { decoder, config, target, reference, budget, metric, before: loss, floor, now, size: f64::INFINITY, refused: 0 })
    }

    /// One step of at most the size `lr`, and the size that it had.
    ///
    /// # Errors
    /// See [`Rule::descend`]; those of scoring.
    pub(crate) fn step(
        &mut self,
        lora: &mut Lora,
        optimizer: &mut AdamW,
        rule: &Rule,
        gradient: &Gradient,
        lr: f64,
        number: usize,
    ) -> Result<(Taken, f64)> {
        let natural = self.metric.as_ref().map(|metric| metric.solve(&gradient.values));
        let go = |lora: &mut Lora, optimizer: &mut AdamW, size: f64| match (self.config.optimizer, &natural) {
            (Optimizer::AdamW, _) => rule.descend(lora, optimizer, gradient, size, number),
            (Optimizer::Sgd | Optimizer::Natural, natural) => {
                rule.descend_along(lora, natural.as_ref().unwrap_or(&gradient.values), size, number)
            }
        };
        if !self.config.backtrack {
            go(lora, optimizer, lr)?;
            if self.config.until.is_measured() {
                self.now = self.state(lora)?;
            }
            return Ok((Taken::Step, lr));
        }
        let (kept, state) = (lora.snapshot()?, optimizer.clone());
        let mut outside = false;
        // Moments of other elites may point upwards at every size: then a step is tried without them.
        let beginnings = if self.config.optimizer == Optimizer::AdamW && state.steps() > 0 { 2 } else { 1 };
        for beginning in 0..beginnings {
            let mut size = lr.min(2.0 * self.size);
            for _ in 0..=HALVINGS {
                *optimizer = if beginning == 0 { state.clone() } else { AdamW::of(lora) };
                go(lora, optimizer, size)?;
                let next = self.state(lora)?;
                let (lower, inside) = (next.loss < self.now.loss, self.config.until.kl.is_none_or(|most| next.kl <= most));
                if lower && inside {
                    (self.now, self.size) = (next, size);
                    return Ok((Taken::Step, size));
                }
                self.refused += 1;
                outside |= lower && !inside;
                lora.restore(&kept)?;
                size /= 2.0;
            }
        }
        *optimizer = state;
        Ok((if outside { Taken::Outside } else { Taken::NoDescent }, 0.0))
    }

    fn state(&self, lora: &Lora) -> Result<State> {
        let loss = self.target.loss(&log_p(self.decoder, Some(lora), self.target.examples, self.budget)?);
        let kl = match self.reference {
            Some(reference) if self.config.until.kl.is_some() => reference.against(self.decoder, lora)?.kl,
            _ => 0.0,
        };
        Ok(State { loss, kl })
    }

    /// Whether the share asked for is realised.
    pub(crate) fn has_share(&self) -> bool {
        let realised = share(self.before, self.now.loss, self.floor);
        // Where there was nothing to realise, nothing is left to do.
        self.config.until.share.is_some_and(|wanted| realised.is_none_or(|realised| realised >= wanted))
    }

    /// Whether the edge of the trust region is reached.
    pub(crate) fn is_at_edge(&self) -> bool {
        self.config.until.kl.is_some_and(|most| self.now.kl >= EDGE * most)
    }

    /// What the loss cannot get below.
    pub(crate) fn floor(&self) -> f64 {
        self.floor
    }
}
