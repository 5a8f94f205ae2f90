//! What lies under `deploy/`: manifests and the rights that they give, on a real control plane; alert rules, the dashboard and
//! Alertmanager's configurations, in the programs that read them.

mod account;
mod dashboard;
mod manifests;
mod rights;
mod routings;
mod rules;
#[path = "../support/mod.rs"]
mod support;
mod tools;
mod units;
