use std::path::PathBuf;

use eliteloop::base::error::{Error, Result};
use eliteloop::base::printer;
use eliteloop::base::stop;
use eliteloop::study::file::Study;
use eliteloop::study::{self, Open, tables};
use eliteloop::theory::values as table;

#[derive(clap::Args)]
pub struct Args {
    /// The study: models, arms, seeds and settings, as in scripts/studies
    file: PathBuf,
    /// Folder of the study; the same command goes on with what is there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Runs at the same time, in place of the file's
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// The report as JSON instead of its tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let mut file = Study::read(&args.file)?;
    file.workers = args.workers.unwrap_or(file.workers).max(1);
    let stop = stop::on_signal()?;
    let mut open = Open::new(file, &args.out)?;
    let ending = open.run(&stop)?;
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
