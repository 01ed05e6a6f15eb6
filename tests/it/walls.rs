//! The walls of the house, read off the imports: which wing may look into which, and that no two files need each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The wings from the ground up: each imports only those before it.
const WINGS: [&str; 19] = [
    "base", "theory", "tracer", "decoder", "delta", "proxy", "oracle", "gates", "config", "record", "policy", "method", "audit", "doctor",
    "report", "compare", "study", "export", "watch",
];

/// Longest file in lines, tests included.
const LONGEST: usize = 600;

/// A module by its path in the crate: `["tracer", "graph"]`.
type Module = Vec<String>;

struct Source {
    module: Module,
    /// As it is shown: `src/tracer/graph.rs`.
    file: String,
    /// Absolute paths of what it imports or names, tests and comments left out.
    paths: BTreeSet<Module>,
    /// Names that its `pub use` hands on, and where they are from.
    doors: BTreeMap<String, Module>,
}

#[test]
fn a_wing_imports_only_wings_above_it() {
    let sources = library();
    let rank = |wing: &str| WINGS.iter().position(|w| *w == wing);
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|s| !s.module.is_empty()) {
        let own = rank(&source.module[0]).unwrap_or_else(|| panic!("{} is in no wing of the list", source.file));
        for target in source.paths.iter().filter_map(|path| rank(path.first()?)) {
            if target > own {
                wrong.push(format!("{} imports {}, which lies below {}", source.file, WINGS[target], WINGS[own]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_needs_a_file_that_needs_it() {
    let sources = library();
    let circles = circles(&edges(&sources));
    assert!(circles.is_empty(), "files in a circle of imports: {circles:#?}");
}

#[test]
fn the_hall_holds_wings_and_nothing_else() {
    let mut found: Vec<String> = fs::read_dir(root().join("src")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let mut expected: Vec<&str> = WINGS.into_iter().chain(["commands", "presets", "lib.rs", "main.rs"]).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for wing in WINGS {
        let door = fs::read_to_string(root().join("src").join(wing).join("mod.rs")).unwrap();
        assert!(door.starts_with("//! "), "the door of {wing} does not say what it is for");
    }
}

#[test]
fn the_map_of_the_house_names_the_wings_in_their_order() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let places: Vec<usize> =
        WINGS.iter().map(|w| map.find(&format!("\n| `{w}/` |")).unwrap_or_else(|| panic!("{w} is not on the map"))).collect();
    assert!(places.is_sorted(), "the map has the wings in another order");
}

#[test]
fn no_file_is_longer_than_one_can_read() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples"] {
        rust_files(&root().join(folder), &mut files);
    }
    let lines = |file: &String| fs::read_to_string(file).unwrap().lines().count();
    let long: Vec<_> = files.iter().map(|f| (f, lines(f))).filter(|(_, n)| *n > LONGEST).collect();
    assert!(long.is_empty(), "more than {LONGEST} lines: {long:?}");
}

#[test]
fn the_reader_of_imports_sees_what_it_must() {
    let text = "//! crate::comment::x\nuse crate::a::{self, b::C, d::*};\nuse super::e as f;\npub use g::H;\n/* crate::block */\n\
                fn x() { crate::i::j(\"crate::text\"); }\n#[cfg(test)]\nmod tests { use crate::unseen::Y; }\n";
    let source = read(vec!["wing".into(), "file".into()], "src/wing/file.rs".into(), text);
    let paths: Vec<String> = source.paths.iter().map(|p| p.join("::")).collect();
    assert_eq!(paths, ["a", "a::b::C", "a::d", "i::j", "wing::e"]);
    assert_eq!(source.doors["H"].join("::"), "wing::file::g::H");
    let edge = |a: &str, b: &str| (a.to_owned(), BTreeSet::from([b.to_owned()]));
    assert_eq!(circles(&BTreeMap::from([edge("a", "b"), edge("b", "c"), edge("c", "b"), edge("d", "a")])), [["b", "c"]]);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the library.
fn library() -> Vec<Source> {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let of_library = |file: &String| !file.contains("/src/commands/") && !file.ends_with("/src/main.rs");
    let source = |path: String| {
        let file = path.strip_prefix(&format!("{}/", root().display())).unwrap().to_owned();
        let inside = file.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
        let mut module: Module = inside.split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
            module.pop();
        }
        read(module, file, &fs::read_to_string(path).unwrap())
    };
    files.into_iter().filter(of_library).map(source).collect()
}

fn rust_files(folder: &Path, into: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path.to_str().unwrap().to_owned());
        }
    }
    into.sort();
}

