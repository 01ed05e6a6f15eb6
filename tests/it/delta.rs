//! Deltas: what each format means, each way it fails, and that what the writer writes gives the child back.

use eliteloop::base::seed;
use eliteloop::delta::corpus::{self, mutate, mutate_source, random_family, random_network, render};
use eliteloop::delta::settings::Format;
use eliteloop::delta::starts::starts;
use eliteloop::delta::{Failure, MAX_BYTES, apply, apply_completion, show, write};
use proptest::prelude::*;

const FORMATS: [Format; 3] = [Format::Edit, Format::Diff, Format::Full];

const PARENT: &str = "\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.LazyConv2d(32, 3),
            nn.ReLU(),
            nn.LazyConv2d(64, 3),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.features(x)
";

fn edited(delta: &str) -> Result<String, Failure> {
    apply(Format::Edit, PARENT, delta)
}

/// PARENT with lines `start..end` (from 0) exchanged.
fn with(start: usize, end: usize, lines: &[&str]) -> String {
    let mut all: Vec<&str> = PARENT.lines().collect();
    all.splice(start..end, lines.iter().copied());
    all.join("\n") + "\n"
}

#[test]
fn the_edit_format_shows_numbers_and_no_indentation() {
    let shown = show(Format::Edit, PARENT);
    assert!(shown.starts_with("1 class Net(nn.Module):\n2 def __init__(self):\n"), "{shown}");
    assert!(shown.contains("\n5 nn.LazyConv2d(32, 3),\n"), "{shown}");
    assert!(shown.contains("\n10\n11 def forward(self, x):\n"), "{shown}");
    assert_eq!(show(Format::Diff, PARENT), PARENT);
}

#[test]
fn edits_replace_delete_and_insert() {
    let cases: [(&str, String); 16] = [
        ("5\nnn.LazyConv2d(48, 3),\n", with(4, 5, &["            nn.LazyConv2d(48, 3),"])),
        ("5-6\nnn.GELU(),\n", with(4, 6, &["            nn.GELU(),"])),
        ("6\n", with(5, 6, &[])),
        ("5-6", with(4, 6, &[])),
        ("6\n\n", with(5, 6, &[""])),
        ("6+\nnn.Dropout(0.1),\nnn.Identity(),\n", with(6, 6, &["            nn.Dropout(0.1),", "            nn.Identity(),"])),
        // Beside a deeper line an insertion goes deeper, whichever side that is.
        ("4+\nnn.Identity(),\n", with(4, 4, &["            nn.Identity(),"])),
        ("8+\nnn.Identity(),\n", with(8, 8, &["            nn.Identity(),"])),
        ("11+\nx = x + 1\n", with(11, 11, &["        x = x + 1"])),
        ("10+\npass\n", with(10, 10, &["        pass"])),
        ("0+\nimport torch\n", with(0, 0, &["import torch"])),
        // Relative indentation, with and without that of the first line.
        ("12\nif x:\n    y = x\nreturn y\n", with(11, 12, &["        if x:", "            y = x", "        return y"])),
        ("12\n  if x:\n    y = x\nreturn y\n", with(11, 12, &["        if x:", "          y = x", "      return y"])),
        ("5\nnn.A(),\n6\nnn.B(),\n6+\nnn.C(),\n", with(4, 6, &["            nn.A(),", "            nn.B(),", "            nn.C(),"])),
        ("5\r\nnn.A(),\r\n", with(4, 5, &["            nn.A(),"])),
        ("9-10\n)\n\n\n", with(8, 10, &["        )", "", ""])),
    ];
    for (delta, child) in cases {
        assert_eq!(edited(delta), Ok(child), "{delta:?}");
    }
}

