//! `eliteloop school`: an adapter learns from the deltas that runs have measured which of them help, and is judged on parents it was not
//! schooled on, beside everything that costs less than a training.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use eliteloop::base::device::Place;
use eliteloop::base::error::{AtPath, Error, Result};
use eliteloop::base::hash::sha256;
use eliteloop::base::printer;
use eliteloop::decoder::settings::llm::LlmConfig;
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::delta;
use eliteloop::delta::settings::Format;
use eliteloop::policy::Learner;
use eliteloop::policy::learner::adapter_folder;
use eliteloop::policy::schooling::school::{self, School, Siblings, Worth};
use eliteloop::policy::schooling::warmup::Recipe;
use eliteloop::record::deltas::{self, MeasuredDelta};
use eliteloop::theory::ranking::{Ordering, OverParents, ordering};
use eliteloop::theory::values::{Cell, Show, Table, estimate, section, value};
use serde::Serialize;

use super::making::{self, Log, open};

#[derive(clap::Args)]
pub struct Args {
    /// Folders of runs, and tables of measured deltas
    #[arg(required = true, value_name = "RUN|TABLE")]
    from: Vec<PathBuf>,
    /// Folder of the adapter that is made
    #[arg(long, value_name = "DIR", required_unless_present = "table")]
    out: Option<PathBuf>,
    /// Write all measured deltas into this file, for later schools
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// A name of the catalogue or a path to a model file
    #[arg(long, default_value = "smollm2-135m-instruct")]
    model: String,
    /// The adapter that school begins with: warmup, none, or a folder
    #[arg(long, default_value = "warmup")]
    adapter: String,
    #[arg(long, value_enum, default_value = "edit")]
    format: Format,
    /// What a gain is worth
    #[arg(long, value_enum, default_value = "pairs")]
    worth: Worth,
    /// Nothing is learnt from deltas of this data set; the adapter is judged on them
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// Nothing is learnt from deltas of parents that descend from this start network; the adapter is judged on them
    #[arg(long, value_name = "FAMILY")]
    hold_out: Vec<String>,
    /// Times that each delta is learnt from
    #[arg(long, default_value_t = School::default().epochs)]
    epochs: usize,
    #[arg(long, default_value_t = School::default().lr)]
    lr: f64,
    /// Inverse of how far the adapter may go for a preference
    #[arg(long, default_value_t = School::default().beta)]
    beta: f64,
    /// What the mean loss of a token of the corpus weighs beside the deltas: more of it keeps what the adapter knows of validity
    #[arg(long, default_value_t = School::default().corpus_weight)]
    corpus_weight: f64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the LLM computes: cpu, cuda:N, metal:N, or auto
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Place,
}

/// Siblings of which one learns nothing about an order.
const FEWEST_JUDGED: usize = 5;

impl Args {
    fn check(&self) -> Result<()> {
        let is_positive = |number: f64| number.is_finite() && number > 0.0;
        if !is_positive(self.lr) || !is_positive(self.beta) || self.epochs == 0 {
            return Err(Error::input("--lr, --beta and --epochs are above 0"));
        }
        if !(self.corpus_weight.is_finite() && self.corpus_weight >= 0.0) {
            return Err(Error::input("--corpus-weight is 0 or above"));
        }
        Ok(())
    }

    fn plan(&self) -> School {
        School {
            worth: self.worth,
            epochs: self.epochs,
            lr: self.lr,
            beta: self.beta,
            corpus_weight: self.corpus_weight,
            ..School::default()
        }
    }

    fn recipe(&self) -> Recipe {
        Recipe {
            format: self.format,
            examples: 0,
            per_parent: School::default().corpus,
            lr: self.lr,
            warmup_steps: School::default().warmup_steps,
            clip: 1.0,
            max_tokens: delta::longest(self.format),
            seed: self.seed,
            lora: LoraConfig::default(),
        }
    }

    fn is_learnt_from(&self, family: &str, dataset: &str) -> bool {
        !self.hold_out.iter().any(|name| name == family) && !self.without.iter().any(|name| name == dataset)
    }
}

pub fn run(args: &Args) -> Result<()> {
    args.check()?;
    let mut measured = Vec::new();
    for path in &args.from {
        measured.extend(deltas::read(path)?);
    }
    if let Some(path) = &args.table {
        deltas::write(path, &measured)?;
        printer::note(format_args!("{} measured deltas in {}", measured.len(), path.display()));
    }
    match &args.out {
        Some(out) => make(args, &measured, out),
        None => Ok(()),
    }
}

/// Deltas of one parent under one recipe, and what else is known of each.
struct Group {
    siblings: Siblings,
    rows: Vec<MeasuredDelta>,
    /// `log p` of each delta before school and after it.
    before: Vec<f64>,
    after: Vec<f64>,
}

