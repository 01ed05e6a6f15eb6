//! The LLM as a run uses it: prompts, samples, likelihoods, the update, and its checkpoints.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::adamw::AdamW;
use super::adapter::Precision;
use super::catalogue;
use super::chat::ChatTemplate;
use super::decoder::Decoder;
use super::generate::{self, Progress, Request, Sample};
use super::lora::Lora;
use super::memory::{Memory, PASS_TOKENS, longest_pass};
use super::model_file::ModelFile;
use super::pack::Example;
use super::provenance::Provenance;
use super::sampling::Sampling;
use super::score::log_p;
use super::tokenizer::Tokenizer;
use super::tune::{self, Plan, Schedule, Step, TuneLog};
use crate::config::{Format, LlmConfig, LoraConfig, Masking, Moments, TuneConfig};
use crate::delta::grammar;
use crate::delta::mask::{DeltaMask, DeltaTrie, delta_mask};
use crate::delta::prompt;
use crate::device::{Card, available};
use crate::error::{Error, Result};
use crate::home;

/// Which model this is, for the run's record.
pub struct Identity {
    pub name: String,
    /// Of the model file.
    pub sha256: String,
    /// SHA-256 of the chat template, where the model has one.
    pub chat_template: Option<String>,
}

pub struct Llm {
    pub identity: Identity,
    pub tokenizer: Tokenizer,
    chat: Option<ChatTemplate>,
    decoder: Decoder,
    lora: Lora,
    optimizer: AdamW,
    /// Longest prompt and completion together, in tokens.
    max_context: usize,
    /// Tokens of one forward and backward pass; bounds the memory of an update.
    pass: usize,
    /// The vocabulary for masks, made when first asked for.
    trie: OnceLock<Arc<DeltaTrie>>,
}

/// What an update changes.
pub struct Snapshot {
    lora: Vec<Vec<f32>>,
    optimizer: AdamW,
}

impl Llm {
    /// Loads the model and the adapter that a run starts from.
    pub fn open(config: &LlmConfig, lora: &LoraConfig, run_seed: u64) -> Result<Self> {
        let path = catalogue::find(&config.model)?;
        let file = ModelFile::open(&path)?;
        let max_context = config.max_context.min(file.config().context);
        let (decoder, pass) = open_decoder(&file, config, lora, max_context)?;
        let chat = file.chat_template()?;
        let lora = match adapter_folder(config)? {
            None => Lora::new(file.config(), lora, run_seed)?,
            Some(folder) => {
                if let Some(provenance) = Provenance::read(&folder)? {
                    provenance.check(&folder, chat.as_ref().map(ChatTemplate::hash).as_deref())?;
                }
                Lora::load(&folder, file.config())?
            }
        };
        let identity = Identity { name: file.name(), sha256: file.sha256()?, chat_template: chat.as_ref().map(ChatTemplate::hash) };
        let optimizer = fresh_optimizer(&lora)?;
        Ok(Self { identity, tokenizer: file.tokenizer()?, chat, decoder, lora, optimizer, max_context, pass, trie: OnceLock::new() })
    }

    /// The model with its adapter, to generate with.
    pub fn adapted(&self) -> Result<Decoder> {
        self.decoder.with_adapter(&self.lora)
    }

    pub fn template(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()
    }

    /// The token ids that ask for a change of `parent`.
    pub fn prompt(&self, format: Format, parent: &str) -> Result<Vec<u32>> {
        let tokens = prompt::encode(&self.tokenizer, self.chat.as_ref(), format, parent)?;
        if tokens.len() >= self.max_context {
            return Err(Error::input(format!(
                "a parent's prompt has {} tokens, at most {} fit with a completion",
                tokens.len(),
                self.max_context - 1
            ))
            .hint("raise llm.max_context (if the model allows it), or start from shorter networks"));
        }
        Ok(tokens)
    }

    /// What may be written of `parent`; None where anything may.
    pub fn mask(&self, format: Format, parent: &str, masking: Masking) -> Option<DeltaMask> {
        let trie = || self.trie.get_or_init(|| Arc::new(DeltaTrie::new(&self.tokenizer)));
        if masking == Masking::None { None } else { delta_mask(masking, trie(), format, parent) }
    }

    /// Which tokens of a completion are valid: see [`grammar::label`].
    pub fn labels(&self, format: Format, parent: &str, tokens: &[u32]) -> Vec<bool> {
        let pieces: Vec<Vec<u8>> = tokens.iter().map(|&token| self.tokenizer.token_bytes(token)).collect();
        grammar::label(format, parent, &pieces, tokens.last() == Some(&self.tokenizer.eos()))
    }

