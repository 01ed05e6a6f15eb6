//! The report of a made-up study: its data files hold the numbers, its charts are drawn where the records are, and it can be read.

use eliteloop::compare::contest::{Contest, Entry, Measured};
use eliteloop::record::Funnel;
use eliteloop::record::Kind;
use eliteloop::study::file::NO_MODEL;
use eliteloop::study::outcome::{Claimed, Measures, Outcome};
use eliteloop::study::page::page as render;
use eliteloop::study::report::{Cell, Missing, Report};
use eliteloop::study::retrain::Retrained;
use eliteloop::study::tables;
use eliteloop::theory::values as table;
use eliteloop::theory::{Claim, Finding, Verdict};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::page::{Scheme, assert_readable, keep, well_formed};

const CYCLES: u64 = 4;

/// A run about `level`; how many candidates are trained differs from seed to seed.
fn outcome(seed: u64, level: f64, tokens: Option<u64>) -> Outcome {
    let mut rng = ChaCha8Rng::seed_from_u64(seed * 1000 + (level * 100.0) as u64);
    let mut qualities = Vec::new();
    for cycle in 1..=CYCLES {
        for _ in 0..6 + rng.random_range(0..3) {
            qualities.push((cycle, level + 0.02 * cycle as f64 + rng.random_range(-0.1..0.1)));
        }
    }
    let trained = qualities.len() as u64;
    let values: Vec<f64> = qualities.iter().map(|(_, quality)| *quality).collect();
    let best_so_far = values.iter().scan(0f64, |best, q| {
        *best = best.max(*q);
        Some(*best)
    });
    let entry = Entry { seed, best_so_far: best_so_far.collect(), qualities: values, ..Entry::default() };
    Outcome {
        seed,
        cycles: CYCLES,
        funnel: Funnel { asked: 48, parsed: 46, applied: 45, traced: 42, within_budget: 41, novel: trained + 2, trained, elite: 12 },
        distinct: trained + 3,
        mean: entry.mean(),
        best: entry.best_of(usize::MAX),
        seconds: 421.125,
        tokens_written: tokens,
        tokens_tuned: tokens,
        claims: vec![Claimed { claim: Claim::Improvement, finding: Finding::of(Verdict::Holds, None), sentence: "It rose.".into() }],
        measures: Measures { fell: 1, transitions: 3, first_c: Some(0.1), last_c: Some(0.2 + 0.01 * seed as f64), ..Measures::default() },
        search: None,
        retrained: Some(Retrained { network: "1/0".into(), quality: 0.5 + 0.01 * seed as f64, valid: vec![0.42, 0.44], test: vec![0.4] }),
        qualities,
        entry,
        facts: None,
    }
}

fn runs(seeds: &[u64], level: f64, tokens: Option<u64>) -> Vec<Outcome> {
    seeds.iter().map(|&seed| outcome(seed, level, tokens)).collect()
}

fn study() -> Report {
    let missing = |seed, cycles, failed| Missing { seed, cycles, of: CYCLES, failed };
    let cells = vec![
        Cell::new("tiny<1>", "llm", true, runs(&[0, 1, 2, 3], 0.5, Some(900)), vec![]),
        Cell::new("tiny<1>", "frozen", false, runs(&[0, 1, 2], 0.47, Some(800)), vec![missing(3, 2, false)]),
        Cell::new("large", "llm", true, runs(&[0, 1], 0.55, Some(900)), vec![missing(2, 0, false), missing(3, 1, true)]),
        Cell::new(NO_MODEL, "random", false, runs(&[0, 1, 2, 3], 0.52, None), vec![]),
    ];
    let failed = vec![("large/llm/seed-3".into(), "no memory".into())];
    Report::of("A study, \"made up\"", Kind::Run, "kind = \"run\"\n".into(), cells, failed)
}

/// A reader of CSV as RFC 4180 has it: a list of fields a line.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (mut lines, mut line, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut rest) = (false, text.chars().peekable());
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => field.push(rest.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                line.push(std::mem::take(&mut field));
                lines.push(std::mem::take(&mut line));
            }
            c => field.push(c),
        }
    }
    assert!(!quoted && field.is_empty() && line.is_empty(), "it does not end with a line");
    lines
}

/// A data file as read back, field by field under the names of its head.
struct Data {
    head: Vec<String>,
    lines: Vec<Vec<String>>,
    json: serde_json::Value,
}

