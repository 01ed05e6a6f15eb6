//! First tries: a model is shown parents that no warm-up has, and writes one delta of each. Nothing is repaired or asked again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::warmup::LONGEST_PROMPT;
use crate::base::error::{Error, Result};
use crate::base::seed;
use crate::decoder::sample::generate::{Request, generate_masked};
use crate::decoder::sample::mask::TokenTrie;
use crate::decoder::sample::sampling::Sampling;
use crate::delta::corpus::{random_network, render};
use crate::delta::settings::{Format, Masking};
use crate::gates::{Asked, Gates, Judged};
use crate::policy::Learner;
use crate::policy::mask::delta_mask;
use crate::policy::prompt;
use crate::tracer::graph::Graph;
use crate::tracer::novelty::Filter;

/// What is asked of the model, and how its answer is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// How a delta is to be written.
    pub format: Format,
    /// What may be written.
    pub mask: Masking,
    /// See [`Sampling`].
    pub temperature: f64,
    /// See [`Sampling`].
    pub top_p: f64,
    /// Longest delta in tokens, the end token included.
    pub max_tokens: usize,
    /// What the samples are drawn from, by the place of their parent.
    pub seed: u64,
}

/// One first try.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The source that was shown.
    pub parent: String,
    /// Without the end token.
    pub completion: Vec<u8>,
    /// Whether the end token came.
    pub ended: bool,
    /// Length of the completion in tokens, the end token included.
    pub tokens: usize,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Reading the prompts, up to each first token.
    pub prompts: Duration,
    /// The tokens after it, the masks' time included.
    pub decoding: Duration,
    /// Making the grammars, and all that they were asked.
    pub masks: Duration,
}

const FORMATS: [Format; 3] = [Format::Edit, Format::Diff, Format::Full];

/// Parents of the corpus's kind from a stream of their own, the same for every format.
///
/// # Errors
/// Where the chat template refuses a parent.
pub fn unseen_parents(learner: &Learner, seed: u64, count: usize) -> Result<Vec<String>> {
    let (tokenizer, chat) = (&learner.model.tokenizer, learner.model.chat.as_ref());
    let mut parents = Vec::new();
    for i in 0.. {
        if parents.len() == count {
            break;
        }
        let parent = parent(seed, i);
        let mut fits = true;
        for format in FORMATS {
            fits &= prompt::encode(tokenizer, chat, format, &parent)?.len() <= LONGEST_PROMPT;
        }
        if fits {
            parents.push(parent);
        }
    }
    Ok(parents)
}

fn parent(seed: u64, index: u64) -> String {
    render(&random_network(&mut seed::rng(seed, "warmup trial", &[index])))
}

/// One delta of each parent. `watch` is told how many are done, and its error ends the trials.
///
/// # Errors
/// Where generation fails, and what `watch` gives.
pub fn try_out(
    learner: &Learner,
    task: &Task,
    parents: &[String],
    watch: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<(Vec<Trial>, Spent)> {
    let (tokenizer, chat, decoder) = (&learner.model.tokenizer, learner.model.chat.as_ref(), learner.adapted()?);
    let trie = Arc::new(TokenTrie::new(tokenizer));
    let sampling = Sampling { temperature: task.temperature, top_p: task.top_p, max_tokens: task.max_tokens, end: tokenizer.eos() };
    let (mut trials, mut spent) = (Vec::new(), Spent::default());
    for (i, parent) in parents.iter().enumerate() {
        let begun = Instant::now();
        let mask = delta_mask(task.mask, &trie, task.format, parent);
        let grammar_made = begun.elapsed();
        let prompt = prompt::encode(tokenizer, chat, task.format, parent)?;
        let request = Request { prompt, seeds: vec![seed::derive(task.seed, "warmup sample", &[i as u64])] };
        let (begun, mut first) = (Instant::now(), None);
        let samples = generate_masked(&decoder, &[request], mask.as_slice(), &sampling, &mut |_| {
            first.get_or_insert_with(|| begun.elapsed());
            Ok(())
        })?;
        let prompt_read = first.unwrap_or_default();
        spent.prompts += prompt_read;
        spent.decoding += begun.elapsed().saturating_sub(prompt_read);
        spent.masks += mask.map_or(Duration::ZERO, |mask| grammar_made + mask.spent());
        for sample in samples.into_iter().flatten() {
            let completion = tokenizer.completion(&sample.tokens);
            trials.push(Trial { parent: parent.clone(), completion, ended: sample.ended, tokens: sample.tokens.len() });
        }
        watch(i + 1)?;
    }
    Ok((trials, spent))
}

/// What the gates say of the trials, in their order; none may repeat its parent or one before it.
///
/// # Errors
/// The machine's, and a parent that is no network.
pub fn judge(gates: &Gates, trials: &[Trial]) -> Result<Vec<Judged>> {
    let graph = |trial: &Trial| -> Result<Graph> {
        gates.trace(&trial.parent)?.map_err(|e| Error::machine(format!("a parent of the corpus is no network: {e}")))
    };
    let parents = trials.par_iter().map(graph).collect::<Result<Vec<_>>>()?;
    let asked = trials.iter().zip(&parents).enumerate().map(|(i, (trial, parent_graph))| Asked {
        id: i.to_string(),
        parent: &trial.parent,
        parent_graph: Some(parent_graph),
        completion: &trial.completion,
        ended: trial.ended,
    });
    gates.judge(&asked.collect::<Vec<_>>(), &mut Filter::of_equals())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The shipped adapter's: 900 steps of examples and 200 rounds of practice with its lessons, two new parents each.
    #[test]
    fn unseen_parents_are_in_no_warm_up() {
        let mut seen: HashSet<String> = (0..1100).map(|step| render(&random_network(&mut seed::rng(0, "warmup", &[step])))).collect();
        for round in 0..200 {
            let mut rng = seed::rng(0, "practice", &[round]);
            seen.extend((0..2).map(|_| render(&random_network(&mut rng))));
        }
        let unseen: HashSet<String> = (0..300).map(|i| parent(0, i)).collect();
        assert_eq!(unseen.len(), 300);
        assert_eq!(unseen.intersection(&seen).count(), 0);
    }
}
