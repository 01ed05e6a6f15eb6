//! The flags that give the settings of a run.

use std::path::PathBuf;

use eliteloop::base::device::Place;
use eliteloop::base::error::Result;
use eliteloop::config::RunConfig;

#[derive(clap::Args)]
pub struct SettingsArgs {
    /// Settings as TOML; they go over the preset's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Built-in settings: quick, cifar10
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// One setting, e.g. --set elite.rho=0.2; goes over the preset's and the file's
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

impl SettingsArgs {
    /// The settings of these flags, and over them `--device`, which is each verb's own.
    pub fn resolve(&self, device: Option<Place>) -> Result<RunConfig> {
        let places = device.into_iter().flat_map(|place| ["llm", "proxy"].map(|whose| format!("{whose}.device={place}")));
        let overrides: Vec<String> = self.overrides.iter().cloned().chain(places).collect();
        RunConfig::resolve(self.preset.as_deref(), self.config.as_deref(), &overrides)
    }
}
