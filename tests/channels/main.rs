//! Channels against local servers that check what each provider's documentation requires, and that misbehave in the ways that
//! providers do. A minute passes in 3 s.

mod github;
mod gitlab;
mod pagerduty;
mod server;
mod service;
mod slack;
mod slack_server;
mod storm;
#[path = "../support/mod.rs"]
mod support;
mod tracker;
mod world;
