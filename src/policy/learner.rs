//! The learner: the LLM as a policy that is prompted, sampled, scored, updated and checkpointed.
//!
//! Runs ask it for deltas ([`Learner::prompt`] and a mask), audits for cells in the words of their format ([`Learner::restrict`]);
//! what is drawn, scored and tuned is the same code. Tokens are the tokenizer's everywhere outside, also of a restricted learner.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::base::device::{Card, available};
use crate::base::done::Done;
use crate::base::error::{Error, Result};
use crate::base::files::replace;
use crate::base::home;
use crate::decoder::files::catalogue;
use crate::decoder::files::chat::ChatTemplate;
use crate::decoder::files::model_file::ModelFile;
use crate::decoder::files::provenance::Provenance;
use crate::decoder::files::shape::DecoderConfig;
use crate::decoder::files::tokenizer::Tokenizer;
use crate::decoder::lora::adamw::AdamW;
use crate::decoder::lora::adapter::Precision;
use crate::decoder::lora::divergence::{Moved, Reference};
use crate::decoder::lora::matrices::Lora;
use crate::decoder::lora::natural;
use crate::decoder::lora::objective::Target;
use crate::decoder::lora::score::log_p;
use crate::decoder::lora::step::{Batch, Gradient, Rule};
use crate::decoder::lora::tune::{self, Plan, Schedule, Step};
use crate::decoder::model::decoder::Decoder;
use crate::decoder::model::memory::{Memory, PASS_TOKENS, longest_pass};
use crate::decoder::model::pack::Example;
use crate::decoder::sample::generate::{self, Progress, Request, Sample};
use crate::decoder::sample::sampling::Sampling;
use crate::decoder::settings::llm::LlmConfig;
use crate::decoder::settings::lora::LoraConfig;
use crate::decoder::settings::tune::{Moments, Optimizer, StartFrom, TuneConfig};
use crate::delta::settings::{Format, Masking};
use crate::policy::lesson::{Lesson, Measured, Snapshot, Update};
use crate::policy::mask::{DeltaMask, DeltaTrie, delta_mask};
use crate::policy::prompt;

/// Which model this is, for the record.
pub struct Identity {
    /// What the model file calls itself, else its name.
    pub name: String,
    /// Of the model file.
    pub sha256: String,
    /// SHA-256 of the chat template, where the model has one.
    pub chat_template: Option<String>,
}

/// What learning does not change.
pub struct Model {
    /// For the record of a run.
    pub identity: Identity,
    /// Of the whole vocabulary, whatever the learner is restricted to.
    pub tokenizer: Tokenizer,
    /// None where the model has no template; its prompts are then plain text.
    pub chat: Option<ChatTemplate>,
    /// The frozen weights, without an adapter.
    pub decoder: Decoder,
    /// Longest prompt and completion together, in tokens.
    pub max_context: usize,
    /// Tokens of one forward and backward pass; bounds the memory of an update.
    pub pass: usize,
}

/// A decoder that can say some tokens only.
struct Restricted {
    decoder: Decoder,
    /// Its tokens, as the whole model numbers them, and the other way round.
    tokens: Vec<u32>,
    ids: HashMap<u32, u32>,
}

/// A model, the adapter that is tuned on it, and the optimiser's state.
pub struct Learner {
    /// What learning does not change.
    pub model: Model,
    /// None where it may say anything.
    restricted: Option<Restricted>,
    lora: Lora,
    optimizer: AdamW,
    /// The adapter before the first cycle, where updates start from it.
    prior: Option<Vec<Vec<f32>>>,
    /// The vocabulary for masks, made when first asked for.
    trie: OnceLock<Arc<DeltaTrie>>,
}

impl Model {
    /// Loads a model: passes as long as memory allows, `lora` being the adapter that is tuned on it.
    ///
    /// # Errors
    /// Where the file cannot be read or does not fit the memory that the settings allow.
    pub(crate) fn open(file: &ModelFile, config: &LlmConfig, lora: &LoraConfig) -> Result<Self> {
        let max_context = config.max_context.min(file.config().context);
        let (decoder, pass) = open_decoder(file, config, lora, max_context)?;
        let chat = file.chat_template()?;
        let identity = Identity { name: file.name(), sha256: file.sha256()?, chat_template: chat.as_ref().map(ChatTemplate::hash) };
        Ok(Self { identity, tokenizer: file.tokenizer()?, chat, decoder, max_context, pass })
    }
}