impl Data {
    fn read(folder: &std::path::Path, id: &str) -> Self {
        let text = |end: &str| std::fs::read_to_string(folder.join(format!("{id}.{end}"))).unwrap();
        let mut lines = read_csv(&text("csv"));
        let head = lines.remove(0);
        assert!(lines.iter().all(|line| line.len() == head.len()), "{id}");
        Self { head, lines, json: serde_json::from_str(&text("json")).unwrap() }
    }

    fn row(&self, of: &[(&str, &str)]) -> usize {
        let is = |line: &Vec<String>| of.iter().all(|(name, value)| line[self.place(name)] == *value);
        let rows: Vec<usize> = (0..self.lines.len()).filter(|&row| is(&self.lines[row])).collect();
        assert_eq!(rows.len(), 1, "{of:?}");
        rows[0]
    }

    fn place(&self, name: &str) -> usize {
        self.head.iter().position(|head| head == name).unwrap_or_else(|| panic!("no column {name} in {:?}", self.head))
    }

    /// The number in both files; None where there is none.
    fn number(&self, row: usize, name: &str) -> Option<f64> {
        let field = &self.lines[row][self.place(name)];
        let number = (!field.is_empty()).then(|| field.parse().unwrap_or_else(|_| panic!("{name}: {field}")));
        assert_eq!(self.json[row][name].as_f64(), number, "{name}");
        number
    }

    fn count(&self, row: usize, name: &str) -> u64 {
        let count = self.lines[row][self.place(name)].parse().unwrap();
        assert_eq!(self.json[row][name].as_u64(), Some(count), "{name}");
        count
    }

    fn assert_measured(&self, row: usize, name: &str, m: Option<Measured>) {
        let interval = m.and_then(|m| m.interval);
        assert_eq!(self.number(row, name), m.map(|m| m.value), "{name}");
        assert_eq!(self.number(row, &format!("{name}_low")), interval.map(|i| i.0), "{name}");
        assert_eq!(self.number(row, &format!("{name}_high")), interval.map(|i| i.1), "{name}");
    }
}

/// Of the mean qualities of a seed.
fn difference(report: &Report, contest: &Contest, seed: u64) -> f64 {
    let mean = |name: &str| {
        let cell = report.cells.iter().find(|cell| cell.name() == name).unwrap();
        let run = cell.runs.iter().find(|run| run.seed == seed).unwrap();
        run.qualities.iter().map(|(_, quality)| quality).sum::<f64>() / run.qualities.len() as f64
    };
    mean(&contest.arm) - mean(&contest.against)
}

#[test]
fn data_files_give_back_every_number() {
    let report = study();
    let folder = tempfile::tempdir().unwrap();
    table::write(&tables::data(&report), folder.path()).unwrap();
    let arms = Data::read(folder.path(), "arms");
    for cell in &report.cells {
        let row = arms.row(&[("model", &cell.model), ("arm", &cell.arm)]);
        assert_eq!((arms.count(row, "seeds"), arms.count(row, "seeds_of")), (cell.runs.len() as u64, 4));
        arms.assert_measured(row, "valid", cell.level.valid);
        arms.assert_measured(row, "mean_quality", cell.level.mean);
        arms.assert_measured(row, "best_at_the_budget", cell.level.best);
        assert_eq!(arms.number(row, "time_of_a_run_s"), Some(421.125));
        assert_eq!(arms.number(row, "tokens_written").is_none(), cell.model == NO_MODEL, "an arm without an LLM has none");
    }
    let differences = Data::read(folder.path(), "differences");
    assert_eq!(differences.lines.len(), 3);
    for contest in &report.contests {
        let row = differences.row(&[("arm", &contest.arm), ("against", &contest.against)]);
        assert_eq!((differences.count(row, "seeds"), differences.count(row, "seeds_of")), (contest.seeds.len() as u64, 4));
        differences.assert_measured(row, "mean_quality", contest.mean);
        differences.assert_measured(row, "best_quality", contest.best);
        assert_eq!(differences.json[row]["outcome"], contest.standing().verb());
        let by_seed = Data::read(folder.path(), "differences-by-seed");
        for seed in &contest.seeds {
            let row = by_seed.row(&[("arm", &contest.arm), ("against", &contest.against), ("seed", &seed.to_string())]);
            assert_eq!(by_seed.number(row, "mean_quality"), Some(difference(&report, contest, *seed)));
        }
    }
    let runs = Data::read(folder.path(), "runs");
    let behind = Data::read(folder.path(), "measures-by-run");
    for (cell, run) in report.cells.iter().flat_map(|cell| cell.runs.iter().map(move |run| (cell, run))) {
        let of = [("model", cell.model.as_str()), ("arm", &cell.arm), ("seed", &run.seed.to_string())];
        let row = runs.row(&of);
        assert_eq!((runs.count(row, "trained"), runs.count(row, "traced")), (run.funnel.trained, run.funnel.traced));
        assert_eq!((runs.number(row, "mean"), runs.number(row, "best")), (run.mean, run.best));
        assert_eq!(runs.number(row, "best_cell_found_at"), None);
        let row = behind.row(&of);
        assert_eq!((behind.count(row, "mean_fell"), behind.number(row, "c_last")), (1, run.measures.last_c));
        assert_eq!(behind.number(row, "snr"), None);
    }
    let again = Data::read(folder.path(), "retrained");
    for cell in report.cells.iter().filter(|cell| !cell.runs.is_empty()) {
        let row = again.row(&[("model", &cell.model), ("arm", &cell.arm)]);
        assert_eq!(again.count(row, "runs"), cell.runs.len() as u64);
        again.assert_measured(row, "difference", cell.measure(|r| Some(0.43 - r.retrained.as_ref()?.quality)));
        again.assert_measured(row, "test_accuracy", cell.measure(|_| Some(0.4)));
    }
    // What people see is rounded from the same numbers.
    let level = report.cells[0].level.mean.unwrap();
    let (low, high) = level.interval.unwrap();
    let seen = format!("{:.2}% [{:.2}, {:.2}]", 100.0 * level.value, 100.0 * low, 100.0 * high);
    assert!(tables::markdown(&report).contains(&seen) && render(&report).contains(&seen), "{seen}");
}

