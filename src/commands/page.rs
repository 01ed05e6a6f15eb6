//! The page of a run while it goes on.

use std::path::Path;

use eliteloop::base::error::Result;
use eliteloop::base::files::write_whole;
use eliteloop::base::printer;
use eliteloop::report::{self, collect};

/// The report's file in the folder of what it is about.
pub const PAGE: &str = "report.html";

/// How a page is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It loads itself again now and then.
    Live,
    /// It stays as it is.
    AsItIs,
}

/// Writes the page of a run while it goes on. What goes wrong is told and ends nothing: the page can be written at any time.
pub fn show(run: &Path, shown: Shown) {
    let write = || -> Result<()> {
        let data = collect::collect(run)?;
        let html = if shown == Shown::Live { report::render_live(&data) } else { report::render(&data) };
        write_whole(&run.join(PAGE), html.as_bytes())
    };
    if let Err(error) = write() {
        printer::note(format_args!("the report was not written: {error}"));
    }
}
