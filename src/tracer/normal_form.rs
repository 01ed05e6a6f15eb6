//! The normal form of a source: what a layer reads is left to PyTorch's lazy modules, so that a change of one width does not break the
//! next line. And back: the ordinary form, with the widths of the trace filled in.
//!
//! | ordinary | normal |
//! |---|---|
//! | `nn.Conv2d(16, 32, 3)` | `nn.LazyConv2d(32, 3)` |
//! | `nn.Linear(32 * 10 * 10, 4)` | `nn.LazyLinear(4)` |
//! | `nn.BatchNorm2d(num_features=32)` | `nn.LazyBatchNorm2d()` |
//! | `x.view(-1, 3200)` | `x.flatten(1)` |
//!
//! A rewriting is kept where the source still traces to the same network: equal [`super::canonical`] hash, equal names and shapes in the
//! state dict, in the same order. What does not is left as it is: layers whose class was imported by its own name, widths that the
//! source reads back, a line that makes layers of several widths (it is lazy in both forms).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::calls::{Call, calls};
use super::canonical;
use super::graph::{Dim, Graph, TensorSpec};
use super::trace::{TraceOptions, trace};
use crate::base::error::Result;

/// Layers, the argument that says what they read, and their lazy form, which is the same without it. Where the channels of an input
/// are: [`READS_LAST`] or dimension 1.
const LAYERS: [(&str, &str); 13] = [
    ("Conv1d", "in_channels"),
    ("Conv2d", "in_channels"),
    ("Conv3d", "in_channels"),
    ("ConvTranspose1d", "in_channels"),
    ("ConvTranspose2d", "in_channels"),
    ("ConvTranspose3d", "in_channels"),
    ("BatchNorm1d", "num_features"),
    ("BatchNorm2d", "num_features"),
    ("BatchNorm3d", "num_features"),
    ("InstanceNorm1d", "num_features"),
    ("InstanceNorm2d", "num_features"),
    ("InstanceNorm3d", "num_features"),
    (READS_LAST, "in_features"),
];
/// The layer that reads the last dimension of its input.
const READS_LAST: &str = "Linear";
const LAZY: &str = "Lazy";

/// What is put in place of some bytes of a source.
type Edit = (Range<usize>, String);
/// Edits that only make sense together.
type Site = Vec<Edit>;

/// A source in another form, with how many of its places were rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The whole source in that form.
    pub source: String,
    /// Places that were rewritten; the others are as they were.
    pub rewritten: usize,
    /// Places of the kind that were found.
    pub places: usize,
}

/// The normal form of `source`, whose trace under `options` is `graph`.
///
/// # Errors
/// The machine's, where sandboxes cannot be started.
pub fn normal(source: &str, graph: &Graph, options: &TraceOptions) -> Result<Form> {
    let sites: Vec<Site> = calls(source).iter().filter_map(|call| lazy(source, call).or_else(|| flat(source, call))).collect();
    Same::new(graph, options)?.settle(source, &sites)
}

/// The ordinary form of `source`, whose trace under `options` is `graph`: lazy modules get the width that they found.
///
/// # Errors
/// The machine's, where sandboxes cannot be started.
pub fn ordinary(source: &str, graph: &Graph, options: &TraceOptions) -> Result<Form> {
    let lazy: Vec<(Call, &str)> = calls(source)
        .into_iter()
        .filter_map(|call| Some((layer(source, &call)?.strip_prefix(LAZY)?, call)))
        .filter_map(|(name, call)| LAYERS.iter().find(|(known, _)| *known == name).map(|(known, _)| (call, *known)))
        .collect();
    let widths = if lazy.is_empty() { BTreeMap::new() } else { widths(source, &lazy, options)? };
    let filled = |(i, (call, name)): (usize, &(Call, &str))| {
        let width = widths.get(&i).filter(|w| w.len() == 1)?.first()?;
        let comma = if call.arguments.is_empty() { "" } else { ", " };
        Some(vec![(call.name.clone(), (*name).to_owned()), (call.open + 1..call.open + 1, format!("{width}{comma}"))])
    };
    let sites: Vec<Site> = lazy.iter().enumerate().filter_map(filled).collect();
    let form = Same::new(graph, options)?.settle(source, &sites)?;
    Ok(Form { places: lazy.len(), ..form })
}

