//! Audits on a table of the user's own: what is exact is held against brute force over all of its 64 cells, and files that are no table are
//! refused.

use std::sync::atomic::AtomicBool;

use eliteloop::audit::cells::CellLearner;
use eliteloop::audit::codec::Proposal;
use eliteloop::audit::exact::{Distribution, Measures};
use eliteloop::audit::record;
use eliteloop::audit::settings::{AuditConfig, CellFormat};
use eliteloop::audit::verify::verify;
use eliteloop::base::done::Done;
use eliteloop::method::verify::{Asked, Finding};
use eliteloop::oracle::{Cell, Table, nasbench201, table_file};
use eliteloop::policy::table_ce::TableCe;
use eliteloop::record::{Store, folder};
use eliteloop::report::{self, audit as shown};
use eliteloop::theory::finite;

use crate::audit::{begin, run, settings};
use crate::program::{fail, program, rows, succeed};
use crate::small::{accuracies, cell, dataset, file, of_tiny, space, table, text};

static GO_ON: AtomicBool = AtomicBool::new(false);

#[test]
fn a_table_has_what_its_file_says() {
    let table = table();
    assert_eq!((space().cells(), space().neighbours(), space().slots().len()), (64, 9, 3));
    for cell in Cell::all(space()) {
        let [a, b] = accuracies(cell.index());
        assert_eq!(table.entry(cell).accuracy, [a, b], "{cell}");
        assert!((table.mean(cell) - f64::midpoint(a, b)).abs() < 1e-15 && [a, b].contains(&table.query(cell, 3)));
        assert!(table.mean(cell) <= table.mean(table.best()));
    }
    // Whatever the order of the cells.
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    let cells = value["cells"].as_object().unwrap().clone().into_iter().rev();
    let turned = cells.map(|(name, accuracy)| format!("{name:?}: {accuracy}")).collect::<Vec<_>>().join(", ");
    value["cells"] = serde_json::Value::Null;
    let turned = table_file::read(value.to_string().replace("null", &format!("{{{turned}}}")).as_bytes()).unwrap();
    assert_eq!((turned.means(), turned.space()), (table.means(), space()));
}

#[test]
fn files_that_are_no_table_are_refused() {
    let right = text(&["A", "B", "C"], &["none", "skip", "one", "three"]);
    let wrong = |text: &str| {
        let error = table_file::read(text.as_bytes()).err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(error.exit_code(), 2, "{error}");
        format!("{error} hint: {}", error.hint_text().unwrap_or_default())
    };
    let cell = format!("\"one skip three\":{}", serde_json::json!(accuracies(2 * 16 + 4 + 3)));
    assert!(right.contains(&cell), "{right}");
    let cases = [
        (right[..right.len() / 2].to_owned(), "not a table of cells"),
        (String::new(), "not a table of cells"),
        ("[]".to_owned(), "not a table of cells"),
        (right.replace("slots", "edges"), "unknown field `edges`"),
        (right.replace("\"words\"", "\"words\":[\"x\",\"y\"],\"words\""), "duplicate field"),
        (right.replace(&format!("{cell},"), ""), "1 of 64 cells are missing, the first is 'one skip three'"),
        (right.replace(&cell, &format!("{cell},{cell}")), "cell 'one skip three' is there twice"),
        (right.replace(&cell, &format!("{cell},{}", cell.replace("one skip", "one  skip"))), "is there twice"),
        (right.replace(&cell, "\"one skip three\":[]"), "has no accuracy"),
        (right.replace(&cell, "\"one skip three\":[0.5,-0.001]"), "-0.001 is no accuracy from 0 to 1"),
        (right.replace(&cell, "\"one skip three\":[82.5]"), "hint: accuracies are shares of 1: 0.825"),
        (right.replace(&cell, "\"one skip three\":[null]"), "not a table of cells"),
        (right.replace(&cell, "\"one skip three\":[1e999]"), "not a table of cells"),
        (right.replace(&cell, "\"one skip three\":0.5"), "not a table of cells"),
        (right.replace(&cell, "\"one skip four\":[0.5]"), "'four' is no word of a cell hint: words: none, skip, one, three"),
        (right.replace(&cell, "\"one skip\":[0.5]"), "'one skip' has 2 words, and a cell 3 hint: one for each of A, B, C"),
        (right.replace("[\"none\"", "[\"none\",\"none\""), "'none' is there twice"),
        (right.replace("[\"A\"", "[\"one\""), "'one' is there twice"),
        (right.replace("[\"A\"", "[\"A B\""), "\"A B\" can be no word"),
        // Before any memory is taken for its cells.
        (format!("{{\"slots\":{:?},\"words\":{:?},\"cells\":{{}}}}", names("s", 16), names("w", 64)), "more than 65536 cells"),
        (format!("{{\"slots\":{:?},\"words\":[\"x\",\"y\"],\"cells\":{{}}}}", names("s", 5000)), "5000 slots"),
    ];
    for (text, why) in cases {
        assert!(wrong(&text).contains(why), "{} for {why}", wrong(&text));
    }
}

