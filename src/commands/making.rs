//! What the verbs that make an adapter share: the learner they begin with, the log of its steps, and the record beside it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use eliteloop::base::device::Place;
use eliteloop::base::error::{AtPath, Error, Result};
use eliteloop::base::printer;
use eliteloop::decoder::files::catalogue;
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::settings::llm::{CardDtype, Dtype, LlmConfig};
use eliteloop::policy::Learner;
use eliteloop::policy::schooling::warmup::{LONGEST_PROMPT, Recipe};
use serde::Serialize;

/// The model with the adapter in `from`, or a fresh one of the recipe.
pub fn open(model: &str, from: Option<&Path>, device: Place, recipe: &Recipe) -> Result<Learner> {
    let (device, why) = device.settle();
    why.into_iter().for_each(printer::note);
    let file = ModelFile::open(&catalogue::find(model)?)?;
    let config = LlmConfig {
        model: model.to_owned(),
        dtype: Dtype::F32,
        max_context: LONGEST_PROMPT + recipe.max_tokens,
        // Nothing is refused beforehand, and passes are as long as they get.
        memory_mib: u64::MAX,
        device,
        card_dtype: CardDtype::F32,
        ..LlmConfig::default()
    };
    Learner::of(&file, &config, from, &recipe.lora, recipe.seed)
}

/// A line a step in a file, some of them shown.
pub struct Log {
    path: PathBuf,
    file: std::fs::File,
}

impl Log {
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let file = std::fs::File::create(&path).at("write", &path)?;
        Ok(Self { path, file })
    }

    pub fn line(&mut self, record: &impl Serialize, step: usize, of: usize, shown: impl FnOnce() -> String) -> Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(record)?).at("write", &self.path)?;
        if step.is_power_of_two() || step.is_multiple_of(25) || step == of {
            printer::note(format_args!("step {step}/{of}: {}", shown()));
        }
        Ok(())
    }
}

/// What the file beside an adapter says of how it was made.
pub fn record(path: &Path, record: &impl Serialize) -> Result<()> {
    let text = toml::to_string(record).map_err(|e| Error::machine("the record cannot be written as TOML").caused_by(e))?;
    std::fs::write(path, text).at("write", path)
}
