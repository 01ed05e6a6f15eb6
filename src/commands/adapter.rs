//! `eliteloop adapter`: adapters as PEFT has them, out of a run, into a run, and merged into their model.

use std::path::{Path, PathBuf};

use eliteloop::base::error::{AtPath, Error, Result};
use eliteloop::base::files::write_whole;
use eliteloop::base::printer;
use eliteloop::decoder::files::catalogue;
use eliteloop::decoder::files::chat::ChatTemplate;
use eliteloop::decoder::files::hf_writer::Stored;
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::files::provenance::{Origin, Provenance};
use eliteloop::decoder::lora::adapter::Precision;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::merge::merge;
use eliteloop::delta::starts::starts;
use eliteloop::policy::learner::stored_adapter;
use eliteloop::record::{CycleRow, Store, folder};
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Write the adapter of a run's cycle as a PEFT folder, or for llama.cpp
    Export {
        #[command(flatten)]
        source: Source,
        /// As f16, in half the space
        #[arg(long)]
        half: bool,
        /// As `adapter.gguf` for llama.cpp, and a Modelfile for Ollama beside it
        #[arg(long)]
        gguf: bool,
    },
    /// Check that a PEFT folder fits a model, and show what it is; a run then starts from it by llm.adapter = DIR
    Import {
        adapter: PathBuf,
        /// A name of the catalogue or a path
        #[arg(long, default_value = "smollm2-135m-instruct")]
        model: String,
        /// Accept that it was tuned for another chat template
        #[arg(long)]
        force: bool,
        #[arg(long)]
        json: bool,
    },
    /// Write the model of a run with the adapter of a cycle merged into its weights, as a Hugging Face folder
    Merge {
        #[command(flatten)]
        source: Source,
        /// How the weights are stored
        #[arg(long, value_enum, default_value = "f32")]
        dtype: Stored,
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
struct Source {
    /// Folder of the run
    run: PathBuf,
    /// The cycle whose update made the adapter [default: the last one]
    #[arg(long, value_name = "K")]
    cycle: Option<u64>,
    /// New folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    match &args.verb {
        Verb::Export { source, half, gguf } => export(source, *half, *gguf),
        Verb::Import { adapter, model, force, json } => import(adapter, model, *force, *json),
        Verb::Merge { source, dtype, json } => merged(source, *dtype, *json),
    }
}

/// An adapter of a run, checked against the run's record.
struct Checkpoint {
    model: ModelFile,
    lora: Lora,
    provenance: Provenance,
}

impl Source {
    fn open(&self) -> Result<Checkpoint> {
        let settings = folder::settings(&self.run)?;
        super::run::set_threads(settings.threads)?;
        let store = Store::read(&folder::store_path(&self.run))?;
        let row = self.row(store.cycles()?)?;
        if row.adapter_hash == "none" {
            return Err(Error::input(format!("{} has no adapters: nothing in it was tuned", self.run.display())));
        }
        let model = ModelFile::open(&catalogue::find(&settings.llm.model)?)?;
        let mut provenance = Provenance::of(&model)?;
        let used = store.meta("model")?.unwrap_or_default();
        if provenance.model_sha256 != used {
            let message =
                format!("{} is not the model the run used (SHA-256 {}, then {used})", model.path().display(), provenance.model_sha256);
            return Err(Error::input(message).hint("put the original back"));
        }
        let place = folder::checkpoint(&self.run, row.cycle);
        let lora = stored_adapter(&place, model.config(), &row.adapter_hash)?;
        let update = row.tuning.as_ref();
        provenance.run = Some(Origin {
            run: self.run.canonicalize()?.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            cycle: row.cycle,
            seed: settings.seed,
            adapter_sha256: row.adapter_hash,
            examples: update.map(|u| u.examples),
            loss_before: update.map(|u| u.before),
            loss_after: update.map(|u| u.after),
        });
        Ok(Checkpoint { model, lora, provenance })
    }

    fn row(&self, cycles: Vec<CycleRow>) -> Result<CycleRow> {
        let last = cycles.last().map(|row| row.cycle);
        let Some(last) = last else {
            return Err(Error::input(format!("{} has no closed cycle yet", self.run.display())));
        };
        let wanted = self.cycle.unwrap_or(last);
        let row = cycles.into_iter().find(|row| row.cycle == wanted);
        row.ok_or_else(|| {
            Error::input(format!("{} has no closed cycle {wanted}", self.run.display())).hint(format!("its cycles are 0 to {last}"))
        })
    }
}