fn names(letter: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{letter}{i}")).collect()
}

#[test]
fn the_program_refuses_a_table_with_its_path_and_what_to_do() {
    let base = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: Option<&[u8]>| {
        let path = base.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let setting = format!("dataset={}", path.display());
        let (code, said) = fail(&mut begin(&base.path().join("never"), &["policy=random", &setting]));
        assert!(code == 2 && said.contains(name) && said.contains("hint:"), "{code}: {said}");
        assert!(!base.path().join("never").exists());
        said
    };
    assert!(refused("nothing.json", None).contains("there is no table"));
    assert!(refused("broken.json", Some(b"{\"slots\": 3}")).contains("not a table of cells"));
    std::fs::create_dir(base.path().join("folder.json")).unwrap();
    std::fs::write(base.path().join("long.json"), vec![b' '; (16 << 20) + 1]).unwrap();
    for (name, why) in [("folder", "not an ordinary file"), ("long", "longer than 16 MiB")] {
        let (code, said) = fail(&mut begin(&base.path().join("never"), &[&format!("dataset={}/{name}.json", base.path().display())]));
        assert!(code == 2 && said.contains(why), "{said}");
    }
    // What a space tells against the settings, and a tokenizer against the words.
    let (_, said) = fail(&mut begin(&base.path().join("never"), &["policy=random", dataset(), "budget=65"]));
    assert!(said.contains("budget = 65") && said.contains("from 1 to 64"), "{said}");
    let [_, model, ..] = of_tiny();
    let (code, said) = fail(&mut begin(&base.path().join("never"), &[dataset(), model]));
    assert!(code == 2 && said.contains("cuts 'none' into several tokens") && said.contains("another word"), "{said}");
}

#[test]
fn every_cell_of_a_small_table_has_the_probability_that_scoring_it_alone_gives() {
    needs!(Model);
    for mask in ["mask=true", "mask=false"] {
        let config = settings(&[mask, dataset()]);
        let cells = CellLearner::open(&config, space()).unwrap();
        let p = cells.distribution(&vec![(None, 1)]).unwrap();
        let all: Vec<Proposal> = Cell::all(space()).map(|cell| Proposal { parent: None, cell }).collect();
        for (found, log_q) in p.cells().iter().zip(cells.log_q(&all).unwrap()) {
            assert!((found.ln() - log_q).abs() < 1e-3, "{mask}: {} for {log_q}", found.ln());
        }
        let sum: f64 = p.cells().iter().sum();
        assert!(if mask == "mask=true" { (sum - 1.0).abs() < 1e-9 && p.outside() == 0.0 } else { sum < 1.0 && p.outside() > 0.0 });
        assert!((sum + p.outside() - 1.0).abs() < 1e-9);
        // Deltas on each of the 64 cells.
        let cells = CellLearner::open(&settings(&[mask, dataset(), "format=delta"]), space()).unwrap();
        let parents = Cell::all(space()).step_by(21).map(|cell| (Some(cell), 1)).collect::<Vec<_>>();
        let p = cells.distribution(&parents).unwrap();
        let mut right = vec![0.0; 64];
        for (parent, _) in &parents {
            let children: Vec<Proposal> = parent.unwrap().neighbours().map(|cell| Proposal { parent: *parent, cell }).collect();
            assert_eq!(children.len(), 9);
            for (child, log_q) in children.iter().zip(cells.log_q(&children).unwrap()) {
                right[child.cell.index()] += log_q.exp() / parents.len() as f64;
            }
        }
        for (found, right) in p.cells().iter().zip(&right) {
            assert!((found - right).abs() <= 1e-3 * right, "{mask}: {found} for {right}");
        }
    }
}

#[test]
fn exact_measures_are_sums_over_the_cells_one_by_one() {
    let table = table();
    let p: Vec<f64> = (0..64).map(|i| f64::from(1 + (i * 7) % 11) / 1000.0).collect();
    let total: f64 = p.iter().sum();
    let m = Measures::of(&Distribution::partial(space(), p.clone()), table, table.means(), 0.68);
    assert!((m.outside - (1.0 - total)).abs() < 1e-12);
    let (mut expected, mut reached, mut entropy, mut marginals) = (0.0, 0.0, 0.0, [[0.0; 4]; 3]);
    for first in 0..4 {
        for second in 0..4 {
            for third in 0..4 {
                let i = 16 * first + 4 * second + third;
                let mean = accuracies(i).iter().sum::<f64>() / 2.0;
                expected += p[i] / total * mean;
                reached += if mean >= 0.68 { p[i] } else { 0.0 };
                entropy -= p[i] / total * (p[i] / total).ln();
                for (slot, word) in [first, second, third].into_iter().enumerate() {
                    marginals[slot][word] += p[i] / total;
                }
            }
        }
    }
    let independent: f64 = marginals.iter().flatten().map(|p: &f64| -p * p.ln()).sum();
    assert!((m.expected - expected).abs() < 1e-12 && (m.elite - reached).abs() < 1e-12 && reached > 0.0, "{m:?}");
    assert!((m.entropy - entropy).abs() < 1e-12 && (m.dependence - (independent - entropy)).abs() < 1e-9, "{m:?}");
}

