use eliteloop::base::error::Result;
use eliteloop::proxy::worker;

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<()> {
    worker::serve(std::io::stdin().lock())
}
