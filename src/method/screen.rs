//! The screen of a run: its candidates through the [gates](crate::gates), in order, and what came of it into the store.

use crate::base::error::Result;
use crate::base::printer;
use crate::base::progress::Phase;
use crate::gates::{Asked, Gates, Judged, Reason, Traced};
use crate::method::limits::gates;
use crate::method::run::Run;
use crate::method::{labels, shortfall, starts};
use crate::record::{Candidate, NetworkId, NetworkRow, Screened, Store};
use crate::tracer::novelty::Filter;

/// Screens the candidates of a cycle that are not screened yet, in their order: what one may not repeat depends on those before.
pub(crate) fn screen(run: &mut Run, cycle: u64) -> Result<()> {
    let waiting: Vec<Candidate> = run.store.candidates_of(cycle)?.into_iter().filter(|c| c.screened.is_none()).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let phase = Phase::begin(cycle, "screen", waiting.len() as u64);
    let found = decide(&run.store, &gates(&run.config, &run.proxies.format), &mut run.filter, &waiting)?;
    for (candidate, (screened, network)) in waiting.into_iter().zip(found) {
        let candidate = Candidate { screened: Some(screened), ..candidate };
        let labels = match &run.learner {
            Some(learner) => Some(labels::of(learner, run.config.delta.format, &run.store.network(&candidate.parent)?.source, &candidate)?),
            None => None,
        };
        run.store.transaction(|s| {
            network.iter().try_for_each(|n| s.put_network(n))?;
            labels.iter().try_for_each(|l| s.put_labels(l))?;
            s.put_candidate(&candidate)
        })?;
        phase.step();
    }
    run.store.put_phase(&phase.finish())?;
    if let Some(why) = shortfall::of(&run.config, &run.store.candidates_of(cycle)?) {
        printer::note(format!("cycle {cycle}: {why}"));
    }
    Ok(())
}

/// What the screen finds of candidates, in their order, whatever was found of them before; and the networks of those that were traced.
pub fn decide(store: &Store, gates: &Gates, filter: &mut Filter, candidates: &[Candidate]) -> Result<Vec<(Screened, Option<NetworkRow>)>> {
    let parents = candidates.iter().map(|c| store.network(&c.parent)).collect::<Result<Vec<_>>>()?;
    let asked = candidates.iter().zip(&parents).map(|(c, parent)| Asked {
        id: c.id().to_string(),
        parent: &parent.source,
        parent_graph: Some(&parent.graph),
        completion: &c.completion,
        ended: c.ended,
    });
    let judged = gates.judge(&asked.collect::<Vec<_>>(), filter)?;
    candidates.iter().zip(judged).map(|(c, judged)| rows(c.id(), judged)).collect()
}

/// What the gates found, as the store has it.
fn rows(id: NetworkId, judged: Judged) -> Result<(Screened, Option<NetworkRow>)> {
    let (stage, reason, source) = (judged.stage(), judged.reason, judged.source);
    let finding = judged.network.as_ref().map(|n| &n.finding);
    let nearest = finding.and_then(|f| f.nearest.as_ref());
    let screened = Screened {
        stage,
        reason: reason.as_ref().map(|r| r.word().into()),
        detail: reason.as_ref().map(ToString::to_string),
        line: reason.as_ref().and_then(Reason::line),
        nearest: nearest.map(|n| n.id.parse()).transpose()?,
        jaccard: nearest.map(|n| n.jaccard),
        parent_jaccard: finding.and_then(|f| f.parent_jaccard),
        source: source.clone(),
    };
    let network = source.zip(judged.network).and_then(|(source, Traced { graph, cost, finding })| {
        // One that cannot be compared has no fingerprint, and nobody asks for it again.
        Some(starts::row(id, source, graph, &finding.fingerprint?, &cost))
    });
    Ok((screened, network))
}
