//! The channels as the settings file writes them. Plain data and its checks; nothing is opened here.

use std::num::NonZeroU32;
use std::path::Path;

use governor::Quota;
use schemars::JsonSchema;
use serde::Deserialize;

use super::kinds::{AlertmanagerChannel, GithubChannel, GitlabChannel, PagerDutyChannel, SlackChannel, WebhookChannel};
use super::words::{self, TemplatesSettings};
use crate::model::Urgency;
use crate::outgoing::{self, EndpointError};

/// What a channel must be, for messages.
const ONE_KIND: &str = "expected exactly one of `alertmanager`, `webhook`, `pagerduty`, `slack`, `github` and `gitlab`";

/// One a second, in a minute.
const SIXTY: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);

/// One channel: a name, and exactly one of the kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
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
    /// Pages through PagerDuty.
    #[serde(default)]
    pub pagerduty: Option<PagerDutyChannel>,
    /// Messages in Slack.
    #[serde(default)]
    pub slack: Option<SlackChannel>,
    /// Issues at GitHub.
    #[serde(default)]
    pub github: Option<GithubChannel>,
    /// Issues at GitLab.
    #[serde(default)]
    pub gitlab: Option<GitlabChannel>,
    /// Words of one's own, by moment, in the channel's markup.
    #[serde(default)]
    pub templates: TemplatesSettings,
    /// Messages a second, over a longer time; 1 if unset.
    #[serde(default)]
    pub per_second: Option<NonZeroU32>,
    /// The same for less than one a second: messages a minute.
    #[serde(default)]
    pub per_minute: Option<NonZeroU32>,
    /// Messages at once; 10 if unset, or what the provider allows.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
}

