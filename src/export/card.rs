//! `card.md`: what a network is, how it was made and how good it is, in words and with every number's origin.

use std::fmt::Write;

use crate::base::error::{Error, Result};
use crate::base::show::count;
use crate::config::RunConfig;
use crate::proxy::dataset::Format;
use crate::record::{Candidate, NetworkId, NetworkRow, Store, Training};

pub(crate) fn card(store: &Store, config: &RunConfig, network: &NetworkRow, format: &Format) -> Result<String> {
    let mut text = String::new();
    write(&mut text, store, config, network, format).map(|()| text)
}

fn write(text: &mut String, store: &Store, config: &RunConfig, network: &NetworkRow, format: &Format) -> Result<()> {
    let [channels, height, width] = format.shape;
    let p = &config.proxy;
    let id = &network.id;
    let quality = store.qualities()?;
    add(text, format_args!("# Network {id}\n\nAn image classifier found by eliteloop {}.\n", env!("CARGO_PKG_VERSION")));
    add(text, format_args!("## Data\n"));
    add(text, format_args!("- Set: {}, {} classes, images of {channels} x {height} x {width}", format.name, format.classes));
    add(text, format_args!("- {}", super::input::told(format)));
    add(text, format_args!("- Input: pixels from 0 to 1, minus {:?}, over {:?} (by channel)", format.mean, format.std));
    if !format.class_names.is_empty() {
        add(text, format_args!("- Classes in the order of the logits: {}", format.class_names.join(", ")));
    }
    add(
        text,
        format_args!(
            "- Split: {} training and {} validation images, both of the set's training part, drawn with seed {}; SHA-256 {}",
            p.train_images,
            p.valid_images,
            config.seed,
            store.meta("dataset")?.unwrap_or_else(|| "not recorded".into())
        ),
    );
    add(text, format_args!("- The test part was not looked at.\n"));

    add(text, format_args!("## Recipe\n"));
    let optimizer = format!("{:?}", p.optimizer).to_lowercase();
    add(text, format_args!("- {} epochs of batches of {}, {optimizer}, peak learning rate {}", p.epochs, p.batch, p.lr));
    let stopped = store.trainings()?.iter().find(|t| t.network == *id && t.seed_index == 0).map(Training::epochs).transpose()?;
    if let Some(done) = stopped.map(|curve| curve.len()).filter(|&done| done < p.epochs) {
        add(text, format_args!("- Dropped by successive halving after {done} of these epochs"));
    }
    add(
        text,
        format_args!(
            "- momentum {} (SGD), weight decay {}, gradient norm at most {}, label smoothing {}, augmentation {}\n",
            p.momentum,
            p.weight_decay,
            p.clip,
            p.label_smoothing,
            if p.augment { "on" } else { "off" }
        ),
    );

    add(text, format_args!("## Accuracy on the validation images\n"));
    if format.uneven {
        add(text, format_args!("Classes are of different sizes: the accuracy is the mean of the classes' own (balanced accuracy).\n"));
    }
    add(text, format_args!("| training | seed | accuracy |\n|---|---|---|"));
    for training in store.trainings()?.iter().filter(|t| t.network == *id) {
        let result = training.accuracy.map_or_else(|| training.failure.clone().unwrap_or_default(), |accuracy| accuracy.to_string());
        let what = match (training.seed_index, training.repeat) {
            (0, _) => "these weights",
            (_, false) => "another seed",
            (_, true) => "repeated, to measure the noise",
        };
        add(text, format_args!("| {what} | {} | {result} |", training.seed));
    }
    add(
        text,
        format_args!(
            "\nThese weights were trained again for this folder, with the recorded seed, and gave the recorded accuracy to the last bit. The \
             network was chosen by this number, so it is optimistic.\n"
        ),
    );

    add(text, format_args!("## Size\n\n- {} parameters", network.parameters));
    add(text, format_args!("- {} multiply-accumulates an image (FLOPs: twice that)", network.macs));
    add(text, format_args!("- {} bytes of activations an image\n", network.activation_bytes));

    let (start, steps) = lineage(store, id)?;
    let accuracy = |id: &NetworkId| quality.get(id).map_or_else(|| "not trained".into(), |q| format!("validation accuracy {q:.4}"));
    add(text, format_args!("## Lineage\n\nFrom {start} ({}) by {}.", accuracy(&start), count(steps.len(), "delta")));
    for step in &steps {
        let (written, id) = (step.text(), step.id());
        let (fence, delta) = (fence(&written), written.trim_end_matches('\n'));
        add(text, format_args!("\n{} ({}):\n\n{fence}\n{delta}\n{fence}", id, accuracy(&id)));
    }

    add(
        text,
        format_args!(
            "\n## Files\n\n\
             - `predict.py`: `python predict.py PICTURE ..` names the classes of pictures; `input.json` says how it prepares them\n\
             - `network.py`: the source, the widths that its layers read filled in\n\
             - `weights.safetensors`: its state dict; `net.load_state_dict(safetensors.torch.load_file(\"weights.safetensors\"))`, then `net.eval()`\n\
             - `network.onnx`: the same network and weights for inference; `images` (N x {channels} x {height} x {width}) gives `logits` (N x {})\n\
             - `sample.safetensors`: a few validation images as the network sees them, and the logits that eliteloop gives",
            format.classes
        ),
    );
    Ok(())
}

fn add(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes any text");
}

/// The start network, and the candidates from its child to `id`.
fn lineage(store: &Store, id: &NetworkId) -> Result<(NetworkId, Vec<Candidate>)> {
    let mut steps = Vec::new();
    let mut at = id.clone();
    while let NetworkId::Candidate { cycle, .. } = at {
        let candidate = store.candidate(&at).map_err(|e| Error::machine(format!("{at} is not in the store")).caused_by(e))?;
        // A parent is of an earlier cycle, or there would be no end.
        if matches!(candidate.parent, NetworkId::Candidate { cycle: earlier, .. } if earlier >= cycle) {
            return Err(Error::machine(format!("{at} is a child of {}", candidate.parent)));
        }
        at = candidate.parent.clone();
        steps.push(candidate);
    }
    steps.reverse();
    Ok((at, steps))
}

/// Longer than any row of backticks in `text`.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}
