//! Grammar masks: what the grammar accepts applies, what applies it accepts, and what is drawn under a mask is what was promised.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use eliteloop::base::seed;
use eliteloop::decoder::files::chat::ChatTemplate;
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::files::tokenizer::Tokenizer;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::score::{log_p, log_p_and_q};
use eliteloop::decoder::model::decoder::Decoder;
use eliteloop::decoder::model::pack::Example;
use eliteloop::decoder::sample::generate::{Request, generate_masked};
use eliteloop::decoder::sample::mask::{Mask, TokenTrie};
use eliteloop::decoder::sample::sampling::Sampling;
use eliteloop::delta::corpus::{mutate, mutate_source, random_network, render};
use eliteloop::delta::grammar::{Grammar, Lines, label};
use eliteloop::delta::settings::Format;
use eliteloop::delta::starts::starts;
use eliteloop::delta::{Failure, apply, apply_completion, write};
use eliteloop::policy::prompt;
use eliteloop::tracer::{TraceOptions, trace};
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom, SliceRandom};

use crate::models::smollm_file;
use crate::program::{program, succeed};

const FORMATS: [Format; 3] = [Format::Edit, Format::Diff, Format::Full];
const LINES: [Lines; 2] = [Lines::Free, Lines::Python];

/// Twice the same three lines, so that a context can be ambiguous; a blank line; no line end.
const TWICE: &str = "a = 1\n    b = nn.ReLU()\nc\n\na = 1\n    b = nn.ReLU()\nc";

fn accepts(format: Format, lines: Lines, parent: &str, delta: &str) -> bool {
    let grammar = Grammar::new(format, parent, lines);
    grammar.advance(grammar.start(), delta.as_bytes()).is_some_and(|state| grammar.ends(state, delta.as_bytes()))
}

/// What the parent is and a delta that applies to it.
fn pair(index: u64, format: Format) -> (String, String) {
    let mut rng = seed::rng(7, "mask", &[index, format as u64]);
    let network = random_network(&mut rng);
    let parent = render(&network);
    let child = if index.is_multiple_of(2) { mutate_source(&mut rng, &parent) } else { None };
    let child = child.unwrap_or_else(|| render(&mutate(&mut rng, &network)));
    let delta = write(format, &parent, &child).unwrap_or_default();
    (parent, delta)
}

#[test]
fn deltas_of_the_corpus_are_accepted() {
    let mut seen = 0;
    for index in 0..150 {
        for format in FORMATS {
            let (parent, delta) = pair(index, format);
            if apply(format, &parent, &delta).is_err() {
                continue;
            }
            for lines in LINES {
                assert!(accepts(format, lines, &parent, &delta), "{format:?} {lines:?}\n{parent}\n--\n{delta}");
            }
            let pieces: Vec<Vec<u8>> = delta.bytes().map(|byte| vec![byte]).chain([Vec::new()]).collect();
            assert!(label(format, &parent, &pieces, true).iter().all(|valid| *valid), "{delta}");
            seen += 1;
        }
    }
    for (name, source) in starts() {
        assert!(accepts(Format::Full, Lines::Python, "", source), "{name}");
    }
    assert!(seen > 400, "{seen} deltas");
}

const NET: &str = "class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        layers = []
        for width in [20, 48]:
            layers.append(nn.LazyConv2d(width, 3))
        self.features = nn.Sequential(
            nn.LazyConv2d(32, 3),
            nn.ReLU()
        )
";

