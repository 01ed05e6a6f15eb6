//! Where models and data sets lie. `ELITELOOP_MODELS` and `ELITELOOP_DATA` name the folders themselves. Without them they are `models` and
//! `data` of a checkout of eliteloop, where one stands in it or its own build is called, and else of one folder of the user's:
//! `ELITELOOP_HOME`, or `eliteloop` in `XDG_DATA_HOME`, which is `~/.local/share` where it is not set (XDG base directories, 0.8).
//!
//! A folder `data` or `models` in a project of the user's own is not looked at.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The folder of models; it need not be there.
pub fn models() -> PathBuf {
    Home::Models.find().path
}

/// The folder of data sets; it need not be there.
pub fn data() -> PathBuf {
    Home::Data.find().path
}

/// What has a folder of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Models and adapters.
    Models,
    /// Data sets.
    Data,
}

/// A folder, and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// It need not be there.
    pub path: PathBuf,
    /// What decided: a variable, or words.
    pub by: &'static str,
}

impl Home {
    /// Its name in a home that has both.
    pub fn name(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Data => "data",
        }
    }

    /// The variable that names it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Models => "ELITELOOP_MODELS",
            Self::Data => "ELITELOOP_DATA",
        }
    }

    /// Where it is now.
    pub fn find(self) -> Found {
        let program = std::env::current_exe().ok();
        self.among(|variable| std::env::var_os(variable), std::env::current_dir().ok().as_deref(), program.as_deref())
    }

    fn among(self, variable: impl Fn(&str) -> Option<OsString>, here: Option<&Path>, program: Option<&Path>) -> Found {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = given(self.variable()) {
            return Found { path, by: self.variable() };
        }
        let of = |home: PathBuf, by| Found { path: home.join(self.name()), by };
        if let Some(home) = given("ELITELOOP_HOME") {
            return of(home, "ELITELOOP_HOME");
        }
        if let Some(checkout) = here.and_then(checkout) {
            return of(checkout, "the checkout that this is called in");
        }
        if let Some(checkout) = program.and_then(checkout) {
            return of(checkout, "the checkout that this program was built in");
        }
        // A relative one is to be ignored.
        if let Some(folder) = given("XDG_DATA_HOME").filter(|folder| folder.is_absolute()) {
            return of(folder.join("eliteloop"), "XDG_DATA_HOME");
        }
        given("HOME").map_or_else(
            || of("eliteloop".into(), "the folder that this is called in, as HOME is not set"),
            |user| of(user.join(".local/share/eliteloop"), "the user's data"),
        )
    }
}

/// The checkout of eliteloop that a path lies in.
fn checkout(path: &Path) -> Option<PathBuf> {
    let is_ours = |folder: &&Path| {
        let mut manifest = String::new();
        let read = File::open(folder.join("Cargo.toml")).and_then(|file| file.take(1 << 16).read_to_string(&mut manifest));
        read.is_ok() && manifest.lines().any(|line| line == "name = \"eliteloop\"")
    };
    path.ancestors().find(is_ours).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With these variables, called in `here`, as the program of `program`.
    fn found(home: Home, variables: &[(&str, &str)], here: &Path, program: &Path) -> PathBuf {
        let variable = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| OsString::from(*value));
        home.among(variable, Some(here), Some(program)).path
    }

    #[test]
    fn a_project_s_own_folders_are_not_taken_for_ours() {
        let base = tempfile::tempdir().unwrap();
        let project = base.path().join("project");
        for folder in ["data", "models", "src"] {
            std::fs::create_dir_all(project.join(folder)).unwrap();
        }
        std::fs::write(project.join("Cargo.toml"), "[package]\nname = \"theirs\"\n\n[dependencies]\neliteloop = \"1\"\n").unwrap();
        let user = [("HOME", "/home/ada")];
        for here in [project.clone(), project.join("src")] {
            assert_eq!(
                found(Home::Data, &user, &here, Path::new("/usr/bin/eliteloop")),
                Path::new("/home/ada/.local/share/eliteloop/data")
            );
        }
    }

    #[test]
    fn what_is_nearer_to_the_user_s_word_decides() {
        let base = tempfile::tempdir().unwrap();
        let (checkout, other) = (base.path().join("checkout"), base.path().join("other"));
        std::fs::create_dir_all(checkout.join("src/base")).unwrap();
        std::fs::create_dir_all(other.join("data")).unwrap();
        std::fs::write(checkout.join("Cargo.toml"), "[package]\nname = \"eliteloop\"\n").unwrap();
        let (built, installed) = (checkout.join("target/release/eliteloop"), Path::new("/usr/bin/eliteloop"));
        let all = [("ELITELOOP_MODELS", "/m"), ("ELITELOOP_HOME", "/e"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
        let models = |variables: &[(&str, &str)], here: &Path, program: &Path| found(Home::Models, variables, here, program);
        assert_eq!(models(&all, &checkout, &built), Path::new("/m"));
        assert_eq!(found(Home::Data, &all, &checkout, &built), Path::new("/e/data"));
        assert_eq!(models(&all[2..], &checkout.join("src/base"), installed), checkout.join("models"));
        assert_eq!(models(&all[2..], &other, &built), checkout.join("models"));
        assert_eq!(models(&all[2..], &other, installed), Path::new("/x/eliteloop/models"));
        assert_eq!(
            models(&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")], &other, installed),
            Path::new("/h/.local/share/eliteloop/models")
        );
        assert_eq!(models(&[("ELITELOOP_MODELS", ""), ("HOME", "")], &other, installed), Path::new("eliteloop/models"));
    }
}
