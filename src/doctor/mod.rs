//! What this machine has for a run, and what each phase of one will need.

use std::path::PathBuf;

use serde::Serialize;

use crate::base::confine;
use crate::base::device::{Card, Kernels, Place};
use crate::base::error::{Error, Result};
use crate::base::home;
use crate::config::RunConfig;
use crate::decoder::files::catalogue;
use crate::decoder::files::model_file::ModelFile;
use crate::decoder::model::memory::{Memory, PASS_TOKENS, longest_pass};
use crate::decoder::sample::generate::BATCH_ON_CARD;
use crate::decoder::settings::llm::CardDtype;
use crate::proxy::dataset;

#[derive(Debug, Serialize)]
pub struct Findings {
    pub version: &'static str,
    pub processor: Processor,
    pub device: Device,
    pub model: Found,
    pub data: Found,
    pub disk: Vec<Disk>,
    /// What sandboxes and workers go without, where this kernel lacks it.
    pub unconfined: Option<&'static str>,
    /// None where there is no model to know it from.
    pub needs: Option<Needs>,
}

#[derive(Debug, Serialize)]
pub struct Processor {
    pub name: Option<String>,
    pub threads: usize,
    pub features: Vec<&'static str>,
    /// Bytes.
    pub memory: Option<u64>,
    pub available: Option<u64>,
}

/// Where the settings want the LLM.
#[derive(Debug, Serialize)]
pub struct Device {
    pub asked: Place,
    pub place: Place,
    /// Backends that this program was built with.
    pub built_with: Vec<&'static str>,
    pub kernels: &'static str,
    pub card: Option<Card>,
    /// Why `auto` took no card.
    pub fallback: Option<String>,
    /// Why it is not to be had, and what to do.
    pub trouble: Option<String>,
    pub hint: Option<String>,
}

/// A model or a data set.
#[derive(Debug, Serialize)]
pub struct Found {
    pub name: String,
    pub path: Option<PathBuf>,
    /// Whether the hashes were computed, or only the files looked for.
    pub hashed: bool,
    pub trouble: Option<String>,
    pub hint: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Disk {
    pub folder: PathBuf,
    /// Bytes.
    pub free: Option<u64>,
}

/// Bytes, estimated.
#[derive(Debug, Serialize)]
pub struct Needs {
    /// Where the LLM computes.
    pub place: Place,
    pub llm: Memory,
    pub peak: u64,
    /// With one layer's graph at a time, which a card falls back on.
    pub peak_recomputing: Option<u64>,
    /// Address space of a worker, and how many there are, where the proxies train on the processor.
    pub worker: u64,
    pub workers: usize,
    /// A checkpoint of each cycle on disk.
    pub checkpoint: u64,
}

impl Findings {
    /// What stands in the way of a run.
    pub fn troubles(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let all =
            [(&self.device.trouble, &self.device.hint), (&self.model.trouble, &self.model.hint), (&self.data.trouble, &self.data.hint)];
        all.into_iter().filter_map(|(trouble, hint)| Some((trouble.as_deref()?, hint.as_deref())))
    }
}

/// Looks; `quick` computes no hash.
///
/// # Errors
/// Only where the machine does not answer; what is missing is a finding.
pub fn examine(config: &RunConfig, quick: bool) -> Result<Findings> {
    let device = device(config.llm.device);
    let mut model = model(config, quick);
    let file = model.path.as_ref().and_then(|path| ModelFile::open(path).ok());
    let needs = file.map(|file| {
        let (needs, refusal) = needs(config, &file, device.place);
        if let (Some(error), None) = (refusal, &model.trouble) {
            (model.trouble, model.hint) = (Some(error.to_string()), error.hint_text().map(String::from));
        }
        needs
    });
    let data = data(config, quick);
    let mut folders = vec![PathBuf::from("."), home::models(), home::data(), std::env::temp_dir()];
    folders.retain(|folder| folder.is_dir());
    let disk = folders.into_iter().map(|folder| Disk { free: free_bytes(&folder), folder }).collect();
    let unconfined = confine::missing();
    Ok(Findings { version: env!("CARGO_PKG_VERSION"), processor: processor(), device, model, data, disk, unconfined, needs })
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
