//! What this machine has for a run, and what each phase of one will need.

pub mod pace;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::base::confine;
use crate::base::device::{Card, Kernels, Place};
use crate::base::error::{Error, Result};
use crate::base::home;
use crate::base::processor;
use crate::config::RunConfig;
use crate::decoder::files::catalogue;
use crate::decoder::files::model_file::ModelFile;
use crate::decoder::model::memory::{Memory, PASS_TOKENS, longest_pass};
use crate::decoder::sample::generate::BATCH_ON_CARD;
use crate::decoder::settings::llm::CardDtype;
use crate::method::run::try_engine;
use crate::proxy::settings::On;
use crate::proxy::{dataset, engine};

/// What [`examine`] found.
#[derive(Debug, Serialize)]
pub struct Findings {
    pub(crate) version: &'static str,
    /// The processor and the memory beside it.
    pub processor: Processor,
    /// Where the LLM would compute.
    pub device: Device,
    /// The LLM that the settings name; None where their policy has none.
    pub model: Option<Found>,
    /// The data set that the settings name.
    pub data: Found,
    /// What does the trainings, where that is not this machine.
    pub engine: Option<Engine>,
    /// The current folder, those of models and data, and the temporary one, as far as they are there.
    pub disk: Vec<Disk>,
    /// What sandboxes and workers go without, where this kernel lacks it.
    pub unconfined: Option<&'static str>,
    /// None where there is no model to know it from, or none is wanted.
    pub needs: Option<Needs>,
}

/// This machine's processor and memory.
#[derive(Debug, Serialize)]
pub struct Processor {
    /// As Linux tells it; None where it does not.
    pub name: Option<String>,
    /// How many this process may run at once; at least 1.
    pub threads: usize,
    /// Which of AVX2, FMA, AVX-512 and AVX512-BF16 it has.
    pub features: Vec<&'static str>,
    /// What our kernels are run for, after the levels of the x86-64 ABI: `x86-64-v3` is AVX2 and FMA, `x86-64-v4` AVX-512.
    pub kernels: &'static str,
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes that can be had now without swapping; None where the system does not tell.
    pub available: Option<u64>,
}

/// Where the settings want the LLM.
#[derive(Debug, Serialize)]
pub struct Device {
    /// What the settings say.
    pub asked: Place,
    /// What `auto` became; else what was asked for.
    pub place: Place,
    /// Backends that this program was built with.
    pub built_with: Vec<&'static str>,
    /// Which kernels would run: `own`, `candle's`, or `none` where the device cannot be opened.
    pub kernels: &'static str,
    /// None on the processor, and where the card cannot be opened.
    pub card: Option<Card>,
    /// Why `auto` took no card.
    pub fallback: Option<String>,
    /// Why it is not to be had, and what to do.
    pub trouble: Option<String>,
    pub(crate) hint: Option<String>,
}

/// A model or a data set.
#[derive(Debug, Serialize)]
pub struct Found {
    /// As the settings name it.
    pub name: String,
    /// Where it lies; None where it is missing or built in.
    pub path: Option<PathBuf>,
    /// Whether the hashes were computed, or only the files looked for.
    pub hashed: bool,
    /// What keeps a run from using it.
    pub trouble: Option<String>,
    pub(crate) hint: Option<String>,
}

/// What the settings want the trainings done by.
#[derive(Debug, Serialize)]
pub struct Engine {
    /// As the settings name it.
    pub on: On,
    /// What it says of itself; None where it does not answer.
    pub said: Option<String>,
    /// Whether it was given a training to do, or was only asked who it is.
    pub tried: bool,
    /// What keeps a run from using it.
    pub trouble: Option<String>,
    pub(crate) hint: Option<String>,
}

/// A folder and the room on its disk.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// Absolute, or relative to the current folder.
    pub folder: PathBuf,
    /// Bytes.
    pub free: Option<u64>,
}

/// Bytes, estimated.
#[derive(Debug, Serialize)]
pub struct Needs {
    /// Where the LLM computes.
    pub place: Place,
    /// Of the LLM, by what takes it.
    pub llm: Memory,
    /// The most of the LLM at any one time, the program's own included.
    pub peak: u64,
    /// With one layer's graph at a time, which a card falls back on.
    pub peak_recomputing: Option<u64>,
    /// Address space of a worker, and how many there are, where the proxies train on the processor.
    pub worker: u64,
    /// Worker processes, each with one training at a time.
    pub workers: usize,
    /// A checkpoint of each cycle on disk.
    pub checkpoint: u64,
}

impl Findings {
    /// What stands in the way of a run.
    pub fn troubles(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let device = self.model.as_ref().map(|_| (&self.device.trouble, &self.device.hint));
        let model = self.model.as_ref().map(|model| (&model.trouble, &model.hint));
        let engine = self.engine.as_ref().map(|engine| (&engine.trouble, &engine.hint));
        let all = [device, model, Some((&self.data.trouble, &self.data.hint)), engine];
        all.into_iter().flatten().filter_map(|(trouble, hint)| Some((trouble.as_deref()?, hint.as_deref())))
    }
}