/// The name of a layer that is called as an attribute of a module, as in `nn.Linear(..)`.
fn layer<'a>(source: &'a str, call: &Call) -> Option<&'a str> {
    call.has_owner(source).then(|| &source[call.name.clone()])
}

/// The edit that leaves what a layer reads to its lazy form.
fn lazy(source: &str, call: &Call) -> Option<Site> {
    let name = layer(source, call)?;
    let (_, wanted) = LAYERS.iter().find(|(known, _)| *known == name)?;
    let keyword = |argument: &Range<usize>| {
        let (key, value) = source[argument.clone()].split_once('=')?;
        let is_name = key.trim().chars().all(|c| c.is_alphanumeric() || c == '_') && !value.starts_with('=');
        is_name.then(|| key.trim().to_owned())
    };
    let by_name = call.arguments.iter().position(|a| keyword(a).as_deref() == Some(wanted));
    let by_place = call.arguments.first().filter(|a| !source[(*a).clone()].starts_with('*') && keyword(a).is_none()).map(|_| 0);
    let place = by_name.or(by_place)?;
    let argument = &call.arguments[place];
    let removed = match (call.arguments.get(place + 1), place) {
        (Some(next), _) => argument.start..next.start,
        (None, 0) => argument.start..call.close,
        (None, _) => call.arguments[place - 1].end..argument.end,
    };
    Some(vec![(call.name.clone(), format!("{LAZY}{name}")), (removed, String::new())])
}

/// The edit that makes `flatten(1)` of a view or a reshape to two dimensions of which the second is written out.
fn flat(source: &str, call: &Call) -> Option<Site> {
    let [_, width] = call.arguments.as_slice() else { return None };
    let is_view = matches!(layer(source, call)?, "view" | "reshape") && source[width.clone()] != *"-1";
    is_view.then(|| vec![(call.name.start..call.close, "flatten(1".to_owned())])
}

/// What the layers made at each place read. The places are told apart in one more trace, in which each is wrapped in a module named for it.
fn widths(source: &str, lazy: &[(Call, &str)], options: &TraceOptions) -> Result<BTreeMap<usize, BTreeSet<usize>>> {
    const MARK: &str = "eliteloop_place_";
    let wrap = |(i, (call, _)): (usize, &(Call, &str))| {
        let begin = format!("_eliteloop_nn.Sequential(_EliteloopDict([(\"{MARK}{i}\", ");
        vec![(call.path.start..call.path.start, begin), (call.close..call.close + 1, ")".to_owned() + ")]))")]
    };
    let wrapped: Vec<Site> = lazy.iter().enumerate().map(wrap).collect();
    // At the end, since an import for the future must come first.
    let imports = "\nfrom collections import OrderedDict as _EliteloopDict\nimport torch.nn as _eliteloop_nn\n";
    let marked = edited(source, &wrapped.iter().collect::<Vec<_>>()).unwrap_or_default() + imports;
    let mut widths: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let Ok(traced) = trace(&marked, options).map(Ok).or_else(|failure| failure.of_source().map(Err))? else { return Ok(widths) };
    for node in traced.nodes.iter().filter(|node| !node.tensors.is_empty()) {
        let place: Option<usize> = node.module.rsplit('.').next().and_then(|last| last.strip_prefix(MARK)?.parse().ok());
        let Some((place, (_, name))) = place.and_then(|place| Some((place, lazy.get(place)?))) else { continue };
        let shape = &traced.nodes[node.inputs[0]].shape;
        if let Some(Dim::Fixed(width)) = if *name == READS_LAST { shape.last() } else { shape.get(1) } {
            widths.entry(place).or_default().insert(*width);
        }
    }
    Ok(widths)
}

/// What a rewritten source must still be.
struct Same<'a> {
    hash: String,
    tensors: &'a [TensorSpec],
    aliases: &'a [(String, usize)],
    options: &'a TraceOptions,
}

impl<'a> Same<'a> {
    fn new(graph: &'a Graph, options: &'a TraceOptions) -> Result<Self> {
        Ok(Self { hash: canonical::hash(graph)?, tensors: &graph.tensors, aliases: &graph.aliases, options })
    }

