//! Where models and data sets lie: `ELITELOOP_MODELS` and `ELITELOOP_DATA`, else `models/` and `data/` of the folder the
//! program is called in, else of the checkout its executable was built in.

use std::path::PathBuf;

pub fn models() -> PathBuf {
    folder("ELITELOOP_MODELS", "models")
}

pub fn data() -> PathBuf {
    folder("ELITELOOP_DATA", "data")
}

fn folder(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let here = PathBuf::from(name);
    if here.is_dir() {
        return here;
    }
    let built_in = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.ancestors().map(|a| a.join(name)).find(|p| p.is_dir() && p.with_file_name("Cargo.toml").is_file()));
    built_in.unwrap_or(here)
}
