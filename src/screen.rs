//! The cheap gates between a completion and its training: format, patch, syntax and trace, budget, novelty.
//!
//! First try or not at all: nothing is repaired or asked again, so the funnel counts what the policy really wrote.

use rayon::prelude::*;

use crate::config::{ProxyConfig, RunConfig, ScreenConfig};
use crate::delta;
use crate::error::{Error, Result};
use crate::labels;
use crate::network::cost::{Cost, cost};
use crate::network::graph::Graph;
use crate::network::{TraceFailure, TraceOptions, trace};
use crate::novelty::{Filter, Verdict};
use crate::progress::Phase;
use crate::proxy::dataset::Format;
use crate::record::{Candidate, NetworkId, NetworkRow, Stage, Store};
use crate::run::Run;

/// Screens the candidates of a cycle that are not screened yet, in their order: what one may not repeat depends on those before.
pub fn screen(run: &mut Run, cycle: u64) -> Result<()> {
    let waiting: Vec<Candidate> = run.store.candidates_of(cycle)?.into_iter().filter(|c| c.stage.is_none()).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let phase = Phase::begin(cycle, "screen", waiting.len() as u64);
    for (candidate, network) in decide(&run.store, &run.config, &run.proxies.format, &mut run.filter, waiting)? {
        let labels = match &run.llm {
            Some(llm) => Some(labels::of(llm, run.config.delta.format, &run.store.network(&candidate.parent)?.source, &candidate)?),
            None => None,
        };
        run.store.transaction(|s| {
            network.iter().try_for_each(|n| s.put_network(n))?;
            labels.iter().try_for_each(|l| s.put_labels(l))?;
            s.put_candidate(&candidate)
        })?;
        phase.step();
    }
    run.store.put_phase(&phase.finish())
}

/// Decides on unscreened candidates in order; gives each with its verdict, and its network where it was traced.
pub fn decide(
    store: &Store,
    config: &RunConfig,
    images: &Format,
    filter: &mut Filter,
    waiting: Vec<Candidate>,
) -> Result<Vec<(Candidate, Option<NetworkRow>)>> {
    let parents = waiting.iter().map(|c| store.network(&c.parent)).collect::<Result<Vec<_>>>()?;
    // Patching and tracing depend on one candidate alone, so they run side by side.
    let options = trace_options(config, images);
    let built = waiting.par_iter().zip(&parents).map(|(c, parent)| build(c, &parent.source, config, &options));
    let built: Vec<Built> = built.collect::<Result<_>>()?;
    let judged = waiting.into_iter().zip(&parents).zip(built).map(|((mut candidate, parent), built)| {
        let network = judge(&mut candidate, parent, built, config, filter)?;
        Ok((candidate, network))
    });
    judged.collect()
}

/// The candidate as it was before the screen.
pub fn unscreened(candidate: &Candidate) -> Candidate {
    Candidate {
        stage: None,
        reason: None,
        detail: None,
        source: None,
        nearest: None,
        jaccard: None,
        parent_jaccard: None,
        ..candidate.clone()
    }
}

/// What patching and tracing gave: the last gate passed, and why it went no further.
struct Built {
    source: Option<String>,
    outcome: std::result::Result<Graph, Refusal>,
}

struct Refusal {
    stage: Stage,
    reason: String,
    detail: String,
}

fn build(candidate: &Candidate, parent: &str, config: &RunConfig, options: &TraceOptions) -> Result<Built> {
    let applied =
        if candidate.ended { delta::apply(config.delta.format, parent, &candidate.completion) } else { Err(delta::Failure::NotEnded) };
    match applied {
        Err(failure) => {
            let stage = if failure.is_of_format() { Stage::Parsed } else { Stage::Asked };
            Ok(Built { source: None, outcome: Err(Refusal { stage, reason: failure.reason().into(), detail: failure.to_string() }) })
        }
        Ok(source) => {
            let outcome = match trace(&source, options) {
                Ok(graph) => Ok(graph),
                Err(failure) => {
                    let failure = failure.of_source()?;
                    Err(Refusal { stage: Stage::Applied, reason: failure.word().into(), detail: failure.to_string() })
                }
            };
            Ok(Built { source: Some(source), outcome })
        }
    }
}

