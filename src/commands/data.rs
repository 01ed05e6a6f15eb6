use eliteloop::error::{Error, Result};

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<()> {
    Err(Error::machine("not built yet"))
}
