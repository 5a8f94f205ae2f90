//! The test bed: real parts (a Kubernetes control plane, Alertmanager, Prometheus, the `backout`
//! binary) and small fakes around them. What is where, and how to use a cluster of your own:
//! `tests/README.md`.
//!
//! Nothing here knows what is tested. Everything listens on loopback and ends with its test, also
//! when the test process is killed.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part of the bed")]

mod alertmanager;
mod backout;
mod bed;
mod control_plane;
mod gate;
mod metrics;
mod namespace;
mod process;
mod prometheus;
mod shop;
mod sink;
mod stage;
mod till;
mod wait;

pub(crate) use alertmanager::{Alertmanager, Release, route_to_webhook};
pub(crate) use backout::{Backout, Setup, TOKEN};
pub(crate) use bed::{beside, built, tool};
pub(crate) use control_plane::{BACKOUT_USER, ControlPlane, Write, client_of};
pub(crate) use gate::Gate;
pub(crate) use metrics::sum;
pub(crate) use namespace::{Namespace, SCHEDULER, deployment, image_of, rolled_out, with_namespace, with_namespace_for};
pub(crate) use prometheus::{Prometheus, prometheus_config};
pub(crate) use shop::FakeShop;
pub(crate) use sink::Sink;
pub(crate) use stage::{Stage, rules};
pub(crate) use till::{SHOP_ALERTS, Till};
pub(crate) use wait::{eventually, holds};

use std::sync::Once;

/// Every TLS client panics without a provider, and the process may have one only.
pub(crate) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that somebody else in this process did it before: as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// An HTTP client for loopback: no proxy, no redirects, no retries, a limit on everything.
pub(crate) fn http() -> reqwest::Client {
    install_crypto();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(std::time::Duration::from_secs(10))
        .build()
        .expect("an HTTP client")
}

/// A port that nobody listened on a moment ago. For programs that cannot say which one they took.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("its address").port()
}

/// The wall clock, for bodies that carry a time.
#[expect(clippy::disallowed_methods, reason = "real parts compare with the real time")]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
