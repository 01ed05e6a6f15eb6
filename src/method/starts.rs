//! The networks that a run starts from.

use crate::base::error::{Error, Result};
use crate::base::files::read_text;
use crate::config::RunConfig;
use crate::delta::starts;
use crate::gates::Gates;
use crate::record::{NetworkId, NetworkRow};
use crate::tracer::TraceFailure;
use crate::tracer::cost::{Cost, cost};
use crate::tracer::graph::Graph;
use crate::tracer::novelty::{Filter, Fingerprint};

/// Names and sources: the files that the settings name, or the built-in ones.
///
/// # Errors
/// A file cannot be read, or two have one name.
pub fn sources(config: &RunConfig) -> Result<Vec<(String, String)>> {
    if config.parents.start.is_empty() {
        return Ok(starts::starts().iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect());
    }
    let mut sources = Vec::new();
    for path in &config.parents.start {
        let source = read_text(path, "read the start network")?;
        let name = path.file_stem().map_or_else(|| "start".into(), |s| s.to_string_lossy().into_owned());
        if sources.iter().any(|(other, _)| *other == name) {
            return Err(
                Error::input(format!("two start networks are called '{name}'")).hint("a start network is named by its file; rename one")
            );
        }
        sources.push((name, source));
    }
    Ok(sources)
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
pub fn row(id: NetworkId, source: String, graph: Graph, fingerprint: &Fingerprint, cost: &Cost) -> NetworkRow {
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