fn read(module: Module, file: String, text: &str) -> Source {
    let text = without_tests(&without_comments_and_strings(text));
    let (mut paths, mut doors) = (BTreeSet::new(), BTreeMap::new());
    let mut rest = String::new();
    for statement in text.split_inclusive(';') {
        let Some((before, tree)) = split_use(statement) else {
            rest.push_str(statement);
            continue;
        };
        rest.push_str(before);
        let mut leaves = Vec::new();
        flatten(&tree, &[], &mut leaves);
        let hands_on = ["pub", "pub(crate)"].iter().any(|word| before.trim_end().ends_with(word));
        for leaf in leaves {
            // What begins with no keyword is a room of this door, or another crate, which is no file of ours.
            let path = absolute(&leaf, &module).unwrap_or_else(|| [&module[..], &leaf[..]].concat());
            if hands_on {
                doors.insert(leaf.last().unwrap().clone(), path);
            } else {
                paths.insert(path);
            }
        }
    }
    for start in ["crate::", "super::"] {
        for (at, _) in rest.match_indices(start) {
            if rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let path: String = rest[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
            let path: Vec<String> = path.trim_end_matches(':').split("::").map(str::to_owned).collect();
            paths.extend(absolute(&path, &module));
        }
    }
    Source { module, file, paths, doors }
}

/// What stands before a `use`, and its tree.
fn split_use(statement: &str) -> Option<(&str, String)> {
    let at = statement.rfind("use ").filter(|&at| !statement[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))?;
    let tree = statement[at + 4..].trim_end_matches(';');
    let is_tree = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_:{},*".contains(c);
    tree.chars().all(is_tree).then(|| (&statement[..at], tree.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// The paths of a `use` tree, `self` and `*` left out.
fn flatten(tree: &str, before: &[String], leaves: &mut Vec<Module>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap().split("::").map(|part| part.trim().to_owned());
        let leaf: Module = before.iter().cloned().chain(path.filter(|part| !part.is_empty() && part != "*")).collect();
        leaves.push(if leaf.len() > 1 && leaf.last().is_some_and(|l| l == "self") { leaf[..leaf.len() - 1].to_vec() } else { leaf });
        return;
    };
    let head = tree[..open].split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned);
    let before: Vec<String> = before.iter().cloned().chain(head).collect();
    let (mut depth, mut start) = (0, open + 1);
    for (at, c) in tree.char_indices().skip(open) {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if (depth == 1 && c == ',' || depth == 0) && start <= at {
            if !tree[start..at].trim().is_empty() {
                flatten(&tree[start..at], &before, leaves);
            }
            start = at + 1;
        }
    }
}

/// A path that begins with `crate`, `self` or `super`, from the root of the crate.
fn absolute(path: &[String], module: &[String]) -> Option<Module> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            Some([module.get(..module.len().checked_sub(up)?)?, &path[up..]].concat())
        }
        _ => None,
    }
}

/// Who imports whom, by file. What a door hands on is imported from the file that has it; that a door names its rooms is no import.
fn edges(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let by_module: BTreeMap<&[String], &Source> = sources.iter().map(|s| (&s.module[..], s)).collect();
    let home = |path: &Module| {
        let mut path = path.clone();
        for _ in 0..8 {
            let known = (0..=path.len()).rev().find(|&n| by_module.contains_key(&path[..n]))?;
            let source = by_module[&path[..known]];
            match path.get(known).and_then(|name| source.doors.get(name)) {
                Some(target) => path = [&target[..], &path[known + 1..]].concat(),
                None => return Some(source),
            }
        }
        None
    };
    let mut edges = BTreeMap::new();
    for source in sources {
        let targets = source.paths.iter().filter_map(&home).filter(|target| target.file != source.file);
        edges.insert(source.file.clone(), targets.map(|target| target.file.clone()).collect());
    }
    edges
}

/// Sets of files each of which reaches all others of its set.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reach = |from: &String| {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
        while let Some(file) = waiting.pop() {
            waiting.extend(edges.get(file).into_iter().flatten().filter(|next| seen.insert((*next).clone())));
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = edges.keys().map(|file| (file, reach(file))).collect();
    let mut found: Vec<Vec<String>> = Vec::new();
    for (file, others) in &reached {
        let set: Vec<String> = others.iter().filter(|other| reached.get(other).is_some_and(|back| back.contains(*file))).cloned().collect();
        if !set.is_empty() && !found.contains(&set) {
            found.push(set);
        }
    }
    found
}

/// Code alone: comments and the insides of string literals are blanks.
fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            rest[hashes + 2..].find(&end).map_or(rest.len(), |at| hashes + 2 + at + end.len())
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |at| at + 2)
        } else if rest.starts_with("'\"'") || rest.starts_with("'{'") || rest.starts_with("'}'") || rest.starts_with("';'") {
            3
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skip..];
    }
    code
}

/// The number of hashes of a raw string that starts here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// The code without its `#[cfg(test)]` modules.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, after) = rest.split_at(at);
        kept.push_str(before);
        let is_module = after["#[cfg(test)]".len()..].trim_start().starts_with("mod ");
        let Some(open) = after.find('{').filter(|_| is_module) else {
            kept.push_str(&after[..1]);
            rest = &after[1..];
            continue;
        };
        let mut depth = 0;
        let end = after[open..].find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        });
        rest = end.map_or("", |end| &after[open + end + 1..]);
    }
    kept + rest
}
