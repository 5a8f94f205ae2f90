//! Where a message leads: the incident, the runbook, the dashboard, a silence, and the commands that show why. What an alert says
//! becomes part of an address only checked and encoded.

use serde::Serialize;
use url::Url;

use crate::model::{Labels, Message};

/// A longer address is cut off by chat clients and browsers: none is better than a broken one.
const LONGEST: usize = 4096;

/// Who speaks, and where people find what it speaks of.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Names this installation (the cluster's name, say).
    pub instance: String,
    /// Where people reach this service.
    pub external_url: Option<Url>,
    /// Where people reach Alertmanager's pages.
    pub silence_url: Option<Url>,
}

impl From<&str> for Origin {
    fn from(instance: &str) -> Self {
        Self { instance: instance.to_owned(), ..Self::default() }
    }
}

/// The links of one message. Each is a whole, encoded `http` or `https` address, or absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Links {
    /// The incident's report.
    pub(super) incident: Option<String>,
    /// What to do, as the alert's author wrote it down.
    pub(super) runbook: Option<String>,
    /// What to look at.
    pub(super) dashboard: Option<String>,
    /// Alertmanager's form for a silence on the alert.
    pub(super) silence: Option<String>,
}

impl Links {
    pub(super) fn of(message: &Message, origin: &Origin) -> Self {
        let alerts = &message.about.alerts;
        let first = |of: fn(&crate::model::AboutAlert) -> Option<&String>| alerts.iter().filter_map(of).find_map(|url| web(url));
        Self {
            incident: origin.external_url.as_ref().zip(message.incident.as_ref()).and_then(|(base, incident)| {
                let report = under(base, &["api", "v1", "incidents", incident.as_str(), "report"])?;
                checked(format!("{report}?format=markdown"))
            }),
            runbook: first(|alert| alert.runbook_url.as_ref()),
            dashboard: first(|alert| alert.dashboard_url.as_ref()),
            silence: origin.silence_url.as_ref().zip(lead(message)).and_then(|(base, labels)| silence(base, labels)),
        }
    }

    /// Those that there are, with what to call them.
    pub(super) fn named(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("incident", &self.incident),
            ("runbook", &self.runbook),
            ("dashboard", &self.dashboard),
            ("silence", &self.silence),
        ];
        all.into_iter().filter_map(|(name, url)| Some((name, url.as_deref()?))).collect()
    }
}

/// The commands that show why, to be pasted into a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Commands {
    /// What was decided, and why.
    pub(super) report: Option<String>,
    /// What would be decided now.
    pub(super) explain: Option<String>,
}

impl Commands {
    pub(super) fn of(message: &Message, origin: &Origin) -> Self {
        let explain = lead(message).map(|labels| {
            let matchers = labels.iter().map(|(name, value)| format!(" --matcher {}", shell_word(&matcher(name, value))));
            let peer = origin.silence_url.as_ref().map(|url| format!(" --alertmanager {}", shell_word(url.as_str())));
            format!("backout explain{}{}", matchers.collect::<String>(), peer.unwrap_or_default())
        });
        Self {
            report: message.incident.as_ref().map(|incident| format!("backout report {}", shell_word(incident.as_str()))),
            explain: explain.filter(|command| command.len() <= LONGEST),
        }
    }
}

/// The labels that a silence or a question is made of: those of a firing alert, else of any.
fn lead(message: &Message) -> Option<&Labels> {
    let alerts = &message.about.alerts;
    let lead = alerts.iter().find(|alert| alert.firing).or(alerts.first())?;
    (!lead.labels.is_empty()).then_some(&lead.labels)
}

/// The form reads its matchers from the fragment, as one encoded parameter.
fn silence(base: &Url, labels: &Labels) -> Option<String> {
    let matchers: Vec<String> = labels.iter().map(|(name, value)| matcher(name, value)).collect();
    let filter = percent_encode(&format!("{{{}}}", matchers.join(", ")));
    checked(format!("{}/#/silences/new?filter={filter}", base.as_str().trim_end_matches('/')))
}

