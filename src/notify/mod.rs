//! L3: telling people. Which channels there are, in which order they are used, how often each is tried, in which words, and that a
//! page stays up until it is closed. What is said, and to whom, was decided before; no other sibling is imported.

mod alertmanager;
mod channel;
mod courier;
mod dialect;
mod digest;
#[cfg(test)]
mod fixture;
mod github;
mod gitlab;
mod kinds;
mod links;
mod pagerduty;
mod pagerduty_pages;
mod pages;
mod set;
mod settings;
mod slack;
mod slack_blocks;
mod slack_hook;
mod slack_threads;
#[cfg(test)]
mod tests;
mod tickets;
mod webhook;
mod words;

pub use channel::Probe;
pub use kinds::{
    AlertmanagerChannel, GithubChannel, GitlabChannel, PagerDutyChannel, PagerDutySeverity, SlackChannel, WebhookChannel,
};
pub use links::Origin;
pub use pages::OpenPage;
pub use set::NotifierSet;
pub use settings::{ChannelError, ChannelSettings};
pub use words::{TemplateSettings, TemplatesSettings};
