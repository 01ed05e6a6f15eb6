//! The gate of the budget: what a network would take, before it takes it.

use std::fmt;

use crate::gates::settings::ScreenConfig;
use crate::proxy::settings::ProxyConfig;
use crate::tracer::cost::Cost;

/// A network that would take more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget {
    pub(crate) resource: Resource,
    pub(crate) found: u64,
    pub(crate) most: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Parameters,
    /// Multiply-accumulates of one image.
    Macs,
    /// MiB of activations and their gradients in one training step.
    Memory,
    /// Multiply-accumulates of its whole training.
    Training,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.resource {
            Resource::Parameters => "parameters",
            Resource::Macs => "multiply-accumulates",
            Resource::Memory => "MiB for a training step",
            Resource::Training => "multiply-accumulates of its training",
        };
        write!(f, "{} {what}, at most {}", self.found, self.most)
    }
}

/// The first resource that a network of this cost would take too much of, trained as `proxy` says.
pub(super) fn over(cost: &Cost, limits: &ScreenConfig, proxy: &ProxyConfig) -> Option<OverBudget> {
    // Every activation has a gradient of its size in the backward pass.
    let memory_mib = 2 * cost.activation_bytes * proxy.batch as u64 / (1 << 20);
    let taken = [
        (Resource::Parameters, cost.parameters, limits.max_parameters),
        (Resource::Macs, cost.macs, limits.max_macs),
        (Resource::Memory, memory_mib, limits.max_memory_mib),
    ];
    let over = taken.into_iter().find(|(_, found, most)| found > most).map(|(resource, found, most)| OverBudget { resource, found, most });
    over.or_else(|| over_training(cost, proxy, proxy.train_images, proxy.valid_images))
}

/// What its training with so many images would take too much of: known beforehand, so no training need be ended for it.
#[must_use]
pub(crate) fn over_training(cost: &Cost, proxy: &ProxyConfig, train_images: usize, valid_images: usize) -> Option<OverBudget> {
    let (found, most) = (cost.of_training(train_images, valid_images, proxy.epochs), proxy.max_training_macs);
    (most > 0 && found > most).then_some(OverBudget { resource: Resource::Training, found, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_resource_over_its_limit_is_named_with_both_numbers() {
        let proxy = ProxyConfig { batch: 2, ..ProxyConfig::default() };
        let limits = ScreenConfig { max_parameters: 10, max_macs: 20, max_memory_mib: 1, ..ScreenConfig::default() };
        let within = Cost { parameters: 10, macs: 20, activation_bytes: 1 << 18 };
        assert_eq!(over(&within, &limits, &proxy), None);
        let found = |cost: Cost| over(&cost, &limits, &proxy).map(|o| o.to_string());
        assert_eq!(found(Cost { parameters: 11, macs: 21, ..within }).as_deref(), Some("11 parameters, at most 10"));
        assert_eq!(found(Cost { macs: 21, ..within }).as_deref(), Some("21 multiply-accumulates, at most 20"));
        assert_eq!(found(Cost { activation_bytes: 1 << 19, ..within }).as_deref(), Some("2 MiB for a training step, at most 1"));
        let short = ProxyConfig { train_images: 2, valid_images: 1, epochs: 3, max_training_macs: 419, ..proxy };
        assert_eq!(over(&within, &limits, &short).unwrap().to_string(), "420 multiply-accumulates of its training, at most 419");
        assert_eq!(over(&within, &limits, &ProxyConfig { max_training_macs: 420, ..short.clone() }), None);
        assert_eq!(over(&within, &limits, &ProxyConfig { max_training_macs: 0, ..short }), None, "0 is no limit");
    }

    #[test]
    fn what_the_screen_lets_through_is_within_the_budget_of_a_training_in_every_preset() {
        for preset in [None, Some("quick"), Some("cifar10")] {
            let config = crate::config::RunConfig::resolve(preset, None, &[]).unwrap();
            let dearest = Cost { parameters: 1, macs: config.screen.max_macs, activation_bytes: 1 };
            assert_eq!(over(&dearest, &config.screen, &config.proxy), None, "{preset:?}");
        }
    }
}
