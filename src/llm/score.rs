//! Exact log-probabilities of completions: `log p(d|a) = sum_i log p(d_i | a, d_<i)`, prompts shared, nothing kept for gradients.

use super::decoder::{Decoder, Mode};
use super::lora::Lora;
use super::pack::{Example, check, pack};
use crate::error::Result;

/// `log p` of each completion after its prompt, in passes of at most `budget` tokens.
pub fn score(decoder: &Decoder, lora: Option<&Lora>, items: &[(Vec<u32>, Vec<Vec<u32>>)], budget: usize) -> Result<Vec<Vec<f64>>> {
    let mut examples = Vec::new();
    for (i, (prompt, completions)) in items.iter().enumerate() {
        for (j, completion) in completions.iter().enumerate() {
            examples.push(Example { id: format!("{i}.{j}"), prompt: prompt.clone(), completion: completion.clone() });
        }
    }
    let mut sums = log_p(decoder, lora, &examples, budget)?.into_iter();
    Ok(items.iter().map(|(_, completions)| sums.by_ref().take(completions.len()).collect()).collect())
}

/// The same for examples.
pub fn log_p(decoder: &Decoder, lora: Option<&Lora>, examples: &[Example], budget: usize) -> Result<Vec<f64>> {
    check(examples, budget.min(decoder.config().context))?;
    let mut sums = vec![0f64; examples.len()];
    let all: Vec<usize> = (0..examples.len()).collect();
    for pack in pack(examples, &all, budget) {
        let hidden = decoder.hidden(&pack.rows, lora, Mode::Evaluate)?;
        let nll: Vec<f32> = decoder.nll(&hidden, &pack.at, &pack.targets)?.to_vec1()?;
        for (nll, of) in nll.iter().zip(&pack.of) {
            sums[*of] -= f64::from(*nll);
        }
    }
    Ok(sums)
}