/// Looks; `quick` computes no hash.
///
/// # Errors
/// Only where the machine does not answer; what is missing is a finding.
pub fn examine(config: &RunConfig, quick: bool) -> Result<Findings> {
    let device = device(config.llm.device);
    let mut model = config.policy.has_llm().then(|| model(config, quick));
    let needs = model.as_mut().and_then(|model| {
        let file = ModelFile::open(model.path.as_ref()?).ok()?;
        let (needs, refusal) = needs(config, &file, device.place);
        if let (Some(error), None) = (refusal, &model.trouble) {
            (model.trouble, model.hint) = (Some(error.to_string()), error.hint_text().map(String::from));
        }
        Some(needs)
    });
    let data = data(config, quick);
    let engine = engine(config, quick || data.trouble.is_some());
    let mut folders = vec![PathBuf::from("."), home::models(), home::data(), std::env::temp_dir()];
    folders.retain(|folder| folder.is_dir());
    let disk = folders.into_iter().map(|folder| Disk { free: free_bytes(&folder), folder }).collect();
    let unconfined = confine::missing();
    Ok(Findings { version: env!("CARGO_PKG_VERSION"), processor: processor(), device, model, data, engine, disk, unconfined, needs })
}

fn device(asked: Place) -> Device {
    let mut built_with = vec!["cpu"];
    built_with.extend(cfg!(feature = "cuda").then_some("cuda"));
    built_with.extend(cfg!(feature = "metal").then_some("metal"));
    let (place, fallback) = asked.settle();
    let opened = place.open();
    let kernels = match opened.as_ref().map(|device| Kernels::Own.on(device)) {
        Ok(Kernels::Own) => "own",
        Ok(Kernels::Stock) => "candle's",
        Err(_) => "none",
    };
    let (card, error) = match opened.and_then(|device| Card::of(&device)) {
        Ok(card) => (card, None),
        Err(error) => (None, Some(error)),
    };
    let (trouble, hint) = told(error.as_ref());
    Device { asked, place, built_with, kernels, card, fallback, trouble, hint }
}

/// What is wrong, and what to do about it.
fn told(error: Option<&Error>) -> (Option<String>, Option<String>) {
    (error.map(ToString::to_string), error.and_then(Error::hint_text).map(String::from))
}

fn model(config: &RunConfig, quick: bool) -> Found {
    let name = config.llm.model.clone();
    let path = catalogue::find(&name);
    let checked = match &path {
        Ok(_) if !quick => catalogue::verify(&name).map(drop),
        Ok(path) => ModelFile::open(path).and_then(|model| model.check()).map(drop),
        Err(_) => Ok(()),
    };
    let (trouble, hint) = told(path.as_ref().err().or(checked.as_ref().err()));
    Found { name, hashed: !quick && trouble.is_none(), path: path.ok(), trouble, hint }
}

fn data(config: &RunConfig, quick: bool) -> Found {
    let (name, folder) = (config.proxy.dataset.clone(), home::data());
    let is_here = dataset::is_present(&name, &folder);
    let path = (is_here && name != "synthetic").then(|| folder.join(&name));
    let (trouble, hint) = if is_here {
        told(if quick { None } else { dataset::verify(&name, &folder).err() }.as_ref())
    } else {
        told(dataset::check_present(&name, &folder).err().as_ref())
    };
    Found { name, hashed: !quick && trouble.is_none(), path, trouble, hint }
}

/// `quick` asks only who it is; else it does a training, as at the beginning of a run in the current folder.
fn engine(config: &RunConfig, quick: bool) -> Option<Engine> {
    let (said, error) = match engine::check(&config.proxy) {
        Ok(None) => return None,
        Ok(said) if quick => (said, None),
        Ok(said) => {
            let mut config = config.clone();
            // Where the LLM is, another line says.
            config.settle_devices();
            (said, try_engine(&config, Path::new("."), &AtomicBool::new(false)).err())
        }
        Err(error) => (None, Some(error)),
    };
    let (trouble, hint) = told(error.as_ref());
    Some(Engine { on: config.proxy.on, tried: !quick && said.is_some(), said, trouble, hint })
}

/// And why the settings would refuse the model.
fn needs(config: &RunConfig, file: &ModelFile, place: Place) -> (Needs, Option<Error>) {
    let (model, lora) = (file.config(), config.lora.clone().unwrap_or_default());
    let context = config.llm.max_context.min(model.context);
    let (pass, refusal) = if place.is_card() {
        (PASS_TOKENS.max(context), None)
    } else {
        match longest_pass(file, &lora, config.llm.dtype, context, config.llm.memory_mib) {
            Ok(pass) => (pass, None),
            // Shown with the shortest passes there are.
            Err(error) => (context, Some(error)),
        }
    };
    let on_card = |recompute| Memory::on_card(model, &lora, config.llm.card_dtype, context, pass, BATCH_ON_CARD, recompute);
    let llm = if place.is_card() { on_card(false) } else { Memory::of(file, &lora, config.llm.dtype, context, pass) };
    let needs = Needs {
        place,
        peak: llm.peak(),
        peak_recomputing: place.is_card().then(|| on_card(true).peak()),
        worker: config.proxy.memory_mib << 20,
        workers: config.proxy.workers,
        // The adapter's parameters as f32.
        checkpoint: Memory::on_card(model, &lora, CardDtype::F32, context, pass, 1, true).adapter,
        llm,
    };
    (needs, refusal)
}

fn processor() -> Processor {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let amount = |key: &str| memory.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Processor {
        name,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        features: features(),
        kernels: processor::level().name(),
        memory: amount("MemTotal:").map(|kib| kib << 10),
        available: amount("MemAvailable:").map(|kib| kib << 10),
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let all = [
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("AVX-512", is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl")),
        ("AVX512-BF16", is_x86_feature_detected!("avx512bf16")),
    ];
    all.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

/// What an ordinary user may still write on the disk of a folder.
fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: a C string, and room for the structure, which is filled in where the call succeeds.
    let stat = unsafe {
        if libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) != 0 {
            return None;
        }
        stat.assume_init()
    };
    #[allow(clippy::unnecessary_cast)] // Other systems have narrower counts.
    Some(stat.f_bavail as u64 * stat.f_frsize as u64)
}
