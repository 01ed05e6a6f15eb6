//! What a test needs that a machine may not have. Whether it goes on is decided here and nowhere else, and what was not done is said here:
//! a line in the file that `ELITELOOP_SKIPPED` names, which `scripts/test` counts and shows at its end.

use std::io::Write;
use std::path::PathBuf;

/// Ends a test where it cannot be run, or is not of this lane.
macro_rules! needs {
    ($($need:ident),+) => {
        $(if !$crate::needs::Need::$need.met() {
            return;
        })+
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The default model's file.
    Model,
    Cifar10,
    Nasbench201,
    /// [`browser`].
    Browser,
}

impl Need {
    /// Whether a test that needs this goes on. Where not, it was told.
    ///
    /// # Panics
    /// What has to be there is not: what `scripts/fetch` brings, or in CI a tool.
    pub fn met(self) -> bool {
        let (here, fetch) = match self {
            Self::Model => (eliteloop::base::home::models().join("SmolLM2-135M-Instruct.Q4_1.gguf").is_file(), "model"),
            Self::Cifar10 => (eliteloop::base::home::data().join("cifar10/data_batch_1.png").is_file(), "cifar10"),
            Self::Nasbench201 => (eliteloop::base::home::data().join("nasbench201/cifar10.pkl").is_file(), "nasbench201"),
            Self::Browser => return browser().is_some() || without_tool("no Chromium in PATH, so no page was opened in a browser"),
        };
        if set("ELITELOOP_LANE").is_some_and(|lane| lane == "fast") {
            return skipped(&format!("the fast lane has no {fetch}"));
        }
        assert!(here, "{fetch} is not here: run scripts/fetch {fetch}, or scripts/test fast, which does without");
        true
    }
}

/// The browser to look at pages with.
pub fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let named = |name| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(named)
}

/// As [`skipped`], for want of a tool, which in CI is a failure.
pub fn without_tool(why: &str) -> bool {
    assert!(set("CI").or_else(|| set("ELITELOOP_CI")).is_none_or(|value| value == "false"), "{why}: CI has to install it");
    skipped(why)
}

fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// Tells that this test did not do its work; false.
#[allow(clippy::print_stderr)]
pub fn skipped(why: &str) -> bool {
    // The harness calls a test's thread by its name.
    let line = format!("{}\t{why}\n", std::thread::current().name().unwrap_or("a test"));
    eprint!("SKIPPED {line}");
    if let Some(list) = set("ELITELOOP_SKIPPED") {
        let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        // In one piece: tests write at the same time.
        list.write_all(line.as_bytes()).unwrap();
    }
    false
}
