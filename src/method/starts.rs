//! The start networks of a run: those of the settings in their normal form, or those built in.

use std::path::PathBuf;

use crate::base::error::{AtPath, Error, Result};
use crate::base::files::read_text;
use crate::base::printer;
use crate::config::RunConfig;
use crate::delta::starts;
use crate::gates::Gates;
use crate::method::limits;
use crate::proxy::dataset::Format;
use crate::record::{NetworkId, NetworkRow};
use crate::tracer::TraceFailure;
use crate::tracer::cost::{Cost, cost};
use crate::tracer::graph::Graph;
use crate::tracer::normal_form::normal;
use crate::tracer::novelty::{Filter, Fingerprint};

/// Name and source of each. One that cannot be traced stays as it is: [`trace`] says what is wrong with it.
///
/// # Errors
/// A file cannot be read, or two have one name; or the machine's.
pub(crate) fn sources(config: &RunConfig, images: &Format) -> Result<Vec<(String, String)>> {
    if config.parents.start.is_empty() {
        return Ok(starts::starts().iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect());
    }
    let gates = limits::gates(config, images);
    let mut sources: Vec<(String, String)> = Vec::new();
    for (path, source) in read(config)? {
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

/// The files of the settings and what they hold.
///
/// # Errors
/// One cannot be read.
pub(crate) fn read(config: &RunConfig) -> Result<Vec<(PathBuf, String)>> {
    let read = |path: PathBuf| match read_text(&path, "read the start network") {
        Err(error) if path.is_relative() && !path.exists() => {
            let here = std::env::current_dir().map_or_else(|_| "the current folder".into(), |here| here.display().to_string());
            Err(error.hint(format!("a relative path begins at the current folder, which is {here}")))
        }
        read => Ok((path, read?)),
    };
    files(&config.parents.start)?.into_iter().map(read).collect()
}

/// The files themselves, of a folder those that end in `.py`, by their names.
fn files(start: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in start {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let entries = path.read_dir().and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>());
        let mut own = entries.at("read the folder", path)?;
        own.retain(|file| file.is_file() && file.extension().is_some_and(|extension| extension == "py"));
        if own.is_empty() {
            return Err(Error::input(format!("setting parents.start: {} holds no .py file", path.display())));
        }
        own.sort();
        all.extend(own);
    }
    Ok(all)
}

/// Traces the start networks and admits them to the filter; one that cannot be traced or is over the budget is the user's to mend.
///
/// # Errors
/// Names the network and what is wrong with it.
pub fn trace(starts: &[(String, String)], gates: &Gates, filter: &mut Filter) -> Result<Vec<NetworkRow>> {
    let mut networks = Vec::new();
    for (name, source) in starts {
        let id = NetworkId::Start(name.clone());
        let unusable = |why: String| Error::input(format!("start network '{name}': {why}"));
        let graph = gates.trace(source)?.map_err(|f: TraceFailure| unusable(f.to_string()).hint(f.hint()))?;
        let spent = cost(&graph);
        if let Some(over) = gates.over_budget(&spent) {
            return Err(
                unusable(over.to_string()).hint("raise the limit in [screen], or proxy.max_training_macs, or start from a smaller network")
            );
        }
        let fingerprint = filter.fingerprint(&graph)?;
        networks.push(row(id.clone(), source.clone(), graph, &fingerprint, &spent));
        filter.admit(id.to_string(), fingerprint);
    }
    Ok(networks)
}

/// A traced network as the store has it.
pub(crate) fn row(id: NetworkId, source: String, graph: Graph, fingerprint: &Fingerprint, cost: &Cost) -> NetworkRow {
    NetworkRow {
        id,
        source,
        graph,
        graph_hash: fingerprint.hash.clone(),
        signature: fingerprint.signature.clone(),
        parameters: cost.parameters,
        macs: cost.macs,
        activation_bytes: cost.activation_bytes,
    }
}
