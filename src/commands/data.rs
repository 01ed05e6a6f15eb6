use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use eliteloop::base::error::{Error, Result};
use eliteloop::base::{home, printer};
use eliteloop::proxy::dataset::fit::{Fit, Size};
use eliteloop::proxy::dataset::{self, folder, stored};
use eliteloop::proxy::settings::ProxyConfig;

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
    /// Make a data set of images of your own: PNG, JPEG, WebP, BMP, TIFF or GIF, one folder a class, or a table of labels
    Import {
        /// The folder; where it holds train, val and test, or two of them, and nothing else, these are the parts
        folder: PathBuf,
        /// What settings call the set
        #[arg(long)]
        name: String,
        /// A table of the images' labels: a line FILE,LABEL each (CSV), files as they lie in the folder
        #[arg(long, value_name = "FILE")]
        labels: Option<PathBuf>,
        /// Pixels that every image is scaled to: one number, or HEIGHTxWIDTH
        #[arg(long, default_value = "32")]
        size: Size,
        /// What is done with images of another shape
        #[arg(long, value_enum, default_value = "crop")]
        fit: Fit,
        /// Share of each class that is set aside as the test part
        #[arg(long, default_value_t = 0.2)]
        test: f64,
        /// Decides which images are set aside
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// A mirrored image may be of another class (digits, signs): never flip one in training
        #[arg(long)]
        no_flip: bool,
        /// Leave out files that cannot be read, and name them
        #[arg(long)]
        skip_broken: bool,
        /// Replace a set of this name
        #[arg(long)]
        force: bool,
    },
    /// Delete a data set that was imported; the images it was made of stay
    Remove { name: String },
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
        Action::Import { folder, name, labels, size, fit, test, seed, no_flip, skip_broken, force } => {
            if !(*test > 0.0 && *test < 1.0) {
                return Err(Error::input(format!("--test {test}: above 0 and below 1")));
            }
            let origin = stored::Origin {
                folder: folder.clone(),
                labels: labels.clone(),
                size: *size,
                fit: *fit,
                test: Some(*test),
                seed: *seed,
                flip: !no_flip,
                skip_broken: *skip_broken,
            };
            import(name, &origin, &dir, *force)?;
        }
        Action::Remove { name } => {
            if dataset::NAMES.contains(&name.as_str()) {
                return Err(Error::input(format!("'{name}' is no set that was imported")).hint("only those can be removed"));
            }
            dataset::check_present(name, &dir)?;
            stored::remove(&dir, name)?;
            printer::data(format_args!("{name} is removed"));
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
        let stored::Origin { folder, labels, size, fit, test, seed, flip, skip_broken } = stored::header(dir, name)?.origin;
        let mut line = format!("eliteloop data import {} --name {name} --size {size}", shell(&folder));
        if let Some(table) = labels {
            let _ = write!(line, " --labels {}", shell(&table));
        }
        if fit != Fit::Crop {
            let _ = write!(line, " --fit {}", fit.name());
        }
        if let Some(share) = test {
            let _ = write!(line, " --test {share} --seed {seed}");
        }
        for (is_set, flag) in [(!flip, " --no-flip"), (skip_broken, " --skip-broken")] {
            line += if is_set { flag } else { "" };
        }
        printer::data(line);
    } else {
        return Err(dataset::unknown(name, dir));
    }
    Ok(())
}

/// A path as a shell takes it for one word.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn import(name: &str, origin: &stored::Origin, dir: &Path, force: bool) -> Result<()> {
    if !dataset::is_name(name) || dataset::NAMES.contains(&name) {
        let why = if dataset::is_name(name) { "is a set that the program knows" } else { "is no name of a data set" };
        return Err(Error::input(format!("'{name}' {why}")).hint("choose another name, of letters, digits, - and _"));
    }
    let place = dir.join(name);
    if place.exists() && !(force && stored::file(dir, name).is_file()) {
        let error = Error::input(format!("{} exists already", place.display()));
        return Err(if stored::file(dir, name).is_file() {
            error.hint(format!("choose another name; or replace it by --force, or `eliteloop data remove {name}` first"))
        } else {
            error.hint("it is no set that was imported; choose another name")
        });
    }
    let folder::Folder { format, origin, train, test, findings, notes, broken } = folder::read(origin, name)?;
    stored::write(dir, &format, &origin, &train, &test)?;
    dataset::verify(name, dir)?;
    notes.iter().for_each(printer::note);
    let fitted = format!("of another shape: {}{}", origin.fit.did(), if origin.fit == Fit::Crop { " (see --fit)" } else { "" });
    let said = [
        (findings.fitted, fitted.as_str()),
        (findings.grey, "grey: three equal channels"),
        (findings.transparent, "partly transparent: laid on white"),
        (findings.repeated, "left out: the same as another of their class"),
        (findings.beside, "files beside the folders of classes, not read"),
        (findings.left_out, "left out: hidden, or an operating system's (.DS_Store, Thumbs.db, __MACOSX ..)"),
        (broken.len(), "left out: cannot be read"),
    ];
    for (count, what) in said.iter().filter(|(count, _)| *count > 0) {
        printer::note(format_args!("{count} {what}"));
    }
    if !broken.is_empty() {
        printer::note(folder::named(&broken));
    }
    let (classes, [_, height, width]) = (format.classes, format.shape);
    printer::data(format_args!(
        "{name}: {classes} classes, {} training and {} test images of {height} x {width}, in {}",
        train.len(),
        test.len(),
        stored::file(dir, name).display()
    ));
    let mut proxy = ProxyConfig { dataset: name.into(), ..ProxyConfig::default() };
    proxy.suit(&toml::Table::new(), dir)?;
    let counts = train.counts(classes);
    if format.uneven {
        printer::note(format_args!(
            "its classes have {} to {} images: they are used in that proportion, and the accuracy is the mean of the classes' own",
            counts.iter().min().unwrap_or(&0),
            counts.iter().max().unwrap_or(&0)
        ));
    }
    printer::note(format_args!(
        "a run trains on {} of the training images and validates on {} others, unless proxy.train_images and proxy.valid_images say otherwise: \
         --set proxy.dataset={name}",
        proxy.train_images, proxy.valid_images
    ));
    Ok(())
}