impl Learner {
    /// Loads the model and the adapter that `config` names, or a fresh one drawn from `seed`.
    ///
    /// # Errors
    /// Where one of them cannot be read, they do not belong together, or the adapter was tuned for another chat template.
    pub fn open(config: &LlmConfig, lora: &LoraConfig, seed: u64) -> Result<Self> {
        let file = ModelFile::open(&catalogue::find(&config.model)?)?;
        Self::of(&file, config, adapter_folder(config)?.as_deref(), lora, seed)
    }

    /// The same of a model file that is open; `adapter` is the folder to start from, whatever `config` names.
    ///
    /// # Errors
    /// See [`Learner::open`].
    pub fn of(file: &ModelFile, config: &LlmConfig, adapter: Option<&Path>, lora: &LoraConfig, seed: u64) -> Result<Self> {
        let model = Model::open(file, config, lora)?;
        let lora = match adapter {
            None => Lora::new(file.config(), lora, seed)?,
            Some(folder) => {
                if let Some(provenance) = Provenance::read(folder)? {
                    provenance.check(folder, model.identity.chat_template.as_deref())?;
                }
                Lora::load(folder, file.config())?
            }
        };
        Ok(Self::new(model, lora))
    }

    /// A model and its adapter, with fresh moments.
    pub fn new(model: Model, lora: Lora) -> Self {
        Self { model, restricted: None, optimizer: AdamW::of(&lora), lora, prior: None, trie: OnceLock::new() }
    }

    /// From now on it reads these tokens only and says the first `outputs` of them, by the model's odds of those alone: see
    /// [`Decoder::restricted`].
    ///
    /// # Errors
    /// When a token is outside the vocabulary, or more outputs than tokens are asked for.
    pub fn restrict(&mut self, tokens: Vec<u32>, outputs: usize) -> Result<()> {
        let decoder = self.model.decoder.restricted(&tokens, outputs)?;
        let mut ids = HashMap::new();
        for (token, id) in tokens.iter().zip(0..) {
            // Of a token that is there twice the first, which is the one that can be said.
            ids.entry(*token).or_insert(id);
        }
        self.restricted = Some(Restricted { decoder, tokens, ids });
        Ok(())
    }

    /// Whether it can read and say some tokens only: see [`Learner::restrict`].
    pub fn is_restricted(&self) -> bool {
        self.restricted.is_some()
    }

    /// The decoder that samples and is tuned, without the adapter.
    fn decoder(&self) -> &Decoder {
        self.restricted.as_ref().map_or(&self.model.decoder, |restricted| &restricted.decoder)
    }

    /// That decoder with the adapter, to generate with; its tokens are [`Learner::ids`].
    pub(crate) fn adapted(&self) -> Result<Decoder> {
        self.decoder().with_adapter(&self.lora)
    }

    /// Tokens as [`Learner::adapted`] numbers them.
    ///
    /// # Errors
    /// Where the learner is restricted to others.
    pub(crate) fn ids(&self, tokens: &[u32]) -> Result<Vec<u32>> {
        let Some(Restricted { ids, .. }) = &self.restricted else { return Ok(tokens.to_vec()) };
        let id = |token| {
            ids.get(token).copied().ok_or_else(|| Error::machine(format!("the learner is restricted to other tokens than {token}")))
        };
        tokens.iter().map(id).collect()
    }

    /// Examples in the numbers of [`Learner::adapted`].
    fn renumbered(&self, examples: &[Example]) -> Result<Vec<Example>> {
        let one = |example: &Example| {
            let (prompt, completion) = (self.ids(&example.prompt)?, self.ids(&example.completion)?);
            Ok(Example { id: example.id.clone(), prompt, completion })
        };
        examples.iter().map(one).collect()
    }

    /// The token ids that ask for a change of `parent`.
    ///
    /// # Errors
    /// Where the prompt leaves no room for a completion.
    pub(crate) fn prompt(&self, format: Format, parent: &str) -> Result<Vec<u32>> {
        let Model { tokenizer, chat, max_context, .. } = &self.model;
        let tokens = prompt::encode(tokenizer, chat.as_ref(), format, parent)?;
        if tokens.len() >= *max_context {
            return Err(Error::input(format!(
                "a parent's prompt has {} tokens, at most {} fit with a completion",
                tokens.len(),
                max_context - 1
            ))
            .hint("raise llm.max_context (if the model allows it), or start from shorter networks"));
        }
        Ok(tokens)
    }

