//! NAS-Bench-201 as published: the facts that are known of it, and files that are not it.

use std::path::Path;
use std::sync::OnceLock;

use eliteloop::base::home;
use eliteloop::oracle::nasbench201::{self, space};
use eliteloop::oracle::{Cell, Table, load};
use eliteloop::theory::statistics::quantile;

fn table(dataset: &str) -> Table {
    load(dataset, &home::data()).unwrap_or_else(|e| panic!("the tables have to be there (scripts/fetch nasbench201): {e}"))
}

fn cifar10() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| table("cifar10"))
}

#[test]
fn the_best_means_are_the_published_ones() {
    needs!(Nasbench201);
    for (table, best) in [(cifar10(), 0.9161), (&table("cifar100"), 0.7349), (&table("imagenet"), 0.4673)] {
        let found = table.mean(table.best());
        assert!((found - best).abs() < 5e-5, "{found} for {best}");
        assert!(table.means().iter().all(|&m| m <= found));
    }
}

#[test]
fn the_space_has_the_published_spread_and_seeds() {
    needs!(Nasbench201);
    let means = cifar10().means();
    assert_eq!((means.len(), space().cells()), (15_625, 15_625));
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    for (found, known) in [(mean, 0.8369), (quantile(means, 0.9), 0.8965), (quantile(means, 0.99), 0.9097)] {
        assert!((found - known).abs() < 5e-5, "{found} for {known}");
    }
    let seeds = |n| Cell::all(space()).filter(|&c| cifar10().entry(c).accuracy.len() == n).count();
    assert_eq!((seeds(2), seeds(3)), (7_456, 8_169));
}

#[test]
fn a_cell_has_its_own_numbers() {
    needs!(Nasbench201);
    // Key 421211 of the file.
    let cell = Cell::parse(space(), "pool one skip one skip skip").unwrap();
    let entry = cifar10().entry(cell);
    // In percent there.
    assert_eq!(entry.accuracy, [82.091_999_982_910_15, 81.615_999_973_144_53, 82.240_000_014_648_44].map(|percent| percent / 100.0));
    let costs = entry.costs.unwrap();
    assert!((costs.parameters - 0.129_306).abs() < 1e-9 && (costs.latency - 0.013_935_976).abs() < 1e-8);
    assert!((costs.train_seconds - 1_444.218_6).abs() < 1e-3);
}

#[test]
fn a_query_gives_one_seeds_accuracy_and_repeats_it() {
    needs!(Nasbench201);
    let cell = cifar10().best();
    let known = &cifar10().entry(cell).accuracy;
    let answers: Vec<f64> = (0..60).map(|seed| cifar10().query(cell, seed)).collect();
    assert!(answers.iter().all(|a| known.contains(a)));
    assert!(known.iter().all(|k| answers.contains(k)), "over many runs each seed is drawn");
    assert_eq!(answers, (0..60).map(|seed| cifar10().query(cell, seed)).collect::<Vec<_>>());
}

#[test]
fn a_missing_table_says_how_to_get_it() {
    let error = load("cifar10", Path::new("nowhere")).err().unwrap();
    assert!(error.to_string().contains("cifar10.pkl") && error.hint_text().unwrap().contains("scripts/fetch nasbench201"), "{error}");
    let error = load("cifar-10", &home::data()).err().unwrap();
    assert!(error.hint_text().unwrap().contains("cifar100"), "{error}");
}

#[test]
fn a_damaged_table_is_refused_before_it_is_read() {
    needs!(Nasbench201);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nasbench201/cifar10.pkl");
    std::fs::create_dir(folder.path().join("nasbench201")).unwrap();
    let mut bytes = std::fs::read(home::data().join("nasbench201/cifar10.pkl")).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = load("cifar10", folder.path()).err().unwrap();
    assert!(error.to_string().contains("SHA-256") && error.hint_text().is_some(), "{error}");
}

#[test]
fn pickles_that_are_no_table_say_what_is_wrong() {
    needs!(Nasbench201);
    let wrong = |bytes: &[u8]| nasbench201::read(bytes).err().unwrap().to_string();
    let bytes = std::fs::read(home::data().join("nasbench201/cifar10.pkl")).unwrap();
    assert!(wrong(&bytes[..bytes.len() / 2]).contains("pickle"));
    assert!(wrong(b"").contains("pickle"));
    assert!(wrong(b"{\"421211\": 1}").contains("pickle"));
    // An empty dict, a list, and one cell whose name is none; protocol 2, written by hand.
    assert!(wrong(b"\x80\x02}.").contains("15625 of 15625"));
    assert!(wrong(b"\x80\x02].").contains("pickle"));
    let one = |key: &str, accuracy: f64| {
        let mut text = b"\x80\x02}(X".to_vec();
        let name = |text: &mut Vec<u8>, name: &str| {
            text.extend((name.len() as u32).to_le_bytes());
            text.extend(name.as_bytes());
        };
        name(&mut text, key);
        text.extend(b"}(");
        for field in ["val_acc", "train_time", "latency", "model_size"] {
            text.push(b'X');
            name(&mut text, field);
            text.extend(b"](G");
            text.extend(accuracy.to_be_bytes());
            text.push(b'e');
        }
        text.extend(b"uu.");
        text
    };
    assert!(wrong(&one("421219", 80.0)).contains("'421219' names no cell"));
    assert!(wrong(&one("421211", f64::NAN)).contains("421211"));
    assert!(wrong(&one("421211", 80.0)).contains("15624 of 15625"));
}
