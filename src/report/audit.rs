//! From the store of an audit to what its report shows, with its panels of claims 1, 2, 3 and 5; and its cycles as a table of text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use super::collect::{named, sealed, tuning};
use super::data::{self, ReportData};
use crate::audit::beyond::{Beyond, lost};
use crate::audit::codec::Proposal;
use crate::audit::exact::Update;
use crate::audit::record::{self, Cycle, Elite, Exact, Inputs, Sample};
use crate::audit::search;
use crate::audit::settings::{AuditConfig, AuditEliteSource, Choice};
use crate::base::error::{Error, Result};
use crate::base::progress::PhaseRow;
use crate::base::show::in_shell;
use crate::config::{Policy, TuneData, departures};
use crate::decoder::settings::tune::Objective;
use crate::gates::Stage;
use crate::oracle::{self, Cell as Cells};
use crate::record::Funnel;
use crate::record::{Store, folder};
use crate::theory::ce_update::{self, Tuning};
use crate::theory::change::conditional_entropy;
use crate::theory::convergence;
use crate::theory::growth::Count;
use crate::theory::improvement::{self, CycleSamples, Role};
use crate::theory::statistics::{mean, quantile};
use crate::theory::values::{Cell, Show};
use crate::theory::{Assumption, Claim, Finding, Mark, Panel, Plot, Point, Series};

/// One line a cycle. `E[S]`, C, entropy and KLs are exact where they are there.
pub fn table(cycles: &[Cycle]) -> String {
    let mut text = String::from(
        "cycle  mean S  distinct  best at  incumbent |   E[S]    C(g*)  p(best)  entropy  outside | KL(e|p) -> after  share  alpha  dist  KL(p|table)",
    );
    for cycle in cycles {
        let qualities: Vec<f64> = cycle.samples.iter().filter_map(|s| s.quality).collect();
        let found = cycle.search.best_found_at.map_or("-".into(), |n| n.to_string());
        let _ = write!(
            text,
            "\n{:>5}  {:>6.4}  {:>8}  {:>7}  {:>9.4}",
            cycle.cycle,
            if qualities.is_empty() { f64::NAN } else { mean(&qualities) },
            cycle.search.distinct,
            found,
            cycle.search.incumbent
        );
        let Some(exact) = &cycle.exact else { continue };
        let m = &exact.before;
        let _ = write!(text, " | {:>6.4}  {:>7.4}  {:>7.5}  {:>7.3}  {:>7.4}", m.expected, m.elite, m.best, m.entropy, m.outside);
        let Some(u) = &exact.update else { continue };
        let show = |(_, figure): (_, Option<f64>)| figure.map_or("-".to_owned(), |v| format!("{v:.3}"));
        let [before, after, share, alpha, distance, to_table] = figures(u).map(show);
        let _ = write!(text, " | {before:>7}    {after:>6}  {share:>5}  {alpha:>5}  {distance:>5}  {to_table:>6}");
    }
    if let Some(Cycle { exact: Some(exact), .. }) = cycles.last() {
        let m = &exact.after;
        let _ = write!(
            text,
            "\n after the last update: E[S] {:.4}, C {:.4}, p(best) {:.5}, entropy {:.3}",
            m.expected, m.elite, m.best, m.entropy
        );
    }
    text
}

