//! The kinds of channels as the settings file writes them: where, with which secrets (files only), what each takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Urgency;
use crate::outgoing::EndpointSettings;

/// Pages through Alertmanager: existing routes, receivers, silences and its cluster apply. Takes pages only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
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

/// PagerDuty's Events API v2, and its REST API to read acknowledgements back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerDutyChannel {
    /// A file with the integration key of the service.
    pub routing_key_file: PathBuf,
    /// What it takes; pages if unset.
    #[serde(default = "pages")]
    pub takes: Vec<Urgency>,
    /// A file with a token of the REST API (read-only is enough): acknowledgements are read back.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The Events API; the EU's is `https://events.eu.pagerduty.com`.
    #[serde(default = "pagerduty_events")]
    pub events_url: String,
    /// The REST API; the EU's is `https://api.eu.pagerduty.com`.
    #[serde(default = "pagerduty_rest")]
    pub rest_url: String,
    /// Severities of policies in PagerDuty's words, where they differ.
    #[serde(default)]
    pub severities: BTreeMap<String, PagerDutySeverity>,
    /// A file with the only certificate authorities to trust (PEM).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy. The environment's proxies are not used.
    #[serde(default)]
    pub proxy: Option<String>,
}

/// A severity that PagerDuty knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are PagerDuty's")]
pub enum PagerDutySeverity {
    Critical,
    Error,
    Warning,
    Info,
}

/// Slack: an incoming webhook, or a bot in a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackChannel {
    /// A file with the address of an incoming webhook; the address is a secret. Takes announcements only, without threads.
    #[serde(default)]
    pub webhook_url_file: Option<PathBuf>,
    /// A file with a bot's token: one thread an incident, its first message kept up to date.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The id of the bot's channel: `C…`, not its name.
    #[serde(default)]
    pub channel: Option<String>,
    /// What a bot takes; announcements if unset.
    #[serde(default = "announcements")]
    pub takes: Vec<Urgency>,
    /// The Web API.
    #[serde(default = "slack_api")]
    pub api_url: String,
    /// A file with the only certificate authorities to trust (PEM).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy. The environment's proxies are not used.
    #[serde(default)]
    pub proxy: Option<String>,
}

/// Issues at GitHub. Takes tickets only, and follows what becomes of their incidents.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GithubChannel {
    /// `owner/name`.
    pub repository: String,
    /// A file with a token that may read and write issues.
    pub token_file: PathBuf,
    /// The REST API; of GitHub Enterprise Server: `https://HOST/api/v3`.
    #[serde(default = "github_api")]
    pub api_url: String,
    /// Labels of every issue; `backout` is always one: our issues are found by it.
    #[serde(default)]
    pub labels: Vec<String>,
    /// A file with the only certificate authorities to trust (PEM).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy. The environment's proxies are not used.
    #[serde(default)]
    pub proxy: Option<String>,
}

/// Issues at GitLab. Takes tickets only, and follows what becomes of their incidents.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitlabChannel {
    /// `group/name`, or the project's number.
    pub project: String,
    /// A file with a token that has the scope `api`.
    pub token_file: PathBuf,
    /// The REST API; of an instance of one's own: `https://HOST/api/v4`.
    #[serde(default = "gitlab_api")]
    pub api_url: String,
    /// Labels of every issue; `backout` is always one: our issues are found by it.
    #[serde(default)]
    pub labels: Vec<String>,
    /// A file with the only certificate authorities to trust (PEM).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy. The environment's proxies are not used.
    #[serde(default)]
    pub proxy: Option<String>,
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

    pub(super) fn rebase(&mut self, base: &Path) {
        rebase(base, [&mut self.token_file, &mut self.password_file, &mut self.ca_file]);
    }
}

impl WebhookChannel {
    pub(super) fn endpoint(&self) -> EndpointSettings {
        endpoint(&self.url, self.token_file.as_ref(), (&self.ca_file, &self.proxy))
    }

    pub(super) fn rebase(&mut self, base: &Path) {
        rebase(base, [&mut self.token_file, &mut self.ca_file]);
    }
}

impl PagerDutyChannel {
    pub(super) fn events(&self) -> EndpointSettings {
        endpoint(&self.events_url, None, (&self.ca_file, &self.proxy))
    }