/// Each line of these edits is right alone; whether the whole is depends on where it stands.
#[test]
fn lines_of_edits_fit_what_is_around_them() {
    let accepts = |delta: &str| accepts(Format::Edit, Lines::Python, NET, delta);
    let right = [
        "5\nfor width in [8]:\n",
        "6\nlayers.append(nn.ReLU())\nlayers.append(nn.SiLU())\n",
        "5+\nlayers.append(nn.ReLU())\n",
        "6+\nlayers.append(nn.ReLU())\n",
        "5-6\nlayers.append(nn.ReLU())\n",
        "5-6\n",
        "8\n",
        "8\nnn.Conv2d(\n    3, 8, 3,\n),\n",
        "9\nnn.SiLU(),\n",
        "8+\nnn.Dropout(0.1),\n",
        "7-10\nself.features = nn.Sequential(*layers)\n",
        "6+\nself.stem = nn.Sequential(\n    nn.ReLU(),\n)\n8\nnn.LazyConv2d(16, 3),\n",
        "6+\nif num_classes > 10:\n    self.n = 1\n",
    ];
    // Headers of blocks without a block and the other way round, brackets that stay open or were never, statements among items, no comma.
    let wrong = [
        "5\nlayers.append(nn.ReLU())\n",
        "5\n",
        "6\n",
        "6\nfor width in [8]:\n",
        "7\nself.features = nn.ReLU()\n",
        "7\n",
        "10\n",
        "6+\nself.stem = nn.Sequential(\n    nn.ReLU(),\n",
        "6+\n)\n",
        "6+\nself.stem = nn.Sequential(\n8\nnn.LazyConv2d(16, 3),\n",
        "7+\nself.n = 1\n",
        "7+\nreturn self.n\n",
        "8\nnn.SiLU()\n",
        "8+\n]\n",
    ];
    // A header is not left for later, where a sampler would not find the way to it.
    let grammar = Grammar::new(Format::Edit, NET, Lines::Python);
    let starts = |delta: &str| grammar.advance(grammar.start(), delta.as_bytes()).is_some();
    assert!(starts("5\nfor") && starts("5\nwith") && starts("5\nif self") && starts("5\n\nw") && starts("2\ndef __init"));
    assert!(!starts("5\nl") && !starts("5\nfo=") && !starts("5\nfork") && !starts("5\n#") && !starts("2\nself"));
    assert!(starts("5\nif x:\n    self.n = 1\nfor") && !starts("5\nif x:\n    self.n = 1\nself") && starts("5-6\nl"));
    // Nor is an attribute set among items; one may be an item where others are.
    assert!(starts("8+\nself_made(),") && starts("8+\nnn.ReLU(),") && starts("8\n*self.layers,") && starts("6+\nself.n = 1"));
    assert!(!starts("8+\nself.") && !starts("7+\nself,") && starts("7+\nnn.Sequential(self.n),"));
    let parent = NET.replace("            nn.ReLU()\n", "            self.last\n");
    let grammar = Grammar::new(Format::Edit, &parent, Lines::Python);
    assert!(grammar.advance(grammar.start(), b"8+\nself.first,\n").is_some());
    let refused: Vec<&str> = right.into_iter().filter(|delta| !accepts(delta)).collect();
    let accepted: Vec<&str> = wrong.into_iter().filter(|delta| accepts(delta)).collect();
    assert!(refused.is_empty() && accepted.is_empty(), "refused {refused:?}, accepted {accepted:?}");
}

/// Deltas near right ones: lines moved, doubled, cut, given another mark or end.
fn damaged(rng: &mut impl Rng, parent: &str, delta: &str) -> String {
    let mut lines: Vec<String> = delta.split('\n').map(str::to_owned).collect();
    let parents: Vec<&str> = parent.lines().collect();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..lines.len());
        let line = lines[at].clone();
        match rng.random_range(0..12) {
            0 => lines.insert(at, line),
            1 if lines.len() > 1 => drop(lines.remove(at)),
            2 => {
                let other = rng.random_range(0..lines.len());
                lines.swap(at, other);
            }
            3 => lines[at] = format!("{}{}", [" ", "-", "+", "@@", "", "\t", "---"].choose(rng).unwrap(), line),
            4 => lines[at] = line.chars().skip(1).collect(),
            5 => lines[at] = line + ["\r", " ", "\r\r", "é", "\u{a0}", "x"].choose(rng).unwrap(),
            6 => lines[at] = format!("{}{}", [" ", "-", "+"].choose(rng).unwrap(), parents.choose(rng).unwrap_or(&"")),
            7 => lines.insert(at, ["@@", "@@ -1 +1 @@", "--- a", "+++ b", "", " ", "+", "```"].choose(rng).unwrap().to_string()),
            8 => lines.insert(at, rng.random_range(0..14).to_string() + ["", "+", "-9", "-12", "x", " "].choose(rng).unwrap()),
            9 => lines[at] = format!("{}{line}", " ".repeat(rng.random_range(1..9))),
            10 => lines.insert(at, ["x = F.relu(x)", "\t\ty", "  ", "nn.ReLU(),"].choose(rng).unwrap().to_string()),
            _ => lines.truncate(at.max(1)),
        }
    }
    lines.join("\n")
}

