//! Which files of a folder are images of which class and part.
//!
//! One folder a class; or such folders in `train` and `test`, or `val`, or all three, by any of their usual names and in any case; or a
//! table of files and labels. What operating systems leave in folders is left out and counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::error::{AtPath, Error, Result};
use crate::base::files::read_text;

/// The classes of a part with their files, both sorted.
pub(crate) type Classes = Vec<(String, Vec<PathBuf>)>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) train: Classes,
    /// Where the folder holds one.
    pub(crate) test: Option<Classes>,
    /// Files that lie beside the folders.
    pub(crate) beside: usize,
    /// Hidden files and those of operating systems.
    pub(crate) left_out: usize,
    /// What to say of the parts.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Valid,
    Test,
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "train" | "training" => Self::Train,
            "val" | "valid" | "validation" | "dev" => Self::Valid,
            "test" | "testing" => Self::Test,
            _ => return None,
        })
    }
}

/// Files and folders that a user did not put there.
fn is_left_out(name: &str) -> bool {
    const NAMES: [&str; 7] = ["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r", "@eadir", "$recycle.bin"];
    name.starts_with('.') || NAMES.contains(&name.to_lowercase().as_str())
}

impl Layout {
    /// # Errors
    /// Where a folder cannot be read, a class holds a folder, or the parts do not have the same classes.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let mut layout = Self::default();
        let (folders, beside) = layout.folders(path)?;
        layout.beside = beside;
        let parts: Vec<(Part, &str, &Path)> =
            folders.iter().filter_map(|(name, folder)| Some((Part::named(name)?, name.as_str(), folder.as_path()))).collect();
        let of = |part: Part| parts.iter().filter(move |(kind, ..)| *kind == part);
        let split = parts.len() == folders.len() && parts.len() > 1 && of(Part::Train).count() == 1;
        if !split {
            layout.train = layout.classes(&folders, &parts)?;
            return Ok(layout);
        }
        if let Some(two) = [Part::Valid, Part::Test].into_iter().find(|&part| of(part).count() > 1) {
            let names: Vec<&str> = of(two).map(|(_, name, _)| *name).collect();
            return Err(Error::input(format!("{}: the folders {} are the same part", path.display(), names.join(" and "))));
        }
        let mut read = |part: Part| -> Result<Option<(String, Classes)>> {
            let Some((_, name, folder)) = parts.iter().find(|(kind, ..)| *kind == part) else { return Ok(None) };
            let (folders, beside) = layout.folders(folder)?;
            layout.beside += beside;
            Ok(Some(((*name).to_owned(), layout.classes(&folders, &[])?)))
        };
        let (train, valid, test) = (read(Part::Train)?, read(Part::Valid)?, read(Part::Test)?);
        let (train_name, mut train) = train.expect("it was counted");
        for (name, other) in valid.iter().chain(&test) {
            let has = |classes: &Classes, class: &str| classes.iter().any(|(known, _)| known == class);
            let odd = train.iter().map(|(class, _)| (class, other)).chain(other.iter().map(|(class, _)| (class, &train)));
            if let Some((class, _)) = odd.into_iter().find(|(class, elsewhere)| !has(elsewhere, class)) {
                return Err(Error::input(format!("class '{class}' is in one of the folders {train_name} and {name} only"))
                    .hint("each part has a folder for each class"));
            }
        }
        match (valid, test) {
            (Some((name, valid)), None) => {
                layout.notes.push(format!("{name} is the test part; a run draws its validation images from {train_name}"));
                layout.test = Some(valid);
            }
            (valid, test) => {
                if let Some((name, valid)) = valid {
                    layout
                        .notes
                        .push(format!("{name} and {train_name} are the training part, from which a run draws its validation images"));
                    for ((_, files), (_, more)) in train.iter_mut().zip(valid) {
                        files.extend(more);
                    }
                }
                layout.test = test.map(|(_, classes)| classes);
            }
        }
        layout.train = train;
        Ok(layout)
    }

    /// The classes of a table: a line an image, with its file in the folder and its label.
    ///
    /// # Errors
    /// Where the table cannot be read, or a line names no image or no label.
    pub(crate) fn labelled(folder: &Path, table: &Path) -> Result<Self> {
        let text = read_text(table, "read the labels")?;
        let text = text.trim_start_matches('\u{feff}');
        let at = |line: usize, why: String| Error::input(format!("{}, line {line}: {why}", table.display()));
        let first = text.lines().next().unwrap_or_default();
        let mark = [',', ';', '\t'].into_iter().find(|mark| first.contains(*mark));
        let Some(mark) = mark else {
            return Err(at(1, "no comma, semicolon or tab".into()).hint("a line is FILE,LABEL; the first may name the columns: file,label"));
        };
        let head: Vec<String> = cells(first, mark).iter().map(|cell| cell.to_lowercase()).collect();
        let column = |names: &[&str], otherwise: usize| head.iter().position(|cell| names.contains(&cell.as_str())).unwrap_or(otherwise);
        let file_at = column(&["file", "filename", "file_name", "image", "image_id", "image_path", "img", "path", "id", "name"], 0);
        let label_at =
            column(&["label", "class", "category", "target", "species", "breed", "label_name", "class_name"], usize::from(file_at == 0));
        let mut classes: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let mut known: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let cells = cells(line, mark);
            let cell = |at: usize| cells.get(at).map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
            let Some(name) = cell(file_at) else { return Err(at(number, "it names no file".into())) };
            let Some(path) = image(folder, name) else {
                if number == 1 {
                    continue;
                }
                return Err(at(number, format!("there is no image {name} in {}", folder.display()))
                    .hint("files are named from the folder on, with or without their ending"));
            };
            let Some(label) = cell(label_at) else { return Err(at(number, format!("{name} has no label"))) };
            match known.get(&path) {
                None => {
                    known.insert(path.clone(), label.to_owned());
                    classes.entry(label.to_owned()).or_default().push(path);
                }
                Some(other) if other == label => {}
                Some(other) => return Err(at(number, format!("{name} is of class '{label}' here, and of '{other}' before"))),
            }
        }
        let mut train: Classes = classes.into_iter().collect();
        // Numbers in the order of numbers, so that a class has the index it had.
        if train.iter().all(|(class, _)| class.parse::<u64>().is_ok()) {
            train.sort_by_key(|(class, _)| class.parse::<u64>().unwrap_or_default());
        }
        Ok(Self { train, ..Self::default() })
    }

    /// Name and path of each folder in `path`, sorted, and how many files lie beside them.
    fn folders(&mut self, path: &Path) -> Result<(Vec<(String, PathBuf)>, usize)> {
        let entries = self.entries(path)?;
        let all = entries.len();
        let folders: Vec<_> = entries.into_iter().filter(|(_, path)| path.is_dir()).collect();
        let files = all - folders.len();
        Ok((folders, files))
    }

    /// The files of each class; `parts` are the folders among them that are called as parts are.
    fn classes(&mut self, folders: &[(String, PathBuf)], parts: &[(Part, &str, &Path)]) -> Result<Classes> {
        let mut classes = Vec::new();
        for (class, folder) in folders {
            let files: Vec<PathBuf> = self.entries(folder)?.into_iter().map(|(_, path)| path).collect();
            if let Some(deeper) = files.iter().find(|path| path.is_dir()) {
                let error = Error::input(format!("{} is a folder in the folder of a class", deeper.display()));
                let others: Vec<&str> =
                    folders.iter().map(|(name, _)| name.as_str()).filter(|name| !parts.iter().any(|(_, part, _)| part == name)).collect();
                return Err(if folders.len() == 1 {
                    error.hint(format!("if the classes are in it, give {}", folder.display()))
                } else if !parts.is_empty() && !others.is_empty() {
                    let parts: Vec<&str> = parts.iter().map(|(_, name, _)| *name).collect();
                    error.hint(format!("where {} are the parts of the set, take {} out of the folder", parts.join(", "), others.join(", ")))
                } else {
                    error.hint("give a folder with one folder of images for each class, or with such folders in train, val and test")
                });
            }
            classes.push((class.clone(), files));
        }
        Ok(classes)
    }

    fn entries(&mut self, path: &Path) -> Result<Vec<(String, PathBuf)>> {
        let mut entries = Vec::new();
        let listed = std::fs::read_dir(path)
            .map_err(|e| Error::input(format!("cannot read the folder {}", path.display())).hint("give a folder of images").caused_by(e))?;
        for entry in listed {
            let entry = entry.at("read the folder", path)?;
            let name = entry.file_name().into_string();
            let name = name.map_err(|name| Error::input(format!("{} is not UTF-8", name.display())).hint("rename it"))?;
            if is_left_out(&name) {
                self.left_out += 1;
            } else {
                entries.push((name, entry.path()));
            }
        }
        entries.sort();
        Ok(entries)
    }
}

/// The cells of a line; one in quotes may hold the mark.
fn cells(line: &str, mark: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for character in line.trim_end_matches('\r').chars() {
        match character {
            '"' => quoted = !quoted,
            c if c == mark && !quoted => cells.push(String::new()),
            c => cells.last_mut().expect("there is one").push(c),
        }
    }
    cells
}

/// The file of this name in the folder, or of this name with the ending of an image.
fn image(folder: &Path, name: &str) -> Option<PathBuf> {
    const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff"];
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    let with = |ending: &str| folder.join(format!("{name}.{ending}"));
    ENDINGS.iter().flat_map(|ending| [with(ending), with(&ending.to_uppercase())]).find(|path| path.is_file())
}
