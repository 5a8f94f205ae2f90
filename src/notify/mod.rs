//! L3: telling people. Which channels there are, in which order they are used, how often each is tried, and that a page stays up
//! until it is closed. What is said, and to whom, was decided before; no other sibling is imported.

mod alertmanager;
mod channel;
mod courier;
mod pages;
mod set;
mod settings;
#[cfg(test)]
mod tests;
mod webhook;

pub use pages::OpenPage;
pub use set::NotifierSet;
pub use settings::{AlertmanagerChannel, ChannelError, ChannelSettings, WebhookChannel};