impl Group {
    fn parent(&self) -> &str {
        &self.rows[0].parent
    }
}

/// A delta with its gain and its `log p`, as `scores.jsonl` has them: what the tables are made of.
#[derive(Serialize)]
struct Scored<'a> {
    family: &'a str,
    dataset: &'a str,
    recipe: &'a str,
    parent_sha256: String,
    delta: &'a str,
    gain: f64,
    log_p_before: f64,
    log_p_after: f64,
    held_out: bool,
    /// Whether something was learnt from another delta of its parent.
    seen_parent: bool,
}

fn write_scores(path: &Path, learnt: &[Group], held_out: &[Group], seen: &BTreeSet<&str>) -> Result<()> {
    let mut text = String::new();
    for (group, is_held_out) in learnt.iter().map(|group| (group, false)).chain(held_out.iter().map(|group| (group, true))) {
        for (i, row) in group.rows.iter().enumerate() {
            let scored = Scored {
                family: &row.family,
                dataset: &row.dataset,
                recipe: &row.recipe,
                parent_sha256: sha256(&row.parent),
                delta: &row.delta,
                gain: group.siblings.gain[i],
                log_p_before: group.before[i],
                log_p_after: group.after[i],
                held_out: is_held_out,
                seen_parent: seen.contains(group.parent()),
            };
            text += &serde_json::to_string(&scored)?;
            text.push('\n');
        }
    }
    std::fs::write(path, text).at("write", path)
}

fn make(args: &Args, measured: &[MeasuredDelta], out: &Path) -> Result<()> {
    let (plan, recipe) = (args.plan(), args.recipe());
    for (what, names, known) in [
        ("--without", &args.without, measured.iter().map(|row| &row.dataset).collect::<BTreeSet<_>>()),
        ("--hold-out", &args.hold_out, measured.iter().map(|row| &row.family).collect()),
    ] {
        if let Some(name) = names.iter().find(|name| !known.contains(name)) {
            let there = known.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Error::input(format!("{what} {name}: nothing was measured there")).hint(format!("there are: {there}")));
        }
    }
    let config = LlmConfig { model: args.model.clone(), adapter: args.adapter.clone(), ..LlmConfig::default() };
    let mut learner = open(&args.model, adapter_folder(&config)?.as_deref(), args.device, &recipe)?;
    let (mut learnt, mut held_out): (Vec<Group>, Vec<Group>) = grouped(&learner, &recipe, measured)?
        .into_iter()
        .partition(|group| args.is_learnt_from(&group.siblings.family, &group.siblings.dataset));
    let siblings: Vec<Siblings> = learnt.iter().map(|group| group.siblings.clone()).filter(|own| own.examples.len() > 1).collect();
    let count: usize = siblings.iter().map(|own| own.examples.len()).sum();
    if count == 0 {
        return Err(Error::input(format!("of {} measured deltas none has a sibling to learn from", measured.len()))
            .hint("runs with many candidates of few parents give siblings; --format says which deltas count"));
    }
    printer::note(format_args!("{count} deltas of {} parents to learn from", siblings.len()));
    std::fs::create_dir_all(out).at("make the folder", out)?;
    for group in learnt.iter_mut().chain(&mut held_out) {
        group.before = learner.log_p(&group.siblings.examples)?;
    }
    let mut record = Record {
        version: env!("CARGO_PKG_VERSION"),
        model: learner.model.identity.name.clone(),
        model_sha256: learner.model.identity.sha256.clone(),
        chat_template_sha256: learner.model.identity.chat_template.clone(),
        from: learner.adapter_hash()?,
        deltas: count,
        deltas_sha256: sha256(serde_json::to_string(&learnt.iter().map(|group| &group.rows).collect::<Vec<_>>())?),
        seconds: 0.0,
        format: args.format,
        without: &args.without,
        hold_out: &args.hold_out,
        seed: args.seed,
        school: plan.clone(),
    };
    let mut log = Log::new(out, "school.jsonl")?;
    school::school(&mut learner, &recipe, &plan, &siblings, &mut |term, _| {
        record.seconds = term.seconds;
        log.line(term, term.step, term.of, || format!("loss {:.3}, corpus {:.3}", term.loss, term.corpus_loss))
    })?;
    learner.save_adapter(out)?;
    making::record(&out.join("school.toml"), &record)?;
    for group in learnt.iter_mut().chain(&mut held_out) {
        group.after = learner.log_p(&group.siblings.examples)?;
    }
    let seen: BTreeSet<&str> = learnt.iter().map(Group::parent).collect();
    write_scores(&out.join("scores.jsonl"), &learnt, &held_out, &seen)?;
    let unseen: Vec<&Group> = held_out.iter().filter(|group| !seen.contains(group.parent())).collect();
    let tables = [
        ("on what it learnt from", learnt.iter().collect()),
        ("on what was held out", held_out.iter().collect()),
        ("on what was held out, of parents that it has not seen at all", if unseen.len() < held_out.len() { unseen } else { Vec::new() }),
    ];
    for (title, groups) in tables {
        if let Some(table) = judged(title, groups) {
            printer::data(section(&table));
        }
    }
    printer::data(out.display());
    Ok(())
}