/// `name="value"` as Alertmanager reads it. A name that is no classic one is quoted, too (0.27 and later).
fn matcher(name: &str, value: &str) -> String {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let classic = starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let name = if classic { name.to_owned() } else { quoted(name) };
    format!("{name}={}", quoted(value))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// One word for a POSIX shell, whatever is in it.
fn shell_word(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// An address that somebody else wrote: only `http` and `https`, without credentials, encoded anew.
fn web(text: &str) -> Option<String> {
    let url = Url::parse(text.trim()).ok()?;
    let fits = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    fits.then_some(url.to_string()).and_then(checked)
}

fn under(base: &Url, path: &[&str]) -> Option<Url> {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().ok()?.pop_if_empty().extend(path);
    Some(url)
}

/// Encodes what no markup may see: after this an address has no character that ends a link, an emphasis or a mention.
fn checked(url: String) -> Option<String> {
    let encoded: String = url.chars().map(|c| if is_inert(c) { c.to_string() } else { percent_encode(&c.to_string()) }).collect();
    (encoded.len() <= LONGEST).then_some(encoded)
}

/// Whether a character means nothing to mrkdwn, Markdown or HTML within an address.
fn is_inert(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._/:?#&=%+,;".contains(c)
}

/// Whether a text is an address that went through [`Links`]: it may stand in any markup as it is.
pub(super) fn is_link(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://")) && text.chars().all(is_inert)
}

fn percent_encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{About, AboutAlert};
    use crate::notify::fixture::message;

    fn origin() -> Origin {
        let url = |text: &str| Url::parse(text).ok();
        Origin {
            instance: "prod".to_owned(),
            external_url: url("https://backout.example/x/"),
            silence_url: url("https://am.example/am/"),
        }
    }

    fn about(labels: &[(&str, &str)], runbook: &str) -> About {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let alert = AboutAlert { labels, runbook_url: Some(runbook.to_owned()), firing: true, ..AboutAlert::default() };
        About { alerts: vec![alert], ..About::default() }
    }

    fn links(labels: &[(&str, &str)], runbook: &str) -> Links {
        Links::of(&Message { about: about(labels, runbook), ..message() }, &origin())
    }

    #[test]
    fn a_silence_has_the_alerts_matchers_whatever_is_in_them() {
        let silence = links(&[("alertname", "A \"b\"\\"), ("my.label", "x&y#z)}>|*@team")], "").silence.expect("a link");
        assert!(silence.starts_with("https://am.example/am/#/silences/new?filter=%7B"), "{silence}");
        assert!(is_link(&silence), "{silence}");
        let filter = silence.split_once("filter=").expect("a filter").1;
        let pair = format!("f={filter}");
        let (_, decoded) = url::form_urlencoded::parse(pair.as_bytes()).next().expect("a pair");
        assert_eq!(decoded, r#"{alertname="A \"b\"\\", "my.label"="x&y#z)}>|*@team"}"#);
        // Alertmanager's own grammar, as our matchers read it.
        let parsed = crate::policy::matcher::parse_item(&decoded).expect("matchers").matchers;
        let values: Vec<(&str, &str)> = parsed.iter().map(|matcher| (matcher.name(), matcher.value())).collect();
        assert_eq!(values, [("alertname", "A \"b\"\\"), ("my.label", "x&y#z)}>|*@team")]);
    }

    #[test]
    fn only_the_web_is_linked_and_nothing_ends_a_link() {
        for bad in ["javascript:alert(1)", "file:///etc/passwd", "x", "", "http://user:secret@host/", "data:text/html,x"] {
            assert_eq!(links(&[], bad).runbook, None, "{bad}");
        }
        let runbook = links(&[], "https://wiki/a(b)|c>d*e_f`@team~ ü?q=<x>#here").runbook.expect("a link");
        assert!(is_link(&runbook), "{runbook}");
        assert_eq!(links(&[], "https://wiki/x?y=z#w").runbook.as_deref(), Some("https://wiki/x?y=z#w"));
        assert_eq!(links(&[], &format!("https://wiki/{}", "x".repeat(5000))).runbook, None, "too long to follow");
    }

    #[test]
    fn the_incident_lies_under_the_external_url() {
        let incident = links(&[], "").incident;
        let expected = "https://backout.example/x/api/v1/incidents/i0123456789ab/report?format=markdown";
        assert_eq!(incident.as_deref(), Some(expected));
        assert_eq!(Links::of(&message(), &Origin::from("prod")), Links::default());
    }

    #[test]
    fn commands_hold_one_word_for_each_value() {
        let message = Message { about: about(&[("alertname", "it's $(rm -rf /)\n`x`")], ""), ..message() };
        let commands = Commands::of(&message, &origin());
        assert_eq!(commands.report.as_deref(), Some("backout report i0123456789ab"));
        let explain = commands.explain.expect("a command");
        let expected =
            r#"backout explain --matcher 'alertname="it'\''s $(rm -rf /)\n`x`"' --alertmanager https://am.example/am/"#;
        assert_eq!(explain, expected);
    }
}
