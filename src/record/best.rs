//! The best network of a run, as the file that a person takes away.

use std::path::{Path, PathBuf};

use crate::base::error::{AtPath, Result};
use crate::base::files::write_whole;
use crate::record::{NetworkId, Store};
use crate::tracer::{TraceOptions, normal_form};

/// The network with the highest mean validation accuracy; the earlier one where two are equal.
pub fn of(store: &Store) -> Result<Option<(NetworkId, f64)>> {
    let quality = store.qualities()?;
    Ok(quality.into_iter().fold(None, |best: Option<(NetworkId, f64)>, (id, q)| match best {
        Some((_, b)) if b >= q => best,
        _ => Some((id, q)),
    }))
}

/// The file of a run's best network.
pub(crate) fn path(run: &Path) -> PathBuf {
    run.join("best").join("network.py")
}

/// What stands in it, in the ordinary form, as people write networks; None where no network was trained.
///
/// # Errors
/// Where a sandbox cannot be started.
pub(crate) fn text(store: &Store) -> Result<Option<String>> {
    let Some((id, quality)) = of(store)? else { return Ok(None) };
    let network = store.network(&id)?;
    let head = format!("# {id}: validation accuracy {quality:.4} after the run's short training; {} parameters\n", network.parameters);
    let source = normal_form::ordinary(&network.source, &network.graph, &TraceOptions::of(&network.graph))?.source;
    Ok(Some(head + &source))
}

/// Writes `best/network.py`.
pub fn write(store: &Store, run: &Path) -> Result<()> {
    let Some(text) = text(store)? else { return Ok(()) };
    let folder = run.join("best");
    std::fs::create_dir_all(&folder).at("make", &folder)?;
    write_whole(&path(run), text.as_bytes())
}
