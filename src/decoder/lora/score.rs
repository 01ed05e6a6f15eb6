//! Exact log-probabilities of completions: `log p(d|a) = sum_i log p(d_i | a, d_<i)`, prompts shared, nothing kept for gradients.

use candle_core::Tensor;

use super::matrices::Lora;
use crate::base::error::{Error, Result};
use crate::decoder::model::decoder::{Decoder, Mode};
use crate::decoder::model::pack::{Example, check, pack};
use crate::decoder::sample::mask::{ByteGrammar, Cursor, Mask};
use crate::decoder::sample::sampling::Sampling;

/// Completion tokens whose logits are held at a time.
const LOGIT_ROWS: usize = 64;

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

/// `(log p, log q)` of each example, q being what `sampling` draws from under the example's mask: minus infinity where it would
/// never draw that completion. `log p` is the model's, whatever the mask.
pub fn log_p_and_q<G: ByteGrammar>(
    decoder: &Decoder,
    lora: Option<&Lora>,
    examples: &[Example],
    masks: &[&Mask<G>],
    sampling: &Sampling,
    budget: usize,
) -> Result<Vec<(f64, f64)>> {
    check(examples, budget.min(decoder.config().context))?;
    if masks.len() != examples.len() {
        return Err(Error::machine("each example needs its mask"));
    }
    let mut sums = vec![(0.0, 0.0); examples.len()];
    let mut cursors: Vec<Cursor<G::State>> = masks.iter().map(|mask| mask.start()).collect();
    let all: Vec<usize> = (0..examples.len()).collect();
    for pack in pack(examples, &all, budget) {
        let hidden = decoder.hidden(&pack.rows, lora, Mode::Evaluate)?;
        // The tokens of an example stand together and in order.
        for rows in (0..pack.at.len()).collect::<Vec<_>>().chunks(LOGIT_ROWS) {
            let at = Tensor::new(&pack.at[rows[0]..=rows[rows.len() - 1]], hidden.device())?;
            let logits: Vec<Vec<f32>> = decoder.logits(&hidden.index_select(&at, 0)?)?.to_vec2()?;
            for (&row, logits) in rows.iter().zip(&logits) {
                let (of, token) = (pack.of[row], pack.targets[row]);
                let (log_p, log_q) = sampling.log_probabilities(logits, &masks[of].allowed(&cursors[of]), token)?;
                masks[of].advance(&mut cursors[of], token);
                sums[of].0 += log_p;
                sums[of].1 += log_q;
            }
        }
    }
    Ok(sums)
}
