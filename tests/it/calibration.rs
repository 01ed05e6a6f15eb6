//! The verdicts on controls whose truth is known.

use std::sync::Arc;

use eliteloop::base::home;
use eliteloop::oracle::nasbench201::space;
use eliteloop::oracle::table::Entry;
use eliteloop::oracle::{self, Cell, Table};
use eliteloop::study::calibration::{self, Bar, Calibration, Row};
use eliteloop::theory::Claim;
use eliteloop::theory::values as table;

/// Accuracies that are a sum over the edges and a little of each cell's own, of two seeds each; a tenth of the cells is broken.
fn synthetic() -> Arc<Table> {
    let entry = |cell: Cell| {
        let own = |salt: usize| ((cell.index() + 1) as f64 * (0.618_034 + salt as f64 * 0.137)).fract() - 0.5;
        let sum: f64 = cell.words().enumerate().map(|(edge, op)| ((edge * 5 + op * 3) % 7) as f64).sum();
        let truth = if own(0) < -0.4 { 0.1 } else { 0.6 + 0.008 * sum + 0.02 * own(1) };
        Entry { accuracy: vec![truth + 0.004 * own(2), truth - 0.004 * own(3)], costs: None }
    };
    Arc::new(Table::of(space(), Cell::all(space()).map(entry).collect(), "synthetic".into()))
}

fn run(text: &str, data: &Arc<Table>) -> Vec<Row> {
    Calibration::parse(text, "test").unwrap().run(data, |_| ()).unwrap()
}

fn row<'a>(rows: &'a [Row], control: &str, shape: (u64, usize), claim: Claim) -> &'a Row {
    rows.iter().find(|r| r.control == control && r.shape == shape && r.claim == claim).unwrap_or_else(|| panic!("{control} {claim}"))
}

const SMALL: &str = r#"
kind = "calibration"
dataset = "cifar10"
runs = 12
shapes = [[5, 12], [22, 50]]
[settings]
table_smoothing = 0.1
gamma_star = 0.78
elite.threshold = 0.78
quality = "mean"
[controls.exact]
policy = "mixture-ce"
elite.source = "population"
power = [1, 2, 3]
[controls.sampled]
policy = "mixture-ce"
power = [1, 2, 3]
[controls.filter]
policy = "mixture-ce"
novelty.enabled = true
unmet = [2, 3]
[controls.table]
policy = "table-ce"
spared = [1, 2, 3]
[controls.frozen]
policy = "random"
unmet = [2, 3]
[controls.nothing]
policy = "mixture-ce"
table_smoothing = 1e-9
quality = "one-seed"
audit_every = 0
nothing = [2, 3]
[controls.random-subset]
policy = "mixture-ce"
elite.choice = "random"
table_smoothing = 0.5
false = [1, 2, 3]
[controls.tilt]
policy = "tilt-ce"
elite.source = "population"
true = [2]
false = [1, 3]
"#;

#[test]
fn controls_of_known_truth_come_out_as_they_should() {
    needs!(Minutes);
    let data = synthetic();
    let rows = run(SMALL, &data);
    let missed: Vec<&Row> = rows.iter().filter(|r| !r.is_met()).collect();
    assert!(missed.is_empty(), "{missed:?}");
    // Not because nothing is ever said.
    for claim in [Claim::Update, Claim::Improvement, Claim::Convergence] {
        let exact = row(&rows, "exact", (22, 50), claim);
        assert_eq!((exact.counts, exact.bar), ([12, 0, 0, 0], Some(Bar::Power)), "{claim}");
    }
    assert!(row(&rows, "random-subset", (22, 50), Claim::Update).counts[1] >= 11);
    assert!(row(&rows, "random-subset", (22, 50), Claim::Improvement).counts[1] >= 10);
    assert!(row(&rows, "tilt", (22, 50), Claim::Convergence).counts[1] >= 10);
    assert_eq!(row(&rows, "exact", (5, 12), Claim::Convergence).bar, Some(Bar::True), "power is asked of the last shape");
    let shown = table::markdown(&calibration::table(&Calibration::parse(SMALL, "test").unwrap(), &rows));
    assert!(shown.contains("| exact | 22 x 50 | 3 | 100% [76, 100] | 0% [0, 24] |"), "{shown}");
}

#[test]
fn a_control_that_is_mislabelled_is_seen() {
    let data = synthetic();
    let text = |labels: &str| {
        format!(
            "kind = \"calibration\"\ndataset = \"cifar10\"\nruns = 4\nshapes = [[22, 50]]\n[controls.c]\npolicy = \"mixture-ce\"\nelite.choice = \
             \"random\"\ntable_smoothing = 0.5\n{labels}\n"
        )
    };
    let rows = run(&text("true = [1]\npower = [2]"), &data);
    assert!(!row(&rows, "c", (22, 50), Claim::Update).is_met() && !row(&rows, "c", (22, 50), Claim::Improvement).is_met());
    let refused = |text: &str, why: &str| {
        let error = Calibration::parse(text, "file.toml").unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    refused(&text("true = [1]\nfalse = [1]"), "claim 1 is in two lists");
    refused(&text("true = [7]"), "there is no claim 7");
    refused(&text("elite.roh = 3"), "control c");
    refused(&text("policy2 = 3"), "policy2");
    refused(&text("").replace("mixture-ce", "frozen"), "closed form");
    refused(&text("").replace("runs = 4", "runs = 0"), "runs");
    refused(&text("").replace("[[22, 50]]", "[]"), "at least one shape");
    refused(&text("").replace("runs", "run"), "line 3");
    assert!(calibration::is_calibration(SMALL) && !calibration::is_calibration("kind = \"audit\""));
}

/// The committed file on the published table, fewer runs of it: what is certain in every run.
#[test]
fn the_committed_calibration_runs_on_the_published_table() {
    needs!(Nasbench201);
    let text = include_str!("../../scripts/studies/calibration.toml");
    let few = text.replace("runs = 200", "runs = 3").replace("shapes = [[5, 12], [22, 50]]", "shapes = [[22, 50]]");
    assert_ne!(few, text);
    let rows = run(&few, &Arc::new(oracle::load("cifar10", &home::data()).unwrap()));
    let certain = rows.iter().filter(|r| r.bar == Some(Bar::Unmet) || (r.bar == Some(Bar::Power) && !r.control.contains("seen")));
    let missed: Vec<&Row> = certain.clone().filter(|r| !r.is_met()).collect();
    assert!(missed.is_empty() && certain.count() > 10, "{missed:?}");
}
