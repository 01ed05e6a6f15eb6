use std::path::PathBuf;

use eliteloop::base::error::{Error, Result};
use eliteloop::base::files::read_text;
use eliteloop::base::printer;
use eliteloop::tracer::{TraceOptions, sandbox, summary, trace_built};

use super::source::Making;

#[derive(clap::Args)]
pub struct Args {
    /// A Python file with `class Net(nn.Module)`
    #[arg(required_unless_present = "operations")]
    source: Option<PathBuf>,
    /// Channels x height x width of an image
    #[arg(long, default_value = "3x32x32", value_parser = parse_input)]
    input: Input,
    #[arg(long, default_value_t = 10)]
    classes: usize,
    #[command(flatten)]
    making: Making,
    /// Rounds of loops and calls that building and calling the network may take
    #[arg(long, default_value_t = TraceOptions::STEPS)]
    steps: u64,
    /// One JSON object: what was called, costs, state dict, graph
    #[arg(long)]
    json: bool,
    /// Print what of torch, numpy, einops, timm, torchvision and Python a source may use
    #[arg(long, exclusive = true)]
    operations: bool,
}

#[derive(Clone, Copy)]
struct Input([usize; 3]);

fn parse_input(text: &str) -> Result<Input, String> {
    let parts = text.split('x').map(|p| p.trim().parse().ok().filter(|n| (1..=65536).contains(n))).collect::<Option<Vec<usize>>>();
    let shape = parts.and_then(|p| <[usize; 3]>::try_from(p).ok());
    shape.map(Input).ok_or_else(|| "expected CHANNELSxHEIGHTxWIDTH, for example 3x32x32".to_owned())
}

pub fn run(args: &Args) -> Result<()> {
    let Some(file) = &args.source else {
        printer::data(sandbox::operations()?);
        return Ok(());
    };
    let source = read_text(file, "read")?;
    let path = file.display();
    let mut options = TraceOptions::new(args.input.0, args.classes);
    args.making.apply(&mut options);
    options.steps = args.steps;
    let traced = trace_built(&source, &options).map_err(|failure| match failure.line() {
        // `file:line:` is what editors and terminals can jump to.
        Some(line) => {
            let message = failure.to_string();
            Error::input(format!("{path}:{line}: {}", message.trim_start_matches(&format!("line {line}: ")))).hint(failure.hint())
        }
        None => failure.into_error(&path),
    })?;
    if args.json {
        printer::data(summary::json(&traced));
    } else {
        printer::data(summary::table(&traced));
    }
    Ok(())
}