/// Linear interpolation between order statistics, of three shares.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|share| {
        let place = share * (values.len() - 1) as f64;
        let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
        low + (high - low) * place.fract()
    })
}

fn attribute<'a>(tag: &'a str, name: &str) -> &'a str {
    tag.split(&format!(" {name}=\"")).nth(1).unwrap_or_else(|| panic!("no {name} in {tag}")).split('"').next().unwrap()
}

fn pixels(tag: &str, name: &str) -> f64 {
    attribute(tag, name).parse().unwrap()
}

/// A chart, and how its pixels are values, by its tick labels.
struct Drawn<'a> {
    svg: &'a str,
    x: (f64, f64),
    y: Option<(f64, f64)>,
}

/// Every chart of a part of the page.
fn charts<'a>(html: &'a str, section: &str) -> Vec<Drawn<'a>> {
    let part = html.split(&format!("<section id=\"{section}\">")).nth(1).unwrap().split("</section>").next().unwrap();
    let charts: Vec<Drawn> =
        part.split("<svg viewBox=\"0 0 640").skip(1).map(|svg| Drawn::read(svg.split("</svg>").next().unwrap())).collect();
    assert!(!charts.is_empty(), "{section} has no chart");
    charts
}

impl<'a> Drawn<'a> {
    fn read(svg: &'a str) -> Self {
        let scale = |axis: &str| {
            let ticks: Vec<(f64, f64)> = svg
                .split("<text ")
                .filter(|text| text.starts_with(&format!("class=\"tick {axis}\"")))
                .map(|text| {
                    let label = text.split('>').nth(1).unwrap().split('<').next().unwrap();
                    let value = label.strip_suffix('%').map_or_else(|| label.parse(), |share| share.parse().map(|v: f64| v / 100.0));
                    (pixels(&format!(" {text}"), axis), value.unwrap())
                })
                .collect();
            let (first, last) = (ticks.first()?, ticks.last()?);
            let slope = (last.1 - first.1) / (last.0 - first.0);
            Some((first.1 - slope * first.0, slope))
        };
        Self { svg, x: scale("x").unwrap(), y: scale("y") }
    }

    fn x(&self, pixel: f64) -> f64 {
        self.x.0 + self.x.1 * pixel
    }

    fn y(&self, pixel: f64) -> f64 {
        let (offset, slope) = self.y.unwrap();
        offset + slope * pixel
    }

    /// Whether two values are drawn within a tenth of a pixel of each other.
    fn same_x(&self, a: f64, b: f64) -> bool {
        (a - b).abs() <= 0.1 * self.x.1.abs()
    }

    fn same_y(&self, a: f64, b: f64) -> bool {
        (a - b).abs() <= 0.1 * self.y.unwrap().1.abs()
    }

    /// The points of each element of a kind, in values.
    fn points(&self, element: &str) -> Vec<Vec<(f64, f64)>> {
        let of = |tag: &str| {
            let pairs = attribute(tag, "points").split(' ').map(|pair| pair.split_once(',').unwrap());
            pairs.map(|(x, y)| (self.x(x.parse().unwrap()), self.y(y.parse().unwrap()))).collect()
        };
        self.svg.split(&format!("<{element} ")).skip(1).map(|tag| of(&format!(" {tag}"))).collect()
    }

