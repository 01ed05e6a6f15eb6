//! The learner on cells: what a codec makes of parents, samples and elites.
//!
//! Under the mask the learner is restricted to the words of the format: sampling, log-probabilities and tuning all use that same
//! distribution q. Without it they use the whole vocabulary. Tokens that are no cell are an invalid sample.

use std::sync::atomic::{AtomicBool, Ordering};

use super::codec::{Codec, Parents, Proposal};
use super::exact::{self, Distribution};
use super::record::Sample;
use super::settings::{AuditConfig, CellFormat, WarmupConfig};
use crate::base::done::Done;
use crate::base::error::{Error, Result};
use crate::base::seed;
use crate::decoder::files::catalogue;
use crate::decoder::files::model_file::ModelFile;
use crate::decoder::lora::score::log_p;
use crate::decoder::lora::step::{Batch, Rule};
use crate::decoder::model::pack::Example;
use crate::decoder::sample::generate::Request;
use crate::decoder::sample::sampling::Sampling;
use crate::decoder::settings::llm::{CardDtype, Dtype, LlmConfig};
use crate::oracle::{Cell, Space};
use crate::policy::Learner;
use crate::policy::learner::adapter_folder;
use crate::record::NetworkId;

/// The LLM as a policy over cells, and the codec between its tokens and cells.
pub struct CellLearner {
    pub(crate) learner: Learner,
    codec: Codec,
}

impl CellLearner {
    /// Loads the model and the adapter that the audit starts from; it writes cells of `space`.
    ///
    /// # Errors
    /// See [`Learner::open`]; where the tokenizer or the model's context does not suit cells.
    pub fn open(config: &AuditConfig, space: &'static Space) -> Result<Self> {
        let file = ModelFile::open(&catalogue::find(&config.llm.model)?)?;
        let codec = Codec::new(&file.tokenizer()?, &config.llm.prompt, config.format, space)?;
        let (needed, context) = (codec.context(), file.config().context);
        if needed > context {
            return Err(Error::input(format!("setting llm.prompt: with a cell it has {needed} tokens, the model reads {context}")));
        }
        let llm = LlmConfig {
            model: config.llm.model.clone(),
            adapter: config.llm.adapter.clone(),
            max_context: needed,
            dtype: config.llm.dtype,
            tuning_dtype: config.llm.tuning_dtype,
            // An audit has no such setting, and its passes are short.
            memory_mib: u64::MAX,
            device: config.llm.device,
            card_dtype: if config.llm.dtype == Dtype::F32 { CardDtype::F32 } else { CardDtype::Bf16 },
            card_memory_mib: 0,
        };
        let mut learner =
            Learner::of(&file, &llm, adapter_folder(&llm)?.as_deref(), &config.lora.clone().unwrap_or_default(), config.seed)?;
        if config.mask {
            let (tokens, outputs) = codec.vocabulary();
            learner.restrict(tokens, outputs)?;
        }
        Ok(Self { learner, codec })
    }

