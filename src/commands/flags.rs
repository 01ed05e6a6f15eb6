//! The flags that give the settings of a run.

use std::path::PathBuf;

use eliteloop::base::device::Place;
use eliteloop::base::error::Result;
use eliteloop::config::RunConfig;
use eliteloop::proxy::settings::On;

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
        self.resolve_on(device, None)
    }

    /// The same with what does the trainings.
    pub fn resolve_on(&self, device: Option<Place>, on: Option<On>) -> Result<RunConfig> {
        let places = device.into_iter().flat_map(|place| ["llm", "proxy"].map(|whose| format!("{whose}.device={place}")));
        let engine = on.map(|on| format!("proxy.on={}", on.name()));
        let overrides: Vec<String> = self.overrides.iter().cloned().chain(places).chain(engine).collect();
        RunConfig::resolve(self.preset.as_deref(), self.config.as_deref(), &overrides)
    }
}
