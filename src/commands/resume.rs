//! Goes on with a run or an audit.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use eliteloop::base::device::Place;
use eliteloop::base::error::Result;
use eliteloop::base::stop;
use eliteloop::method::run::More;
use eliteloop::proxy::settings::On;

use super::recorded;
use super::run::{parse_hours, parse_quality, set_threads};

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run or audit
    run: PathBuf,
    /// Go on on another device than it began on: cpu, cuda:N, metal:N, or auto. What follows is then not, to the last bit, what an unbroken
    /// run would have written
    #[arg(long, value_name = "DEVICE")]
    device: Option<Place>,
    /// What does the trainings from now on, in place of the setting proxy.on
    #[arg(long, value_name = "ENGINE", value_enum)]
    on: Option<On>,
    /// So many cycles in all, in place of those it was begun with
    #[arg(long, value_name = "N")]
    cycles: Option<u64>,
    /// Begin no cycle after so many hours
    #[arg(long, value_name = "H", value_parser = parse_hours)]
    hours: Option<Duration>,
    /// Begin no cycle of a run once a network has this quality
    #[arg(long, value_name = "Q", value_parser = parse_quality)]
    until_quality: Option<f64>,
}

pub fn run(args: &Args) -> Result<()> {
    let verbs = recorded::of(&args.run)?;
    set_threads((verbs.threads)(&args.run)?)?;
    let until = args.hours.map(|hours| Instant::now() + hours);
    let more = More { device: args.device, on: args.on, cycles: args.cycles, until, until_quality: args.until_quality };
    (verbs.resume)(&args.run, &more, stop::on_signal()?)
}