#[test]
fn the_grammar_accepts_what_applies_and_nothing_else() {
    let mut counts: HashMap<(Format, bool), usize> = HashMap::new();
    for index in 0..4000 {
        for format in [Format::Edit, Format::Diff, Format::Full] {
            let (mut parent, mut delta) = pair(index % 60, format);
            let mut rng = seed::rng(8, "mask", &[index, format as u64]);
            if index % 5 == 0 {
                parent = TWICE.into();
                delta = write(format, TWICE, &TWICE.replacen('c', "d", 1)).unwrap();
            }
            if index % 7 == 0 {
                parent = parent.replace('\n', "\r\n");
            }
            let delta = damaged(&mut rng, &parent, &delta);
            let applies = apply(format, &parent, &delta).is_ok();
            let accepted = accepts(format, Lines::Free, &parent, &delta);
            assert!(applies || !accepted);
            // What the edit grammar leaves out: see its module.
            let left_out = match format {
                Format::Edit => delta.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).any(|line| {
                    let code = line.trim_start();
                    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
                    let is_header = line.bytes().all(|b| b"0123456789-+".contains(&b));
                    (digits > 0 && !is_header)
                        || (line.starts_with('0') && !line.starts_with("0+"))
                        || line.contains("-0")
                        || code.starts_with(|c: char| !c.is_ascii())
                        || line[..line.len() - code.len()].contains(|c| c != ' ' && c != '\t')
                }),
                Format::Diff | Format::Full => false,
            };
            assert!(accepted || !applies || left_out, "{format:?}\n{parent:?}\n{delta:?}");
            *counts.entry((format, applies)).or_default() += 1;
            if accepts(format, Lines::Python, &parent, &delta) {
                assert!(accepted, "Python lines are lines");
            }
        }
    }
    assert!(counts.values().all(|count| *count > 50) && counts.len() == 6, "{counts:?}");
}

struct Loaded {
    file: ModelFile,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    trie: Arc<TokenTrie<Grammar>>,
}

fn loaded() -> &'static Loaded {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    LOADED.get_or_init(|| {
        let file = smollm_file();
        let (tokenizer, template) = (file.tokenizer().unwrap(), file.chat_template().unwrap());
        Loaded { trie: Arc::new(TokenTrie::new(&tokenizer)), file, tokenizer, template }
    })
}

fn mask(format: Format, parent: &str, lines: Lines) -> Mask<Grammar> {
    Mask::new(loaded().trie.clone(), Grammar::new(format, parent, lines))
}

fn sampling(max_tokens: usize) -> Sampling {
    Sampling { temperature: 1.0, top_p: 1.0, max_tokens, end: loaded().tokenizer.eos() }
}

fn text(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|&token| loaded().tokenizer.token_bytes(token)).collect()
}

