//! The integration tests: one program, so that what they share is built, linked and loaded once.

#[macro_use]
mod needs;

mod adapters;
mod audit;
mod audit_verify;
mod book;
mod bundle;
mod calibration;
mod candle_models;
mod compare;
mod controls;
mod cuda;
mod dataset;
mod decoder;
mod delta;
#[cfg(target_os = "linux")]
mod disk;
mod doctor;
#[cfg(target_os = "linux")]
mod engine;
mod evaluate;
mod export;
mod fallback;
mod families;
mod full_training;
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
mod mstep;
mod narrow;
mod normal_form;
mod novelty;
mod oracle;
mod own_table;
mod proxy_gradients;
mod proxy_training;
mod python_reader;
mod regression;
mod report;
mod run;
mod sandbox;
mod school;
mod settings;
mod sources;
mod study;
mod study_report;
mod tamper;
mod theory;
mod trace;
mod tune;
mod walls;
mod watch;

// What they share.
mod engines;
mod goldens;
mod llm_goldens;
mod models;
mod page;
mod processor;
mod program;
mod proxy_goldens;
mod small;
mod synthetic;
