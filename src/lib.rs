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
//!
//! A build with the feature `planted` has no hands but the simulated ones: what defects can be planted in is no service.
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

#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod app;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod backtest;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod cli;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod clock;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod cluster;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod drill;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod engine;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod execute;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod http;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod lifecycle;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod metrics;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod notify;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod observe;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod outgoing;
#[cfg(feature = "service")]
pub mod ports;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod rules_dir;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod serve;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod settings;
#[cfg(feature = "service")]
pub mod simulate;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod store;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod telemetry;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod traces;
#[cfg(all(feature = "service", not(feature = "planted")))]
pub mod worlds;
