//! Drawing a token from logits, in f64, with its log-probability under the model and under what it was drawn from.
//!
//! The model is `p = softmax(l)`. The sampling distribution is `q = softmax(l / temperature)` cut to the fewest most likely tokens
//! whose mass reaches `top_p`, scaled to sum to 1. With temperature 1 and `top_p` 1 both are the same, to the last bit.
//! Under a mask, q is the same over the tokens that are allowed; p stays the model's.

use rand::Rng;

use super::mask::Allowed;
use crate::base::error::{Error, Result};

/// How completions are drawn and when they end.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// What logits are divided by, above 0.
    pub temperature: f64,
    /// Share of the probability that is kept, above 0; 1 keeps every token.
    pub top_p: f64,
    /// The end token counts.
    pub max_tokens: usize,
    /// The token that ends a completion.
    pub end: u32,
}

/// One token drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Draw {
    pub(crate) token: u32,
    pub(crate) log_p: f64,
    pub(crate) log_q: f64,
}

impl Sampling {
    /// Draws a token; takes one number from `rng`.
    ///
    /// # Errors
    /// Where a logit is not a finite number.
    pub(crate) fn draw(&self, logits: &[f32], rng: &mut impl Rng) -> Result<Draw> {
        let model = Model::new(logits)?;
        let u: f64 = rng.random();
        if self.is_the_model() {
            let token = inverse(&model.weights, u * model.total);
            let log_p = model.log_p(logits[token]);
            return Ok(Draw { token: token as u32, log_p, log_q: log_p });
        }
        let q = self.weights(logits, model.most, None);
        let total: f64 = q.iter().sum();
        let token = inverse(&q, u * total);
        Ok(Draw { token: token as u32, log_p: model.log_p(logits[token]), log_q: self.log_q(logits[token], model.most, total) })
    }

    /// Draws one of the tokens that are allowed, or none where none is; takes one number from `rng`.
    ///
    /// # Errors
    /// See [`Sampling::draw`].
    pub(crate) fn draw_allowed(&self, logits: &[f32], allowed: &Allowed, rng: &mut impl Rng) -> Result<Option<Draw>> {
        let model = Model::new(logits)?;
        let u: f64 = rng.random();
        let Some(most) = most_allowed(logits, allowed) else { return Ok(None) };
        let q = self.weights(logits, most, Some(allowed));
        let total: f64 = q.iter().sum();
        let token = inverse(&q, u * total);
        Ok(Some(Draw { token: token as u32, log_p: model.log_p(logits[token]), log_q: self.log_q(logits[token], most, total) }))
    }

    /// `(log p, log q)` of a token; log q is minus infinity of one that would not be drawn.
    ///
    /// # Errors
    /// See [`Sampling::draw`].
    pub(crate) fn log_probabilities(&self, logits: &[f32], allowed: &Allowed, token: u32) -> Result<(f64, f64)> {
        let log_p = Model::new(logits)?.log_p(logits[token as usize]);
        let Some(most) = most_allowed(logits, allowed).filter(|_| allowed.contains(token)) else { return Ok((log_p, f64::NEG_INFINITY)) };
        let q = self.weights(logits, most, Some(allowed));
        let log_q = if q[token as usize] > 0.0 { self.log_q(logits[token as usize], most, q.iter().sum()) } else { f64::NEG_INFINITY };
        Ok((log_p, log_q))
    }

    fn is_the_model(&self) -> bool {
        self.temperature == 1.0 && self.top_p >= 1.0
    }

    /// `exp((l - most) / temperature)` of the tokens that may be drawn, 0 of the others.
    fn weights(&self, logits: &[f32], most: f64, allowed: Option<&Allowed>) -> Vec<f64> {
        let weight = |logit: f32| ((f64::from(logit) - most) / self.temperature).exp();
        let mut weights: Vec<f64> = match allowed {
            None => logits.iter().map(|&logit| weight(logit)).collect(),
            Some(allowed) => {
                let mut weights = vec![0.0; logits.len()];
                for token in allowed.tokens(logits.len()) {
                    weights[token] = weight(logits[token]);
                }
                weights
            }
        };
        if self.top_p < 1.0 {
            nucleus(&mut weights, self.top_p);
        }
        weights
    }

    fn log_q(&self, logit: f32, most: f64, total: f64) -> f64 {
        (f64::from(logit) - most) / self.temperature - total.ln()
    }
}

/// softmax of the logits.
struct Model {
    most: f64,
    weights: Vec<f64>,
    total: f64,
}

