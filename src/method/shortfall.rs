//! What a run says at once when few of a cycle's candidates are networks, instead of going on as if nothing were wrong.

use std::collections::BTreeMap;

use crate::config::RunConfig;
use crate::gates::{Gate, Stage};
use crate::record::Candidate;

/// Fewer networks than one in this many candidates are worth a word.
const ONE_IN: usize = 3;

/// How many of a cycle's screened candidates are networks, why most others are not, and what to do; none where they are enough.
#[must_use]
pub(crate) fn of(config: &RunConfig, candidates: &[Candidate]) -> Option<String> {
    let networks = candidates.iter().filter(|c| c.stage() >= Some(Stage::Traced)).count();
    if networks * ONE_IN >= candidates.len() {
        return None;
    }
    let mut causes: BTreeMap<(Gate, &str), Vec<&str>> = BTreeMap::new();
    for screened in candidates.iter().filter_map(|c| c.screened.as_ref()).filter(|s| s.stage < Stage::Traced) {
        let cause = (screened.stage.next()?, screened.reason.as_deref().unwrap_or("unknown"));
        causes.entry(cause).or_default().push(screened.detail.as_deref().unwrap_or_default());
    }
    // Of causes that are equally frequent the one that ends candidates first.
    let ((gate, reason), details) = causes.into_iter().rev().max_by_key(|(_, details)| details.len())?;
    let example = details.first().filter(|d| !d.is_empty()).map(|d| format!(", as in '{d}'")).unwrap_or_default();
    Some(format!(
        "only {networks} of {} candidates are networks; most of the others fail the gate '{gate}' ({reason}, {} of them{example}); {}",
        candidates.len(),
        details.len(),
        advice(config, gate)
    ))
}

fn advice(config: &RunConfig, gate: Gate) -> &'static str {
    if !config.policy.has_llm() {
        return "what this policy changes does not suit these parents: start from other networks ([parents] start)";
    }
    match gate {
        Gate::Parse => {
            "the LLM does not write this format: make an adapter for it (eliteloop warmup), choose another delta.format, or set delta.mask=patch"
        }
        Gate::Apply => "hold deltas to their parent with delta.mask=patch",
        Gate::Trace if !config.parents.start.is_empty() && !config.parents.normal_form => {
            "the start networks write out what each layer reads: set parents.normal_form=true, or leave it to lazy modules"
        }
        Gate::Trace | Gate::Budget | Gate::Novelty | Gate::Training => {
            "hold the lines to layers that there are with delta.mask=layers, or start from a shorter network whose widths do not depend on each other"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{NetworkId, Screened};

    fn candidates(ends: &[(Stage, &str)]) -> Vec<Candidate> {
        let one = |(i, (stage, reason)): (usize, &(Stage, &str))| Candidate {
            screened: Some(Screened { reason: Some((*reason).into()), detail: Some(format!("line {i}")), ..Screened::at(*stage) }),
            ..Candidate::new(1, i as u64, NetworkId::Start("plain".into()), "")
        };
        ends.iter().enumerate().map(one).collect()
    }

    #[test]
    fn few_networks_are_told_with_what_leads() {
        let (trace, parse) = ((Stage::Applied, "python"), (Stage::Asked, "malformed"));
        let few = candidates(&[(Stage::Trained, ""), parse, trace, trace]);
        let said = of(&RunConfig::default(), &few).unwrap();
        assert!(said.starts_with("only 1 of 4 candidates are networks"), "{said}");
        assert!(said.contains("'trace' (python, 2 of them, as in 'line 2')") && said.contains("delta.mask=layers"), "{said}");
        assert_eq!(of(&RunConfig::default(), &candidates(&[(Stage::Traced, ""), parse, trace])), None, "one of three");
        assert_eq!(of(&RunConfig::default(), &[]), None);
        let said = of(&RunConfig::default(), &candidates(&[parse, parse, trace, trace])).unwrap();
        assert!(said.contains("'parse'") && said.contains("warmup"), "{said}");
    }

    #[test]
    fn the_advice_is_of_what_the_run_has() {
        let mut config = RunConfig::default();
        let few = candidates(&[(Stage::Applied, "python"); 4]);
        (config.parents.start, config.parents.normal_form) = (vec!["net.py".into()], false);
        assert!(of(&config, &few).unwrap().contains("parents.normal_form=true"));
        config.parents.normal_form = true;
        assert!(!of(&config, &few).unwrap().contains("normal_form"));
        config.policy = crate::config::Policy::Random;
        let said = of(&config, &few).unwrap();
        assert!(said.contains("[parents] start") && !said.contains("mask"), "{said}");
    }
}
