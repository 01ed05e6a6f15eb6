//! What an adapter was tuned for: `eliteloop.json` beside PEFT's two files, which PEFT does not look at.
//!
//! An adapter learns a distribution of completions after prompts as one chat template writes them. After another template it
//! answers differently, with no error, so the template's hash travels with it and is compared before a run starts.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chat::ChatTemplate;
use super::model_file::ModelFile;
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::write_whole;

/// What `eliteloop.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of the program that wrote this.
    pub(crate) eliteloop: String,
    /// What the model calls itself.
    pub model: String,
    /// Of the model's files: see [`ModelFile::sha256`].
    pub model_sha256: String,
    /// None where the model has no template.
    pub chat_template_sha256: Option<String>,
    /// Hashes of other templates that the user said the adapter may follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) accepted_chat_templates: Vec<String>,
    /// None where no run made the adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Origin>,
}

/// The run and the cycle an adapter came out of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of its folder.
    pub run: String,
    /// From 1; 0 is the adapter that the run began with.
    pub cycle: u64,
    /// The run's.
    pub seed: u64,
    /// Of the adapter's parameters as f32.
    pub adapter_sha256: String,
    /// How many the cycle's update learnt from; None, as both losses are, where it had no update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// The loss over them before the update, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_before: Option<f64>,
    /// The same after the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_after: Option<f64>,
}

const FILE: &str = "eliteloop.json";
const NO_TEMPLATE: &str = "none";

impl Provenance {
    /// Of an adapter for this model and its template.
    pub fn of(model: &ModelFile) -> Result<Self> {
        let template = model.chat_template()?.as_ref().map(ChatTemplate::hash);
        Ok(Self::new(&model.name(), &model.sha256()?, template.as_deref()))
    }

    /// The same by the model's name, the hash of its file and that of its template.
    pub(crate) fn new(model: &str, model_sha256: &str, chat_template_sha256: Option<&str>) -> Self {
        Self {
            eliteloop: env!("CARGO_PKG_VERSION").into(),
            model: model.into(),
            model_sha256: model_sha256.into(),
            chat_template_sha256: chat_template_sha256.map(Into::into),
            accepted_chat_templates: Vec::new(),
            run: None,
        }
    }

    /// None where the adapter's folder says nothing.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).at("read", &path),
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Error::input(format!("{} is no record of an adapter's provenance", path.display()))
                .hint("restore the file; without it nothing is known of the adapter's chat template")
                .caused_by(e)
        })
    }

    /// Writes it into an adapter's folder, whole or not at all.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_whole(&folder.join(FILE), format!("{}\n", serde_json::to_string_pretty(self)?).as_bytes())
    }

    /// Whether the adapter may be used with a model of this template.
    #[must_use]
    pub fn fits(&self, chat_template: Option<&str>) -> bool {
        self.chat_template_sha256.as_deref() == chat_template
            || self.accepted_chat_templates.iter().any(|hash| hash == chat_template.unwrap_or(NO_TEMPLATE))
    }

    /// Lets the adapter be used with another template than its own.
    pub fn accept(&mut self, chat_template: Option<&str>) {
        if !self.fits(chat_template) {
            self.accepted_chat_templates.push(chat_template.unwrap_or(NO_TEMPLATE).into());
        }
    }

    /// # Errors
    /// Where the adapter was tuned for another template.
    pub fn check(&self, folder: &Path, chat_template: Option<&str>) -> Result<()> {
        if self.fits(chat_template) {
            return Ok(());
        }
        let (theirs, ours) = (self.chat_template_sha256.as_deref().unwrap_or(NO_TEMPLATE), chat_template.unwrap_or(NO_TEMPLATE));
        let message = format!(
            "the adapter in {} was tuned for another chat template (SHA-256 {theirs}, of {}) than this model has ({ours})",
            folder.display(),
            self.model
        );
        Err(Error::input(message).hint(format!(
            "use the model it was tuned for; or accept that it may answer worse: eliteloop adapter import {} --model MODEL --force",
            folder.display()
        )))
    }
}
