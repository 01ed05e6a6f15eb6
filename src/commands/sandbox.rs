use eliteloop::base::error::Result;
use eliteloop::tracer::sandbox;

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<()> {
    sandbox::serve()
}