#[test]
fn the_tries_allow_what_the_grammar_says_of_each_token() {
    needs!(Model);
    let Loaded { tokenizer, .. } = loaded();
    let bytes: Vec<Vec<u8>> = (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.token_bytes(id)).collect();
    for (format, lines) in FORMATS.into_iter().flat_map(|format| LINES.map(|lines| (format, lines))) {
        let (parent, delta) = pair(3, format);
        let grammar = Grammar::new(format, &parent, lines);
        let mask = mask(format, &parent, lines);
        let mut cursor = mask.start();
        let mut read = Vec::new();
        for token in tokenizer.encode_plain(&delta).into_iter().take(40) {
            let state = grammar.advance(grammar.start(), &read).expect("the delta is of its grammar");
            let allowed = mask.allowed(&cursor);
            assert_eq!(allowed.contains(tokenizer.eos()), grammar.ends(state, &read));
            for (id, bytes) in (0..).zip(&bytes).filter(|(id, _)| *id != tokenizer.eos()) {
                let expected = !bytes.is_empty() && grammar.advance(state, bytes).is_some();
                assert_eq!(allowed.contains(id), expected, "{bytes:?} after {read:?}");
            }
            assert!(allowed.contains(token));
            mask.advance(&mut cursor, token);
            read.extend(&bytes[token as usize]);
        }
    }
}

/// The mask alone has to make deltas apply, so what is drawn here is noise: any token that is allowed, line ends, digits and marks
/// more often than the rest.
#[test]
fn a_thousand_masked_samples_of_noise_apply() {
    needs!(Model);
    let Loaded { tokenizer, .. } = loaded();
    let vocab = tokenizer.vocab_size() as u32;
    let pieces: Vec<Vec<u8>> = (0..vocab).map(|id| tokenizer.token_bytes(id)).collect();
    let liked = |wanted: &dyn Fn(&[u8]) -> bool| -> Vec<u32> { (0..vocab).filter(|&id| wanted(&pieces[id as usize])).collect() };
    let feeds = liked(&|piece| piece.contains(&b'\n'));
    let marks = liked(&|piece| piece.len() <= 2 && piece.iter().all(|b| b" +-@0123456789()".contains(b)) && !piece.is_empty());
    let any: Vec<u32> = (0..vocab).filter(|&id| id != tokenizer.eos()).collect();
    let (mut ended, mut changed_nothing) = (0, 0);
    let mut counts: HashMap<(Format, Lines), usize> = HashMap::new();
    for index in 0..60 {
        for (format, lines) in FORMATS.into_iter().flat_map(|format| LINES.map(|lines| (format, lines))) {
            let parent = if index == 0 { TWICE.to_owned() } else { pair(index, format).0 };
            let mask = mask(format, &parent, lines);
            let grammar = Grammar::new(format, &parent, lines);
            for sample in 0..4 {
                let mut rng = seed::rng(9, "mask", &[index, format as u64, lines as u64, sample]);
                let mut cursor = mask.start();
                let mut written = Vec::new();
                for _ in 0..200 {
                    let allowed = mask.allowed(&cursor);
                    if allowed.contains(tokenizer.eos()) && rng.random_bool(0.1) {
                        let child = apply_completion(format, &parent, &written, true);
                        assert!(child.is_ok(), "{format:?} {lines:?}: {child:?}\n{parent}\n--\n{}", String::from_utf8_lossy(&written));
                        ended += 1;
                        *counts.entry((format, lines)).or_default() += 1;
                        break;
                    }
                    let kind = [&feeds, &feeds, &marks, &marks, &any][rng.random_range(0..5)];
                    let drawn = (0..40).map(|_| *kind.choose(&mut rng).unwrap()).find(|&id| allowed.contains(id));
                    let token = drawn.or_else(|| any.iter().copied().filter(|&id| allowed.contains(id)).choose(&mut rng));
                    let token = token.unwrap_or_else(|| panic!("nothing can follow {:?}", String::from_utf8_lossy(&written)));
                    written.extend(&pieces[token as usize]);
                    mask.advance(&mut cursor, token);
                }
                // Wherever the form allows an end, the delta applies, if only to the same source.
                let mut state = grammar.start();
                for end in 1..=written.len() {
                    state = grammar.step(state, written[end - 1]).expect("each byte was allowed");
                    if grammar.is_complete(state) && (end % 17 == 0 || end == written.len()) {
                        match apply_completion(format, &parent, &written[..end], true) {
                            Ok(_) => {}
                            Err(Failure::NoChange | Failure::Nothing) => changed_nothing += 1,
                            Err(other) => panic!("{other}\n{}", String::from_utf8_lossy(&written[..end])),
                        }
                    }
                }
            }
        }
    }
    assert!(ended >= 1000, "{ended} of 1440 ended: {counts:?}");
    assert!(counts.values().all(|count| *count >= 100) && counts.len() == 6, "{counts:?}");
    assert!(changed_nothing > 0, "so the check at the end is needed");
}

