//! Completions: one prefill a prompt, then its samples side by side, each with a random stream of its own.
//!
//! On the processor a sample depends on its prompt and its seed only: not on what else is in the batch, nor on the number of threads. On a card
//! the last bits of a product may depend on how many rows it has, so there it depends on the whole request.

use std::convert::Infallible;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::mask::{ByteGrammar, Cursor, Mask};
use super::sampling::Sampling;
use crate::base::error::{Error, Result};
use crate::decoder::model::cache::Branches;
use crate::decoder::model::decoder::Decoder;

/// Samples decoded side by side; bounds what the cache takes.
const BATCH: usize = 16;
/// The same on a card, which is quicker the more there are.
pub(crate) const BATCH_ON_CARD: usize = 64;

/// A prompt and one seed for each sample asked of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Tokens, at least one.
    pub prompt: Vec<u32>,
    /// One a sample, in the order of the answers.
    pub seeds: Vec<u64>,
}

/// One completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The end token included, where it came.
    pub tokens: Vec<u32>,
    /// Sum over the tokens of the log-probability under the model.
    pub log_p: f64,
    /// The same under the distribution they were drawn from.
    pub log_q: f64,
    /// Whether the end token came within the limit.
    pub ended: bool,
}

/// How far a generation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Samples that are done.
    pub samples: usize,
    /// Samples that are asked for.
    pub of: usize,
    /// Tokens drawn so far, of all samples.
    pub tokens: usize,
}

/// The samples of each request, in the order of its seeds. `decoder` has any adapter it is to use ([`Decoder::with_adapter`]). `watch` is called after
/// each step; its error ends the generation.
///
/// # Errors
/// Where a prompt is empty or leaves no room in the model's context, and what `watch` gives.
pub fn generate(
    decoder: &Decoder,
    requests: &[Request],
    sampling: &Sampling,
    watch: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Vec<Vec<Sample>>> {
    generate_masked::<Infallible>(decoder, requests, &[], sampling, watch)
}

/// [`generate`] with a mask for each request, or none at all. A completion whose mask allows no token more has not ended.
///
/// # Errors
/// See [`generate`].
pub fn generate_masked<G: ByteGrammar>(
    decoder: &Decoder,
    requests: &[Request],
    masks: &[Mask<G>],
    sampling: &Sampling,
    watch: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Vec<Vec<Sample>>> {
    if !masks.is_empty() && masks.len() != requests.len() {
        return Err(Error::machine("there are masks for some requests only"));
    }
    let context = decoder.config().context;
    for Request { prompt, .. } in requests {
        if prompt.is_empty() || prompt.len() + sampling.max_tokens > context {
            let message = format!("a prompt of {} tokens and {} more do not fit the model's {context}", prompt.len(), sampling.max_tokens);
            return Err(Error::input(message).hint("use a shorter source or a smaller delta.max_tokens"));
        }
    }
    let mut progress = Progress { of: requests.iter().map(|request| request.seeds.len()).sum(), ..Progress::default() };
    let each = requests.iter().enumerate();
    each.map(|(i, request)| answer(decoder, request, masks.get(i), sampling, &mut progress, watch)).collect()
}

/// A sample that is being written.
struct Row<S> {
    /// Which of the request's seeds.
    index: usize,
    rng: ChaCha8Rng,
    sample: Sample,
    /// Where its mask is.
    cursor: Option<Cursor<S>>,
    /// Whether its mask allowed nothing more.
    is_stuck: bool,
}

impl<S> Row<S> {
    fn extend<G: ByteGrammar<State = S>>(&mut self, logits: &[f32], sampling: &Sampling, mask: Option<&Mask<G>>) -> Result<()> {
        let draw = match (mask, &mut self.cursor) {
            (Some(mask), Some(cursor)) => {
                let Some(draw) = sampling.draw_allowed(logits, &mask.allowed(cursor), &mut self.rng)? else {
                    self.is_stuck = true;
                    return Ok(());
                };
                mask.advance(cursor, draw.token);
                draw
            }
            _ => sampling.draw(logits, &mut self.rng)?,
        };
        self.sample.tokens.push(draw.token);
        self.sample.log_p += draw.log_p;
        self.sample.log_q += draw.log_q;
        self.sample.ended = draw.token == sampling.end;
        Ok(())
    }

    fn is_done(&self, sampling: &Sampling) -> bool {
        self.sample.ended || self.is_stuck || self.sample.tokens.len() >= sampling.max_tokens
    }
}

fn answer<G: ByteGrammar>(
    decoder: &Decoder,
    request: &Request,
    mask: Option<&Mask<G>>,
    sampling: &Sampling,
    progress: &mut Progress,
    watch: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Vec<Sample>> {
    let mut samples: Vec<Option<Sample>> = vec![None; request.seeds.len()];
    if request.seeds.is_empty() || sampling.max_tokens == 0 {
        return Err(Error::machine("a request for no samples or no tokens"));
    }
    let prefix = decoder.prefill(&request.prompt, None)?;
    let first = prefix.logits().ok_or_else(|| Error::machine("the prompt gave no logits"))?;
    let batch = if decoder.device().is_cpu() { BATCH } else { BATCH_ON_CARD };
    for start in (0..request.seeds.len()).step_by(batch) {
        let end = (start + batch).min(request.seeds.len());
        let empty = Sample { tokens: Vec::new(), log_p: 0.0, log_q: 0.0, ended: false };
        let mut rows: Vec<Row<G::State>> = (start..end)
            .map(|index| Row {
                index,
                rng: ChaCha8Rng::seed_from_u64(request.seeds[index]),
                sample: empty.clone(),
                cursor: mask.map(Mask::start),
                is_stuck: false,
            })
            .collect();
        let mut branches = Branches::new(decoder, &prefix, rows.len(), sampling.max_tokens);
        rows.iter_mut().try_for_each(|row| row.extend(first, sampling, mask))?;
        loop {
            progress.tokens += rows.len();
            let live: Vec<usize> = (0..rows.len()).filter(|&i| !rows[i].is_done(sampling)).collect();
            progress.samples += rows.len() - live.len();
            watch(*progress)?;
            if live.len() < rows.len() {
                branches.select(&live);
                let (going, done): (Vec<Row<_>>, Vec<Row<_>>) = rows.into_iter().partition(|row| !row.is_done(sampling));
                for row in done {
                    samples[row.index] = Some(row.sample);
                }
                rows = going;
            }
            if rows.is_empty() {
                break;
            }
            let newest: Vec<u32> = rows.iter().map(|row| row.sample.tokens[row.sample.tokens.len() - 1]).collect();
            let logits = branches.step(&newest)?;
            rows.par_iter_mut()
                .zip(logits.par_chunks(decoder.outputs()))
                .map(|(row, logits)| row.extend(logits, sampling, mask))
                .collect::<Result<()>>()?;
        }
    }
    Ok(samples.into_iter().map(|sample| sample.expect("each batch fills its part")).collect())
}
