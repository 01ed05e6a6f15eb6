//! The start networks of a run: those of the settings in their normal form, or those built in.

use crate::base::error::{Error, Result};
use crate::base::files::read_text;
use crate::base::printer;
use crate::config::RunConfig;
use crate::delta::starts;
use crate::method::limits;
use crate::proxy::dataset::Format;
use crate::tracer::normal_form::normal;

/// Name and source of each. One that cannot be traced stays as it is: [`crate::method::screen`] says what is wrong with it.
pub fn sources(config: &RunConfig, images: &Format) -> Result<Vec<(String, String)>> {
    if config.parents.start.is_empty() {
        return Ok(starts::starts().iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect());
    }
    let gates = limits::gates(config, images);
    let mut sources: Vec<(String, String)> = Vec::new();
    for path in &config.parents.start {
        let source = read_text(path, "read the start network")?;
        let name = path.file_stem().map_or_else(|| "start".into(), |s| s.to_string_lossy().into_owned());
        if sources.iter().any(|(other, _)| *other == name) {
            return Err(
                Error::input(format!("two start networks are called '{name}'")).hint("a start network is named by its file; rename one")
            );
        }
        let source = match gates.trace(&source)? {
            Ok(graph) if config.parents.normal_form => {
                let form = normal(&source, &graph, &gates.trace)?;
                if form.rewritten > 0 {
                    let left = form.places - form.rewritten;
                    let rest = if left == 0 { String::new() } else { format!(" ({left} more cannot be)") };
                    printer::note(format!(
                        "start network '{name}': {} input widths are left to PyTorch's lazy modules{rest}, so that a change of one does not break the next; best/ and exports have them filled in",
                        form.rewritten
                    ));
                }
                form.source
            }
            _ => source,
        };
        sources.push((name, source));
    }
    Ok(sources)
}