    /// What may be written of `parent`; None where anything may.
    pub(crate) fn mask(&self, format: Format, parent: &str, masking: Masking) -> Option<DeltaMask> {
        let trie = || self.trie.get_or_init(|| Arc::new(DeltaTrie::new(&self.model.tokenizer)));
        if masking == Masking::None { None } else { delta_mask(masking, trie(), format, parent) }
    }

    /// Samples of each request, one for each of its seeds, under a mask each or none at all. `log_p` is the whole model's, `log_q` that
    /// of what they were drawn from.
    ///
    /// # Errors
    /// Where a prompt does not fit; where a restricted learner is given masks, which number tokens otherwise.
    pub fn generate(
        &self,
        requests: &[Request],
        masks: &[DeltaMask],
        sampling: &Sampling,
        stop: &AtomicBool,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Done<Vec<Vec<Sample>>>> {
        if self.is_restricted() && !masks.is_empty() {
            return Err(Error::machine("masks for a learner that is restricted"));
        }
        let longest = requests.iter().map(|r| r.prompt.len()).max().unwrap_or(0);
        let max_tokens = sampling.max_tokens.min(self.model.max_context.saturating_sub(longest));
        // An end that it cannot say ends nothing.
        let end = self.ids(&[sampling.end]).map_or(u32::MAX, |ids| ids[0]);
        let sampling = Sampling { max_tokens, end, ..sampling.clone() };
        let asked =
            requests.iter().map(|r| Ok(Request { prompt: self.ids(&r.prompt)?, seeds: r.seeds.clone() })).collect::<Result<Vec<_>>>()?;
        let mut watch = |progress| {
            on_progress(progress);
            if stop.load(Ordering::Relaxed) { Err(Error::machine("stopped")) } else { Ok(()) }
        };
        let mut samples = match generate::generate_masked(&self.adapted()?, &asked, masks, &sampling, &mut watch) {
            Err(_) if stop.load(Ordering::Relaxed) => return Ok(Done::Stopped),
            samples => samples?,
        };
        if let Some(restricted) = &self.restricted {
            self.widen(restricted, requests, &mut samples)?;
        }
        Ok(Done::Finished(samples))
    }

    /// Gives a restricted learner's samples the tokens and the log-probabilities of the whole model.
    fn widen(&self, restricted: &Restricted, requests: &[Request], samples: &mut [Vec<Sample>]) -> Result<()> {
        let mut examples = Vec::new();
        for (request, samples) in requests.iter().zip(samples.iter_mut()) {
            for sample in samples {
                sample.tokens.iter_mut().for_each(|token| *token = restricted.tokens[*token as usize]);
                examples.push(Example { id: "sample".into(), prompt: request.prompt.clone(), completion: sample.tokens.clone() });
            }
        }
        let whole = log_p(&self.model.decoder, Some(&self.lora), &examples, self.model.pass)?;
        samples.iter_mut().flatten().zip(whole).for_each(|(sample, log_p)| sample.log_p = log_p);
        Ok(())
    }

    /// `log p` of each example's completion, in nats, under the words it may say: what an update is about.
    pub fn log_p(&self, examples: &[Example]) -> Result<Vec<f64>> {
        if examples.is_empty() {
            return Ok(Vec::new());
        }
        log_p(self.decoder(), Some(&self.lora), &self.renumbered(examples)?, self.model.pass)
    }

    /// Mean over the examples of the summed negative log-likelihood, in nats; None of no examples.
    pub fn mean_nll(&self, examples: &[Example]) -> Result<Option<f64>> {
        if examples.is_empty() {
            return Ok(None);
        }
        Ok(Some(-self.log_p(examples)?.iter().sum::<f64>() / examples.len() as f64))
    }

    /// The update: steps on all trained examples until the settings end it, then smoothing. `on_step` sees each step and its number,
    /// from 1. Where `stop` is set meanwhile, the learner is as it was.
    ///
    /// # Errors
    /// Where an example is longer than a pass, or the update diverges; see [`Learner::check_update`].
    pub fn update(
        &mut self,
        lesson: &Lesson,
        config: &TuneConfig,
        seed: u64,
        stop: &AtomicBool,
        on_step: &mut dyn FnMut(usize, &Step),
    ) -> Result<Done<Update>> {
        self.check_update(config, lesson.sampled.len())?;
        let before = self.snapshot()?;
        let held_out_before = self.mean_nll(lesson.held_out)?;
        let reference = if lesson.sampled.is_empty() { None } else { Some(self.reference(lesson.sampled, lesson.log_q.to_vec())?) };
        if config.moments == Moments::Fresh {
            self.forget_moments();
        }
        let target = Target { objective: config.objective, examples: lesson.trained, weights: lesson.weights };
        let of_sampler = match config.from {
            StartFrom::Last => None,
            StartFrom::Prior => {
                let loss = target.loss(&self.log_p(lesson.trained)?);
                self.return_to_prior()?;
                Some(loss)
            }
        };
        let examples = self.renumbered(lesson.trained)?;
        let plan = Plan {
            config,
            batch: None,
            schedule: Schedule::Constant,
            budget: self.model.pass,
            seed,
            abort: stop,
            weights: lesson.weights,
            reference: reference.as_ref(),
        };
        let decoder = self.restricted.as_ref().map_or(&self.model.decoder, |restricted| &restricted.decoder);
        let log = tune::tune(decoder, &mut self.lora, &mut self.optimizer, &examples, &plan, |index, _, step| on_step(index + 1, step))?;
        if log.aborted {
            self.restore(before)?;
            return Ok(Done::Stopped);
        }
        let mut loss_after = log.loss_after;
        if config.smoothing < 1.0 {
            self.lora.smooth(config.smoothing, &before.lora)?;
            loss_after = target.loss(&self.log_p(lesson.trained)?);
        }
        let held_out_after = self.mean_nll(lesson.held_out)?;
        let moved = reference.map(|reference| Ok::<_, Error>((reference.log_p().to_vec(), self.moved(&reference)?))).transpose()?;
        let tune::TuneLog { loss_before, floor, steps, ending, refused, tokens, .. } = log;
        let loss_before = of_sampler.unwrap_or(loss_before);
        let measured = Measured { loss_before, loss_after, floor, ending, refused, moved };
        Ok(Done::Finished(Update { before, held_out_before, held_out_after, steps, tokens, measured }))
    }

    /// Keeps the adapter as it is, where updates by these settings start from it.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn keep_prior(&mut self, config: &TuneConfig) -> Result<()> {
        self.prior = (config.from == StartFrom::Prior).then(|| self.lora.snapshot()).transpose()?;
        Ok(())
    }

