//! `eliteloop models`: which models are here, whether they are what they should be, and how others get here.

use eliteloop::base::error::{Error, Result};
use eliteloop::base::printer;
use eliteloop::decoder::files::catalogue::{self, ENTRIES, Entry};
use eliteloop::decoder::files::hub;
use eliteloop::decoder::files::import::{Place, import};
use eliteloop::decoder::files::imported::{self, Imported};
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::model::memory::{Memory, PASS_TOKENS};
use eliteloop::decoder::settings::llm::{Dtype, LlmConfig};
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::delta::settings::Format;
use eliteloop::policy::schooling::estimate;
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Models known by name, and which of them are here
    List {
        #[arg(long)]
        json: bool,
    },
    /// Check a model's hash and that this program can run it
    Verify {
        /// A name of the list or a path; without one, every model that is here
        model: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Give a model a name: a GGUF file, a Hugging Face folder, or hf:owner/name in the Hugging Face cache
    Import {
        path: String,
        /// [default: the file's name]
        #[arg(long)]
        name: Option<String>,
        /// Copy it into the folder of models, instead of a link
        #[arg(long)]
        copy: bool,
        /// Link to it (the default)
        #[arg(long, conflicts_with = "copy")]
        link: bool,
        /// Longest prompt and completion that the memory is estimated for
        #[arg(long, value_name = "TOKENS", default_value_t = LlmConfig::default().max_context)]
        context: usize,
        /// How the weights are to be kept (llm.dtype), for that estimate
        #[arg(long, value_enum, default_value = "f32")]
        dtype: Dtype,
        #[arg(long)]
        json: bool,
    },
    /// Download a model into the Hugging Face cache (in a program built with --features hub)
    Pull {
        /// owner/name, or hf:owner/name/file.gguf
        repo: String,
    },
}

pub fn run(args: &Args) -> Result<()> {
    match &args.verb {
        Verb::List { json } => list(*json),
        Verb::Verify { model, json } => verify(model.as_deref(), *json),
        Verb::Import { path, name, copy, link: _, context, dtype, json } => {
            let model = import(path, name.as_deref(), if *copy { Place::Copy } else { Place::Link })?;
            show(&model, *context, *dtype, *json)
        }
        Verb::Pull { repo } => {
            let path = hub::pull(repo)?;
            ModelFile::open(&path)?.check()?.iter().for_each(printer::note);
            printer::data(path.display());
            Ok(())
        }
    }
}

fn list(as_json: bool) -> Result<()> {
    let imported = imported::all()?;
    if as_json {
        let mut rows = Vec::new();
        for entry in &ENTRIES {
            let mut row = json!(entry);
            row["path"] = json!(entry.path());
            row["here"] = json!(entry.path().is_file());
            rows.push(row);
        }
        for model in &imported {
            let mut row = json!(model);
            row["path"] = json!(model.path());
            row["here"] = json!(model.path().exists());
            rows.push(row);
        }
        printer::data(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let names = ENTRIES.iter().map(|entry| entry.name).chain(imported.iter().map(|model| model.name.as_str()));
    let width = names.map(str::len).max().unwrap_or_default();
    let line = |name: &str, bytes: u64, licence: &str, place: String| {
        let size = format!("{:.0} MB", bytes as f64 / 1e6);
        printer::data(format_args!("{name:width$}  {size:>8}  {licence}  {place}"));
    };
    for entry in &ENTRIES {
        let Entry { name, bytes, licence, .. } = entry;
        line(name, *bytes, licence, if entry.path().is_file() { entry.path().display().to_string() } else { "not here".into() });
    }
    for model in &imported {
        let place =
            if model.path().exists() { model.path().display().to_string() } else { format!("gone from {}", model.source.display()) };
        line(&model.name, model.bytes, model.licence.as_deref().unwrap_or(NOT_STATED), place);
    }
    for entry in ENTRIES.iter().filter(|entry| !entry.path().is_file()) {
        printer::note(format_args!("{}: {}", entry.name, entry.remedy()));
    }
    Ok(())
}

const NOT_STATED: &str = "licence not stated";

fn verify(model: Option<&str>, as_json: bool) -> Result<()> {
    let specs: Vec<String> = if let Some(spec) = model {
        vec![spec.to_owned()]
    } else {
        let here = ENTRIES.iter().filter(|entry| entry.path().is_file()).map(|entry| entry.name.to_owned());
        here.chain(imported::all()?.into_iter().map(|imported| imported.name)).collect()
    };
    if specs.is_empty() {
        return Err(Error::input("there is no model here to check").hint(ENTRIES[0].remedy()));
    }
    let mut rows = Vec::new();
    for spec in specs {
        let model = catalogue::verify(&spec)?;
        if !as_json {
            let name = model.known.as_deref().unwrap_or("known by no name, but of a kind this program runs");
            printer::data(format_args!("{}  {}  {name}", model.sha256, model.path.display()));
        }
        rows.push(model);
    }
    if as_json {
        printer::data(serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}

fn show(model: &Imported, context: usize, dtype: Dtype, as_json: bool) -> Result<()> {
    let file = ModelFile::open(&model.existing()?)?;
    let memory = Memory::of(&file, &LoraConfig::default(), dtype, context, PASS_TOKENS.max(context));
    if as_json {
        let mut row = json!(model);
        row["path"] = json!(model.path());
        row["memory"] = json!(memory);
        row["memory"]["peak"] = json!(memory.peak());
        row["memory"]["context"] = json!(context);
        printer::data(serde_json::to_string_pretty(&row)?);
        return Ok(());
    }
    let Imported { name, family, parameters, licence, sha256, .. } = model;
    let licence = licence.as_deref().unwrap_or(NOT_STATED);
    printer::data(format_args!("{name}: {}, {:.0} M parameters, {licence}", family.name(), *parameters as f64 / 1e6));
    printer::data(format_args!("SHA-256 {sha256}  {}", model.path().display()));
    file.check()?.iter().for_each(printer::note);
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    printer::data(format_args!(
        "memory of a run with prompt and completion up to {context} tokens, about {:.1} GiB: weights {:.1}, adapter and optimiser {:.1}, then by \
         turns generation {:.1} and tuning {:.1}",
        gib(memory.peak()),
        gib(memory.weights),
        gib(memory.adapter),
        gib(memory.generation),
        gib(memory.tuning)
    ));
    let seconds = estimate::seconds(&file, Format::Edit)?;
    printer::data(format_args!("as it is it writes few deltas that apply. Teach it the format first, in {}:", duration(seconds)));
    printer::data(format_args!("  eliteloop warmup --model {name} --out {name}-adapter"));
    printer::data(format_args!("then use it: --set llm.model={name} --set llm.adapter={name}-adapter (or =none, without)"));
    Ok(())
}

fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).ceil();
    if minutes < 120.0 {
        format!("about {minutes:.0} minutes on this processor")
    } else {
        format!("about {:.0} hours on this processor", minutes / 60.0)
    }
}