#[test]
fn masked_samples_of_the_model_apply_and_score_the_same() {
    needs!(Model);
    let Loaded { file, tokenizer, template, .. } = loaded();
    let adapter = eliteloop::base::home::models().join("warmup-smollm2-135m-instruct");
    let decoder = Decoder::open(file, eliteloop::decoder::settings::llm::Dtype::F32).unwrap();
    let decoder = decoder.with_adapter(&Lora::load(&adapter, file.config()).unwrap()).unwrap();
    let sampling = sampling(80);
    let arms = [
        (Format::Edit, Lines::Free, 1),
        (Format::Edit, Lines::Python, 2),
        (Format::Diff, Lines::Free, 3),
        (Format::Diff, Lines::Python, 0),
    ];
    let parents: Vec<&str> = arms.iter().map(|arm| starts()[arm.2].1).collect();
    let masks: Vec<Mask<_>> = arms.iter().zip(&parents).map(|(arm, parent)| mask(arm.0, parent, arm.1)).collect();
    let requests: Vec<Request> = arms
        .iter()
        .zip(&parents)
        .map(|(arm, parent)| Request {
            prompt: prompt::encode(tokenizer, template.as_ref(), arm.0, parent).unwrap(),
            seeds: (0..8).collect(),
        })
        .collect();
    let samples = generate_masked(&decoder, &requests, &masks, &sampling, &mut |_| Ok(())).unwrap();
    let mut ended = 0;
    for (i, samples) in samples.iter().enumerate() {
        let mut examples = Vec::new();
        for sample in samples {
            let completion = sample.tokens.strip_suffix(&[tokenizer.eos()]).unwrap_or(&sample.tokens);
            if sample.ended {
                ended += 1;
                let child = apply_completion(arms[i].0, parents[i], &text(completion), true);
                assert!(child.is_ok(), "{child:?}: {:?}", String::from_utf8_lossy(&text(completion)));
            }
            assert!(sample.log_q >= sample.log_p);
            examples.push(Example { id: String::new(), prompt: requests[i].prompt.clone(), completion: sample.tokens.clone() });
        }
        let examples = &examples[..3];
        let scores = log_p_and_q(&decoder, None, examples, &[&masks[i]; 3], &sampling, 2048).unwrap();
        let unmasked = log_p(&decoder, None, examples, 2048).unwrap();
        for ((sample, (p, q)), alone) in samples.iter().zip(scores).zip(unmasked) {
            assert!((p - sample.log_p).abs() < 1e-3 * p.abs() && (p - alone).abs() < 1e-3 * p.abs(), "{p} {} {alone}", sample.log_p);
            assert!((q - sample.log_q).abs() < 1e-3 * q.abs().max(1.0), "{q} {}", sample.log_q);
        }
        // A completion that the mask would never give has a log p and no log q.
        let wrong = Example { id: String::new(), prompt: requests[i].prompt.clone(), completion: tokenizer.encode_plain("Sure!") };
        let (p, q) = log_p_and_q(&decoder, None, &[wrong], &[&masks[i]], &sampling, 2048).unwrap()[0];
        assert!(p.is_finite() && q == f64::NEG_INFINITY);
    }
    assert!(ended >= 16, "{ended} of 32 ended");
    // The same whatever is in the batch.
    let one = Request { prompt: requests[0].prompt.clone(), seeds: vec![5] };
    let alone = generate_masked(&decoder, &[one], &masks[..1], &sampling, &mut |_| Ok(())).unwrap();
    assert_eq!(alone[0][0], samples[0][5]);
}