    fn return_to_prior(&mut self) -> Result<()> {
        let prior = self.prior.as_ref().ok_or_else(|| Error::machine("no adapter was kept to start from"))?;
        self.lora.restore(prior)?;
        self.forget_moments();
        Ok(())
    }

    /// Whether an update with so many samples fits what the settings allow.
    ///
    /// # Errors
    /// Says what the gradients of the samples would take.
    pub fn check_update(&self, config: &TuneConfig, samples: usize) -> Result<()> {
        let needed = natural::bytes(samples, self.lora.parameters()).div_ceil(1 << 20);
        if config.optimizer != Optimizer::Natural || needed <= config.fisher_mib {
            return Ok(());
        }
        let parameters = self.lora.parameters();
        Err(Error::input(format!(
            "tune.optimizer = natural keeps a gradient of {parameters} parameters of each of {samples} samples: {needed} MiB, and \
             tune.fisher_mib is {}",
            config.fisher_mib
        ))
        .hint("take an adapter of a lower rank, ask for fewer candidates, or raise tune.fisher_mib"))
    }

    /// The policy as it is on these samples, to see later how far it has moved.
    ///
    /// # Errors
    /// See [`Reference::new`].
    pub(crate) fn reference(&self, samples: &[Example], log_q: Vec<f64>) -> Result<Reference> {
        Reference::new(self.decoder(), &self.lora, self.renumbered(samples)?, log_q, self.model.pass)
    }

    /// The policy beside what it was.
    ///
    /// # Errors
    /// Those of the decoder.
    pub(crate) fn moved(&self, reference: &Reference) -> Result<Moved> {
        reference.against(self.decoder(), &self.lora)
    }