#[test]
fn table_ce_reaches_its_closed_form_on_a_small_table() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = ["policy=table-ce", dataset(), "cycles=6", "candidates=40", "seed=7", "table_smoothing=0.4"];
    let audit = run(&folder.path().join("audit"), &overrides);
    // The update by hand, of counts alone.
    let mut by_hand = [[0.25f64; 4]; 3];
    for cycle in &audit.cycles {
        let exact = cycle.exact.as_ref().unwrap();
        let p = |marginals: &[[f64; 4]; 3], cell: Cell| marginals.iter().zip(cell.words()).map(|(slot, word)| slot[word]).product::<f64>();
        let mean = |marginals: &[[f64; 4]; 3]| Cell::all(space()).map(|c| p(marginals, c) * table().mean(c)).sum::<f64>();
        assert!((exact.before.expected - mean(&by_hand)).abs() < 1e-12);
        for sample in &cycle.samples {
            assert!((sample.log_q.unwrap() - p(&by_hand, sample.cell().unwrap()).ln()).abs() < 1e-9);
        }
        let mut ranked: Vec<_> = cycle.samples.iter().map(|s| (s.quality.unwrap(), s.cell().unwrap())).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let gamma = ranked[7].0;
        let elites: Vec<Cell> = ranked.into_iter().filter(|(quality, _)| *quality >= gamma).map(|(_, cell)| cell).collect();
        for (slot, shares) in by_hand.iter_mut().enumerate() {
            for (word, share) in shares.iter_mut().enumerate() {
                let count = elites.iter().filter(|cell| cell.words().nth(slot) == Some(word)).count();
                *share = 0.4 * count as f64 / elites.len() as f64 + 0.6 * *share;
            }
        }
        assert!((exact.after.expected - mean(&by_hand)).abs() < 1e-12);
    }
    let [first, last] = [0, 5].map(|at| audit.cycles[at].exact.as_ref().unwrap().before.expected);
    assert!(last > first + 0.01, "{first} to {last}");
    // The closed form of many updates on the same elites: the elites.
    let elites = [cell("one skip three"), cell("one one three")];
    let mut table = TableCe::uniform(3, 4);
    for _ in 0..60 {
        table.update(&elites.map(|cell| cell.words().collect()), 0.4);
    }
    let p = Distribution::of_table(space(), &table);
    assert!(finite::kl(Distribution::empirical(space(), &elites).cells(), p.cells()) < 1e-9);
}

/// Distinct cells until all of them were asked for, each uniform: on average 64 (1 + 1/2 + .. + 1/64).
#[test]
fn random_cells_cover_a_small_table_as_coupons_are_collected() {
    let mean: f64 = (0..400)
        .map(|i| {
            let (mut rng, mut seen) = (eliteloop::base::seed::rng(i, "test", &[]), std::collections::HashSet::new());
            f64::from((1..10_000).find(|_| seen.insert(Cell::random(space(), &mut rng)) && seen.len() == 64).unwrap())
        })
        .sum::<f64>()
        / 400.0;
    let closed = 64.0 * (1..=64).map(|k| 1.0 / f64::from(k)).sum::<f64>();
    // Its standard deviation is about 64 pi / sqrt 6 = 82 of one, 4.1 of the mean.
    assert!((mean - closed).abs() < 14.0, "{mean} for {closed}");
}

