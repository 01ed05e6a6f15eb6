//! The command line: one verb, one file under `commands/`.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use eliteloop::base;
use eliteloop::base::error::Result;
use eliteloop::base::{printer, processor};
use eliteloop::proxy::allocator;

#[global_allocator]
static ALLOCATOR: allocator::Recycler = allocator::Recycler;

/// Children are started as `/proc/self/exe`, whose last part the system would show for a name.
fn be_called_by_name() {
    #[cfg(target_os = "linux")]
    // SAFETY: a C string of less than sixteen bytes.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"eliteloop".as_ptr());
    }
}

/// A write beyond the limit on the size of files (`ulimit -f`) becomes an error, in place of a silent end.
fn tell_of_long_files() {
    // SAFETY: nothing runs at that signal.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

#[derive(Parser)]
#[command(name = "eliteloop", version, about = "A local LLM improves neural networks, and itself, by the cross-entropy method")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write the settings of a first run, with numbers for your images and this machine
    Init(commands::init::Args),
    /// Start a run
    Run(commands::run::Args),
    /// Go on with a run or an audit that was stopped or killed
    Resume(commands::resume::Args),
    /// See a run or a study on a terminal while it goes on
    Watch(commands::watch::Args),
    /// Write the HTML report of a run or an audit
    Report(commands::report::Args),
    /// Put runs side by side: quality, funnel, cost, the claims that take two arms; or audits
    Compare(commands::compare::Args),
    /// Recompute what a run or an audit claims of itself
    Verify(commands::verify::Args),
    /// Trace a `PyTorch` source: parameters, FLOPs, operations, shapes, state-dict names
    Trace(commands::trace::Args),
    /// Train one network
    Eval(commands::eval::Args),
    /// Write a network of a run for PyTorch and ONNX
    Export(commands::export::Args),
    /// Tune a fresh model on random deltas, so that it knows the delta formats
    Warmup(commands::warmup::Args),
    /// Teach an adapter what helps, from the deltas that runs have measured
    School(commands::school::Args),
    /// Carry an adapter between runs, models and other programs
    Adapter(commands::adapter::Args),
    /// Models that are here
    Models(commands::models::Args),
    /// Data sets that are here
    Data(commands::data::Args),
    /// Where models and data sets lie
    Dirs(commands::dirs::Args),
    /// The cross-entropy method on NAS-Bench-201 or a table of your own, every probability exact
    Audit(commands::audit::Args),
    /// What every setting does, its default and what it may be
    Settings(commands::settings::Args),
    /// What this machine has, and what a run will need
    Doctor(commands::doctor::Args),
    /// Many runs out of one file: models, arms, seeds; one report
    Study(commands::study::Args),
    /// Measure this machine: tuning, generation, proxies
    Bench(commands::bench::Args),
    /// What a shell completes, or manual pages
    Completions(commands::completions::Args),
    /// Trace one source from stdin under limits (child process of `trace` and `run`)
    #[command(hide = true)]
    Sandbox(commands::sandbox::Args),
    /// Try the chat template of stdin under limits (child process of whatever opens a model)
    #[command(hide = true)]
    Template(commands::template::Args),
    /// Train networks sent over stdin (child process of `run`), or told in task files (on the machines of an engine)
    #[command(hide = true)]
    Worker(commands::worker::Args),
}

fn act(verb: Verb) -> Result<()> {
    match verb {
        Verb::Init(args) => commands::init::run(&args),
        Verb::Run(args) => commands::run::run(&args),
        Verb::Resume(args) => commands::resume::run(&args),
        Verb::Watch(args) => commands::watch::run(&args),
        Verb::Report(args) => commands::report::run(&args),
        Verb::Compare(args) => commands::compare::run(&args),
        Verb::Verify(args) => commands::verify::run(&args),
        Verb::Trace(args) => commands::trace::run(&args),
        Verb::Eval(args) => commands::eval::run(&args),
        Verb::Export(args) => commands::export::run(&args),
        Verb::Warmup(args) => commands::warmup::run(&args),
        Verb::School(args) => commands::school::run(&args),
        Verb::Adapter(args) => commands::adapter::run(&args),
        Verb::Models(args) => commands::models::run(&args),
        Verb::Data(args) => commands::data::run(&args),
        Verb::Dirs(args) => commands::dirs::run(&args),
        Verb::Audit(args) => commands::audit::run(&args),
        Verb::Doctor(args) => commands::doctor::run(&args),
        Verb::Settings(args) => commands::settings::run(&args),
        Verb::Study(args) => commands::study::run(&args),
        Verb::Bench(args) => commands::bench::run(&args),
        Verb::Completions(args) => commands::completions::run(&args),
        Verb::Sandbox(args) => commands::sandbox::run(&args),
        Verb::Template(args) => commands::template::run(&args),
        Verb::Worker(args) => commands::worker::run(&args),
    }
}

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    be_called_by_name();
    base::announce();
    tell_of_long_files();
    let verb = Cli::parse().verb;
    match processor::limit().and_then(|_| act(verb)).and_then(|()| printer::finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
