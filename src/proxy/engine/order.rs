//! What is handed to an engine, and how it tells what became of it.

use std::path::Path;

use crate::proxy::settings::ProxyConfig;

/// Tasks that are to be done: files `0.json`, `1.json`, .. in a folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    /// The engine shows it, and nothing else of ours has it.
    pub(super) name: &'a str,
    /// Where the files lie and logs `N.log` go.
    pub(super) folder: &'a Path,
    /// The executable.
    pub(super) program: &'a Path,
    pub(super) tasks: usize,
    pub(super) needs: Needs,
}

/// What a task needs of its machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    pub(super) cores: usize,
    /// Graphics cards.
    pub(super) gpus: usize,
    pub(super) memory_mib: u64,
    /// What says how much memory, for messages.
    pub(super) memory_by: &'static str,
}

impl Needs {
    /// Of a task of trainings.
    pub(super) fn of_trainings(config: &ProxyConfig) -> Self {
        Self { cores: 1, gpus: 0, memory_mib: config.memory_mib, memory_by: "proxy.memory_mib" }
    }
}

/// How a task has ended, as far as the engine knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself; its results may come to be seen here a while later.
    Over,
    /// By somebody or something else, in the engine's words.
    Lost(String),
    /// The engine knows nothing of it: it was begun anew.
    Forgotten,
}
