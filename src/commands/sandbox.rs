use eliteloop::error::Result;
use eliteloop::network::sandbox;

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<()> {
    sandbox::serve()
}
