//! What says how the network of a Python file is made, for every verb that reads one.

use eliteloop::tracer::TraceOptions;

#[derive(clap::Args)]
pub struct Making {
    /// Class or factory function of the file [default: Net, else a function that makes the last nn.Module no other uses, else that]
    #[arg(long)]
    entry: Option<String>,
    /// An argument of it, e.g. `--arg depth=18` (repeatable); the number of classes is passed on its own
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = parse)]
    arguments: Vec<(String, String)>,
}

fn parse(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, for example depth=18")?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || !is_name {
        return Err(format!("`{name}` is not the name of an argument"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

impl Making {
    /// Whether anything was said.
    pub fn is_given(&self) -> bool {
        self.entry.is_some() || !self.arguments.is_empty()
    }

    pub fn apply(&self, options: &mut TraceOptions) {
        options.entry.clone_from(&self.entry);
        options.arguments.clone_from(&self.arguments);
    }
}
