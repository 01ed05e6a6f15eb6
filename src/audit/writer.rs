//! The LLM as a policy over cells.
//!
//! Under the mask it is a decoder over the words of the format (`Decoder::restricted`): sampling, log-probabilities and tuning
//! all use that same distribution q. Without it they use the whole vocabulary. Tokens that are no cell are an invalid sample.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::codec::{Codec, Proposal};
use super::exact::{self, Distribution};
use super::record::Sample;
use super::settings::{AuditConfig, Format, WarmupConfig};
use crate::config::Moments;
use crate::error::{Error, Result};
use crate::llm::adamw::{AdamW, clip};
use crate::llm::adapter::Precision;
use crate::llm::catalogue;
use crate::llm::decoder::Decoder;
use crate::llm::generate::{Request, generate};
use crate::llm::lora::Lora;
use crate::llm::model_file::ModelFile;
use crate::llm::pack::{Example, pack};
use crate::llm::sampling::Sampling;
use crate::llm::score::log_p;
use crate::llm::tokenizer::Tokenizer;
use crate::llm::tune::{Plan, Schedule, add_gradient, tune};
use crate::oracle::cell::{Cell, EDGES};
use crate::record::{Tuning, TuningStep};
use crate::seed;

/// Tokens of one forward and backward pass.
const PASS_TOKENS: usize = 2048;
const OPTIMIZER: &str = "optimizer.safetensors";

/// The parents of a cycle and how many samples each gets; whole cells have none.
pub type Parents = Vec<(Option<Cell>, usize)>;

/// A decoder that can say the words of the format only.
struct Masked {
    decoder: Decoder,
    codec: Codec,
    /// Its tokens, in the numbers of the whole decoder.
    tokens: Vec<u32>,
}

pub struct Writer {
    pub model_name: String,
    /// Of the model file.
    pub model_sha256: String,
    tokenizer: Tokenizer,
    whole: Decoder,
    codec: Codec,
    /// None without a mask.
    masked: Option<Masked>,
    lora: Lora,
    optimizer: AdamW,
}

impl Writer {
    /// Loads the model and the adapter that the audit starts from.
    pub fn open(config: &AuditConfig) -> Result<Self> {
        let file = ModelFile::open(&catalogue::find(&config.llm.model)?)?;
        let whole = Decoder::open_at(&file, config.llm.dtype, config.llm.device)?.with_tuning_dtype(config.llm.tuning_dtype);
        let tokenizer = file.tokenizer()?;
        let lora = match config.llm.adapter.as_str() {
            "none" => Lora::new(file.config(), &config.lora, config.seed)?,
            folder => Lora::load(Path::new(folder), file.config())?,
        };
        let codec = Codec::new(&tokenizer, &config.llm.prompt, config.format)?;
        let masked = if config.mask {
            let (tokens, outputs, codec) = codec.restricted();
            Some(Masked { decoder: whole.restricted(&tokens, outputs)?, codec, tokens })
        } else {
            None
        };
        let optimizer = fresh_optimizer(&lora)?;
        Ok(Self { model_name: file.name(), model_sha256: file.sha256()?, tokenizer, whole, codec, masked, lora, optimizer })
    }

    /// The decoder that samples and is tuned, without the adapter.
    fn policy(&self) -> (&Decoder, &Codec) {
        self.masked.as_ref().map_or((&self.whole, &self.codec), |masked| (&masked.decoder, &masked.codec))
    }

