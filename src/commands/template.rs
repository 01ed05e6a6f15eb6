use eliteloop::base::error::Result;
use eliteloop::decoder::files::trial;

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<()> {
    trial::serve()
}
