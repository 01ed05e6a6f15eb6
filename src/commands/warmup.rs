use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use eliteloop::config::Format;
use eliteloop::delta::corpus::{mutate, mutate_source, random_network, render};
use eliteloop::delta::starts::starts;
use eliteloop::error::{AtPath, Error, Result};
use eliteloop::{delta, printer, seed};

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, value_enum, default_value = "edit")]
    format: Format,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write sources of the corpus into this folder and stop
    #[arg(long, hide = true, value_name = "DIR")]
    dump: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    if let Some(folder) = &args.dump {
        return dump(folder, args);
    }
    Err(Error::machine("not built yet"))
}

fn dump(folder: &Path, args: &Args) -> Result<()> {
    std::fs::create_dir_all(folder).at("make the folder", folder)?;
    let put = |name: String, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).at("write", &path)
    };
    for (name, source) in starts() {
        put(format!("start-{name}.py"), source)?;
    }
    let mut costs = String::new();
    for i in 0..200 {
        let mut rng = seed::rng(args.seed, "dump", &[i]);
        let network = random_network(&mut rng);
        let changed = mutate(&mut rng, &network);
        let (parent, child) = (render(&network), render(&changed));
        for (kind, cost) in [("parent", network.cost()), ("child", changed.cost())] {
            let _ = writeln!(costs, "{i:04}-{kind}.py\t{}\t{}", cost.parameters, cost.macs);
        }
        put(format!("{i:04}-parent.py"), &parent)?;
        put(format!("{i:04}-child.py"), &child)?;
        put(format!("{i:04}.delta"), &delta::write(args.format, &parent, &child).unwrap_or_default())?;
        if let Some(text) = mutate_source(&mut rng, &parent) {
            put(format!("{i:04}-text.py"), &text)?;
        }
    }
    put("costs.tsv".to_owned(), &costs)?;
    printer::note(format_args!("wrote 200 pairs to {}", folder.display()));
    Ok(())
}
