//! The best network of a run, as the file that a person takes away.

use std::path::Path;

use crate::base::error::{AtPath, Result};
use crate::base::files::write_whole;
use crate::record::{NetworkId, Store};

/// The network with the highest mean validation accuracy; the earlier one where two are equal.
pub fn of(store: &Store) -> Result<Option<(NetworkId, f64)>> {
    let quality = store.qualities()?;
    Ok(quality.into_iter().fold(None, |best: Option<(NetworkId, f64)>, (id, q)| match best {
        Some((_, b)) if b >= q => best,
        _ => Some((id, q)),
    }))
}

/// Writes `best/network.py`.
pub fn write(store: &Store, run: &Path) -> Result<()> {
    let Some((id, quality)) = of(store)? else { return Ok(()) };
    let network = store.network(&id)?;
    let folder = run.join("best");
    std::fs::create_dir_all(&folder).at("make", &folder)?;
    let head = format!("# {id}: validation accuracy {quality:.4} after the run's short training; {} parameters\n", network.parameters);
    write_whole(&folder.join("network.py"), (head + &network.source).as_bytes())
}