/// The figures of an update and their names; None is infinite.
fn figures(update: &Update) -> [(&'static str, Option<f64>); 6] {
    let Update { to_elites_before, to_elites_after, share, alpha, distance, to_table, target: _ } = *update;
    [
        ("KL(e||p) before", to_elites_before),
        ("KL(e||p) after", to_elites_after),
        ("share realised", share),
        ("alpha", Some(alpha)),
        ("KL to its mixture", distance),
        ("KL(p||table)", to_table),
    ]
}

/// Reads an audit that is finished or still going on.
pub fn collect(audit: &Path) -> Result<ReportData> {
    let config = record::settings(audit)?;
    let store = Store::read(&folder::store_path(audit))?;
    let inputs = record::inputs(&store)?;
    let Some(start) = record::start(&store)? else {
        return Err(Error::input(format!("the audit in {} has not begun its first cycle", audit.display()))
            .hint(format!("go on with it: eliteloop resume {}", in_shell(audit))));
    };
    let cycles = record::cycles(&store)?;
    let phases = store.phases()?;
    let best = cycles.iter().flat_map(|c| c.samples.iter().enumerate().map(move |(i, s)| (c.cycle, i, s)));
    let best = best.filter(|(_, _, s)| s.quality.is_some()).max_by(|a, b| {
        let quality = |s: &Sample| s.quality.unwrap_or(f64::NEG_INFINITY);
        quality(a.2).total_cmp(&quality(b.2)).then((b.0, b.1).cmp(&(a.0, a.1)))
    });
    Ok(ReportData {
        name: folder::name(audit),
        program_version: inputs.program.clone(),
        started: store.meta("started")?.unwrap_or_default(),
        finished: store.meta("finished")?.unwrap_or_default(),
        policy: config.policy,
        model: inputs.model.clone().unwrap_or_else(|| "none".into()),
        dataset: oracle::title(&config.dataset),
        settings: config.to_toml(),
        provenance: [provenance(&config, &inputs, &start), sealed(&store)?].concat(),
        cycles: cycles.iter().map(|c| show_cycle(c, &phases)).collect(),
        candidates: cycles.iter().flat_map(show_candidates).collect(),
        best: best.map(|(cycle, index, sample)| data::Best {
            cycle,
            index: index as u64,
            quality: sample.quality.unwrap_or_default(),
            quality_per_seed: sample.quality.into_iter().collect(),
            source: sample.text.clone(),
            ..data::Best::default()
        }),
        theory: panels(&config, &inputs, &cycles),
        ..ReportData::default()
    })
}

fn provenance(config: &AuditConfig, inputs: &Inputs, start: &str) -> Vec<(String, String)> {
    let mut rows = vec![
        ("seed".to_owned(), config.seed.to_string()),
        ("threads".into(), config.threads.to_string()),
        ("table, SHA-256".into(), inputs.table_sha256.clone()),
        ("gamma*, fixed before the first cycle".into(), format!("{:.4}", inputs.gamma_star)),
    ];
    if config.policy == Policy::Llm {
        let data = match config.elite.source {
            AuditEliteSource::Cycle | AuditEliteSource::Population => TuneData::Elites,
            AuditEliteSource::Archive => TuneData::Archive,
        };
        rows.push(("update".into(), named(&departures(data, config.elite.weights, &config.tune))));
    }
    if let Some(sha256) = &inputs.model_sha256 {
        rows.extend([("model file, SHA-256".into(), sha256.clone()), ("adapter before the first cycle, SHA-256".into(), start.to_owned())]);
    }
    rows
}

/// How far a sample got, and why no further. A cell is a network within any budget.
fn ending(sample: &Sample) -> (Stage, &'static str) {
    match (sample.quality, sample.cell()) {
        (Some(_), _) => (Stage::Trained, ""),
        (None, Some(_)) => (Stage::WithinBudget, "queried before"),
        (None, None) => (Stage::Asked, "not a cell"),
    }
}

/// How many samples got how far: a cell is a network, a query is a training.
pub(crate) fn funnel(cycle: &Cycle) -> Funnel {
    let asked = cycle.samples.len() as u64;
    let cells = cycle.samples.iter().filter(|s| s.cell().is_some()).count() as u64;
    let trained = cycle.samples.iter().filter(|s| s.quality.is_some()).count() as u64;
    let elite = cycle.elites.len() as u64;
    Funnel { asked, parsed: cells, applied: cells, traced: cells, within_budget: cells, novel: trained, trained, elite }
}

fn show_cycle(cycle: &Cycle, phases: &[PhaseRow]) -> data::Cycle {
    let phases: Vec<&PhaseRow> = phases.iter().filter(|p| p.cycle == cycle.cycle).collect();
    let count = |stage: Stage| cycle.samples.iter().filter(|s| ending(s).0 == stage).count() as u64;
    let reasons = cycle.samples.iter().map(ending).collect::<BTreeSet<_>>().into_iter();
    let reason = |(stage, reason): (Stage, &str)| Some(data::Reason { gate: stage.next()?, reason: reason.into(), count: count(stage) });
    data::Cycle {
        cycle: cycle.cycle,
        funnel: funnel(cycle),
        reasons: reasons.filter_map(reason).collect(),
        gamma: cycle.gamma,
        tuning: cycle.tuning.as_ref().map(tuning),
        peak_memory_mib: phases.iter().map(|p| p.peak_mib).reduce(f64::max),
        seconds: phases.iter().map(|p| (p.name.clone(), p.seconds)).collect(),
    }
}

fn show_candidates(cycle: &Cycle) -> Vec<data::Candidate> {
    let show = |(index, sample): (usize, &Sample)| {
        let elite = cycle.elites.iter().find(|e| sample.quality.is_some() && sample.proposal() == Some(e.proposal()));
        let (stage, reason) = ending(sample);
        data::Candidate {
            cycle: cycle.cycle,
            index: index as u64,
            stage,
            reason: reason.into(),
            quality: sample.quality,
            parent: sample.parent.map(|cell| cell.to_string()).unwrap_or_default(),
            elite: elite.is_some(),
            held_out: elite.is_some_and(|e| e.held_out),
            ..data::Candidate::default()
        }
    };
    cycle.samples.iter().enumerate().map(show).collect()
}

/// Exact values of a cycle: x, and what `get` takes of them.
fn series(cycles: &[Cycle], get: impl Fn(&Exact) -> Option<f64>) -> Vec<Point> {
    cycles.iter().filter_map(|c| Some(Point { x: c.cycle as f64, y: get(c.exact.as_ref()?)?, interval: None })).collect()
}

/// The claims that an audit's records speak to.
pub fn panels(config: &AuditConfig, inputs: &Inputs, cycles: &[Cycle]) -> Vec<Panel> {
    let mut panels = Vec::new();
    if config.policy.has_llm() || cycles.iter().any(|c| c.exact.as_ref().is_some_and(|e| e.update.is_some())) {
        panels.push(update_panel(config, cycles));
    }
    panels.push(improvement_panel(config, cycles));
    panels.push(convergence_panel(config, inputs, cycles));
    if cycles.iter().any(|c| c.exact.is_some()) {
        panels.push(entropy_panel(config, cycles));
    }
    panels
}

/// Whether nothing is known that restricts what the policy can be.
fn family(config: &AuditConfig) -> bool {
    config.policy != Policy::TableCe
}

/// Whether an update takes fewer than all that it could have taken.
fn is_selection(config: &AuditConfig, cycle: &Cycle) -> bool {
    config.elite.source != AuditEliteSource::Cycle || cycle.elites.len() < cycle.samples.iter().filter(|s| s.quality.is_some()).count()
}

/// What the claims on quality suppose and an audit does not meet.
fn broken(config: &AuditConfig, cycles: &[Cycle]) -> Vec<Assumption> {
    let selection = cycles.iter().all(|c| c.elites.is_empty()) || cycles.iter().any(|c| is_selection(config, c));
    let met = [
        (config.policy.is_tuned(), Assumption::Updated),
        (!config.novelty.enabled, Assumption::FixedObjective),
        (selection, Assumption::Selection),
        (family(config), Assumption::Family),
    ];
    met.into_iter().filter(|(met, _)| !met).map(|(_, assumption)| assumption).collect()
}

/// What is written in place of the elites where they are a distribution.
const POPULATION: &str = "population";

/// The update of a cycle as claim 1 sees it; `earlier` are the cycles before it.
fn tuning_of(config: &AuditConfig, earlier: &[Cycle], cycle: &Cycle) -> Option<Tuning> {
    let trained: Vec<&Elite> = cycle.elites.iter().filter(|e| !e.held_out).collect();
    // Those that the selection would have taken, whatever the control took.
    let mut best = config.clone();
    best.elite.choice = Choice::Best;
    let elites = search::elites(earlier, &cycle.samples, &best, cycle.cycle);
    let names = |proposals: Vec<Proposal>| -> Vec<String> {
        if config.elite.source == AuditEliteSource::Population {
            vec![POPULATION.into()]
        } else {
            proposals.iter().map(Proposal::to_string).collect()
        }
    };
    let common = Tuning {
        cycle: cycle.cycle,
        summed: config.tune.objective == Objective::Sum,
        trained: names(trained.iter().map(|e| e.proposal()).collect()),
        elites: names(elites.into_iter().map(|c| c.elite.proposal()).collect()),
        ..Tuning::default()
    };
    let Some(tuning) = &cycle.tuning else {
        // In closed form: the divergences are the losses but for the entropy of the elites.
        let update = cycle.exact.as_ref()?.update?;
        let (before, after) = (update.to_elites_before?, update.to_elites_after?);
        return Some(Tuning { summed: true, loss_before: before, loss_after: after, target: update.target, ..common });
    };
    let log_q = |proposal: Proposal| cycle.samples.iter().find(|s| s.proposal() == Some(proposal)).and_then(|s| s.log_q);
    // An elite of an earlier cycle has no log q of this one.
    let weight = |e: &Elite| tuning.manifest.iter().find(|example| example.network == e.sample).map_or(1.0, |example| example.weight);
    let logged: Option<f64> = trained.iter().map(|e| Some(weight(e) * log_q(e.proposal())?)).sum();
    let total: f64 = trained.iter().map(|e| weight(e)).sum();
    let examples: Vec<_> = trained.iter().map(|e| (e.parent.map(Cells::index), e.cell.index(), weight(e))).collect();
    Some(Tuning {
        logged: logged.filter(|_| tuning.logged.is_some()).map(|sum| -sum / total),
        loss_before: tuning.before,
        loss_after: tuning.after,
        target: conditional_entropy(&examples),
        held_out: tuning.held_out_before.zip(tuning.held_out_after),
        ..common
    })
}

fn update_panel(config: &AuditConfig, cycles: &[Cycle]) -> Panel {
    let tunings = cycles.iter().enumerate().filter_map(|(i, cycle)| tuning_of(config, &cycles[..i], cycle));
    let mut panel = ce_update::judge(&tunings.collect::<Vec<_>>(), family(config)).panel();
    let updates: Vec<_> = cycles.iter().filter_map(|c| Some((c.cycle, c.exact.as_ref()?.update?))).collect();
    let Some((_, last)) = updates.last() else { return panel };
    let shares: Vec<f64> = updates.iter().filter_map(|(_, u)| u.share).collect();
    let alphas: Vec<f64> = updates.iter().map(|(_, u)| u.alpha).collect();
    let distances: Vec<f64> = updates.iter().filter_map(|(_, u)| u.distance).collect();
    let median = |values: &[f64]| if values.is_empty() { f64::NAN } else { quantile(values, 0.5) };
    let _ = write!(
        panel.sentence,
        " Exactly: a cycle's tuning closed a median {:.0}% of the divergence from its elites; it was nearest to an update with alpha {:.2}, {:.2} nats off.",
        100.0 * median(&shares),
        median(&alphas),
        median(&distances)
    );
    if let (Some(to_table), true) = (last.to_table, config.policy.has_llm()) {
        let _ = write!(panel.sentence, " At the end the LLM is {to_table:.2} nats from the table policy that had the same elites.");
    }
    for (cycle, u) in &updates {
        panel.numbers.extend(figures(u).map(|(name, figure)| {
            (format!("exact, cycle {cycle}: {name}"), Cell::number(figure.unwrap_or(f64::INFINITY), Show::Fixed(4)))
        }));
    }
    for cycle in cycles {
        let Some(beyond) = cycle.exact.as_ref().and_then(|exact| exact.beyond.as_ref()) else { continue };
        let figure =
            |(name, figure): (String, Option<f64>)| (format!("exact, cycle {}: {name}", cycle.cycle), Cell::number(figure, Show::Fixed(5)));
        panel.numbers.extend(beyond.figures().into_iter().map(figure));
    }
    let beyond: Vec<&Beyond> = cycles.iter().filter_map(|c| c.exact.as_ref()?.beyond.as_ref()).collect();
    if !beyond.is_empty() {
        panel.numbers.push(("exact: D, what drift would take of the diversity in all".into(), Cell::number(lost(beyond), Show::Fixed(4))));
    }
    panel.plot = Some(Plot {
        x_label: "cycle".into(),
        y_label: "share of the update".into(),
        series: vec![
            Series {
                name: "share of KL(e||p) closed".into(),
                mark: Mark::Points,
                points: series(cycles, |e| e.update.and_then(|u| u.share)),
            },
            Series {
                name: "alpha of the nearest mixture".into(),
                mark: Mark::Points,
                points: series(cycles, |e| e.update.map(|u| u.alpha)),
            },
        ],
    });
    panel
}

/// The samples of a cycle as claim 2 sees them.
fn samples_of(config: &AuditConfig, cycle: &Cycle) -> CycleSamples {
    let role = |sample: &Sample| {
        let elite = cycle.elites.iter().find(|e| sample.quality.is_some() && sample.proposal() == Some(e.proposal()));
        elite.map_or(Role::Other, |e| if e.held_out { Role::HeldOut } else { Role::Trained })
    };
    let sample = |s: &Sample| improvement::Sample {
        parent: s.parent.map(|cell| cell.to_string()).unwrap_or_default(),
        quality: s.quality,
        log_q: s.log_q,
        log_p_after: s.log_p_after,
        role: role(s),
    };
    let exact = cycle.exact.as_ref().filter(|e| e.update.is_some());
    CycleSamples {
        cycle: cycle.cycle,
        samples: cycle.samples.iter().map(sample).collect(),
        updated: config.policy.is_tuned() && (!cycle.elites.is_empty() || config.elite.source == AuditEliteSource::Population),
        selected: is_selection(config, cycle),
        exact: exact.map(|e| e.after.objective - e.before.objective),
    }
}

fn improvement_panel(config: &AuditConfig, cycles: &[Cycle]) -> Panel {
    let samples: Vec<CycleSamples> = cycles.iter().map(|c| samples_of(config, c)).collect();
    let mut panel = improvement::judge(&broken(config, cycles), &samples).panel();
    let exact = series(cycles, |e| Some(e.before.objective));
    if let (Some(plot), false) = (&mut panel.plot, exact.is_empty()) {
        plot.series.push(Series { name: "exact E[S]".into(), mark: Mark::Line, points: exact });
    }
    panel
}

fn convergence_panel(config: &AuditConfig, inputs: &Inputs, cycles: &[Cycle]) -> Panel {
    let mut broken = broken(config, cycles);
    if config.elite.threshold != Some(inputs.gamma_star) {
        broken.push(Assumption::FixedThreshold);
    }
    let known = cycles.iter().all(|c| c.exact.is_some());
    let count = |c: &Cycle| {
        let reached = c.samples.iter().filter(|s| s.quality.is_some_and(|q| q >= inputs.gamma_star)).count();
        let sampled = Count::new(c.cycle, c.samples.len() as u64, reached as u64);
        match &c.exact {
            // What as many samples would be expected to show.
            Some(exact) if known => Count { reached: sampled.asked * exact.before.reached, ..sampled },
            _ => Count { groups: groups(c, inputs.gamma_star), ..sampled },
        }
    };
    let mut panel = convergence::judge(&broken, &cycles.iter().map(count).collect::<Vec<_>>()).panel();
    panel.numbers.insert(0, ("gamma*".into(), Cell::number(inputs.gamma_star, Show::Percent(4))));
    if known && !cycles.is_empty() {
        let _ = write!(panel.sentence, " C is exact, weighted as {} samples a cycle would be.", config.candidates);
    }
    let exact = series(cycles, |e| Some(e.before.reached));
    panel.numbers.extend(exact.iter().map(|p| (format!("exact C, cycle {}", p.x), Cell::number(p.y, Show::Fixed(6)))));
    panel
}

/// (asked, reached) by parent.
fn groups(cycle: &Cycle, gamma_star: f64) -> Vec<(f64, f64)> {
    let mut groups: BTreeMap<Option<usize>, (f64, f64)> = BTreeMap::new();
    for sample in &cycle.samples {
        let own = groups.entry(sample.parent.map(Cells::index)).or_default();
        own.0 += 1.0;
        own.1 += f64::from(u8::from(sample.quality.is_some_and(|q| q >= gamma_star)));
    }
    groups.into_values().collect()
}

fn entropy_panel(config: &AuditConfig, cycles: &[Cycle]) -> Panel {
    let entropy = series(cycles, |e| Some(e.before.entropy));
    let (first, last) = (entropy.first().map_or(f64::NAN, |p| p.y), entropy.last().map_or(f64::NAN, |p| p.y));
    let last_cells = last.exp();
    let filter =
        if config.novelty.enabled { "Cells queried before were refused" } else { "No cell was refused for having been queried before" };
    let mut numbers = Vec::new();
    for cycle in cycles {
        let Some(exact) = &cycle.exact else { continue };
        let m = exact.before;
        let figures = [
            ("entropy", m.entropy, Show::Fixed(4)),
            ("dependence of the slots", m.dependence, Show::Fixed(4)),
            ("mass outside", m.outside, Show::Scientific(2)),
            ("p(best)", m.best, Show::Fixed(6)),
        ];
        numbers.extend(figures.map(|(name, figure, show)| (format!("exact, cycle {}: {name}", cycle.cycle), Cell::number(figure, show))));
    }
    Panel {
        claim: Claim::Diversity,
        title: Claim::Diversity.title().into(),
        finding: Finding::broken(Assumption::TwoArms, None),
        sentence: format!(
            "{filter}; what one audit shows is the collapse itself: the exact entropy went from {first:.2} to {last:.2} nats (as of {last_cells:.0} equal cells)."
        ),
        numbers,
        plot: Some(Plot {
            x_label: "cycle".into(),
            y_label: "nats".into(),
            series: vec![
                Series { name: "exact entropy of p".into(), mark: Mark::Points, points: entropy },
                Series {
                    name: "KL(p || product of its marginals)".into(),
                    mark: Mark::Points,
                    points: series(cycles, |e| Some(e.before.dependence)),
                },
            ],
        }),
    }
}