#[test]
fn labels_mark_errors_and_recover_at_the_next_line() {
    let letters = |format: Format, delta: &str| -> String {
        let pieces: Vec<Vec<u8>> = delta.bytes().map(|byte| vec![byte]).chain([Vec::new()]).collect();
        let labels = label(format, TWICE, &pieces, true);
        labels.iter().map(|valid| if *valid { 'v' } else { 'e' }).collect()
    };
    let of = |format: Format, parts: &[(&str, &str)], end: &str| {
        let delta: String = parts.iter().map(|part| part.0).collect();
        let expected: String = parts.iter().map(|part| part.1).chain([end]).collect();
        assert_eq!(letters(format, &delta), expected, "{delta}");
    };
    // Line 9 does not exist; the error lasts to the line's end, the next line is right, and the end is where an end may be.
    of(Format::Edit, &[("3\n", "vv"), ("9\n", "ee"), ("x = 1\n", "vvvvvv")], "v");
    of(Format::Edit, &[("x\n", "ee"), ("3\n", "vv")], "v");
    // Back before an edit above; an unclosed bracket; nothing at all; nothing changed.
    of(Format::Edit, &[("5\n", "vv"), ("3\n", "ee")], "v");
    of(Format::Edit, &[("3\n", "vv"), ("x = f(y\n", "vvvvvvve")], "v");
    of(Format::Edit, &[], "e");
    of(Format::Edit, &[("1\n", "vv"), ("a = 1\n", "vvvvvv")], "e");
    // Context that is not there; after it the hunk may go on anywhere.
    of(Format::Diff, &[("@@\n", "vvv"), (" cd\n", "vvee"), ("-\n", "vv"), ("+d = 2\n", "vvvvvvv")], "v");
    of(Format::Diff, &[("@@\n", "vvv"), ("-c\n", "vvv")], "e");
    of(Format::Full, &[("import torch\n", "vvvvvvvvvvvvv"), (" x = 1\n", "veeeeee"), ("y = 2\n", "vvvvvv")], "v");
    // Tokens of several bytes, one over a line's end, and one that stands for no text.
    let pieces = ["3", "\n9", "9", "9\nx ", "= 1", "", "\n"].map(|piece| piece.as_bytes().to_vec());
    assert_eq!(label(Format::Edit, TWICE, &pieces, false), [true, false, false, false, true, false, true]);
}

