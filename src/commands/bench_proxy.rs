//! `eliteloop bench proxy`: training steps on ten networks that cover what candidates are made of.

use std::time::Instant;

use candle_core::{Device, Tensor};
use eliteloop::base::device::Kernels;
use eliteloop::base::device::Place;
use eliteloop::base::error::{AtPath, Error, Result};
use eliteloop::base::printer;
use eliteloop::base::seed;
use eliteloop::proxy::Failure;
use eliteloop::proxy::network::Network;
use eliteloop::proxy::optimizer::Optimizer;
use eliteloop::proxy::settings::ProxyConfig;
use eliteloop::proxy::train::{Batch, step};
use eliteloop::tracer::{TraceOptions, trace};
use rand::Rng;
use serde_json::json;

macro_rules! networks {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../scripts/bench/networks/", $name, ".py")))),*]
    };
}

const NETWORKS: [(&str, &str); 10] =
    networks!["plain", "depthwise", "grouped", "pointwise", "wide_kernels", "residual", "dense", "norms", "pools", "linear"];
const CLASSES: usize = 10;
/// Steps before the clock: caches and the allocator's blocks fill.
const WARM: usize = 3;

pub fn run(network: Option<&str>, batch: usize, repeats: usize, device: Place, as_json: bool) -> Result<()> {
    let own;
    let chosen: Vec<(&str, &str)> = match network {
        None => NETWORKS.to_vec(),
        Some(name) => match NETWORKS.iter().find(|(known, _)| *known == name) {
            Some(&known) => vec![known],
            None if std::path::Path::new(name).is_file() => {
                own = std::fs::read_to_string(name).at("read", std::path::Path::new(name))?;
                vec![(name, &own)]
            }
            None => {
                let names = NETWORKS.map(|(name, _)| name).join(", ");
                return Err(Error::input(format!("no network '{name}'")).hint(format!("one of {names}, or a file NAME.py")));
            }
        },
    };
    let mut rows = Vec::new();
    for (name, source) in chosen {
        let times = times(name, source, batch, 10 * repeats, &device.open()?)?;
        let middle = times[times.len() / 2];
        if !as_json {
            let (rate, most) = (batch as f64 / middle, batch as f64 / times[0]);
            printer::data(format_args!("{name:14} {rate:8.0} images/s (at best {most:.0}; {:.1} ms a step)", middle * 1e3));
        }
        rows.push(json!({ "network": name, "seconds_per_step": middle, "images_per_second": batch as f64 / middle }));
    }
    if as_json {
        let (threads, peak) = (rayon::current_num_threads(), eliteloop::base::progress::peak_memory_mib());
        printer::data(json!({ "what": "proxy", "device": device, "threads": threads, "batch": batch, "networks": rows, "peak_mib": peak }));
    }
    Ok(())
}

/// Memory of the process after each tenth of `candidates`, the ten networks in turn.
pub fn memory(candidates: usize, batch: usize, as_json: bool) -> Result<()> {
    let mut marks = Vec::new();
    for i in 0..candidates {
        let (name, source) = NETWORKS[i % NETWORKS.len()];
        times(name, source, batch, 1, &Device::Cpu)?;
        if (i + 1) % candidates.div_ceil(10) == 0 || i + 1 == candidates {
            let resident = resident_mib()?;
            marks.push(json!({ "candidates": i + 1, "resident_mib": resident }));
            if !as_json {
                printer::data(format_args!("after {:4} candidates {resident:6.0} MiB", i + 1));
            }
        }
    }
    if as_json {
        printer::data(
            json!({ "what": "memory", "batch": batch, "marks": marks, "peak_mib": eliteloop::base::progress::peak_memory_mib() }),
        );
    }
    Ok(())
}

fn resident_mib() -> Result<f64> {
    let path = std::path::Path::new("/proc/self/status");
    let status = std::fs::read_to_string(path).at("read", path)?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    Ok(kib.unwrap_or(0.0) / 1024.0)
}

/// Sorted seconds of steps on one batch of noise; the recipe is the default one.
fn times(name: &str, source: &str, batch: usize, steps: usize, device: &Device) -> Result<Vec<f64>> {
    let _kept = eliteloop::proxy::allocator::keep();
    let graph = trace(source, &TraceOptions::new([3, 32, 32], CLASSES)).map_err(|failure| failure.into_error(name))?;
    let untrainable = |failure: Failure| Error::input(format!("{name}: {failure}"));
    let mut network = Network::new(&graph, 0, device, Kernels::Own).map_err(|e| untrainable(e.into()))?;
    let config = ProxyConfig::default();
    let mut optimizer = Optimizer::new(&config, graph.tensors.len());
    let mut rng = seed::rng(0, "bench", &[]);
    let pixels: Vec<f32> = (0..batch * 3 * 32 * 32).map(|_| rng.random_range(-1.7..1.7)).collect();
    let images = Tensor::from_vec(pixels, (batch, 3, 32, 32), device).map_err(|e| untrainable(e.into()))?;
    let labels: Vec<u8> = (0..batch).map(|i| (i % CLASSES) as u8).collect();
    let batch = Batch { images, labels: &labels, classes: CLASSES };
    let mut times = Vec::with_capacity(steps);
    for i in 0..WARM + steps {
        let start = Instant::now();
        step(&mut network, &mut optimizer, &batch, 0.0, i as u64, 0.01).map_err(untrainable)?;
        if i >= WARM {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
