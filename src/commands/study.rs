use std::path::PathBuf;
use std::sync::Arc;

use eliteloop::base::error::{AtPath, Error, Result};
use eliteloop::base::files::{read_text, write_whole};
use eliteloop::base::{home, printer, stop};
use eliteloop::oracle;
use eliteloop::proxy::engine::jobs::{Jobs, Machine};
use eliteloop::proxy::settings::On;
use eliteloop::study::calibration::{self, Calibration};
use eliteloop::study::file::Study;
use eliteloop::study::plan::{self, Spread};
use eliteloop::study::{self, Open, tables};
use eliteloop::theory::values as table;

#[derive(clap::Args)]
pub struct Args {
    /// The study: models, arms, seeds and settings, as in scripts/studies
    file: PathBuf,
    /// Folder of the study; the same command goes on with what is there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Runs at the same time, in place of the file's; with --runs-on, jobs that wait or run at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// What does the trainings of all runs, in place of the setting proxy.on
    #[arg(long, value_name = "ENGINE", value_enum)]
    on: Option<On>,
    /// What does the runs themselves, each a job
    #[arg(long, value_name = "ENGINE", value_enum, conflicts_with = "on")]
    runs_on: Option<On>,
    /// With --runs-on: cores of a job, in place of the setting threads
    #[arg(long, value_name = "N", requires = "runs_on", value_parser = clap::value_parser!(u16).range(1..))]
    cores: Option<u16>,
    /// With --runs-on: graphics cards of a job
    #[arg(long, value_name = "N", default_value_t = 0, requires = "runs_on")]
    gpus: u16,
    /// With --runs-on: memory of a job, for the LLM and its trainings together
    #[arg(long, value_name = "MIB", default_value_t = 8192, requires = "runs_on", value_parser = clap::value_parser!(u64).range(256..))]
    memory_mib: u64,
    /// With --runs-on slurm: the batch script, after src/presets/slurm.sh
    #[arg(long, value_name = "FILE", requires = "runs_on")]
    slurm_script: Option<PathBuf>,
    /// Run nothing: say how many seeds a difference needs, by --spread or by what the folder has measured
    #[arg(long)]
    plan: bool,
    /// With --plan: the standard deviation of paired differences, in percentage points
    #[arg(long, value_name = "POINTS", requires = "plan")]
    spread: Option<f64>,
    /// With --plan: differences to plan for, in percentage points
    #[arg(long, value_name = "POINTS", requires = "plan", value_delimiter = ',')]
    difference: Vec<f64>,
    /// The report as JSON instead of its tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let text = read_text(&args.file, "read the study")?;
    if calibration::is_calibration(&text) {
        return calibrate(args, &text);
    }
    let mut file = Study::read(&args.file)?;
    if args.plan {
        return plan(args, &file);
    }
    file.on = args.on;
    if args.slurm_script.is_some() && args.runs_on != Some(On::Slurm) {
        return Err(Error::input("--slurm-script: it is Slurm's").hint("give --runs-on slurm with it"));
    }
    let stop = stop::on_signal()?;
    let cores = args.cores.map_or_else(|| file.threads(), |cores| Ok(cores.into()))?;
    let machine = Machine { cores, gpus: args.gpus.into(), memory_mib: args.memory_mib };
    let mut engine = Jobs::open(args.runs_on.unwrap_or_default(), args.slurm_script.clone(), machine)?;
    let mut open = Open::new(file, &args.out)?;
    engine.as_mut().map_or(Ok(()), |engine| engine.bring(&args.out))?;
    let ending = open.run(args.workers, engine.as_mut(), &stop)?;
    if !ending.stopped && ending.failures.is_empty() {
        engine.as_ref().map_or(Ok(()), Jobs::take_away)?;
    }
    let report = study::write_report(&args.out, &ending.failures)?;
    if args.json {
        printer::data(serde_json::to_string_pretty(&report)?);
    } else {
        printer::data(&report.verdict);
        for table in tables::tables(&report) {
            printer::data(table::section(&table));
        }
    }
    printer::note(format_args!(
        "{} of {} runs finished; the report is {}",
        report.finished,
        report.planned,
        args.out.join("study.html").display()
    ));
    match ending.failures.len() {
        0 if ending.stopped => Err(Error::stopped("stopped, nothing is lost; the same command goes on")),
        0 => Ok(()),
        failed => {
            let all: Vec<String> = ending.failures.iter().map(|f| format!("{}: {} (see {})", f.job, f.message, f.log.display())).collect();
            Err(Error::machine(format!("{failed} of {} runs failed: {}", report.planned, all.join("; ")))
                .hint("the same command tries them again"))
        }
    }
}

/// Power beforehand.
fn plan(args: &Args, file: &Study) -> Result<()> {
    let positive = |points: f64, what: &str| {
        let sane = points.is_finite() && points > 0.0 && points <= 100.0;
        if sane { Ok(points / 100.0) } else { Err(Error::input(format!("--{what} {points}: percentage points above 0, at most 100"))) }
    };
    let asked = args.difference.iter().map(|points| positive(*points, "difference")).collect::<Result<Vec<f64>>>()?;
    let differences = if asked.is_empty() { plan::DIFFERENCES.to_vec() } else { asked };
    let spreads = match args.spread {
        Some(points) => vec![Spread { of: "given".into(), value: positive(points, "spread")?, interval: None }],
        None if study::is_study(&args.out) => plan::measured(&study::collect(&args.out, &[])?),
        None => Vec::new(),
    };
    if spreads.is_empty() {
        return Err(Error::input(format!("{} has not measured the spread of any difference", args.out.display()))
            .hint("two seeds of two arms measure it, or give one as --spread POINTS"));
    }
    let planned = plan::plan(&spreads, &differences, file.all_seeds().len());
    printer::data(if args.json { serde_json::to_string_pretty(&table::json(&planned))? } else { table::section(&planned) });
    Ok(())
}

/// Counts verdicts on controls; ends with an error where a bar is not met.
fn calibrate(args: &Args, text: &str) -> Result<()> {
    let calibration = Calibration::parse(text, &args.file.display().to_string())?;
    let data = Arc::new(oracle::load(&calibration.dataset, &home::data())?);
    std::fs::create_dir_all(&args.out).at("make the folder", &args.out)?;
    let rows = calibration.run(&data, |done| printer::note(done))?;
    let counted = calibration::table(&calibration, &rows);
    write_whole(&args.out.join("calibration.md"), table::markdown(&counted).trim_start().as_bytes())?;
    table::write(std::slice::from_ref(&counted), &args.out)?;
    if args.json {
        printer::data(serde_json::to_string_pretty(&table::json(&counted))?);
    } else {
        printer::data(table::section(&counted));
    }
    let missed: Vec<String> = rows
        .iter()
        .filter(|row| !row.is_met())
        .map(|r| format!("{} {} x {}, claim {}", r.control, r.shape.0, r.shape.1, r.claim))
        .collect();
    if missed.is_empty() {
        return Ok(());
    }
    Err(Error::machine(format!("{} bars are not met: {}", missed.len(), missed.join("; ")))
        .hint("the verdicts are not to be trusted there"))
}