    /// Samples at temperature 1, one a seed: each parent's share of the seeds, in order.
    pub fn sample(&self, parents: &Parents, seeds: &[u64]) -> Result<Vec<Sample>> {
        let (decoder, codec) = self.policy();
        // The length is fixed, so no token ends a proposal early.
        let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: codec.length(), end: u32::MAX };
        let mut rest = seeds;
        let mut requests = Vec::new();
        let mut parent_of = Vec::new();
        for &(parent, share) in parents {
            let (own, others) = rest.split_at(share);
            rest = others;
            requests.push(Request { prompt: codec.prompt(parent), seeds: own.to_vec() });
            parent_of.extend(vec![parent; share]);
        }
        let drawn = generate(&decoder.with_adapter(&self.lora)?, &requests, &sampling, &mut |_| Ok(()))?.concat();
        // Under the mask log p, the model's own, is not what was drawn from.
        let log_p = if let Some(masked) = &self.masked {
            let whole = |(sample, parent): (&crate::llm::generate::Sample, &Option<Cell>)| Example {
                id: "sample".into(),
                prompt: self.codec.prompt(*parent),
                completion: sample.tokens.iter().map(|t| masked.tokens[*t as usize]).collect(),
            };
            log_p(&self.whole, Some(&self.lora), &drawn.iter().zip(&parent_of).map(whole).collect::<Vec<_>>(), PASS_TOKENS)?
        } else {
            drawn.iter().map(|s| s.log_p).collect()
        };
        let samples = drawn.iter().zip(parent_of).zip(log_p).map(|((sample, parent), log_p)| {
            let tokens = match &self.masked {
                Some(masked) => sample.tokens.iter().map(|t| masked.tokens[*t as usize]).collect(),
                None => sample.tokens.clone(),
            };
            Sample { parent, text: self.text(parent, &tokens), tokens, log_p: Some(log_p), log_q: Some(sample.log_q), quality: None }
        });
        Ok(samples.collect())
    }

    /// The cell that these tokens of the whole vocabulary propose, or else their text.
    pub fn text(&self, parent: Option<Cell>, tokens: &[u32]) -> String {
        self.codec.read(parent, tokens).map_or_else(|| self.tokenizer.decode(tokens), |cell| cell.to_string())
    }

    /// `log p` and `log q` of what was sampled, by teacher forcing; they are one where there is no mask.
    pub fn likelihoods(&self, samples: &[Sample]) -> Result<Vec<(f64, f64)>> {
        let examples: Vec<Example> = samples
            .iter()
            .map(|s| Example { id: "sample".into(), prompt: self.codec.prompt(s.parent), completion: s.tokens.clone() })
            .collect();
        let whole = log_p(&self.whole, Some(&self.lora), &examples, PASS_TOKENS)?;
        let Some(masked) = &self.masked else { return Ok(whole.iter().map(|p| (*p, *p)).collect()) };
        let spoken = &masked.tokens[..masked.decoder.outputs()];
        let number = |token: &u32| spoken.iter().position(|known| known == token).map(|number| number as u32);
        let mut restricted = Vec::with_capacity(samples.len());
        for sample in samples {
            let completion = sample.tokens.iter().map(number).collect::<Option<Vec<u32>>>();
            let completion = completion.ok_or_else(|| Error::input(format!("'{}' is not of the masked words", sample.text)))?;
            restricted.push(Example { id: "sample".into(), prompt: masked.codec.prompt(sample.parent), completion });
        }
        Ok(whole.into_iter().zip(log_p(&masked.decoder, Some(&self.lora), &restricted, PASS_TOKENS)?).collect())
    }

    /// What a proposal is tuned on, in tokens of the whole vocabulary.
    pub fn example(&self, proposal: &Proposal) -> Result<Example> {
        self.codec.example(proposal)
    }

    /// `log q` of every sequence of the first `edges` operations, in lexicographic order.
    pub fn enumerate(&self, edges: usize) -> Result<Vec<f64>> {
        let (decoder, codec) = self.policy();
        exact::enumerate(&decoder.with_adapter(&self.lora)?, &codec.prompt(None), codec.words(), edges)
    }

    /// The exact distribution over all cells: with deltas, parents drawn in proportion to their samples.
    pub fn distribution(&self, parents: &Parents) -> Result<Distribution> {
        let (decoder, codec) = self.policy();
        let Some(edges) = codec.edges() else {
            let p = self.enumerate(EDGES)?.into_iter().map(f64::exp).collect();
            return Ok(if self.masked.is_some() { Distribution::complete(p) } else { Distribution::partial(p) });
        };
        let decoder = decoder.with_adapter(&self.lora)?;
        let total: usize = parents.iter().map(|(_, share)| share).sum();
        let mut deltas = Vec::new();
        for (parent, share) in parents {
            let parent = parent.ok_or_else(|| Error::machine("a delta has no parent"))?;
            let log_p = exact::deltas(&decoder, &codec.prompt(Some(parent)), edges, codec.words())?;
            deltas.push((parent, *share as f64 / total as f64, log_p));
        }
        Ok(Distribution::of_deltas(&deltas))
    }

    /// `log q` of each proposal by itself, by teacher forcing.
    pub fn log_q(&self, proposals: &[Proposal]) -> Result<Vec<f64>> {
        let (decoder, codec) = self.policy();
        log_p(decoder, Some(&self.lora), &examples(codec, proposals)?, PASS_TOKENS)
    }

    /// Tunes on uniform cells, or uniform deltas on uniform parents, see [`WarmupConfig`]; gives the loss of each step. False where
    /// `stop` was set meanwhile.
    pub fn warm_up(
        &mut self,
        config: &WarmupConfig,
        format: Format,
        run_seed: u64,
        stop: &AtomicBool,
        mut on_step: impl FnMut(usize, f64),
    ) -> Result<bool> {
        let (decoder, codec) = self.masked.as_ref().map_or((&self.whole, &self.codec), |m| (&m.decoder, &m.codec));
        let mut optimizer = fresh_optimizer(&self.lora)?;
        let mut parameters = self.lora.snapshot()?;
        for step in 0..config.steps {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let mut rng = seed::rng(run_seed, "warm-up", &[step as u64]);
            let random = |_| {
                let cell = Cell::random(&mut rng);
                match format {
                    Format::Full => Proposal { parent: None, cell },
                    Format::Delta => Proposal { parent: Some(cell), cell: cell.mutated(&mut rng) },
                }
            };
            let examples = examples(codec, &(0..config.batch).map(random).collect::<Vec<_>>())?;
            let all: Vec<usize> = (0..examples.len()).collect();
            let mut gradients: Vec<Vec<f32>> = parameters.iter().map(|p| vec![0.0; p.len()]).collect();
            let mut sum = 0.0;
            for (part, pack) in pack(&examples, &all, PASS_TOKENS).iter().enumerate() {
                let dropout = seed::derive(run_seed, "warm-up dropout", &[step as u64, part as u64]);
                sum += add_gradient(decoder, &self.lora, pack, |_| 1.0 / config.batch as f64, dropout, &mut gradients)?;
            }
            clip(&mut gradients, 1.0);
            optimizer.step(&mut parameters, &gradients, config.lr, 0.0);
            self.lora.restore(&parameters)?;
            on_step(step + 1, sum / config.batch as f64);
        }
        Ok(true)
    }

    /// The CE update on `trained`; `logged` is their loss as it was when they were sampled, where it is known. None when `stop`
    /// was set meanwhile; the adapter is then as it was.
    pub fn update(
        &mut self,
        trained: &[Proposal],
        held_out: &[Proposal],
        logged: Option<f64>,
        config: &AuditConfig,
        cycle: u64,
        stop: &AtomicBool,
    ) -> Result<Option<Tuning>> {
        let before = self.lora.snapshot()?;
        let held_out_before = self.mean_nll(held_out)?;
        if config.tune.moments == Moments::Fresh {
            self.optimizer = fresh_optimizer(&self.lora)?;
        }
        let (decoder, codec) = self.masked.as_ref().map_or((&self.whole, &self.codec), |m| (&m.decoder, &m.codec));
        let examples = examples(codec, trained)?;
        let seed = seed::derive(config.seed, "tune", &[cycle]);
        let plan = Plan { config: &config.tune, batch: None, schedule: Schedule::Constant, budget: PASS_TOKENS, seed, abort: stop };
        let log = tune(decoder, &mut self.lora, &mut self.optimizer, &examples, &plan, |_, _, _| ())?;
        if log.aborted {
            self.lora.restore(&before)?;
            return Ok(None);
        }
        let mut loss_after = log.loss_after;
        if config.tune.smoothing < 1.0 {
            self.lora.smooth(config.tune.smoothing, &before)?;
            loss_after = self.mean_nll(trained)?.unwrap_or(loss_after);
        }
        Ok(Some(Tuning {
            logged,
            before: log.loss_before,
            after: loss_after,
            held_out_before,
            held_out_after: self.mean_nll(held_out)?,
            steps: log.steps.iter().map(|s| TuningStep { loss: s.loss, gradient_norm: s.gradient_norm, lr: s.lr }).collect(),
            examples: trained.len(),
            tokens: log.tokens as usize,
            manifest: Vec::new(),
            gate: None,
        }))
    }

    /// Mean over the proposals of `-log q`; None of none.
    fn mean_nll(&self, proposals: &[Proposal]) -> Result<Option<f64>> {
        if proposals.is_empty() {
            return Ok(None);
        }
        Ok(Some(-self.log_q(proposals)?.iter().sum::<f64>() / proposals.len() as f64))
    }

    pub fn adapter_hash(&self) -> Result<String> {
        self.lora.hash()
    }

    /// Writes adapter and optimiser into a new folder.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.lora.save(folder, &self.model_name, Precision::F32)?;
        self.optimizer.save(&folder.join(OPTIMIZER))
    }

    /// Loads a checkpoint and checks that it is the one that was recorded.
    pub fn load(&mut self, folder: &Path, adapter_hash: &str) -> Result<()> {
        self.lora = Lora::load(folder, self.whole.config())?;
        let found = self.lora.hash()?;
        if found != adapter_hash {
            return Err(Error::input(format!(
                "the adapter in {} is not the recorded one (SHA-256 {found}, then {adapter_hash})",
                folder.display()
            ))
            .hint("the file was changed or damaged after the audit wrote it"));
        }
        self.optimizer = fresh_optimizer(&self.lora)?;
        self.optimizer.load(&folder.join(OPTIMIZER))
    }
}

fn fresh_optimizer(lora: &Lora) -> Result<AdamW> {
    Ok(AdamW::new(lora.snapshot()?.iter().map(Vec::len)))
}

fn examples(codec: &Codec, proposals: &[Proposal]) -> Result<Vec<Example>> {
    proposals.iter().map(|proposal| codec.example(proposal)).collect()
}