#[test]
fn edits_fail_with_their_reason() {
    let huge = "9".repeat(400);
    let cases: [(&str, Failure); 20] = [
        ("", Failure::Nothing),
        (" \n\n", Failure::Nothing),
        ("nn.ReLU(),\n", Failure::Malformed { line: 1 }),
        ("\n5\nnn.A(),\n", Failure::Malformed { line: 1 }),
        ("5:\nnn.A(),\n", Failure::Malformed { line: 1 }),
        ("5 \nnn.A(),\n", Failure::Malformed { line: 1 }),
        ("-5\nnn.A(),\n", Failure::Malformed { line: 1 }),
        ("+\nnn.A(),\n", Failure::Malformed { line: 1 }),
        ("13\nnn.A(),\n", Failure::OutOfRange { line: 1 }),
        ("0\nnn.A(),\n", Failure::OutOfRange { line: 1 }),
        ("13+\nnn.A(),\n", Failure::OutOfRange { line: 1 }),
        ("5\nnn.A(),\n12-13\nx\n", Failure::OutOfRange { line: 3 }),
        ("6-5\nnn.A(),\n", Failure::OutOfRange { line: 1 }),
        (&huge, Failure::OutOfRange { line: 1 }),
        ("6\nnn.A(),\n5\nnn.B(),\n", Failure::OutOfOrder { line: 3 }),
        ("5-7\nnn.A(),\n6+\nnn.B(),\n", Failure::OutOfOrder { line: 3 }),
        ("5\nnn.A(),\n5\nnn.B(),\n", Failure::OutOfOrder { line: 3 }),
        ("6\nnn.ReLU(),\n", Failure::NoChange),
        ("6+\n", Failure::NoChange),
        // Shallower than the line edited can be.
        ("1\n    class A:\n pass\n", Failure::Malformed { line: 3 }),
    ];
    for (delta, failure) in cases {
        assert_eq!(edited(delta), Err(failure), "{delta:?}");
    }
}

#[test]
fn a_line_that_looks_like_a_header_cannot_be_written() {
    let parent = "x = [\n    1,\n]\n";
    assert_eq!(write(Format::Edit, parent, "x = [\n    1,\n    2\n]\n"), None);
    assert!(write(Format::Diff, parent, "x = [\n    1,\n    2\n]\n").is_some());
}

#[test]
fn line_ends_and_the_missing_last_one_stay() {
    for format in FORMATS {
        for parent in ["a = 1\r\nb = 2\r\nc = 3\r\n", "a = 1\nb = 2\nc = 3", "\ta = 1\n\tb = 2\n\tc = 3\n", "a = 1\n\n\nb = 2\n"] {
            let child = parent.replace("b = 2", "b = 4");
            let delta = write(format, parent, &child).unwrap_or_else(|| panic!("{format:?} {parent:?}"));
            assert_eq!(apply(format, parent, &delta), Ok(child), "{format:?} {delta:?}");
        }
    }
    // A change of the line ends themselves is nothing that edits and hunks can say.
    assert_eq!(write(Format::Edit, "a\nb\n", "a\r\nb\r\n"), None);
    assert_eq!(write(Format::Diff, "a\nb\n", "a\nb"), None);
}

#[test]
fn edits_reach_places_whose_indentation_is_not_implied() {
    // After the end of a block, and above a deeper line.
    let parent = "def f():\n    if x:\n        y = 1\n    return y\n";
    for child in [
        "def f():\n    if x:\n        y = 1\n    y = 2\n    return y\n",
        "def f():\n    if x:\n        y = 1\n        y = 2\n    return y\n",
        "def f():\n    if x:\n        y = 1\n    return y\n\n\ndef g():\n    pass\n",
        "def f():\n    return y\n",
        "def f():\n    if x:\n            y = 1\n    return y\n",
    ] {
        let delta = write(Format::Edit, parent, child).unwrap_or_else(|| panic!("{child}"));
        assert_eq!(apply(Format::Edit, parent, &delta).as_deref(), Ok(child), "{delta}");
    }
}

#[test]
fn hunks_match_by_context_alone() {
    let changed = with(4, 5, &["            nn.LazyConv2d(48, 3),"]);
    for header in ["@@", "@@ -5,2 +5,2 @@", "@@ -900 +1 @@ class Net", "--- a/net.py\n+++ b/net.py\n@@ -5 +5 @@"] {
        let delta = format!("{header}\n-            nn.LazyConv2d(32, 3),\n+            nn.LazyConv2d(48, 3),\n             nn.ReLU(),\n");
        assert_eq!(apply(Format::Diff, PARENT, &delta), Ok(changed.clone()), "{header}");
    }
    let appended = "@@\n         return self.features(x)\n+        # end\n";
    assert_eq!(apply(Format::Diff, PARENT, appended), Ok(with(12, 12, &["        # end"])));
    // The second of two equal places, told apart by the hunk before.
    let second = "@@\n-            nn.LazyConv2d(64, 3),\n@@\n-            nn.ReLU(),\n+            nn.GELU(),\n";
    assert_eq!(apply(Format::Diff, PARENT, second), Ok(with(6, 8, &["            nn.GELU(),"])));
    // An empty line is empty context.
    let blank = "@@\n         )\n\n-    def forward(self, x):\n+    def forward(self, y):\n";
    assert_eq!(apply(Format::Diff, PARENT, blank), Ok(with(10, 11, &["    def forward(self, y):"])));
}