impl Model {
    fn new(logits: &[f32]) -> Result<Self> {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if !most.is_finite() || logits.iter().any(|logit| logit.is_nan()) {
            return Err(Error::machine("the model's logits are not finite"));
        }
        let most = f64::from(most);
        let weights: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit) - most).exp()).collect();
        let total = weights.iter().sum();
        Ok(Self { most, weights, total })
    }

    fn log_p(&self, logit: f32) -> f64 {
        f64::from(logit) - self.most - self.total.ln()
    }
}

/// The largest finite logit that is allowed.
fn most_allowed(logits: &[f32], allowed: &Allowed) -> Option<f64> {
    let most = allowed.tokens(logits.len()).map(|token| logits[token]).fold(f32::NEG_INFINITY, f32::max);
    most.is_finite().then_some(f64::from(most))
}

/// The first index at which the running sum exceeds `target`; rounding at the very end gives the last weight that is not zero.
fn inverse(weights: &[f64], target: f64) -> usize {
    let mut sum = 0.0;
    let mut last = 0;
    for (i, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            sum += weight;
            last = i;
            if sum > target {
                break;
            }
        }
    }
    last
}

/// Zeroes all but the fewest largest weights that hold `top_p` of the total; of equal ones the earlier stay.
fn nucleus(weights: &mut [f64], top_p: f64) {
    let total: f64 = weights.iter().sum();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]).then(a.cmp(&b)));
    let mut held = 0.0;
    let kept = order.iter().position(|&i| {
        held += weights[i];
        held >= top_p * total
    });
    for &i in order.iter().skip(kept.map_or(order.len(), |last| last + 1)) {
        weights[i] = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const LOGITS: [f32; 5] = [0.5, 2.0, -1.0, 1.0, f32::NEG_INFINITY];

    fn sampling(temperature: f64, top_p: f64) -> Sampling {
        Sampling { temperature, top_p, max_tokens: 1, end: 0 }
    }

    /// Softmax by its definition.
    fn softmax(temperature: f64) -> Vec<f64> {
        let e: Vec<f64> = LOGITS.iter().map(|&l| (f64::from(l) / temperature).exp()).collect();
        e.iter().map(|x| x / e.iter().sum::<f64>()).collect()
    }

    fn frequencies(sampling: &Sampling) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = vec![0.0; LOGITS.len()];
        for _ in 0..40_000 {
            counts[sampling.draw(&LOGITS, &mut rng).unwrap().token as usize] += 1.0 / 40_000.0;
        }
        counts
    }

    #[test]
    fn tokens_are_as_frequent_as_their_probability() {
        for temperature in [1.0, 0.5, 2.0] {
            for (seen, expected) in frequencies(&sampling(temperature, 1.0)).iter().zip(softmax(temperature)) {
                assert!((seen - expected).abs() < 0.01, "temperature {temperature}: {seen} for {expected}");
            }
        }
    }

    #[test]
    fn the_nucleus_is_the_fewest_tokens_that_hold_top_p() {
        // At temperature 1: .61 .22 .14 .03
        let seen = frequencies(&sampling(1.0, 0.7));
        let p = softmax(1.0);
        assert_eq!((seen[0], seen[2], seen[4]), (0.0, 0.0, 0.0));
        assert!((seen[1] - p[1] / (p[1] + p[3])).abs() < 0.01);
        assert_eq!(frequencies(&sampling(1.0, 0.3))[1].round(), 1.0);
    }

    #[test]
    fn log_probabilities_are_those_of_model_and_sampler() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (p, q) = (softmax(1.0), softmax(0.5));
        for _ in 0..50 {
            let draw = sampling(0.5, 1.0).draw(&LOGITS, &mut rng).unwrap();
            assert!((draw.log_p - p[draw.token as usize].ln()).abs() < 1e-12);
            assert!((draw.log_q - q[draw.token as usize].ln()).abs() < 1e-12);
            let cut = sampling(1.0, 0.7).draw(&LOGITS, &mut rng).unwrap();
            assert!((cut.log_q - (p[cut.token as usize] / (p[1] + p[3])).ln()).abs() < 1e-12);
            let plain = sampling(1.0, 1.0).draw(&LOGITS, &mut rng).unwrap();
            assert_eq!(plain.log_p.to_bits(), plain.log_q.to_bits());
        }
    }

    #[test]
    fn logits_that_are_no_numbers_are_an_error() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(sampling(1.0, 1.0).draw(&[0.0, bad], &mut ChaCha8Rng::seed_from_u64(3)).is_err());
        }
        assert!(sampling(1.0, 1.0).draw(&[f32::NEG_INFINITY; 3], &mut ChaCha8Rng::seed_from_u64(3)).is_err());
    }
}
