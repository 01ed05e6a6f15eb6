//! Search spaces whose qualities are all known: a query is a look into a table. NAS-Bench-201, and tables of the user's own. Knows nothing of
//! what proposes.

pub mod cell;
pub mod nasbench201;
pub mod space;
pub mod table;
pub mod table_file;

use std::path::Path;

pub use cell::Cell;
pub use space::Space;
pub use table::Table;

use crate::base::error::Result;

/// The table that the setting `dataset` of an audit names: an image set of NAS-Bench-201, or the JSON file of a table of the user's own.
///
/// # Errors
/// When there is none, or it is not what it has to be.
pub fn load(dataset: &str, data: &Path) -> Result<Table> {
    if table_file::is_named(dataset) { table_file::load(Path::new(dataset)) } else { nasbench201::load(dataset, data) }
}

/// The same where people read.
pub(crate) fn title(dataset: &str) -> String {
    if table_file::is_named(dataset) { dataset.to_owned() } else { format!("NAS-Bench-201 ({dataset})") }
}