/// What `school.toml` says of an adapter.
#[derive(Serialize)]
struct Record<'a> {
    version: &'static str,
    model: String,
    model_sha256: String,
    chat_template_sha256: Option<String>,
    /// Hash of the adapter that school began with.
    from: String,
    deltas: usize,
    deltas_sha256: String,
    seconds: f64,
    format: Format,
    without: &'a [String],
    hold_out: &'a [String],
    seed: u64,
    school: School,
}

/// By parent, data set and recipe; a delta that was measured several times counts once, with the mean of its gains.
fn grouped(learner: &Learner, recipe: &Recipe, measured: &[MeasuredDelta]) -> Result<Vec<Group>> {
    let mut by_parent: BTreeMap<[&str; 3], BTreeMap<&str, Vec<&MeasuredDelta>>> = BTreeMap::new();
    for row in measured.iter().filter(|row| row.format == recipe.format) {
        by_parent.entry([&row.parent, &row.dataset, &row.recipe]).or_default().entry(&row.delta).or_default().push(row);
    }
    let mut groups = Vec::new();
    for own in by_parent.into_values() {
        let first = own.values().next().map(|rows| rows[0]).expect("an entry is made with its first row");
        let siblings = Siblings {
            family: first.family.clone(),
            dataset: first.dataset.clone(),
            examples: Vec::new(),
            gain: Vec::new(),
            noise: own.values().flatten().find_map(|row| row.noise),
        };
        let mut group = Group { siblings, rows: Vec::new(), before: Vec::new(), after: Vec::new() };
        for rows in own.into_values() {
            let id = format!("delta {}", group.rows.len());
            if let Some(example) = school::example(learner, recipe, &rows[0].parent, &rows[0].delta, id)? {
                group.siblings.examples.push(example);
                group.siblings.gain.push(rows.iter().map(|row| row.gain()).sum::<f64>() / rows.len() as f64);
                group.rows.push(rows[0].clone());
            }
        }
        if !group.rows.is_empty() {
            groups.push(group);
        }
    }
    Ok(groups)
}

/// What a delta of a group scores, by its place.
type Score<'a> = &'a dyn Fn(&Group, usize) -> Option<f64>;

/// Who orders siblings by their gains, and how well.
fn judged(title: &str, mut groups: Vec<&Group>) -> Option<Table> {
    groups.retain(|group| group.rows.len() >= FEWEST_JUDGED);
    if groups.is_empty() {
        return None;
    }
    let scores: [(&str, Score); 7] = [
        ("log p before school", &|group, i| Some(group.before[i])),
        ("log p after it", &|group, i| Some(group.after[i])),
        ("their difference", &|group, i| Some(group.after[i] - group.before[i])),
        ("parameters", &|group, i| group.rows[i].cheap.parameters),
        ("synflow", &|group, i| group.rows[i].cheap.synflow),
        ("nwot", &|group, i| group.rows[i].cheap.nwot),
        ("accuracy after the first epoch", &|group, i| group.rows[i].cheap.first_epoch),
    ];
    let rows = scores.map(|(name, score)| {
        let siblings: Vec<(Vec<f64>, Vec<f64>)> = groups
            .iter()
            .map(|group| (0..group.rows.len()).filter_map(|i| Some((score(group, i)?, group.siblings.gain[i]))).unzip())
            .filter(|(scores, _): &(Vec<f64>, Vec<f64>)| scores.len() >= FEWEST_JUDGED)
            .collect();
        let Ordering { parents, deltas, auc, rank_correlation } = ordering(&siblings);
        let cell =
            |known: Option<OverParents>| known.map_or(Cell::Unknown, |known| Cell::estimate(known.mean, known.interval, Show::Fixed(2)));
        vec![name.into(), (parents as u64).into(), (deltas as u64).into(), cell(auc), cell(rank_correlation)]
    });
    Some(Table {
        id: "school",
        title: format!("Who orders siblings by their gains, {title}"),
        note: "AUC: the chance that one of the better half of a parent's deltas scores above one of the other; means over parents".into(),
        head: vec![value("score"), value("parents"), value("deltas"), estimate("AUC"), estimate("rank correlation")],
        rows: rows.to_vec(),
    })
}