/// Decides on a candidate; gives its network where it was traced.
fn judge(
    candidate: &mut Candidate,
    parent: &NetworkRow,
    built: Built,
    config: &RunConfig,
    filter: &mut Filter,
) -> Result<Option<NetworkRow>> {
    candidate.source.clone_from(&built.source);
    let graph = match built.outcome {
        Ok(graph) => graph,
        Err(refusal) => {
            candidate.stage = Some(refusal.stage);
            candidate.reason = Some(refusal.reason);
            candidate.detail = Some(refusal.detail);
            return Ok(None);
        }
    };
    let source = built.source.unwrap_or_default();
    let spent = cost(&graph);
    let finding = filter.check(&graph, Some(&parent.graph));
    candidate.nearest = finding.nearest.as_ref().map(|n| n.id.parse()).transpose()?;
    candidate.jaccard = finding.nearest.as_ref().map(|n| n.jaccard);
    candidate.parent_jaccard = finding.parent_jaccard;
    let mut settle = |stage: Stage, why: Option<(String, String)>| {
        candidate.stage = Some(stage);
        (candidate.reason, candidate.detail) = why.unzip();
    };
    let over = over_budget(&spent, &config.screen, &config.proxy);
    match (over, finding.verdict) {
        (Some(detail), _) => settle(Stage::Traced, Some(("over-budget".into(), detail))),
        (None, Verdict::Refused { why }) => settle(Stage::Affordable, Some(("not-comparable".into(), why))),
        (None, verdict) if config.novelty.enabled && !verdict.passes() => settle(Stage::Affordable, Some(refusal(&verdict))),
        (None, _) => settle(Stage::Novel, None),
    }
    let Some(fingerprint) = finding.fingerprint else { return Ok(None) };
    let row = row(candidate.id(), source, graph, &fingerprint, &spent);
    if candidate.stage == Some(Stage::Novel) {
        filter.admit(candidate.id().to_string(), fingerprint);
    }
    Ok(Some(row))
}