fn export(source: &Source, half: bool, gguf: bool) -> Result<()> {
    if source.out.exists() {
        return Err(Error::input(format!("{} exists already", source.out.display())).hint("give --out a new folder"));
    }
    let Checkpoint { model, lora, provenance } = source.open()?;
    let precision = if half { Precision::F16 } else { Precision::F32 };
    if gguf {
        std::fs::create_dir_all(&source.out).at("create", &source.out)?;
        lora.save_gguf(&source.out.join("adapter.gguf"), &model, precision)?;
        write_whole(&source.out.join("Modelfile"), modelfile(model.path())?.as_bytes())?;
    } else {
        lora.save(&source.out, &provenance.model, precision)?;
    }
    provenance.write(&source.out)?;
    printer::data(source.out.display());
    Ok(())
}

/// What Ollama makes a model of: `ollama create NAME -f Modelfile`.
fn modelfile(model: &Path) -> Result<String> {
    Ok(format!("FROM {}\nADAPTER ./adapter.gguf\n", model.canonicalize().at("find", model)?.display()))
}

fn import(adapter: &Path, model: &str, force: bool, as_json: bool) -> Result<()> {
    let model = ModelFile::open(&catalogue::find(model)?)?;
    let lora = Lora::load(adapter, model.config())?;
    let here = Provenance::of(&model)?;
    let template = model.chat_template()?.as_ref().map(ChatTemplate::hash);
    let stated = Provenance::read(adapter)?;
    let known = stated.clone().unwrap_or(here.clone());
    let other_base = Lora::base_of(adapter)?.filter(|base| stated.is_none() && !same_name(base, &model));
    let mut adopted = known.clone();
    if force {
        adopted.accept(template.as_deref());
    } else {
        adopted.check(adapter, template.as_deref())?;
    }
    // What is written here holds from now on, so not on the word of a --model that may be wrong.
    if stated.as_ref() != Some(&adopted) && (other_base.is_none() || force) {
        adopted.write(adapter)?;
    }
    let same_model = known.model_sha256 == here.model_sha256;
    if as_json {
        let shown = json!({
            "adapter": adapter,
            "lora": lora.config,
            "parameters": lora.parameters(),
            "sha256": lora.hash()?,
            "provenance": adopted,
            "provenance_stated": stated.is_some(),
            "other_base": other_base,
            "same_model": same_model,
            "same_chat_template": known.fits(template.as_deref()),
        });
        printer::data(serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    let config = &lora.config;
    printer::data(format_args!(
        "LoRA of rank {}, alpha {}, {} parameters, on {}",
        config.rank,
        config.alpha,
        lora.parameters(),
        config.targets.join(" ")
    ));
    printer::data(format_args!("SHA-256 {}", lora.hash()?));
    match (&known.run, &stated) {
        (Some(origin), _) => printer::data(format_args!("from cycle {} of the run {}", origin.cycle, origin.run)),
        (None, Some(_)) => printer::data(format_args!("tuned for {}", known.model)),
        (None, None) if other_base.is_some() => printer::note(format_args!(
            "its adapter_config.json names the base model {}, this is {}: the shapes fit, but it may have been tuned on other weights{}",
            other_base.unwrap_or_default(),
            here.model,
            if force { "" } else { "; --force records that it is for this one" }
        )),
        (None, None) => {
            printer::note(format_args!("it does not say what it was tuned for; from now on it counts as tuned for {}", here.model));
        }
    }
    if !same_model {
        printer::note(format_args!(
            "tuned for the file with SHA-256 {}, this is {}: the same shapes, other weights",
            known.model_sha256, here.model_sha256
        ));
    }
    printer::data(format_args!("start a run from it: --set llm.adapter={}", adapter.display()));
    Ok(())
}

/// Whether the base model that an adapter names is this one, as far as names tell: owner, case, signs and what quantisers append aside.
fn same_name(base: &str, model: &ModelFile) -> bool {
    let plain = |name: &str| {
        let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_lowercase();
        let name = name.trim_end_matches(".gguf").trim_end_matches("-bnb-4bit").trim_end_matches("-unsloth").to_owned();
        name.chars().filter(|c| c.is_alphanumeric()).collect::<String>()
    };
    let base = plain(base);
    let file = model.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    [model.name(), file].iter().map(|name| plain(name)).any(|name| !name.is_empty() && (name.starts_with(&base) || base.starts_with(&name)))
}

fn merged(source: &Source, stored: Stored, as_json: bool) -> Result<()> {
    let Checkpoint { model, lora, provenance } = source.open()?;
    let likeness = merge(&model, &lora, &source.out, stored, starts()[0].1)?;
    provenance.write(&source.out)?;
    if as_json {
        printer::data(serde_json::to_string_pretty(&json!({"out": source.out, "likeness": likeness, "provenance": provenance}))?);
        return Ok(());
    }
    printer::data(source.out.display());
    printer::note(format_args!(
        "its logits differ by {:.2e} from those of the model with the adapter beside it (at most {:.2e} is let through; the adapter changes \
         them by {:.2e})",
        likeness.difference,
        likeness.tolerance * likeness.spread,
        likeness.effect
    ));
    Ok(())
}