/// The names that the grammar allows after `nn.` and `F.` are those of the sandbox, all of them but its helpers.
#[test]
fn the_listed_names_are_those_of_the_sandbox() {
    let mut options = TraceOptions::new([3, 8, 8], 10);
    options.program = PathBuf::from(env!("CARGO_BIN_EXE_eliteloop"));
    let has = |name: &str| accepts(Format::Full, Lines::Python, "", &format!("x = {name}()\n"));
    for name in ["nn.Conv2d", "nn.LazyBatchNorm2d", "nn.GELU", "F.relu", "F.adaptive_avg_pool2d", "nn.functional.pad"] {
        assert!(has(name), "{name}");
    }
    // The sandbox is asked, by a network that fails with the names it lacks.
    let letters: Vec<u8> = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain([b'_']).collect();
    let mut names = Vec::new();
    for module in ["nn.", "F."] {
        let grammar = Grammar::new(Format::Full, "", Lines::Python);
        let start = grammar.advance(grammar.start(), format!("x = {module}").as_bytes()).unwrap();
        let mut open = vec![(start, module.to_owned())];
        while let Some((state, name)) = open.pop() {
            if grammar.step(state, b'(').is_some() && !name.ends_with('.') {
                names.push(name.clone());
            }
            for &byte in &letters {
                open.extend(grammar.step(state, byte).map(|next| (next, format!("{name}{}", byte as char))));
            }
        }
    }
    assert!(names.len() > 100, "{names:?}");
    // Losses among them: forward may have them, a delta is not to.
    let helpers = "Tensor Unsupported add binary clamp emit l1_loss mean missing mse_loss norm one_hot pair permute probability public reshape \
                   same_padding single square stack transpose";
    let all: Vec<&str> = names.iter().filter(|name| name.matches('.').count() == 1).map(String::as_str).collect();
    let source = format!(
        "import torch.nn as nn
import torch.nn.functional as F

for item in [{}]:
    if item is None:
        raise ValueError('missing')
have = ['nn.' + name for name in dir(nn)] + ['F.' + name for name in dir(F)]
lacks = [name for name in have if name.split('.')[1] not in '{helpers}'.split() and '._' not in name and name not in '{}'.split()]
# What a constructor may hold and no forward uses.
lacks = [name for name in lacks if not name.endswith('Loss') and name not in 'nn.NLLLoss2d nn.DataParallel nn.SyncBatchNorm nn.common_types nn.parallel'.split()]
assert not lacks, ' '.join(lacks)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.LazyLinear(10)

    def forward(self, x):
        return self.head(x.flatten(1))
",
        names.join(", "),
        all.join(" ")
    );
    let graph = trace(&source, &options);
    assert!(graph.is_ok(), "{}", graph.err().map(|e| e.to_string()).unwrap_or_default());
    let lacking = trace(&source.replace(" nn.SELU ", " "), &options).err().map(|failure| failure.to_string());
    assert!(lacking.as_ref().is_some_and(|failure| failure.contains("nn.SELU")), "{lacking:?}");
    let mut shuffled = names.clone();
    shuffled.shuffle(&mut seed::rng(1, "mask", &[]));
    assert!(shuffled.iter().all(|name| has(name)));
}

/// The counts of `bench formats` add up, and a second run gives the same ones.
#[test]
fn formats_are_counted_from_first_tries() {
    needs!(Minutes);
    let count = |mask: &str| -> serde_json::Value {
        let arguments = ["bench", "formats", "--parents", "8", "--json", "--mask", mask, "--max-tokens", "60"];
        serde_json::from_str(&succeed(program(&arguments))).unwrap()
    };
    let (free, masked) = (count("none"), count("layers"));
    for table in [&free, &masked] {
        let number = |key: &str| table[key].as_u64().unwrap_or_else(|| panic!("{key} in {table}"));
        let sum = |key: &str| table[key].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
        let funnel: Vec<u64> = ["asked", "ended", "parsed", "applied", "networks", "changed", "new", "useful"].map(number).to_vec();
        assert!(funnel[0] == 8 && funnel.is_sorted_by(|more, fewer| more >= fewer), "{funnel:?}");
        assert!(number("new") <= number("distinct") && number("useful") <= number("within_budget"));
        assert_eq!((sum("failures"), sum("kinds")), (8 - number("networks"), number("networks")));
        assert_eq!(sum("kinds_of_new"), number("new"));
        assert!((table["tokens_per_valid"].as_f64().unwrap() * number("networks") as f64 - number("tokens") as f64).abs() < 1e-6);
        let (low, high) = (table["valid_rate"]["low"].as_f64().unwrap(), table["valid_rate"]["high"].as_f64().unwrap());
        assert!(low <= number("networks") as f64 / 8.0 && number("networks") as f64 / 8.0 <= high);
    }
    assert_eq!((free["mask_seconds"].as_f64(), masked["mask_seconds"].as_f64().map(|s| s > 0.0)), (Some(0.0), Some(true)));
    // What a mask lets end applies.
    assert_eq!(masked["ended"], masked["applied"]);
    let again = count("none");
    for key in ["applied", "networks", "tokens", "kinds", "failures"] {
        assert_eq!(free[key], again[key], "{key}");
    }
}