fn row(id: NetworkId, source: String, graph: Graph, fingerprint: &crate::novelty::Fingerprint, cost: &Cost) -> NetworkRow {
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

fn refusal(verdict: &Verdict) -> (String, String) {
    match verdict {
        Verdict::Duplicate { of } => ("duplicate".into(), format!("the same network as {of}")),
        Verdict::NearDuplicate { of, jaccard } => ("near-duplicate".into(), format!("similarity {jaccard:.3} to {of}")),
        Verdict::SameAsParent => ("same-as-parent".into(), "the same network as its parent".into()),
        Verdict::TooCloseToParent { jaccard } => ("too-close-to-parent".into(), format!("similarity {jaccard:.3} to its parent")),
        Verdict::Refused { why } => ("not-comparable".into(), why.clone()),
        Verdict::Novel => unreachable!("a novel network is not refused"),
    }
}

/// What the network would take beyond its budget.
pub fn over_budget(cost: &Cost, limits: &ScreenConfig, proxy: &ProxyConfig) -> Option<String> {
    // Every activation has a gradient of its size in the backward pass.
    let memory_mib = 2 * cost.activation_bytes * proxy.batch as u64 / (1 << 20);
    let over = |what: &str, found: u64, most: u64| (found > most).then(|| format!("{found} {what}, at most {most}"));
    over("parameters", cost.parameters, limits.max_parameters)
        .or_else(|| over("multiply-accumulates", cost.macs, limits.max_macs))
        .or_else(|| over("MiB for a training step", memory_mib, limits.max_memory_mib))
        .or_else(|| over_training(cost, proxy, proxy.train_images, proxy.valid_images))
}

/// What its training with so many images would take beyond its budget: known beforehand, so no training need be ended for it.
pub fn over_training(cost: &Cost, proxy: &ProxyConfig, train_images: usize, valid_images: usize) -> Option<String> {
    let (found, most) = (cost.of_training(train_images, valid_images, proxy.epochs), proxy.max_training_macs);
    (most > 0 && found > most).then(|| format!("{found} multiply-accumulates of its training, at most {most}"))
}

fn trace_options(config: &RunConfig, images: &Format) -> TraceOptions {
    TraceOptions {
        steps: config.screen.trace_steps,
        cpu_seconds: config.screen.trace_cpu_seconds,
        memory_mib: config.screen.trace_memory_mib,
        ..TraceOptions::new(images.shape, images.classes)
    }
}

/// One layer: no network is smaller.
const SMALLEST: &str = "\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))

    def forward(self, x):
        return self.layers(x)
";

/// Traces a network of one layer: limits that are too small for it are too small for every network. Gives its graph.
///
/// # Errors
/// Names the limit; or the machine has no sandbox.
pub fn check_limits(config: &RunConfig, images: &Format) -> Result<Graph> {
    let failure = match trace(SMALLEST, &trace_options(config, images)) {
        Ok(graph) => return Ok(graph),
        Err(failure) => failure.of_source()?,
    };
    let key = match failure {
        TraceFailure::Steps { .. } => "screen.trace_steps",
        TraceFailure::CpuTime { .. } => "screen.trace_cpu_seconds",
        TraceFailure::Memory { .. } => "screen.trace_memory_mib",
        failure => return Err(Error::machine(format!("a network of one layer cannot be traced: {failure}"))),
    };
    Err(Error::input(format!("setting {key} is too small for any network: one of one layer ends with '{failure}'"))
        .hint(format!("raise {key}")))
}

/// Traces the start networks and stores those that are not stored yet.
pub fn admit_starts(run: &mut Run) -> Result<()> {
    let known: Vec<NetworkId> = run.store.networks()?.into_iter().map(|n| n.id).collect();
    run.filter = Filter::new(&run.config.novelty, run.config.seed);
    for network in trace_starts(&run.store.starts()?, &run.config, &run.proxies.format, &mut run.filter)? {
        if !known.contains(&network.id) {
            run.store.put_network(&network)?;
        }
    }
    Ok(())
}

/// Traces the start networks and admits them to the filter; one that cannot be traced or is over the budget is the user's to mend.
pub fn trace_starts(starts: &[(String, String)], config: &RunConfig, images: &Format, filter: &mut Filter) -> Result<Vec<NetworkRow>> {
    let options = trace_options(config, images);
    let mut networks = Vec::new();
    for (name, source) in starts {
        let id = NetworkId::Start(name.clone());
        let graph = trace(source, &options).map_err(|failure| failure.into_error(format_args!("start network '{name}'")))?;
        let spent = cost(&graph);
        if let Some(over) = over_budget(&spent, &config.screen, &config.proxy) {
            return Err(Error::input(format!("start network '{name}': {over}"))
                .hint("raise the limit in [screen], or proxy.max_training_macs, or start from a smaller network"));
        }
        let fingerprint = filter.fingerprint(&graph)?;
        networks.push(row(id.clone(), source.clone(), graph, &fingerprint, &spent));
        filter.admit(id.to_string(), fingerprint);
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_beyond_its_budget_is_told_with_both_numbers_and_no_preset_comes_near() {
        let cost = Cost { parameters: 10, macs: 7, activation_bytes: 4 };
        let proxy = ProxyConfig { train_images: 100, valid_images: 50, epochs: 2, max_training_macs: 4899, ..ProxyConfig::default() };
        let limits = ScreenConfig::default();
        let over = over_budget(&cost, &limits, &proxy).unwrap();
        assert_eq!(over, "4900 multiply-accumulates of its training, at most 4899");
        for max_training_macs in [4900, 0] {
            assert_eq!(over_budget(&cost, &limits, &ProxyConfig { max_training_macs, ..proxy.clone() }), None);
        }
        for preset in [None, Some("quick"), Some("cifar10")] {
            let config = RunConfig::resolve(preset, None, &[]).unwrap();
            let dearest = Cost { macs: config.screen.max_macs, ..cost };
            assert_eq!(over_budget(&dearest, &config.screen, &config.proxy), None, "{preset:?}");
        }
    }
}
