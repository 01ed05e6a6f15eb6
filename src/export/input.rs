//! What an exported network wants to be given: how a picture becomes its input, and what its outputs are called.
//!
//! `predict.py` beside the network does it, from the same description.

use serde_json::{Value, json};

use crate::proxy::dataset::Format;

/// Reads a picture, prepares it as [`describe`] says, and names the likeliest classes.
pub(crate) const PREDICT: &str = include_str!("predict.py");

/// Keys of the description that go into an ONNX model's properties too, as JSON.
pub(crate) const KEYS: [&str; 8] = ["channels", "height", "width", "fit", "scaling", "mean", "std", "class_names"];

pub(crate) fn describe(format: &Format) -> Value {
    let [channels, height, width] = format.shape;
    json!({
        "dataset": format.name,
        "channels": channels,
        "height": height,
        "width": width,
        // The images of published sets have one shape; another picture's middle is like them.
        "fit": format.fit.map_or("crop", crate::proxy::dataset::fit::Fit::name),
        "scaling": "catmull-rom, antialiased",
        "mean": format.mean,
        "std": format.std,
        "class_names": (0..format.classes).map(|label| format.class_names.get(label).cloned().unwrap_or(label.to_string())).collect::<Vec<_>>(),
    })
}

/// The same in words.
pub(crate) fn told(format: &Format) -> String {
    let [_, height, width] = format.shape;
    let shape = match format.fit.map(crate::proxy::dataset::fit::Fit::name) {
        Some("pad") => format!("scaled to fit into {height} x {width} with black around it"),
        Some("stretch") => format!("scaled to {height} x {width}, its shape changed where it is another"),
        Some(_) => format!("cut to the largest middle part of the shape {height} x {width}, scaled to that size"),
        None => format!("{height} x {width} as published (predict.py cuts another one to the middle and scales it)"),
    };
    format!(
        "A picture is turned upright (Exif), laid on white where it is transparent, {shape} (height x width; Catmull-Rom, antialiased, as Pillow's \
         BICUBIC), divided by 255, less mean, by std"
    )
}