#[test]
fn hunks_fail_with_their_reason() {
    let relu = "-            nn.ReLU(),\n+            nn.GELU(),\n";
    let cases: [(String, Failure); 10] = [
        (String::new(), Failure::Nothing),
        ("--- a\n+++ b\n".into(), Failure::Nothing),
        (relu.into(), Failure::Malformed { line: 1 }),
        ("@@\nnn.ReLU(),\n".into(), Failure::Malformed { line: 2 }),
        ("@@\n-            nn.Missing(),\n".into(), Failure::ContextNotFound { hunk: 1 }),
        // Indentation counts.
        ("@@\n-nn.LazyConv2d(32, 3),\n".into(), Failure::ContextNotFound { hunk: 1 }),
        (format!("@@\n{relu}"), Failure::Ambiguous { hunk: 1, places: 2 }),
        ("@@\n+# anywhere\n".into(), Failure::Ambiguous { hunk: 1, places: 13 }),
        // Hunks go down the source.
        (
            format!("@@\n-            nn.LazyConv2d(64, 3),\n@@\n{relu}@@\n             nn.LazyConv2d(32, 3),\n"),
            Failure::ContextNotFound { hunk: 3 },
        ),
        ("@@\n             nn.LazyConv2d(32, 3),\n".into(), Failure::NoChange),
    ];
    for (delta, failure) in cases {
        assert_eq!(apply(Format::Diff, PARENT, &delta), Err(failure), "{delta:?}");
    }
}

#[test]
fn full_code_is_taken_as_it_is() {
    assert_eq!(apply(Format::Full, PARENT, "x = 1\n"), Ok("x = 1\n".into()));
    assert_eq!(apply(Format::Full, PARENT, "```python\nx = 1\n```\n"), Err(Failure::Malformed { line: 1 }));
    assert_eq!(apply(Format::Full, PARENT, "\n"), Err(Failure::Nothing));
    assert_eq!(apply(Format::Full, PARENT, PARENT), Err(Failure::NoChange));
}

#[test]
fn a_completion_must_end_and_be_text() {
    let delta = b"6\nnn.GELU(),\n";
    assert!(apply_completion(Format::Edit, PARENT, delta, true).is_ok());
    assert_eq!(apply_completion(Format::Edit, PARENT, delta, false), Err(Failure::NotEnded));
    assert_eq!(apply_completion(Format::Edit, PARENT, b"6\n\xff\n", true), Err(Failure::NotUtf8));
}

#[test]
fn hostile_text_is_bounded() {
    for format in FORMATS {
        assert_eq!(apply(format, PARENT, &"5\n".repeat(MAX_BYTES)), Err(Failure::TooLong));
    }
    // A parent whose indentation would be given to each of many lines.
    let deep = format!("{}x\n", " ".repeat(MAX_BYTES / 2));
    assert_eq!(apply(Format::Edit, &deep, &format!("1\n{}", "y\n".repeat(1000))), Err(Failure::TooLong));
    // Many equal lines and a hunk of as many.
    let blanks = "\n".repeat(MAX_BYTES);
    assert!(matches!(apply(Format::Diff, &blanks, &format!("@@\n{}", "\n".repeat(MAX_BYTES / 2))), Err(Failure::Ambiguous { .. })));
    assert_eq!(apply(Format::Edit, &blanks, &"9+\n".repeat(MAX_BYTES / 3)), Err(Failure::NoChange));
    let numbers: Vec<String> = (0..MAX_BYTES / 12).map(|i| i.to_string()).collect();
    let (many, hunks) = (numbers.join("\n"), format!("@@\n {}\n", numbers.join("\n@@\n ")));
    assert_eq!(apply(Format::Diff, &many, &hunks), Err(Failure::NoChange));
}

#[test]
fn the_empty_parent_can_be_added_to() {
    assert_eq!(apply(Format::Edit, "", "0+\nx = 1\n"), Ok("x = 1\n".into()));
    assert_eq!(apply(Format::Diff, "", "@@\n+x = 1\n"), Ok("x = 1\n".into()));
}

#[test]
fn every_random_change_can_be_written_in_every_format() {
    let mut written = [0; 3];
    for i in 0..400 {
        let mut rng = seed::rng(1, "delta test", &[i]);
        let network = random_network(&mut rng);
        let (parent, child) = (render(&network), render(&mutate(&mut rng, &network)));
        for (k, format) in FORMATS.into_iter().enumerate() {
            let delta = write(format, &parent, &child).unwrap_or_else(|| panic!("{format:?}\n{parent}\n{child}"));
            assert_eq!(apply(format, &parent, &delta).as_ref(), Ok(&child));
            written[k] += delta.len();
        }
    }
    assert!(written[0] < written[1] && written[1] < written[2], "edits are the shortest, full code the longest: {written:?}");
}

