//! Files of settings: what is accepted is written out and comes back as the same.

use eliteloop::audit::settings::AuditConfig;
use eliteloop::config::RunConfig;
use eliteloop::study::file::Study;

use super::file;

/// `run.toml`.
pub fn of_a_run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = RunConfig::from_toml(text, "fuzz") else { return };
    let again = RunConfig::from_toml(&config.to_toml(), "what was written").expect("what was written is read");
    assert!(again == config, "{} came back as {}", config.to_toml(), again.to_toml());
}

/// The settings of an audit.
pub fn of_an_audit(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = AuditConfig::from_toml(text, "fuzz") else { return };
    let again = AuditConfig::from_toml(&config.to_toml(), "what was written").expect("what was written is read");
    assert!(again == config, "{} came back as {}", config.to_toml(), again.to_toml());
}

/// A study.
pub fn study(bytes: &[u8]) {
    let path = file("study.toml", bytes);
    if let Ok(study) = Study::read(&path) {
        let _ = study.all_seeds();
    }
}
