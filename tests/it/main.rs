//! The integration tests: one program, so that what they share is built, linked and loaded once.

#[macro_use]
mod needs;

mod adapters;
mod audit;
mod candle_models;
mod compare;
mod cuda;
mod dataset;
mod decoder;
mod delta;
mod doctor;
mod evaluate;
mod export;
mod fallback;
mod families;
mod gates;
mod generate;
mod halving;
mod image_folder;
mod learner;
mod lora;
#[cfg(target_os = "linux")]
mod machine;
mod mask;
mod model_files;
mod narrow;
mod normal_form;
mod novelty;
mod oracle;
mod proxy_gradients;
mod proxy_training;
mod regression;
mod report;
mod run;
mod sandbox;
mod settings;
mod sources;
mod study;
mod study_report;
mod theory;
mod trace;
mod tune;
mod walls;

// What they share.
mod goldens;
mod llm_goldens;
mod models;
mod page;
mod program;
mod proxy_goldens;
mod synthetic;