#[test]
fn an_audit_on_a_table_of_ones_own_goes_on_is_verified_and_says_when_the_table_changed() {
    let base = tempfile::tempdir().unwrap();
    let (own, out) = (base.path().join("own.json"), base.path().join("audit"));
    std::fs::copy(file(), &own).unwrap();
    let setting = format!("dataset={}", own.display());
    let overrides = ["policy=table-ce", &setting, "cycles=3", "candidates=20", "seed=5"];
    succeed(begin(&out, &overrides));
    let whole = rows(&out);
    // Where it is looked for is what the settings say, from where the program is started.
    let from_here = base.path().join("from here");
    let mut command = begin(&from_here, &["policy=table-ce", "dataset=own.json", "cycles=3", "candidates=20", "seed=5"]);
    succeed(command.current_dir(base.path()));
    let of = |audit: &std::path::Path| record::cycles(&Store::read(&folder::store_path(audit)).unwrap()).unwrap();
    assert_eq!(of(&from_here), of(&out));
    assert!(fail(program(&["verify"]).arg(&from_here)).1.contains("there is no table own.json"));
    succeed(program(&["verify"]).arg(&from_here).current_dir(base.path()));

    succeed(program(&["resume"]).arg(&out).args(["--cycles", "5"]));
    assert_ne!(rows(&out), whole);
    let honest = |audit: &std::path::Path| verify(audit, &Asked::default()).unwrap();
    assert!(honest(&out).iter().all(|check| check.finding == Finding::Ok), "{:?}", honest(&out));
    assert!(succeed(program(&["compare"]).arg(&out)).contains("table-ce"));

    // The same cells with one accuracy more: their space is known, the table is another.
    let text = std::fs::read_to_string(&own).unwrap();
    std::fs::write(&own, text.replacen("three three\":[", "three three\":[0.5,", 1)).unwrap();
    let (code, said) = fail(program(&["resume"]).arg(&out).args(["--cycles", "6"]));
    assert!(code == 2 && said.contains("the table is not the one this audit began with"), "{said}");
    let wrong: Vec<_> = honest(&out).into_iter().filter(|check| check.finding == Finding::Wrong).map(|check| check.name).collect();
    assert!(wrong.contains(&"table"), "{wrong:?}");
    assert!(fail(program(&["compare"]).arg(&out)).1.contains("the table is not the one"));
    // Of other words: nothing of it can be looked up.
    std::fs::write(&own, text.replace("three", "four")).unwrap();
    let checks = honest(&out);
    assert!(checks.iter().any(|check| check.name == "table" && check.finding == Finding::Wrong), "{checks:?}");
    // What is shown of an audit is in its store.
    std::fs::remove_file(&own).unwrap();
    let page = report::render(&shown::collect(&out).unwrap());
    assert!(page.contains("own.json") && !page.contains("NAS-Bench-201"));
    let said = fail(program(&["resume"]).arg(&out).args(["--cycles", "6"])).1;
    assert!(said.contains("there is no table") && said.contains("hint:"), "{said}");
}

/// The user's file of the very cells of NAS-Bench-201 is of the same space, and nothing more is stored of it.
#[test]
fn a_table_of_the_published_cells_is_of_the_published_space() {
    let published = nasbench201::space();
    let cells: serde_json::Map<_, _> =
        Cell::all(published).map(|cell| (cell.to_string(), serde_json::json!([cell.index() as f64 / 15_625.0]))).collect();
    let text = serde_json::json!({ "slots": published.slots(), "words": published.words(), "cells": cells }).to_string();
    let own: Table = table_file::read(text.as_bytes()).unwrap();
    assert!(std::ptr::eq(own.space(), published) && own.best() == Cell::at(published, 15_624));
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("published.json");
    std::fs::write(&path, text).unwrap();
    let setting = format!("dataset={}", path.display());
    let audit = run(&base.path().join("audit"), &["policy=random", &setting, "cycles=1", "candidates=3"]);
    assert_eq!(audit.store.meta("space").unwrap(), None);
    let small = run(&base.path().join("small"), &["policy=random", dataset(), "cycles=1", "candidates=3"]);
    assert_eq!(small.store.meta("space").unwrap().unwrap(), r#"{"slots":["A","B","C"],"words":["none","skip","one","three"]}"#);
}

#[test]
fn a_tiny_model_is_audited_on_a_small_table_in_either_format() {
    let base = tempfile::tempdir().unwrap();
    for format in [CellFormat::Full, CellFormat::Delta] {
        let setting = format!("format={}", format.name());
        let overrides = [&of_tiny()[..], &[&setting, "cycles=2", "candidates=12", "seed=2"]].concat();
        let config: AuditConfig = settings(&overrides);
        let mut cells =
            CellLearner::open(&config, eliteloop::oracle::load(&config.dataset, &base.path().join("none")).unwrap().space()).unwrap();
        assert_eq!(cells.warm_up(&config.warmup, format, 1, &GO_ON, |_, _| ()).unwrap(), Done::Finished(()));
        let audit = run(&base.path().join(format.name()), &overrides);
        for cycle in &audit.cycles {
            let exact = cycle.exact.as_ref().unwrap();
            assert!(exact.update.as_ref().unwrap().share.unwrap() > 0.0, "{exact:?}");
            // Sampled under the mask, where each cell has a probability.
            assert!(format == CellFormat::Delta || cycle.samples.iter().all(|s| s.cell().is_some() && s.log_p_after.is_some()));
        }
    }
}
