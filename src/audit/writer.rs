//! The LLM as a policy over cells: it writes six words after the prompt.
//!
//! Under the mask it is a decoder over those five words (`Decoder::restricted`): sampling, log-probabilities and tuning all
//! use that same distribution q. Without it they use the whole vocabulary, and six tokens that are no cell are an invalid sample.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::exact::{self, Distribution};
use super::record::{Sample, Tuning};
use super::settings::{AuditConfig, WarmupConfig};
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
use crate::oracle::cell::{Cell, EDGES, WORDS};
use crate::seed;

/// Tokens of one forward and backward pass.
const PASS_TOKENS: usize = 2048;
const OPTIMIZER: &str = "optimizer.safetensors";

/// The ids of the prompt and of the operations' words, as one decoder knows them.
struct Ids {
    prompt: Vec<u32>,
    words: [u32; WORDS.len()],
}

impl Ids {
    fn example(&self, cell: Cell) -> Example {
        Example { id: cell.to_string(), prompt: self.prompt.clone(), completion: cell.operations().map(|o| self.words[o]).to_vec() }
    }

    fn cell(&self, tokens: &[u32]) -> Option<Cell> {
        let operations: Option<Vec<usize>> = tokens.iter().map(|t| self.words.iter().position(|w| w == t)).collect();
        Cell::new(&operations?).ok()
    }
}

pub struct Writer {
    pub model_name: String,
    /// Of the model file.
    pub model_sha256: String,
    tokenizer: Tokenizer,
    whole: Decoder,
    whole_ids: Ids,
    /// With its own ids; None without a mask.
    masked: Option<(Decoder, Ids)>,
    lora: Lora,
    optimizer: AdamW,
}

impl Writer {
    /// Loads the model and the adapter that the audit starts from.
    pub fn open(config: &AuditConfig) -> Result<Self> {
        let file = ModelFile::open(&catalogue::find(&config.llm.model)?)?;
        let whole = Decoder::new(file.config(), |name| file.tensor(name))?;
        let tokenizer = file.tokenizer()?;
        let lora = match config.llm.adapter.as_str() {
            "none" => Lora::new(file.config(), &config.lora, config.seed)?,
            folder => Lora::load(Path::new(folder), file.config())?,
        };
        Self::new(file.name(), file.sha256()?, tokenizer, whole, lora, config)
    }

    fn new(
        model_name: String,
        model_sha256: String,
        tokenizer: Tokenizer,
        whole: Decoder,
        lora: Lora,
        config: &AuditConfig,
    ) -> Result<Self> {
        let whole_ids = ids(&tokenizer, &config.llm.prompt)?;
        let masked = if config.mask {
            let inputs: Vec<u32> = whole_ids.words.iter().chain(&whole_ids.prompt).copied().collect();
            let prompt = (WORDS.len() as u32..inputs.len() as u32).collect();
            Some((whole.restricted(&inputs, WORDS.len())?, Ids { prompt, words: std::array::from_fn(|i| i as u32) }))
        } else {
            None
        };
        let optimizer = fresh_optimizer(&lora)?;
        Ok(Self { model_name, model_sha256, tokenizer, whole, whole_ids, masked, lora, optimizer })
    }

    /// The decoder that samples and is tuned, without the adapter.
    fn policy(&self) -> (&Decoder, &Ids) {
        self.masked.as_ref().map_or((&self.whole, &self.whole_ids), |(decoder, ids)| (decoder, ids))
    }

