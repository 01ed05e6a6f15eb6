//! Random changes to any source text, line by line.
//!
//! Unlike [`super::mutate`] this knows no shapes: it finds calls such as `nn.LazyConv2d(32, 3, padding=1)` that fit on one
//! line and changes a number, exchanges a layer for one of its kind, or inserts, doubles or deletes a line that holds one layer. The result
//! may not run; the screen sees to that, as it does for the LLM's candidates.

use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};

use super::draft::pick;
use super::network::WIDTHS;

const ACTIVATIONS: [&str; 10] = ["ReLU", "GELU", "SiLU", "Hardswish", "ELU", "LeakyReLU", "Tanh", "ReLU6", "Mish", "Sigmoid"];
const FUNCTIONAL: [&str; 5] = ["relu", "gelu", "silu", "hardswish", "elu"];
const POOLS: [&str; 2] = ["MaxPool2d", "AvgPool2d"];
const FUNCTIONAL_POOLS: [&str; 2] = ["max_pool2d", "avg_pool2d"];
const NORMS: [&str; 2] = ["LazyBatchNorm2d", "Identity"];
const PERCENT: [&str; 5] = ["0.05", "0.1", "0.2", "0.3", "0.5"];

/// A call `nn.name(..)` or `F.name(..)` that ends on the line it starts on.
struct Call<'a> {
    line: usize,
    /// Where the name starts in the line, and where the call ends, its parenthesis included.
    start: usize,
    end: usize,
    name: &'a str,
    arguments: Vec<&'a str>,
}

/// The source with one random change, or `None` where there is nothing this knows how to change.
#[must_use]
pub fn mutate_source(rng: &mut impl Rng, source: &str) -> Option<String> {
    let lines: Vec<&str> = source.split('\n').collect();
    let calls: Vec<Call> = lines.iter().enumerate().flat_map(|(i, line)| calls(i, line)).collect();
    let last_linear = calls.iter().rposition(|call| call.name.ends_with("Linear"));
    // A few draws may hit a call that the kind of change has no meaning for.
    (0..64).find_map(|_| {
        let (at, call) = calls.iter().enumerate().choose(rng)?;
        let mut changed: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        let line = &mut changed[call.line];
        match rng.random_range(0..10) {
            // The last linear layer gives the classes.
            0..4 if Some(at) != last_linear => line.replace_range(call.start..call.end, &renumbered(rng, call)?),
            4..7 => {
                let name = sibling(rng, call.name)?;
                let arguments = if ACTIVATIONS.contains(&name) { String::new() } else { call.arguments.join(", ") };
                line.replace_range(call.start..call.end, &format!("{name}({arguments})"));
            }
            7 if is_layer_line(lines[call.line]) => drop(changed.remove(call.line)),
            8 if is_layer_line(lines[call.line]) => changed.insert(call.line, lines[call.line].to_owned()),
            9 if is_layer_line(lines[call.line]) => {
                let own = lines[call.line];
                let indentation = &own[..own.len() - own.trim_start().len()];
                changed.insert(call.line + 1, format!("{indentation}nn.{},", new_layer(rng)));
            }
            _ => return None,
        }
        Some(changed.join("\n")).filter(|child| child != source)
    })
}

/// A line that is one element of a sequence, as in `nn.ReLU(),`.
fn is_layer_line(line: &str) -> bool {
    let code = line.trim();
    code.starts_with("nn.") && code.ends_with("),") && calls(0, code).first().is_some_and(|call| call.end + 1 == code.len())
}

fn calls(line: usize, text: &str) -> Vec<Call<'_>> {
    let starts = text.match_indices("nn.").chain(text.match_indices("F."));
    starts
        .filter_map(|(at, prefix)| {
            let part_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
            if text[..at].ends_with(part_of_name) {
                return None;
            }
            let start = at + prefix.len();
            let open = start + text[start..].find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
            let (end, arguments) = arguments(text, open)?;
            Some(Call { line, start, end, name: &text[start..open], arguments })
        })
        .collect()
}

/// The end of the call whose parenthesis opens at `open`, and its arguments.
fn arguments(text: &str, open: usize) -> Option<(usize, Vec<&str>)> {
    let inside = text[open..].strip_prefix('(')?;
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (i, c) in inside.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' if depth == 0 => {
                let last = inside[from..i].trim();
                found.extend((!last.is_empty()).then_some(last));
                return Some((open + 1 + i + 1, found));
            }
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                found.push(inside[from..i].trim());
                from = i + 1;
            }
            _ => {}
        }
    }
    None
}

/// The call with another width, kernel or probability.
fn renumbered(rng: &mut impl Rng, call: &Call) -> Option<String> {
    let mut arguments: Vec<String> = call.arguments.iter().map(|&argument| argument.to_owned()).collect();
    let number = |argument: &String| argument.parse::<usize>().ok();
    match call.name {
        "LazyConv2d" if rng.random_bool(0.4) => {
            let at = arguments.iter().position(|a| a.starts_with("kernel_size=")).unwrap_or(1);
            let kernel = arguments.get(at)?.trim_start_matches("kernel_size=").parse::<usize>().ok()?;
            let new = pick(rng, &[(1, 1), (3, 3), (5, 2), (7, 1)]);
            let padding = arguments.iter().position(|a| *a == format!("padding={}", kernel / 2));
            arguments[at] = arguments[at].replace(&kernel.to_string(), &new.to_string());
            match padding {
                Some(padding) => arguments[padding] = format!("padding={}", new / 2),
                None if kernel == 1 => arguments.push(format!("padding={}", new / 2)),
                None => {}
            }
        }
        "LazyConv2d" | "LazyLinear" => {
            number(arguments.first()?)?;
            arguments[0] = WIDTHS.choose(rng)?.to_string();
        }
        "Conv2d" | "Linear" => {
            number(arguments.get(1)?)?;
            arguments[1] = WIDTHS.choose(rng)?.to_string();
        }
        "Dropout" | "Dropout2d" => arguments = vec![(*PERCENT.choose(rng)?).to_owned()],
        _ => return None,
    }
    Some(format!("{}({})", call.name, arguments.join(", ")))
}

/// Another name of the same kind.
fn sibling(rng: &mut impl Rng, name: &str) -> Option<&'static str> {
    let kinds: [&'static [&'static str]; 5] = [&ACTIVATIONS, &FUNCTIONAL, &POOLS, &FUNCTIONAL_POOLS, &NORMS];
    let kind = kinds.into_iter().find(|kind| kind.contains(&name))?;
    kind.iter().copied().filter(|other| *other != name).choose(rng)
}

fn new_layer(rng: &mut impl Rng) -> String {
    match rng.random_range(0..5) {
        0 => format!("{}()", ACTIVATIONS[rng.random_range(0..6)]),
        1 => format!("Dropout({})", PERCENT[rng.random_range(0..PERCENT.len())]),
        2 => "LazyBatchNorm2d()".to_owned(),
        3 => "MaxPool2d(2)".to_owned(),
        _ => format!("LazyConv2d({}, 3, padding=1)", WIDTHS[rng.random_range(0..9)]),
    }
}
