use std::path::{Path, PathBuf};

use clap::Subcommand;
use eliteloop::base::error::{Error, Result};
use eliteloop::base::{home, printer};
use eliteloop::proxy::dataset::{self, folder, stored};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Data sets that the program knows, and whether they are here
    List {
        /// One JSON list
        #[arg(long)]
        json: bool,
    },
    /// Check every file of a data set, or of all that are here
    Verify { name: Option<String> },
    /// The command that brings a data set
    FetchHint { name: String },
    /// Make a data set of a folder of your own: one folder of PNG or JPEG images for each class
    Import {
        /// The folder; where it holds `train` and `test` and nothing else, these are the parts
        folder: PathBuf,
        /// What settings call the set
        #[arg(long)]
        name: String,
        /// Height and width that every image is scaled to
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(4..=512))]
        size: u16,
        /// Share of each class that is set aside as the test part
        #[arg(long, default_value_t = 0.2)]
        test: f64,
        /// Decides which images are set aside
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// A mirrored image may be of another class (digits, signs): never flip one in training
        #[arg(long)]
        no_flip: bool,
    },
}

pub fn run(args: &Args) -> Result<()> {
    let dir = home::data();
    match &args.action {
        Action::List { json: true } => {
            let entry =
                |name: &String| serde_json::json!({ "name": name, "here": dataset::is_present(name, &dir), "folder": dir.join(name) });
            printer::data(dataset::names(&dir).iter().map(entry).collect::<serde_json::Value>());
        }
        Action::List { json: false } => list(&dir),
        Action::Verify { name: Some(name) } => verify(name, &dir)?,
        Action::Verify { name: None } => {
            for name in dataset::names(&dir).iter().filter(|name| dataset::is_present(name, &dir)) {
                verify(name, &dir)?;
            }
        }
        Action::FetchHint { name } => fetch_hint(name, &dir)?,
        Action::Import { folder, name, size, test, seed, no_flip } => {
            if !(*test > 0.0 && *test < 1.0) {
                return Err(Error::input(format!("--test {test}: above 0 and below 1")));
            }
            let origin =
                stored::Origin { folder: folder.clone(), size: usize::from(*size), test: Some(*test), seed: *seed, flip: !no_flip };
            import(name, &origin, &dir)?;
        }
    }
    Ok(())
}

fn list(dir: &Path) {
    for name in dataset::names(dir) {
        let state = match (&name[..], dataset::is_present(&name, dir)) {
            ("synthetic", _) => "built in".to_string(),
            (_, true) => dir.join(&name).display().to_string(),
            (_, false) => format!("not here: run scripts/fetch {name}"),
        };
        let own = match stored::header(dir, &name) {
            Ok(header) => {
                let [_, height, width] = header.format.shape;
                let (train, test, classes) = (header.train.images, header.test.images, header.format.classes);
                format!(" ({classes} classes, {train} + {test} images of {height} x {width})")
            }
            Err(_) => String::new(),
        };
        printer::data(format_args!("{name:<14} {state}{own}"));
    }
}

fn verify(name: &str, dir: &Path) -> Result<()> {
    if !dataset::names(dir).iter().any(|known| known == name) {
        return Err(dataset::unknown(name, dir));
    }
    dataset::verify(name, dir)?;
    printer::data(format_args!("{name}: as it should be"));
    Ok(())
}

fn fetch_hint(name: &str, dir: &Path) -> Result<()> {
    if name == "synthetic" {
        printer::data("synthetic is built in: nothing to fetch");
    } else if dataset::NAMES.contains(&name) {
        printer::data(format_args!("scripts/fetch {name}"));
    } else if dataset::is_name(name) && dataset::is_present(name, dir) {
        let stored::Origin { folder, size, test, seed, flip } = stored::header(dir, name)?.origin;
        let test = test.map(|share| format!(" --test {share} --seed {seed}")).unwrap_or_default();
        let flip = if flip { "" } else { " --no-flip" };
        printer::data(format_args!("eliteloop data import {} --name {name} --size {size}{test}{flip}", folder.display()));
    } else {
        return Err(dataset::unknown(name, dir));
    }
    Ok(())
}

fn import(name: &str, origin: &stored::Origin, dir: &Path) -> Result<()> {
    if !dataset::is_name(name) || dataset::NAMES.contains(&name) {
        let why = if dataset::is_name(name) { "is a set that the program knows" } else { "is no name of a data set" };
        return Err(Error::input(format!("'{name}' {why}")).hint("choose another name, of letters, digits, - and _"));
    }
    if dir.join(name).exists() {
        let place = dir.join(name);
        return Err(Error::input(format!("{} exists already", place.display())).hint("choose another name, or delete that folder first"));
    }
    let folder::Folder { format, origin, train, test, findings } = folder::read(origin, name)?;
    stored::write(dir, &format, &origin, &train, &test)?;
    dataset::verify(name, dir)?;
    let said = [
        (findings.cropped, "not square: the middle was taken"),
        (findings.grey, "grey: three equal channels"),
        (findings.transparent, "partly transparent: laid on white"),
        (findings.repeated, "left out: the same as another of their class"),
        (findings.beside, "files beside the folders of classes, not read"),
    ];
    for (count, what) in said.iter().filter(|(count, _)| *count > 0) {
        printer::note(format_args!("{count} {what}"));
    }
    let (classes, [_, height, width]) = (format.classes, format.shape);
    printer::data(format_args!(
        "{name}: {classes} classes, {} training and {} test images of {height} x {width}, in {}",
        train.len(),
        test.len(),
        stored::file(dir, name).display()
    ));
    let of_class = |class: usize| train.labels.iter().filter(|&&label| usize::from(label) == class).count();
    let fewest = (0..classes).map(of_class).min().unwrap_or(0);
    let valid = (fewest / 3).max(1);
    printer::note(format_args!(
        "the most images that a balanced split can use: --set proxy.dataset={name} --set proxy.train_images={} --set proxy.valid_images={}",
        (fewest - valid) * classes,
        valid * classes
    ));
    Ok(())
}