    /// The tags of the elements with this title.
    fn titled(&self, title: &str) -> Vec<String> {
        let end = format!("><title>{title}</title>");
        self.svg.match_indices(&end).map(|(at, _)| self.svg[self.svg[..at].rfind('<').unwrap()..at].to_owned()).collect()
    }
}

/// Lower quartile, median and upper quartile at x = 1, 2, ..
fn over_seeds(runs: &[Vec<f64>]) -> Vec<[f64; 3]> {
    let shortest = runs.iter().map(Vec::len).min().unwrap();
    (0..shortest).map(|n| quartiles(runs.iter().map(|run| run[n]).collect())).collect()
}

/// The corners of steps through these values.
fn steps(values: &[[f64; 3]]) -> Vec<(f64, [f64; 3])> {
    let mut corners = vec![(1.0, values[0])];
    for n in 1..values.len() {
        if values[n] != values[n - 1] {
            corners.extend([((n + 1) as f64, values[n - 1]), ((n + 1) as f64, values[n])]);
        }
    }
    if *corners.last().unwrap() != (values.len() as f64, values[values.len() - 1]) {
        corners.push((values.len() as f64, values[values.len() - 1]));
    }
    corners
}

fn assert_drawn(chart: &Drawn, place: usize, expected: &[(f64, [f64; 3])]) {
    let (line, band) = (&chart.points("polyline")[place], &chart.points("polygon")[place]);
    assert_eq!((line.len(), band.len()), (expected.len(), 2 * expected.len()));
    let reach = |y: f64| {
        let floor = chart.y(288.0);
        y.max(floor)
    };
    for (n, (x, [low, middle, high])) in expected.iter().enumerate() {
        let back = band[band.len() - 1 - n];
        for (drawn, value) in [(line[n], middle), (band[n], high), (back, low)] {
            assert!(chart.same_x(drawn.0, *x) && chart.same_y(drawn.1, reach(*value)), "{n}: {drawn:?} for {x}, {value}");
        }
    }
}

#[test]
fn curves_are_drawn_where_the_records_are() {
    let report = study();
    let html = render(&report);
    let charts = charts(&html, "quality");
    assert_eq!(charts.len(), 6, "best, mean and cycles of two models");
    let groups = [vec![0, 1, 3], vec![2, 3]];
    for (group, cells) in groups.iter().enumerate() {
        for (place, &cell) in cells.iter().enumerate() {
            let runs = &report.cells[cell].runs;
            let best: Vec<Vec<f64>> = runs.iter().map(|r| r.entry.best_so_far.clone()).collect();
            assert_drawn(&charts[3 * group], place, &steps(&over_seeds(&best)));
            let so_far =
                |r: &Outcome| (1..=r.qualities.len()).map(|n| r.qualities[..n].iter().map(|q| q.1).sum::<f64>() / n as f64).collect();
            let means: Vec<Vec<f64>> = runs.iter().map(so_far).collect();
            let numbered = |values: Vec<[f64; 3]>| (1..).zip(values).map(|(n, value)| (f64::from(n), value)).collect::<Vec<_>>();
            assert_drawn(&charts[3 * group + 1], place, &numbered(over_seeds(&means)));
            let of_cycle = |r: &Outcome, cycle| {
                let own: Vec<f64> = r.qualities.iter().filter(|(c, _)| *c == cycle).map(|(_, q)| *q).collect();
                own.iter().sum::<f64>() / own.len() as f64
            };
            let cycles: Vec<Vec<f64>> = runs.iter().map(|r| (1..=CYCLES).map(|cycle| of_cycle(r, cycle)).collect()).collect();
            assert_drawn(&charts[3 * group + 2], place, &numbered(over_seeds(&cycles)));
        }
        assert_eq!(charts[3 * group].points("polyline").len(), cells.len());
    }
    for chart in &charts {
        let labels = chart.svg.matches("class=\"label\"").count();
        assert!(labels == 2 && chart.svg.contains("aria-label=\""), "axes and the chart have names");
    }
}