    /// Samples of each request, one for each of its seeds, under a mask each or none at all. None when `stop` is set meanwhile.
    pub fn generate(
        &self,
        requests: &[Request],
        masks: &[DeltaMask],
        sampling: &Sampling,
        stop: &AtomicBool,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Vec<Vec<Sample>>>> {
        let longest = requests.iter().map(|r| r.prompt.len()).max().unwrap_or(0);
        let sampling = Sampling { max_tokens: sampling.max_tokens.min(self.max_context.saturating_sub(longest)), ..sampling.clone() };
        let mut watch = |progress| {
            on_progress(progress);
            if stop.load(Ordering::Relaxed) { Err(Error::machine("stopped")) } else { Ok(()) }
        };
        match generate::generate_masked(&self.adapted()?, requests, masks, &sampling, &mut watch) {
            Err(_) if stop.load(Ordering::Relaxed) => Ok(None),
            samples => samples.map(Some),
        }
    }

    /// Mean over the examples of the summed negative log-likelihood; None of no examples.
    pub fn mean_nll(&self, examples: &[Example]) -> Result<Option<f64>> {
        if examples.is_empty() {
            return Ok(None);
        }
        Ok(Some(-self.log_p(examples)?.iter().sum::<f64>() / examples.len() as f64))
    }

    /// `log p` of each example's completion.
    pub fn log_p(&self, examples: &[Example]) -> Result<Vec<f64>> {
        if examples.is_empty() {
            return Ok(Vec::new());
        }
        log_p(&self.decoder, Some(&self.lora), examples, self.pass)
    }

    /// The CE update: all examples in one optimiser step, `config.epochs` of them. None when `stop` is set meanwhile; the adapter
    /// is then as it was.
    pub fn tune(
        &mut self,
        examples: &[Example],
        config: &TuneConfig,
        seed: u64,
        stop: &AtomicBool,
        on_step: &mut dyn FnMut(usize, &Step),
    ) -> Result<Option<TuneLog>> {
        if config.moments == Moments::Fresh {
            self.optimizer = fresh_optimizer(&self.lora)?;
        }
        let before = self.lora.snapshot()?;
        let plan = Plan { config, batch: None, schedule: Schedule::Constant, budget: self.pass, seed, abort: stop };
        let log =
            tune::tune(&self.decoder, &mut self.lora, &mut self.optimizer, examples, &plan, |index, _, step| on_step(index + 1, step))?;
        if log.aborted {
            self.lora.restore(&before)?;
            return Ok(None);
        }
        Ok(Some(log))
    }

    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot { lora: self.lora.snapshot()?, optimizer: self.optimizer.clone() })
    }

    /// Takes an update back, the optimiser's moments included.
    pub fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.lora.restore(&snapshot.lora)?;
        self.optimizer = snapshot.optimizer;
        Ok(())
    }

    /// CE smoothing: see [`Lora::smooth`].
    pub fn smooth(&mut self, alpha: f64, before: &Snapshot) -> Result<()> {
        self.lora.smooth(alpha, &before.lora)
    }

    pub fn adapter_hash(&self) -> Result<String> {
        self.lora.hash()
    }

    /// Writes the adapter into a new folder, and the optimiser where its moments go on.
    pub fn save_checkpoint(&self, folder: &Path, moments: Moments) -> Result<()> {
        self.lora.save(folder, &self.identity.name, Precision::F32)?;
        if moments == Moments::Keep {
            self.optimizer.save(&folder.join(OPTIMIZER))?;
        }
        Ok(())
    }

    /// Loads a checkpoint and checks that it is the one that was stored.
    pub fn load_checkpoint(&mut self, folder: &Path, moments: Moments, adapter_hash: &str) -> Result<()> {
        self.lora = Lora::load(folder, self.decoder.config())?;
        let found = self.lora.hash()?;
        if found != adapter_hash {
            return Err(Error::input(format!(
                "the adapter in {} is not the one the run stored (SHA-256 {found}, then {adapter_hash})",
                folder.display()
            ))
            .hint("the file was changed or damaged after the run wrote it"));
        }
        self.optimizer = fresh_optimizer(&self.lora)?;
        if moments == Moments::Keep {
            self.optimizer.load(&folder.join(OPTIMIZER))?;
        }
        Ok(())
    }
}

const OPTIMIZER: &str = "optimizer.safetensors";

fn fresh_optimizer(lora: &Lora) -> Result<AdamW> {
    Ok(AdamW::new(lora.snapshot()?.iter().map(Vec::len)))
}

/// The decoder and the tokens of tuning's passes. On a card, tuning keeps the graph of all layers where that fits what is free or allowed,
/// and else of one at a time: the same numbers.
fn open_decoder(file: &ModelFile, config: &LlmConfig, lora: &LoraConfig, context: usize) -> Result<(Decoder, usize)> {
    let device = config.device.open()?;
    let Some(card) = Card::of(&device)? else {
        let pass = longest_pass(file, lora, config.dtype, context, config.memory_mib)?;
        return Ok((Decoder::open(file, config.dtype)?.with_tuning_dtype(config.tuning_dtype), pass));
    };
    let pass = PASS_TOKENS.max(context);
    let [all, one] = [false, true]
        .map(|recompute| Memory::on_card(file.config(), lora, config.card_dtype, context, pass, generate::BATCH_ON_CARD, recompute).peak());
    let budget = config.card_memory_mib << 20;
    let room = available(&device, config.card_memory_mib)?.unwrap_or(u64::MAX);
    if all > room {
        card.check("the model", one, budget)?;
    }
    Ok((Decoder::open_on(file, config.card_dtype, &device, all > room)?, pass))
}

/// The folder of the adapter a run starts from; None for a fresh one.
pub fn adapter_folder(config: &LlmConfig) -> Result<Option<PathBuf>> {
    let folder = match config.adapter.as_str() {
        "none" => return Ok(None),
        "warmup" => home::models().join(format!("warmup-{}", config.model)),
        path => PathBuf::from(path),
    };
    if !folder.join("adapter_config.json").is_file() {
        return Err(Error::input(format!("there is no adapter in {}", folder.display()))
            .hint("llm.adapter is 'warmup' (shipped for the default model; others: eliteloop warmup), 'none', or a PEFT folder"));
    }
    Ok(Some(folder))
}
