//! Proxy training: data sets, the trainable network, the recipe, worker processes.
