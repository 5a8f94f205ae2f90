//! The channels as the settings file writes them. Plain data and its checks; nothing is opened here.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

use crate::model::Urgency;
use crate::outgoing::{EndpointError, EndpointSettings};

/// One channel: a name, and exactly one of the kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// What policies, metrics and reports call it.
    pub name: String,
    /// Pages through Alertmanager itself.
    #[serde(default)]
    pub alertmanager: Option<AlertmanagerChannel>,
    /// JSON to an address of one's own.
    #[serde(default)]
    pub webhook: Option<WebhookChannel>,
    /// Messages a second, over a longer time; 1 if unset.
    #[serde(default)]
    pub per_second: Option<NonZeroU32>,
    /// Messages at once; 10 if unset.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
}

/// Pages through Alertmanager: existing routes, receivers, silences and its cluster apply. Takes pages only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerChannel {
    /// Every peer: Alertmanager does not pass alerts on to its peers.
    pub urls: Vec<String>,
    /// A file with a bearer token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A user name for basic authentication.
    #[serde(default)]
    pub username: Option<String>,
    /// A file with that user's password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// A file with the only certificate authorities to trust (PEM).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy. The environment's proxies are not used.
    #[serde(default)]
    pub proxy: Option<String>,
}

/// JSON by POST, in the shape of `docs/webhook-channel.md`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookChannel {
    /// Where to.
    pub url: String,
    /// What it takes: `page`, `announce`, `ticket`; all of them if unset.
    #[serde(default = "everything")]
    pub takes: Vec<Urgency>,
    /// A file with a bearer token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A file with the only certificate authorities to trust (PEM).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy. The environment's proxies are not used.
    #[serde(default)]
    pub proxy: Option<String>,
}

/// Why the channels cannot be used as they are set.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The settings do not make a channel.
    #[error("channel `{name}`: {why}")]
    Settings {
        /// The channel.
        name: String,
        /// What is wrong, and what is expected.
        why: String,
    },
    /// One of its addresses cannot be used.
    #[error("channel `{name}`: {source}")]
    Endpoint {
        /// The channel.
        name: String,
        /// Why not.
        source: EndpointError,
    },
}

impl ChannelSettings {
    /// Whether pages can leave through it.
    pub fn takes_pages(&self) -> bool {
        self.takes(Urgency::Page)
    }

    /// Whether it takes messages of this urgency.
    pub fn takes(&self, urgency: Urgency) -> bool {
        match (&self.alertmanager, &self.webhook) {
            (Some(_), _) => urgency == Urgency::Page,
            (None, Some(webhook)) => webhook.takes.contains(&urgency),
            (None, None) => false,
        }
    }

    /// Checks all channels together.
    ///
    /// # Errors
    /// Names the first channel that is wrong, and what is expected.
    pub fn check(channels: &[Self]) -> Result<(), ChannelError> {
        for (at, channel) in channels.iter().enumerate() {
            let wrong = |why: &str| Err(ChannelError::Settings { name: channel.name.clone(), why: why.to_owned() });
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if channel.name.is_empty() || channel.name.len() > 63 || !channel.name.chars().all(plain) {
                return wrong("expected a name of letters, digits, `-` and `_`, at most 63 of them");
            }
            if channels[..at].iter().any(|other| other.name == channel.name) {
                return wrong("the name is used twice; give each channel a name of its own");
            }
            match (&channel.alertmanager, &channel.webhook) {
                (Some(alertmanager), None) if alertmanager.urls.is_empty() => {
                    return wrong("`alertmanager.urls` is empty; list every peer");
                }
                (None, Some(webhook)) if webhook.takes.is_empty() => {
                    return wrong("`webhook.takes` is empty; expected some of `page`, `announce`, `ticket`");
                }
                (Some(_), None) | (None, Some(_)) => {}
                _ => return wrong("expected exactly one of `alertmanager` and `webhook`"),
            }
        }
        Ok(())
    }
}

impl AlertmanagerChannel {
    pub(super) fn peers(&self) -> Vec<EndpointSettings> {
        let peer = |url: &String| EndpointSettings {
            url: url.clone(),
            token_file: self.token_file.clone(),
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            ca_file: self.ca_file.clone(),
            proxy: self.proxy.clone(),
        };
        self.urls.iter().map(peer).collect()
    }
}

impl WebhookChannel {
    pub(super) fn endpoint(&self) -> EndpointSettings {
        EndpointSettings {
            url: self.url.clone(),
            token_file: self.token_file.clone(),
            ca_file: self.ca_file.clone(),
            proxy: self.proxy.clone(),
            ..EndpointSettings::default()
        }
    }
}

fn everything() -> Vec<Urgency> {
    vec![Urgency::Page, Urgency::Announce, Urgency::Ticket]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(json: &str) -> Result<Vec<ChannelSettings>, String> {
        let channels: Vec<ChannelSettings> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        ChannelSettings::check(&channels).map_err(|error| error.to_string())?;
        Ok(channels)
    }

    #[test]
    fn two_kinds_are_read() {
        let json = r#"[{"name":"pager","alertmanager":{"urls":["http://a:9093","http://b:9093"]}},
            {"name":"hook","webhook":{"url":"http://h","token_file":"/t","takes":["announce","ticket"]}}]"#;
        let channels = channels(json).expect("channels");
        assert!(channels[0].takes_pages() && !channels[0].takes(Urgency::Announce));
        assert!(!channels[1].takes_pages() && channels[1].takes(Urgency::Ticket));
    }

    #[test]
    fn mistakes_say_what_is_expected() {
        for (json, expected) in [
            (r#"[{"name":"x"}]"#, "exactly one of `alertmanager` and `webhook`"),
            (r#"[{"name":"x","webhook":{"url":"http://h"},"alertmanager":{"urls":["http://a"]}}]"#, "exactly one of"),
            (r#"[{"name":"x","alertmanager":{"urls":[]}}]"#, "list every peer"),
            (r#"[{"name":"x","webhook":{"url":"http://h","takes":[]}}]"#, "expected some of"),
            (r#"[{"name":"x y","webhook":{"url":"http://h"}}]"#, "expected a name"),
            (r#"[{"name":"x","webhook":{"url":"http://h"}},{"name":"x","webhook":{"url":"http://h"}}]"#, "used twice"),
            (r#"[{"name":"x","webhook":{"url":"http://h","tokn_file":"/t"}}]"#, "unknown field"),
        ] {
            let error = channels(json).expect_err("refused");
            assert!(error.contains(expected), "{error}");
        }
    }
}