/// One kind of the settings.
pub(super) enum Kind<'a> {
    Alertmanager(&'a AlertmanagerChannel),
    Webhook(&'a WebhookChannel),
    PagerDuty(&'a PagerDutyChannel),
    Slack(&'a SlackChannel),
    Github(&'a GithubChannel),
    Gitlab(&'a GitlabChannel),
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
        match self.kind() {
            Some(Kind::Alertmanager(_)) => urgency == Urgency::Page,
            Some(Kind::Webhook(webhook)) => webhook.takes.contains(&urgency),
            Some(Kind::PagerDuty(pagerduty)) => pagerduty.takes.contains(&urgency),
            Some(Kind::Slack(slack)) => slack.takes(urgency),
            Some(Kind::Github(_) | Kind::Gitlab(_)) => urgency == Urgency::Ticket,
            None => false,
        }
    }

    /// Makes the names of files count from a folder.
    pub fn rebase(&mut self, base: &Path) {
        if let Some(alertmanager) = &mut self.alertmanager {
            alertmanager.rebase(base);
        }
        if let Some(webhook) = &mut self.webhook {
            webhook.rebase(base);
        }
        if let Some(pagerduty) = &mut self.pagerduty {
            pagerduty.rebase(base);
        }
        if let Some(slack) = &mut self.slack {
            slack.rebase(base);
        }
        if let Some(github) = &mut self.github {
            github.rebase(base);
        }
        if let Some(gitlab) = &mut self.gitlab {
            gitlab.rebase(base);
        }
    }

    /// Whether somebody else says how much it takes.
    pub(super) fn is_limited_by_its_provider(&self) -> bool {
        self.kind().is_some_and(|kind| kind.limits().per_minute.is_some())
    }

    /// Checks all channels together.
    ///
    /// # Errors
    /// Names the first channel that is wrong, and what is expected.
    pub fn check(channels: &[Self]) -> Result<(), ChannelError> {
        for (at, channel) in channels.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            let why = if channel.name.is_empty() || channel.name.len() > 63 || !channel.name.chars().all(plain) {
                Some("expected a name of letters, digits, `-` and `_`, at most 63 of them".to_owned())
            } else if channels[..at].iter().any(|other| other.name == channel.name) {
                Some("the name is used twice; give each channel a name of its own".to_owned())
            } else {
                channel.problem()
            };
            if let Some(why) = why {
                return Err(ChannelError::Settings { name: channel.name.clone(), why });
            }
        }
        Ok(())
    }

    /// The kind, if there is exactly one.
    pub(super) fn kind(&self) -> Option<Kind<'_>> {
        let kinds = [
            self.alertmanager.as_ref().map(Kind::Alertmanager),
            self.webhook.as_ref().map(Kind::Webhook),
            self.pagerduty.as_ref().map(Kind::PagerDuty),
            self.slack.as_ref().map(Kind::Slack),
            self.github.as_ref().map(Kind::Github),
            self.gitlab.as_ref().map(Kind::Gitlab),
        ];
        let mut given = kinds.into_iter().flatten();
        let first = given.next()?;
        given.next().is_none().then_some(first)
    }

    /// What goes out at most: one quota or several, all of which hold.
    pub(super) fn quotas(&self) -> Vec<Quota> {
        let one = NonZeroU32::MIN;
        let number = |wanted: Option<NonZeroU32>, default: u32| wanted.or(NonZeroU32::new(default)).unwrap_or(one);
        let limits = self.kind().as_ref().map(Kind::limits).unwrap_or_default();
        let rate = match self.per_minute {
            Some(per_minute) => Quota::per_minute(per_minute),
            None => match (self.per_second, limits.per_minute.and_then(NonZeroU32::new)) {
                (None, Some(per_minute)) => Quota::per_minute(per_minute.min(SIXTY)),
                (per_second, _) => Quota::per_second(number(per_second, 1)),
            },
        };
        let mut quotas = vec![rate.allow_burst(number(self.burst, limits.burst))];
        quotas.extend(limits.per_hour.and_then(NonZeroU32::new).map(Quota::per_hour));
        quotas
    }

    /// What is wrong with the kind, its templates and its limits.
    fn problem(&self) -> Option<String> {
        let Some(kind) = self.kind() else { return Some(ONE_KIND.to_owned()) };
        let of_kind = match &kind {
            Kind::Alertmanager(alertmanager) if alertmanager.urls.is_empty() => {
                Some("`alertmanager.urls` is empty; list every peer")
            }
            Kind::Webhook(webhook) if webhook.takes.is_empty() => {
                Some("`webhook.takes` is empty; expected some of `page`, `announce`, `ticket`")
            }
            Kind::PagerDuty(pagerduty) if pagerduty.takes.is_empty() || pagerduty.takes.contains(&Urgency::Ticket) => {
                Some("`pagerduty.takes`: expected `page`, or `page` and `announce`")
            }
            Kind::Slack(slack) => slack.problem(),
            Kind::Github(github) => github.problem(),
            Kind::Gitlab(gitlab) => gitlab.problem(),
            Kind::Alertmanager(_) | Kind::Webhook(_) | Kind::PagerDuty(_) => None,
        };
        let address = || kind.urls().into_iter().find_map(|url| Some(outgoing::address(url).err()?.to_string()));
        let templates = || words::check(&self.templates).err();
        of_kind.map(str::to_owned).or_else(address).or_else(templates).or_else(|| self.pace_problem(&kind.limits()))
    }

    /// The settings may lower what a provider documents, never raise it.
    fn pace_problem(&self, limits: &Limits) -> Option<String> {
        if self.per_second.is_some() && self.per_minute.is_some() {
            return Some("set either `per_second` or `per_minute`, not both".to_owned());
        }
        let per_minute = self.per_minute.map(NonZeroU32::get).or(self.per_second.map(|n| n.get().saturating_mul(60)));
        match (limits.per_minute, per_minute) {
            (Some(most), Some(asked)) if asked > most => {
                Some(format!("the provider takes {most} messages a minute; set `per_minute` to at most that"))
            }
            _ => None,
        }
    }
}

/// What a provider documents, in messages of ours. Sources: `docs/channels.md`.
#[derive(Default)]
pub(super) struct Limits {
    /// The most that the settings may ask for.
    per_minute: Option<u32>,
    /// Messages at once unless the settings say otherwise.
    burst: u32,
    per_hour: Option<u32>,
}

impl Kind<'_> {
    /// The addresses that the settings name. That of a Slack webhook is a secret, and is read with it.
    fn urls(&self) -> Vec<&str> {
        match self {
            Self::Alertmanager(alertmanager) => alertmanager.urls.iter().map(String::as_str).collect(),
            Self::Webhook(webhook) => vec![&webhook.url],
            Self::PagerDuty(pagerduty) => vec![&pagerduty.events_url, &pagerduty.rest_url],
            Self::Slack(slack) => vec![&slack.api_url],
            Self::Github(github) => vec![&github.api_url],
            Self::Gitlab(gitlab) => vec![&gitlab.api_url],
        }
    }

    fn limits(&self) -> Limits {
        match self {
            Self::Alertmanager(_) | Self::Webhook(_) => Limits { burst: 10, ..Limits::default() },
            // No figure is documented: it adjusts its throttle to what comes.
            Self::PagerDuty(_) => Limits { burst: 10, per_minute: Some(120), per_hour: None },
            // One message a second in a channel.
            Self::Slack(_) => Limits { burst: 1, per_minute: Some(60), per_hour: None },
            // 80 writes a minute and 500 an hour; a message may be two writes.
            Self::Github(_) => Limits { burst: 5, per_minute: Some(40), per_hour: Some(250) },
            // Notes: 60 a minute.
            Self::Gitlab(_) => Limits { burst: 5, per_minute: Some(60), per_hour: None },
        }
    }
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
    fn providers_are_read_with_their_documented_addresses() {
        let json = r#"[{"name":"pd","pagerduty":{"routing_key_file":"k","severities":{"page":"critical"}}},
            {"name":"chat","slack":{"token_file":"t","channel":"C0123456789","takes":["announce","page"]}},
            {"name":"hook","slack":{"webhook_url_file":"u"},"per_minute":10},
            {"name":"gh","github":{"repository":"shop/web","token_file":"t"}},
            {"name":"gl","gitlab":{"project":"shop/web","token_file":"t"}}]"#;
        let mut channels = channels(json).expect("channels");
        let takes = |at: usize| [Urgency::Announce, Urgency::Ticket, Urgency::Page].map(|urgency| channels[at].takes(urgency));
        assert_eq!([takes(0), takes(1), takes(2)], [[false, false, true], [true, false, true], [true, false, false]]);
        assert_eq!([takes(3), takes(4)], [[false, true, false]; 2]);
        let url = channels[0].pagerduty.as_ref().map(|pagerduty| pagerduty.events_url.as_str());
        assert_eq!(url, Some("https://events.pagerduty.com"));
        channels[0].rebase(Path::new("/etc/backout"));
        let file = channels[0].pagerduty.as_ref().map(|pagerduty| pagerduty.routing_key_file.as_path());
        assert_eq!(file, Some(Path::new("/etc/backout/k")));
    }

    #[test]
    fn mistakes_say_what_is_expected() {
        for (json, expected) in [
            (r#"[{"name":"x"}]"#, "exactly one of `alertmanager`, `webhook`"),
            (r#"[{"name":"x","webhook":{"url":"http://h"},"alertmanager":{"urls":["http://a"]}}]"#, "exactly one of"),
            (r#"[{"name":"x","alertmanager":{"urls":[]}}]"#, "list every peer"),
            (r#"[{"name":"x","webhook":{"url":"http://h","takes":[]}}]"#, "expected some of"),
            (r#"[{"name":"x y","webhook":{"url":"http://h"}}]"#, "expected a name"),
            (r#"[{"name":"x","webhook":{"url":"http://h"}},{"name":"x","webhook":{"url":"http://h"}}]"#, "used twice"),
            (r#"[{"name":"x","webhook":{"url":"http://h","tokn_file":"/t"}}]"#, "unknown field"),
            (r#"[{"name":"x","slack":{"token_file":"/t"}}]"#, "`slack.token_file` and `slack.channel`"),
            (r##"[{"name":"x","slack":{"token_file":"/t","channel":"#ops"}}]"##, "a channel's id"),
            (r#"[{"name":"x","slack":{"webhook_url_file":"/t"},"per_second":2}]"#, "takes 60 messages a minute"),
            (r#"[{"name":"x","github":{"repository":"a/b/c","token_file":"/t"}}]"#, "expected `owner/name`"),
            (r#"[{"name":"x","github":{"repository":"a/..","token_file":"/t"}}]"#, "expected `owner/name`"),
            (r#"[{"name":"x","gitlab":{"project":"a b","token_file":"/t"}}]"#, "expected `group/name`"),
            (r#"[{"name":"x","pagerduty":{"routing_key_file":"/k","takes":["ticket"]}}]"#, "expected `page`"),
            (r#"[{"name":"x","pagerduty":{"routing_key_file":"/k","severities":{"page":"loud"}}}]"#, "unknown variant"),
            (r#"[{"name":"x","webhook":{"url":"http://h"},"per_second":1,"per_minute":1}]"#, "not both"),
            (r#"[{"name":"x","webhook":{"url":"http://h"},"templates":{"paged":{"title":"{{ titel }}"}}}]"#, "did you mean"),
            (r#"[{"name":"x","webhook":{"url":"http://h"},"templates":{"pagged":{}}}]"#, "unknown variant"),
        ] {
            let error = channels(json).expect_err("refused");
            assert!(error.contains(expected), "{error}");
        }
    }
}