    /// One optimiser step outside of an update, on all batches together; gives what it found before it.
    ///
    /// # Errors
    /// Where it diverges.
    pub fn step(&mut self, rule: &Rule, batches: &[Batch], lr: f64, number: usize) -> Result<Gradient> {
        let renumbered = batches.iter().map(|batch| self.renumbered(batch.examples)).collect::<Result<Vec<_>>>()?;
        let batches: Vec<Batch> = batches.iter().zip(&renumbered).map(|(batch, examples)| Batch { examples, ..*batch }).collect();
        let gradient = rule.gradient(self.decoder(), &self.lora, &batches, self.model.pass, number)?;
        rule.descend(&mut self.lora, &mut self.optimizer, &gradient, lr, number)?;
        Ok(gradient)
    }

    /// The check of the last step, which no gradient follows: whether the learner still scores what it learnt from.
    ///
    /// # Errors
    /// Where its loss is no finite number.
    pub(crate) fn check_after(&self, rule: &Rule, examples: &[Example], number: usize) -> Result<()> {
        match self.mean_nll(examples)? {
            Some(loss) if !loss.is_finite() => Err(rule.diverged(number, &format!("the loss after it is {loss}"))),
            _ => Ok(()),
        }
    }

    /// The optimiser begins anew.
    pub(crate) fn forget_moments(&mut self) {
        self.optimizer = AdamW::of(&self.lora);
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot { lora: self.lora.snapshot()?, optimizer: self.optimizer.clone() })
    }

    /// Takes an update back, the optimiser's moments included.
    pub fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.lora.restore(&snapshot.lora)?;
        self.optimizer = snapshot.optimizer;
        Ok(())
    }

    /// The adapter as it is now.
    pub fn lora(&self) -> &Lora {
        &self.lora
    }

    /// Of the adapter's parameters: see [`Lora::hash`].
    pub fn adapter_hash(&self) -> Result<String> {
        self.lora.hash()
    }

    /// Writes the adapter, and the optimiser where its moments go on, in place of the folder: whole or not at all.
    pub fn save_checkpoint(&self, folder: &Path, moments: Moments) -> Result<()> {
        let name = folder.file_name().ok_or_else(|| Error::machine(format!("{} names no folder", folder.display())))?;
        let half_made = folder.with_file_name(format!(".{}", name.to_string_lossy()));
        if half_made.exists() {
            std::fs::remove_dir_all(&half_made)?;
        }
        self.lora.save(&half_made, &self.model.identity.name, Precision::F32)?;
        if moments == Moments::Keep {
            self.optimizer.save(&half_made.join(OPTIMIZER))?;
        }
        replace(&half_made, folder)
    }

    /// Loads a checkpoint and checks that it is the one that was stored.
    pub fn load_checkpoint(&mut self, folder: &Path, moments: Moments, adapter_hash: &str) -> Result<()> {
        self.lora = stored_adapter(folder, self.model.decoder.config(), adapter_hash)?;
        self.forget_moments();
        if moments == Moments::Keep {
            self.optimizer.load(&folder.join(OPTIMIZER))?;
        }
        Ok(())
    }

    /// Writes the adapter to start from elsewhere: as f16, with what it was tuned for.
    pub fn save_adapter(&self, folder: &Path) -> Result<()> {
        let identity = &self.model.identity;
        self.lora.save(folder, &identity.name, Precision::F16)?;
        Provenance::new(&identity.name, &identity.sha256, identity.chat_template.as_deref()).write(folder)
    }
}

/// The moments of a checkpoint.
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";

/// The adapter of a checkpoint, which has to be the one whose hash was stored with it.
///
/// # Errors
/// Where it cannot be read or is another one.
pub fn stored_adapter(folder: &Path, model: &DecoderConfig, adapter_hash: &str) -> Result<Lora> {
    let lora = Lora::load(folder, model)?;
    let found = lora.hash()?;
    if found != adapter_hash {
        let message = format!("the adapter in {} is not the one that was stored (SHA-256 {found}, then {adapter_hash})", folder.display());
        return Err(Error::input(message).hint("the file was changed or damaged after it was written"));
    }
    Ok(lora)
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
        shipped @ ("warmup" | "schooled") => home::models().join(format!("{shipped}-{}", config.model)),
        path => PathBuf::from(path),
    };
    if !folder.join("adapter_config.json").is_file() {
        return Err(Error::input(format!("there is no adapter in {}", folder.display())).hint(
            "llm.adapter is 'warmup' or 'schooled' (shipped for the default model; others: eliteloop warmup), 'none', or a PEFT folder",
        ));
    }
    Ok(Some(folder))
}