    /// Samples at temperature 1, one a seed: each parent's share of the seeds, in order.
    pub fn sample(&self, parents: &Parents, seeds: &[u64], stop: &AtomicBool) -> Result<Done<Vec<Sample>>> {
        // The length is fixed, so no token ends a proposal early.
        let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: self.codec.length(), end: u32::MAX };
        let mut rest = seeds;
        let mut requests = Vec::new();
        for &(parent, share) in parents {
            let (own, others) = rest.split_at(share);
            rest = others;
            requests.push(Request { prompt: self.codec.prompt(parent), seeds: own.to_vec() });
        }
        let Done::Finished(drawn) = self.learner.generate(&requests, &[], &sampling, stop, &mut |_| ())? else { return Ok(Done::Stopped) };
        let mut samples = Vec::with_capacity(seeds.len());
        for (&(parent, _), drawn) in parents.iter().zip(drawn) {
            for sample in drawn {
                let mut cell = Sample::new(self.codec.space(), parent, self.text(parent, &sample.tokens));
                (cell.log_p, cell.log_q, cell.tokens) = (Some(sample.log_p), Some(sample.log_q), sample.tokens);
                samples.push(cell);
            }
        }
        Ok(Done::Finished(samples))
    }

    /// The cell that tokens propose, or else their text.
    pub(crate) fn text(&self, parent: Option<Cell>, tokens: &[u32]) -> String {
        self.codec.read(parent, tokens).map_or_else(|| self.learner.model.tokenizer.decode(tokens), |cell| cell.to_string())
    }

    /// `log p` and `log q` of what was sampled, by teacher forcing; they are one where the learner is not restricted.
    ///
    /// # Errors
    /// Where a sample holds what the learner cannot say.
    pub(crate) fn likelihoods(&self, samples: &[Sample]) -> Result<Vec<(f64, f64)>> {
        let (words, outputs) = self.codec.vocabulary();
        let mute =
            |s: &&Sample| s.tokens.is_empty() || self.learner.is_restricted() && s.tokens.iter().any(|t| !words[..outputs].contains(t));
        if let Some(sample) = samples.iter().find(mute) {
            return Err(Error::input(format!("'{}' is not of the words that can be said", sample.text)));
        }
        let example = |s: &Sample| Example { id: "sample".into(), prompt: self.codec.prompt(s.parent), completion: s.tokens.clone() };
        let examples: Vec<Example> = samples.iter().map(example).collect();
        let log_q = self.learner.log_p(&examples)?;
        if !self.learner.is_restricted() {
            return Ok(log_q.iter().map(|q| (*q, *q)).collect());
        }
        let model = &self.learner.model;
        Ok(log_p(&model.decoder, Some(self.learner.lora()), &examples, model.pass)?.into_iter().zip(log_q).collect())
    }

    /// What was sampled as examples by their names, and the log q of each.
    pub(crate) fn scored(&self, samples: &[(NetworkId, &Sample)]) -> (Vec<Example>, Vec<f64>) {
        let drawn = samples.iter().filter(|(_, s)| !s.tokens.is_empty()).filter_map(|(id, s)| Some((id, s, s.log_q?)));
        let example =
            |id: &NetworkId, s: &Sample| Example { id: id.to_string(), prompt: self.codec.prompt(s.parent), completion: s.tokens.clone() };
        drawn.map(|(id, s, log_q)| (example(id, s), log_q)).unzip()
    }

    /// `log q` of every sequence of the words of the first `slots`, in lexicographic order.
    pub fn enumerate(&self, slots: usize) -> Result<Vec<f64>> {
        let (prompt, words) = (self.learner.ids(&self.codec.prompt(None))?, self.learner.ids(self.codec.words())?);
        exact::enumerate(&self.learner.adapted()?, &prompt, &words, slots)
    }

    /// The exact distribution over all cells: with deltas, parents drawn in proportion to their samples.
    pub fn distribution(&self, parents: &Parents) -> Result<Distribution> {
        let space = self.codec.space();
        let Some(slots) = self.codec.slots() else {
            let p = self.enumerate(space.slots().len())?.into_iter().map(f64::exp).collect();
            return Ok(if self.learner.is_restricted() { Distribution::complete(space, p) } else { Distribution::partial(space, p) });
        };
        let (slots, words) = (self.learner.ids(slots)?, self.learner.ids(self.codec.words())?);
        let decoder = self.learner.adapted()?;
        let total: usize = parents.iter().map(|(_, share)| share).sum();
        let mut deltas = Vec::new();
        for (parent, share) in parents {
            let parent = parent.ok_or_else(|| Error::machine("a delta has no parent"))?;
            let log_p = exact::deltas(&decoder, &self.learner.ids(&self.codec.prompt(Some(parent)))?, &slots, &words)?;
            deltas.push((parent, *share as f64 / total as f64, log_p));
        }
        Ok(Distribution::of_deltas(space, &deltas))
    }

    /// What the learner is scored and tuned on.
    ///
    /// # Errors
    /// When a cell is not one delta away from its parent.
    pub(crate) fn examples(&self, proposals: &[Proposal]) -> Result<Vec<Example>> {
        proposals.iter().map(|proposal| self.codec.example(proposal)).collect()
    }

    /// `log q` of each proposal by itself, by teacher forcing.
    pub fn log_q(&self, proposals: &[Proposal]) -> Result<Vec<f64>> {
        self.learner.log_p(&self.examples(proposals)?)
    }

    /// Tunes on uniform cells, or uniform deltas on uniform parents, see [`WarmupConfig`]; `on_step` sees each step, from 1, and its
    /// loss. The moments are fresh before and after.
    ///
    /// # Errors
    /// Where it diverges.
    pub fn warm_up(
        &mut self,
        config: &WarmupConfig,
        format: CellFormat,
        run_seed: u64,
        stop: &AtomicBool,
        mut on_step: impl FnMut(usize, f64),
    ) -> Result<Done<()>> {
        let rule = Rule { clip: 1.0, weight_decay: 0.0, of: "the warm-up", remedy: "warmup.lr" };
        self.learner.forget_moments();
        for step in 0..config.steps {
            if stop.load(Ordering::Relaxed) {
                return Ok(Done::Stopped);
            }
            let mut rng = seed::rng(run_seed, "warm-up", &[step as u64]);
            let random = |_| {
                let cell = Cell::random(self.codec.space(), &mut rng);
                match format {
                    CellFormat::Full => Proposal { parent: None, cell },
                    CellFormat::Delta => Proposal { parent: Some(cell), cell: cell.mutated(&mut rng) },
                }
            };
            let examples = self.examples(&(0..config.batch).map(random).collect::<Vec<_>>())?;
            let all: Vec<usize> = (0..examples.len()).collect();
            let dropout_seed = |part| seed::derive(run_seed, "warm-up dropout", &[step as u64, part]);
            let weight = |_: usize| 1.0 / config.batch as f64;
            let batch = Batch { examples: &examples, chosen: &all, weight: &weight, dropout_seed: &dropout_seed };
            let gradient = self.learner.step(&rule, &[batch], config.lr, step)?;
            if step + 1 == config.steps {
                self.learner.check_after(&rule, &examples, step)?;
            }
            on_step(step + 1, gradient.nll[0] / config.batch as f64);
        }
        self.learner.forget_moments();
        Ok(Done::Finished(()))
    }
}