    /// One sample a seed, at temperature 1.
    pub fn sample(&self, seeds: Vec<u64>) -> Result<Vec<Sample>> {
        let (decoder, ids) = self.policy();
        // The length is fixed, so no token ends a cell early.
        let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: EDGES, end: u32::MAX };
        let request = Request { prompt: ids.prompt.clone(), seeds };
        let samples = generate(&decoder.merged(&self.lora)?, &[request], &sampling, &mut |_| Ok(()))?.concat();
        let cells: Vec<Option<Cell>> = samples.iter().map(|s| ids.cell(&s.tokens)).collect();
        // Under the mask log p, the model's own, is not what was drawn from.
        let log_p = match &self.masked {
            None => samples.iter().map(|s| s.log_p).collect(),
            Some(_) => {
                let examples: Vec<Example> = cells.iter().flatten().map(|c| self.whole_ids.example(*c)).collect();
                log_p(&self.whole, Some(&self.lora), &examples, PASS_TOKENS)?
            }
        };
        let row = |((sample, cell), log_p): ((&crate::llm::generate::Sample, &Option<Cell>), f64)| Sample {
            text: cell.map_or_else(|| self.tokenizer.decode(&sample.tokens), |c| c.to_string()),
            log_p: Some(log_p),
            log_q: Some(sample.log_q),
            quality: None,
        };
        Ok(samples.iter().zip(&cells).zip(log_p).map(row).collect())
    }

    /// `log q` of every sequence of the first `edges` operations, in lexicographic order.
    pub fn enumerate(&self, edges: usize) -> Result<Vec<f64>> {
        let (decoder, ids) = self.policy();
        exact::enumerate(&decoder.merged(&self.lora)?, &ids.prompt, &ids.words, edges)
    }

    /// The exact distribution over all cells.
    pub fn distribution(&self) -> Result<Distribution> {
        let p = self.enumerate(EDGES)?.into_iter().map(f64::exp).collect();
        Ok(if self.masked.is_some() { Distribution::complete(p) } else { Distribution::partial(p) })
    }

    /// `log q` of each cell by itself, by teacher forcing.
    pub fn log_q(&self, cells: &[Cell]) -> Result<Vec<f64>> {
        let (decoder, ids) = self.policy();
        let examples: Vec<Example> = cells.iter().map(|c| ids.example(*c)).collect();
        log_p(decoder, Some(&self.lora), &examples, PASS_TOKENS)
    }

    /// Tunes on uniform cells, see [`WarmupConfig`]; gives the loss of each step.
    pub fn warm_up(&mut self, config: &WarmupConfig, run_seed: u64, mut on_step: impl FnMut(usize, f64)) -> Result<()> {
        let (decoder, ids) = self.masked.as_ref().map_or((&self.whole, &self.whole_ids), |(d, i)| (d, i));
        let mut optimizer = fresh_optimizer(&self.lora)?;
        let mut parameters = self.lora.snapshot()?;
        for step in 0..config.steps {
            let mut rng = seed::rng(run_seed, "warm-up", &[step as u64]);
            let examples: Vec<Example> = (0..config.batch).map(|_| ids.example(Cell::random(&mut rng))).collect();
            let all: Vec<usize> = (0..examples.len()).collect();
            let mut gradients: Vec<Vec<f32>> = parameters.iter().map(|p| vec![0.0; p.len()]).collect();
            let mut sum = 0.0;
            for (part, pack) in pack(&examples, &all, PASS_TOKENS).iter().enumerate() {
                let dropout = seed::derive(run_seed, "warm-up dropout", &[step as u64, part as u64]);
                sum += add_gradient(decoder, &self.lora, pack, 1.0 / config.batch as f64, dropout, &mut gradients)?;
            }
            clip(&mut gradients, 1.0);
            optimizer.step(&mut parameters, &gradients, config.lr, 0.0);
            self.lora.restore(&parameters)?;
            on_step(step + 1, sum / config.batch as f64);
        }
        Ok(())
    }

    /// The CE update on `trained`; `logged` is their loss as it was when they were sampled, where it is known. None when `stop`
    /// was set meanwhile; the adapter is then as it was.
    pub fn update(
        &mut self,
        trained: &[Cell],
        held_out: &[Cell],
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
        let (decoder, ids) = self.masked.as_ref().map_or((&self.whole, &self.whole_ids), |(d, i)| (d, i));
        let examples: Vec<Example> = trained.iter().map(|c| ids.example(*c)).collect();
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
            examples: trained.len(),
            logged,
            loss_before: log.loss_before,
            loss_after,
            held_out_before,
            held_out_after: self.mean_nll(held_out)?,
            steps: log.steps.iter().map(|s| (s.loss, s.gradient_norm)).collect(),
        }))
    }

    /// Mean over the cells of `-log q`; None of no cells.
    fn mean_nll(&self, cells: &[Cell]) -> Result<Option<f64>> {
        if cells.is_empty() {
            return Ok(None);
        }
        Ok(Some(-self.log_q(cells)?.iter().sum::<f64>() / cells.len() as f64))
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

fn ids(tokenizer: &Tokenizer, prompt: &str) -> Result<Ids> {
    let prompt_ids = tokenizer.encode_plain(prompt);
    if prompt_ids.is_empty() {
        return Err(Error::input("setting llm.prompt: a cell needs something before it"));
    }
    let mut words = [0; WORDS.len()];
    for (id, word) in words.iter_mut().zip(WORDS) {
        let [one] = tokenizer.encode_plain(&format!(" {word}"))[..] else {
            return Err(Error::input(format!("this model's tokenizer cuts the operation '{word}' into several tokens"))
                .hint("the exact audit needs a model that has each operation as one token"));
        };
        *id = one;
    }
    Ok(Ids { prompt: prompt_ids, words })
}
