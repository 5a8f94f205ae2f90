//! `backout` decides from Prometheus alerts whether to roll a release back, page a human, or leave it to be fixed forward.
//!
//! Layers, an arrow may only point down (see `ARCHITECTURE.md`):
//!
//! ```text
//! L4  main  cli  app  settings  lifecycle  telemetry
//! L3  engine | http  execute  observe  notify  store  simulate  clock      siblings
//! L2  ports  metrics  outgoing
//! L1  policy  decide  journal                                              pure
//! L0  model  planted                                                       pure
//! ```
#![cfg_attr(
    not(feature = "service"),
    forbid(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros,
        clippy::unwrap_used,
        clippy::print_stdout
    )
)]

pub mod model;

pub mod decide;
pub mod journal;
pub mod planted;
pub mod policy;

#[cfg(feature = "service")]
pub mod app;
#[cfg(feature = "service")]
pub mod backtest;
#[cfg(feature = "service")]
pub mod cli;
#[cfg(feature = "service")]
pub mod clock;
#[cfg(feature = "service")]
pub mod cluster;
#[cfg(feature = "service")]
pub mod drill;
#[cfg(feature = "service")]
pub mod engine;
#[cfg(feature = "service")]
pub mod execute;
#[cfg(feature = "service")]
pub mod http;
#[cfg(feature = "service")]
pub mod lifecycle;
#[cfg(feature = "service")]
pub mod metrics;
#[cfg(feature = "service")]
pub mod notify;
#[cfg(feature = "service")]
pub mod observe;
#[cfg(feature = "service")]
pub mod outgoing;
#[cfg(feature = "simulate")]
pub mod ports;
#[cfg(feature = "service")]
pub mod rules_dir;
#[cfg(feature = "service")]
pub mod serve;
#[cfg(feature = "service")]
pub mod settings;
#[cfg(feature = "simulate")]
pub mod simulate;
#[cfg(feature = "service")]
pub mod store;
#[cfg(feature = "service")]
pub mod telemetry;
#[cfg(feature = "service")]
pub mod traces;
#[cfg(feature = "service")]
pub mod worlds;
