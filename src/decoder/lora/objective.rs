//! What an update lowers: `sum_i w_i nll_i / sum_i w_i`, the mean over examples of the SUM over tokens, or the mean over tokens; and what
//! no policy gets below.

use std::collections::HashMap;

use crate::decoder::model::pack::Example;
use crate::decoder::settings::tune::Objective;
use crate::theory::change::conditional_entropy;

/// The examples of an update and their weights.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// What the weighted sum is divided by.
    pub objective: Objective,
    /// What the loss is over.
    pub examples: &'a [Example],
    /// Of each example, of any scale; none is all the same, as the cross-entropy method has its elites.
    pub weights: &'a [f64],
}

impl Target<'_> {
    pub(crate) fn weight(&self, example: usize) -> f64 {
        self.weights.get(example).copied().unwrap_or(1.0)
    }

    /// What the weighted sum of the NLL of these examples is divided by.
    pub(crate) fn divisor(&self, mut chosen: impl Iterator<Item = usize>) -> f64 {
        match (self.objective, self.weights) {
            (Objective::Sum, []) => chosen.count() as f64,
            (Objective::TokenMean, []) => chosen.map(|i| self.examples[i].completion.len()).sum::<usize>() as f64,
            (Objective::Sum, _) => chosen.map(|i| self.weight(i)).sum(),
            (Objective::TokenMean, _) => chosen.by_ref().map(|i| self.weight(i) * self.examples[i].completion.len() as f64).sum(),
        }
    }

    /// The loss from the `log p` of each example.
    pub fn loss(&self, log_p: &[f64]) -> f64 {
        let sum: f64 = match self.weights {
            [] => log_p.iter().sum(),
            weights => log_p.iter().zip(weights).map(|(log_p, weight)| log_p * weight).sum(),
        };
        -sum / self.divisor(0..self.examples.len())
    }

    /// The loss of a policy that is the examples' own distribution: their entropy given the prompt, in the loss's unit.
    pub(crate) fn floor(&self) -> f64 {
        let (mut prompts, mut completions) = (HashMap::new(), HashMap::new());
        let mut placed = Vec::with_capacity(self.examples.len());
        for (i, example) in self.examples.iter().enumerate() {
            let (next_prompt, next_completion) = (prompts.len(), completions.len());
            let prompt = *prompts.entry(&example.prompt).or_insert(next_prompt);
            let completion = *completions.entry(&example.completion).or_insert(next_completion);
            placed.push((prompt, completion, self.weight(i)));
        }
        let total: f64 = placed.iter().map(|(.., weight)| weight).sum();
        conditional_entropy(&placed) * total / self.divisor(0..self.examples.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(prompt: u32, completion: &[u32]) -> Example {
        Example { id: String::new(), prompt: vec![prompt], completion: completion.to_vec() }
    }

    #[test]
    fn weights_of_any_scale_are_a_mean_and_equal_ones_are_none() {
        let examples = [example(1, &[4, 5]), example(1, &[6]), example(2, &[4, 5, 6])];
        for objective in [Objective::Sum, Objective::TokenMean] {
            let of = |weights| Target { objective, examples: &examples, weights };
            let log_p = [-3.0, -1.0, -7.0];
            let plain = of(&[]).loss(&log_p);
            assert!((of(&[0.3; 3]).loss(&log_p) - plain).abs() < 1e-12);
            assert!((of(&[0.3; 3]).floor() - of(&[]).floor()).abs() < 1e-12);
            assert_eq!(plain, 11.0 / if objective == Objective::Sum { 3.0 } else { 6.0 });
            let weighted = of(&[1.0, 0.0, 3.0]);
            assert_eq!(weighted.loss(&log_p), 24.0 / if objective == Objective::Sum { 4.0 } else { 11.0 });
            assert!(weighted.floor().abs() < 1e-12, "one of each prompt has a weight");
        }
        let two = Target { objective: Objective::Sum, examples: &examples, weights: &[] };
        assert!((two.floor() - 2.0 / 3.0 * 2f64.ln()).abs() < 1e-12);
    }
}