#[test]
fn differences_are_drawn_with_their_intervals() {
    let report = study();
    let html = render(&report);
    let charts = charts(&html, "differences");
    assert_eq!(charts.len(), 2, "one a method");
    let points = |m: Measured| {
        let (low, high) = m.interval.unwrap();
        format!("{:+.1} points [{:+.1}, {:+.1}]", 100.0 * m.value, 100.0 * low, 100.0 * high)
    };
    for contest in &report.contests {
        let chart = &charts[usize::from(contest.arm != "tiny<1>/llm")];
        for (what, m) in [("mean quality", contest.mean), ("best quality at the budget of the pair", contest.best)] {
            let m = m.unwrap();
            let name = |text: &str| text.replace('<', "&lt;").replace('>', "&gt;");
            let title = format!("{} against {}, {what}: {}", name(&contest.arm), name(&contest.against), points(m));
            let tags = chart.titled(&title);
            assert_eq!(tags.len(), 2, "a whisker and a point: {title}");
            let path = attribute(&tags[0], "d");
            let left: f64 = path[1..].split(' ').next().unwrap().parse().unwrap();
            let right: f64 = path.split('H').nth(1).unwrap().split('M').next().unwrap().parse().unwrap();
            let (low, high) = m.interval.unwrap();
            assert!(chart.same_x(chart.x(left), 100.0 * low) && chart.same_x(chart.x(right), 100.0 * high), "{title}: {path}");
            let center = match what {
                "mean quality" => pixels(&tags[1], "x") + 4.0,
                _ => attribute(&tags[1], "d")[1..].split(' ').next().unwrap().parse().unwrap(),
            };
            assert!(chart.same_x(chart.x(center), 100.0 * m.value), "{title}: {}", tags[1]);
        }
        let dots: Vec<f64> = chart.svg.split("<circle class=\"pair-dot\"").skip(1).map(|tag| chart.x(pixels(tag, "cx"))).collect();
        for seed in &contest.seeds {
            let expected = 100.0 * difference(&report, contest, *seed);
            assert!(dots.iter().any(|&dot| chart.same_x(dot, expected)), "{} seed {seed}", contest.against);
        }
        let zero = chart.svg.split("class=\"line zero\"").nth(1).expect("a zero line");
        let x: f64 = attribute(zero, "points").split(',').next().unwrap().parse().unwrap();
        assert!(chart.same_x(chart.x(x), 0.0));
    }
}

#[test]
fn the_funnel_is_as_wide_as_the_counts() {
    let report = study();
    let html = render(&report);
    let chart = &charts(&html, "funnel")[0];
    let widths: Vec<f64> = chart.svg.split("<rect class=\"bar ").skip(1).map(|tag| pixels(tag, "width") * chart.x.1 / 100.0).collect();
    let counts = |r: &Outcome| [r.funnel.traced, r.funnel.novel, r.funnel.trained];
    let expected = report.cells.iter().flat_map(|cell| {
        (0..3).map(|stage| cell.runs.iter().map(|r| counts(r)[stage] as f64 / r.funnel.asked as f64).sum::<f64>() / cell.runs.len() as f64)
    });
    let expected: Vec<f64> = expected.collect();
    assert_eq!(widths.len(), expected.len());
    assert!(widths.iter().zip(&expected).all(|(drawn, share)| (drawn - share).abs() < 3e-4), "{widths:?} {expected:?}");
}

#[test]
fn what_is_missing_is_said() {
    let report = study();
    for text in [tables::markdown(&report), render(&report).replace("&lt;", "<").replace("&gt;", ">")] {
        for words in [
            "13 of 16 runs finished (81.2%)",
            "Missing of tiny<1>/frozen: seed 3 (2 of 4 cycles done).",
            "Missing of large/llm: seed 2 (not begun), seed 3 (failed).",
            "Failed: large/llm/seed-3: no memory",
            "differences are of the seeds that both arms have finished",
        ] {
            assert!(text.contains(words), "{words}");
        }
    }
    let whole = Report::of("", Kind::Run, String::new(), vec![Cell::new("m", "llm", true, runs(&[0, 1], 0.5, None), vec![])], vec![]);
    let page = render(&whole);
    assert!(page.contains("2 of 2 runs finished (100.0%)") && !page.contains("Missing") && !page.contains("id=\"differences\""));
    well_formed(&page).unwrap();
    well_formed(&render(&Report::of("", Kind::Audit, String::new(), vec![], vec![]))).unwrap();
}

#[test]
fn a_browser_shows_the_whole_study_at_two_widths_in_light_and_dark() {
    needs!(Minutes);
    let html = render(&study());
    keep("study.html", &html);
    well_formed(&html).unwrap();
    for bad in ["<script", "javascript:", "http:", "https:"] {
        assert!(!html.contains(bad), "{bad:?}");
    }
    needs!(Browser);
    for (width, scheme) in [(1280, Scheme::Light), (1280, Scheme::Dark), (400, Scheme::Light), (400, Scheme::Dark)] {
        let ids = ["results", "quality", "differences", "funnel", "theory", "runs", "study"];
        assert_readable(&html, width, scheme, &ids);
    }
}