#[test]
fn the_corpus_is_the_same_for_the_same_seed_and_varied() {
    let family = |i: u64| random_family(&mut seed::rng(2, "family", &[i]), Format::Edit, 8, |delta| delta.len() < 400);
    let families: Vec<corpus::Family> = (0..40).map(family).collect();
    assert_eq!(families, (0..40).map(family).collect::<Vec<_>>());
    for family in &families {
        assert_eq!(family.deltas.len(), 8);
        assert!(family.parent.lines().count() >= 12, "{}", family.parent);
    }
    for word in
        ["torch.cat", "x + ", "groups=", "GroupNorm", "Dropout", "stride=2", "AdaptiveAvgPool2d", "mean(", "for width in", "num_classes"]
    {
        let with_it = families.iter().filter(|family| family.parent.contains(word)).count();
        assert!((1..40).contains(&with_it), "{word}: {with_it} of 40");
    }
}

#[test]
fn random_networks_stay_within_a_proxys_budget() {
    let costs: Vec<_> = (0..300)
        .map(|i| {
            let mut rng = seed::rng(3, "cost", &[i]);
            let network = random_network(&mut rng);
            mutate(&mut rng, &network).cost()
        })
        .collect();
    assert!(costs.iter().all(|cost| cost.parameters <= 900_000 && cost.macs <= 40_000_000));
    assert!(costs.iter().filter(|cost| cost.parameters <= 300_000).count() > 240);
}

#[test]
fn any_source_can_be_changed() {
    for (name, source) in starts() {
        let children: Vec<String> = (0..100).map(|i| mutate_source(&mut seed::rng(4, "source", &[i]), source).unwrap()).collect();
        assert!(children.iter().all(|child| child != source), "{name}");
        let different: std::collections::HashSet<_> = children.iter().collect();
        assert!(different.len() > 25, "{name}: {}", different.len());
    }
    assert_eq!(mutate_source(&mut seed::rng(4, "source", &[0]), "x = 1\n"), None);
    assert_eq!(mutate_source(&mut seed::rng(4, "source", &[0]), "nn.((((F.[,,"), None);
}

proptest! {
    #[test]
    fn what_is_written_gives_the_child_back(lines in line_list(), edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, line()), 1..6)) {
        let mut new = lines.clone();
        for (at, kind, line) in edits {
            let at = at.index(new.len() + 1);
            match kind {
                0 => new.insert(at, line),
                1 if at < new.len() => new[at] = line,
                _ if at < new.len() => drop(new.remove(at)),
                _ => {}
            }
        }
        let (parent, child) = (lines.join("\n") + "\n", new.join("\n") + "\n");
        for format in FORMATS {
            match write(format, &parent, &child) {
                Some(delta) => prop_assert_eq!(apply(format, &parent, &delta), Ok(child.clone())),
                // Diffs can say every change between such texts.
                None => prop_assert!(format != Format::Diff || parent == child || new.is_empty() || lines.is_empty(), "{}\n---\n{}", parent, child),
            }
        }
    }

    #[test]
    fn no_text_panics(parent in ".{0,200}", delta in "([0-9]{1,3}[+]?|[0-9]{1,2}-[0-9]{1,3}|@@|[ +-]?[a-c]{0,2}|\\PC{0,6})(\n([0-9]{1,3}[+]?|@@|[ +-]?[a-c]{0,2}|\\PC{0,6})){0,12}") {
        for format in FORMATS {
            let _ = apply(format, &parent, &delta);
            let _ = write(format, &parent, &delta);
        }
        let _ = show(Format::Edit, &parent);
        let _ = mutate_source(&mut seed::rng(5, "text", &[]), &parent);
    }
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..4_usize, "[a-d]{1,2}").prop_map(|(depth, text)| format!("{}{text}", "    ".repeat(depth))),
        1 => Just(String::new()),
        1 => Just("  ".to_owned()),
        1 => Just("\tx".to_owned()),
        1 => Just("7".to_owned()),
    ]
}

fn line_list() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(line(), 1..14)
}

#[test]
fn a_line_of_a_diff_that_starts_outside_ascii_is_malformed() {
    let delta = "@@\n     def forward(self, x):\n+        x = x + 1\n\u{e9}\n";
    assert_eq!(apply(Format::Diff, PARENT, delta), Err(Failure::Malformed { line: 4 }));
}