    /// Only with a token there is something to ask.
    pub(super) fn rest(&self) -> Option<EndpointSettings> {
        let token = self.token_file.as_ref()?;
        Some(endpoint(&self.rest_url, Some(token), (&self.ca_file, &self.proxy)))
    }

    pub(super) fn rebase(&mut self, base: &Path) {
        self.routing_key_file = base.join(&self.routing_key_file);
        rebase(base, [&mut self.token_file, &mut self.ca_file]);
    }
}

impl SlackChannel {
    pub(super) fn api(&self) -> EndpointSettings {
        endpoint(&self.api_url, self.token_file.as_ref(), (&self.ca_file, &self.proxy))
    }

    /// The endpoint of an incoming webhook, whose address was just read from its file.
    pub(super) fn hook(&self, url: &str) -> EndpointSettings {
        endpoint(url, None, (&self.ca_file, &self.proxy))
    }

    pub(super) fn takes(&self, urgency: Urgency) -> bool {
        match self.webhook_url_file {
            Some(_) => urgency == Urgency::Announce,
            None => self.takes.contains(&urgency),
        }
    }

    pub(super) fn problem(&self) -> Option<&'static str> {
        match (&self.webhook_url_file, &self.token_file, &self.channel) {
            (Some(_), None, None) => None,
            (None, Some(_), Some(channel)) => {
                let id = channel.starts_with(['C', 'G', 'D']) && channel.len() >= 9;
                let id = id && channel.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
                (!id).then_some(
                    "`slack.channel`: expected a channel's id like `C0123456789`; Slack shows it in the channel's details",
                )
            }
            _ => Some("expected either `slack.webhook_url_file`, or `slack.token_file` and `slack.channel`"),
        }
    }

    pub(super) fn rebase(&mut self, base: &Path) {
        rebase(base, [&mut self.webhook_url_file, &mut self.token_file, &mut self.ca_file]);
    }
}

impl GithubChannel {
    pub(super) fn api(&self) -> EndpointSettings {
        endpoint(&self.api_url, Some(&self.token_file), (&self.ca_file, &self.proxy))
    }

    pub(super) fn problem(&self) -> Option<&'static str> {
        let plain = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && !part.trim_matches('.').is_empty()
        };
        let fits = self.repository.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name));
        (!fits).then_some("`github.repository`: expected `owner/name`")
    }

    pub(super) fn rebase(&mut self, base: &Path) {
        self.token_file = base.join(&self.token_file);
        rebase(base, [&mut self.ca_file]);
    }
}

impl GitlabChannel {
    pub(super) fn api(&self) -> EndpointSettings {
        endpoint(&self.api_url, Some(&self.token_file), (&self.ca_file, &self.proxy))
    }

    pub(super) fn problem(&self) -> Option<&'static str> {
        let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
        (!self.project.split('/').all(plain)).then_some("`gitlab.project`: expected `group/name`, or the project's number")
    }

    pub(super) fn rebase(&mut self, base: &Path) {
        self.token_file = base.join(&self.token_file);
        rebase(base, [&mut self.ca_file]);
    }
}

fn endpoint(url: &str, token_file: Option<&PathBuf>, (ca_file, proxy): (&Option<PathBuf>, &Option<String>)) -> EndpointSettings {
    EndpointSettings {
        url: url.to_owned(),
        token_file: token_file.cloned(),
        ca_file: ca_file.clone(),
        proxy: proxy.clone(),
        ..EndpointSettings::default()
    }
}

fn rebase<const N: usize>(base: &Path, files: [&mut Option<PathBuf>; N]) {
    for file in files {
        *file = file.take().map(|file| base.join(file));
    }
}

fn everything() -> Vec<Urgency> {
    vec![Urgency::Page, Urgency::Announce, Urgency::Ticket]
}

fn pages() -> Vec<Urgency> {
    vec![Urgency::Page]
}

fn announcements() -> Vec<Urgency> {
    vec![Urgency::Announce]
}

fn pagerduty_events() -> String {
    "https://events.pagerduty.com".to_owned()
}

fn pagerduty_rest() -> String {
    "https://api.pagerduty.com".to_owned()
}

fn slack_api() -> String {
    "https://slack.com/api".to_owned()
}

fn github_api() -> String {
    "https://api.github.com".to_owned()
}

fn gitlab_api() -> String {
    "https://gitlab.com/api/v4".to_owned()
}