    fn holds(&self, source: &str) -> Result<bool> {
        let Ok(graph) = trace(source, self.options).map(Ok).or_else(|failure| failure.of_source().map(Err))? else { return Ok(false) };
        Ok(graph.tensors == self.tensors && graph.aliases == self.aliases && canonical::hash(&graph)? == self.hash)
    }

    fn settle(&self, source: &str, sites: &[Site]) -> Result<Form> {
        let mut kept = Vec::new();
        self.keep(source, sites, &mut kept)?;
        let form = edited(source, &kept).unwrap_or_else(|| source.to_owned());
        Ok(Form { source: form, rewritten: kept.len(), places: sites.len() })
    }

    /// Adds the sites that may be rewritten beside those kept: all at once if they may, else each half for itself.
    fn keep<'s>(&self, source: &str, sites: &'s [Site], kept: &mut Vec<&'s Site>) -> Result<()> {
        if sites.is_empty() {
            return Ok(());
        }
        let before = kept.len();
        kept.extend(sites);
        if let Some(text) = edited(source, kept)
            && self.holds(&text)?
        {
            return Ok(());
        }
        kept.truncate(before);
        if sites.len() > 1 {
            let (first, second) = sites.split_at(sites.len() / 2);
            self.keep(source, first, kept)?;
            self.keep(source, second, kept)?;
        }
        Ok(())
    }
}

/// The source with all edits made; none where two of them meet.
fn edited(source: &str, sites: &[&Site]) -> Option<String> {
    let mut edits: Vec<&Edit> = sites.iter().copied().flatten().collect();
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut text = String::with_capacity(source.len());
    let mut done = 0;
    for (range, by) in edits {
        text.push_str(source.get(done..range.start)?);
        text.push_str(by);
        done = range.end;
    }
    text.push_str(&source[done..]);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(source: &str) -> String {
        let sites: Vec<Site> = calls(source).iter().filter_map(|call| lazy(source, call).or_else(|| flat(source, call))).collect();
        edited(source, &sites.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_argument_that_says_what_is_read_goes_wherever_it_stands() {
        assert_eq!(rewritten("nn.Conv2d(3, 16, 3, padding=1)"), "nn.LazyConv2d(16, 3, padding=1)");
        assert_eq!(
            rewritten("torch.nn.Linear(\n    32 * 7 * 7,  # pooled twice\n    10,\n)"),
            "torch.nn.LazyLinear(\n    # pooled twice\n    10,\n)"
        );
        assert_eq!(rewritten("nn.BatchNorm2d(16)"), "nn.LazyBatchNorm2d()");
        assert_eq!(rewritten("nn.BatchNorm2d(16,)"), "nn.LazyBatchNorm2d()");
        assert_eq!(rewritten("nn.Conv2d(kernel_size=3, out_channels=8, in_channels=c)"), "nn.LazyConv2d(kernel_size=3, out_channels=8)");
        assert_eq!(
            rewritten("nn.Conv2d(out_channels=8, in_channels=c == 3, kernel_size=3)"),
            "nn.LazyConv2d(out_channels=8, kernel_size=3)"
        );
    }

    #[test]
    fn what_is_not_known_is_left() {
        for source in [
            "Conv2d(3, 16, 3)",
            "nn.Conv2d(*sizes)",
            "nn.Linear(out_features=3)",
            "'nn.Conv2d(3, 4, 1)'",
            "nn.GroupNorm(4, 16)",
            "nn.Linear()",
        ] {
            assert_eq!(rewritten(source), source);
        }
    }

    #[test]
    fn a_view_with_a_width_becomes_a_flatten() {
        assert_eq!(rewritten("x = self.pool(x).view(-1, 32 * 8 * 8)"), "x = self.pool(x).flatten(1)");
        assert_eq!(rewritten("x.reshape(x.size(0), n)"), "x.flatten(1)");
        for source in ["x.view(x.size(0), -1)", "x.view(b, c, h * w)", "x.view(-1)"] {
            assert_eq!(rewritten(source), source);
        }
    }
}
