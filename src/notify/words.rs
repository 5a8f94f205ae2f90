//! The words of a message in a channel's markup: the settings' templates, else the built-in ones. A template that fails on a
//! message gives way to the built-in one, and that is said once. What happened, and why, was written before (`decide`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::dialect::{Dialect, cut};
use super::links::{Commands, Links, Origin};
use crate::model::{About, AboutAlert, AboutPlan, IncidentId, Message, Moment, TargetRef, Time, Urgency};
use crate::policy::template::Template;

/// What templates can read.
const ROOTS: [&str; 21] = [
    "instance",
    "incident",
    "incidents",
    "moment",
    "lead",
    "urgency",
    "severity",
    "title",
    "text",
    "target",
    "policy",
    "labels",
    "alerts",
    "plan",
    "state",
    "links",
    "commands",
    "merged",
    "time",
    "critical",
    "firing",
];

/// The template of one moment in the settings. What is not set stays built-in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateSettings {
    /// One line.
    #[serde(default)]
    pub title: Option<String>,
    /// The rest.
    #[serde(default)]
    pub text: Option<String>,
}

/// Templates by moment, as the settings have them.
pub type TemplatesSettings = BTreeMap<Moment, TemplateSettings>;

/// Title and text of the moments that have templates of their own.
type Custom = BTreeMap<Moment, (Option<Template>, Option<Template>)>;

/// A message in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) links: Links,
}

/// The settings' own words for a message, if they have some.
pub(super) struct Own {
    pub(super) title: Option<String>,
    pub(super) text: Option<String>,
    pub(super) links: Links,
}

/// What writes the messages of one channel.
pub(super) struct Words {
    channel: String,
    title: Dialect,
    text: Dialect,
    /// The longest text of a message that is inserted: templates and channels have bounds of their own above it.
    most_text: usize,
    origin: Origin,
    custom: Custom,
    /// The moments whose template failed, each of which was said.
    failed: Mutex<BTreeSet<Moment>>,
}

impl Words {
    /// # Errors
    /// Names the template that is wrong.
    pub(super) fn new(
        channel: &str,
        (title, text): (Dialect, Dialect),
        templates: &TemplatesSettings,
        origin: &Origin,
    ) -> Result<Self, String> {
        let custom = parse(templates)?;
        let (channel, failed) = (channel.to_owned(), Mutex::default());
        Ok(Self { channel, title, text, most_text: 30_000, origin: origin.clone(), custom, failed })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// In the settings' words, else the built-in ones.
    pub(super) fn write(&self, message: &Message) -> Written {
        let Own { title, text, links } = self.own(message);
        Written {
            title: title.unwrap_or_else(|| self.built_in_title(message)),
            text: text.unwrap_or_else(|| self.built_in_text(message, &links)),
            links,
        }
    }

    /// Only what the settings have words for.
    pub(super) fn own(&self, message: &Message) -> Own {
        let links = Links::of(message, &self.origin);
        let scope = scope(message, &self.origin, &links, self.most_text);
        // A merged message is many moments: only the built-in words are made for it.
        let custom = self.custom.get(&message.moment).filter(|_| message.about.merged == 0);
        let (title, text) = custom.map_or((None, None), |(title, text)| (title.as_ref(), text.as_ref()));
        let title = title.and_then(|title| self.fill(message.moment, title, self.title, &scope));
        let text = text.and_then(|text| self.fill(message.moment, text, self.text, &scope));
        Own { title, text, links }
    }

    fn fill(&self, moment: Moment, template: &Template, dialect: Dialect, scope: &Value) -> Option<String> {
        match template.render_escaped(scope, dialect.escape()) {
            Ok(text) => Some(text),
            Err(problem) => {
                if self.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(moment) {
                    let (channel, why) = (&self.channel, &problem.message);
                    tracing::warn!(channel, moment = moment.as_str(), why, "a template failed; the built-in words are used");
                }
                None
            }
        }
    }

    fn built_in_title(&self, message: &Message) -> String {
        self.title.escape()(&message.title)
    }

    fn built_in_text(&self, message: &Message, links: &Links) -> String {
        let mut parts = vec![lead(message).to_owned()];
        let text = cut(&message.text, self.most_text);
        // More than one line, so that Markdown makes a block of it whatever it says.
        let text = if self.text == Dialect::Markdown { format!("{}\n", text.trim_end()) } else { text };
        parts.push(self.text.escape()(&text));
        let named: Vec<String> = links.named().iter().map(|(name, url)| self.text.link(name, &self.text.escape()(url))).collect();
        if !named.is_empty() {
            parts.push(named.join(if self.text == Dialect::Plain { "\n" } else { " · " }));
        }
        parts.join("\n\n")
    }
}

/// Reads templates and tries them, on a message that has everything and on one that has next to nothing.
///
/// # Errors
/// Names the template, the mistake and the remedy.
pub(super) fn check(templates: &TemplatesSettings) -> Result<(), String> {
    parse(templates).map(|_| ())
}

fn parse(templates: &TemplatesSettings) -> Result<Custom, String> {
    let one = |moment: Moment, name: &str, source: &Option<String>| -> Result<Option<Template>, String> {
        let Some(source) = source else { return Ok(None) };
        let wrong = |problem: crate::policy::problem::Problem| {
            let help = problem.help.map(|help| format!("; {help}")).unwrap_or_default();
            format!("`templates.{}.{name}`: {}{help}", moment.as_str(), problem.message)
        };
        let template = Template::parse(source, &ROOTS).map_err(wrong)?;
        for sample in [rich(moment), poor(moment)] {
            let origin = Origin::from("sample");
            let scope = scope(&sample, &origin, &Links::of(&sample, &origin), 1000);
            template.render_escaped(&scope, Dialect::Plain.escape()).map_err(wrong)?;
        }
        Ok(Some(template))
    };
    let both = |(moment, settings): (&Moment, &TemplateSettings)| {
        Ok((*moment, (one(*moment, "title", &settings.title)?, one(*moment, "text", &settings.text)?)))
    };
    templates.iter().map(both).collect()
}

/// What templates see. Every name is always there; what there is none of is `none`.
fn scope(message: &Message, origin: &Origin, links: &Links, most_text: usize) -> Value {
    let about = &message.about;
    json!({
        "instance": origin.instance,
        "incident": message.incident,
        "incidents": message.incidents(),
        "moment": message.moment,
        "lead": lead(message),
        "urgency": message.urgency,
        "severity": message.severity,
        "critical": message.severity == "critical",
        "title": message.title,
        "text": cut(&message.text, most_text),
        "target": message.target.as_ref().map(ToString::to_string),
        "policy": message.policy,
        "labels": message.labels,
        "alerts": about.alerts.iter().map(|alert| json!({
            "labels": alert.labels, "firing": alert.firing, "runbook_url": alert.runbook_url, "dashboard_url": alert.dashboard_url,
        })).collect::<Vec<_>>(),
        "firing": about.alerts.iter().filter(|alert| alert.firing).count(),
        "plan": about.plan,
        "state": about.state,
        "links": links,
        "commands": Commands::of(message, origin),
        "merged": about.merged,
        "time": message.at.to_string(),
    })
}

/// What a moment means, in one sentence: what every built-in message begins with.
fn lead(message: &Message) -> &'static str {
    if message.about.merged > 0 {
        return "Many messages at once: each incident is listed.";
    }
    match (message.moment, message.urgency) {
        (Moment::Opened, _) => "An incident was opened.",
        (Moment::Decided, Urgency::Ticket) => "This is to be fixed forward: nothing is rolled back.",
        (Moment::Decided, _) => "A decision fell.",
        (Moment::Started, _) => "The rollback begins.",
        (Moment::RolledBack, _) => "The rollback is carried out; whether it helped is being proven.",
        (Moment::Verified, _) => "The rollback is proven to have worked. Git still says otherwise until somebody changes it.",
        (Moment::Ineffective, _) => "Rolled back, and it did not help: a human is needed.",
        (Moment::Failed, _) => "The rollback could not be carried out or proven: a human is needed.",
        (Moment::Paged, Urgency::Page) => "A human is needed.",
        (Moment::Paged, _) => "For information: nobody is paged by this.",
        (Moment::Closed, _) => "The incident is over.",
        (Moment::Blind, _) => "backout itself cannot see or remember: watch by hand until it can.",
        (Moment::Drill, _) => "A drill tried everything but the write of a rollback.",
    }
}

fn rich(moment: Moment) -> Message {
    let alert = AboutAlert {
        labels: [("alertname".to_owned(), "Sample".to_owned()), ("severity".to_owned(), "critical".to_owned())].into(),
        runbook_url: Some("https://runbook.example/sample".to_owned()),
        dashboard_url: Some("https://dashboard.example/sample".to_owned()),
        firing: true,
    };
    let plan = AboutPlan { hash: "0123456789abcdef".to_owned(), from: "2".to_owned(), to: "1".to_owned() };
    Message {
        incident: Some(IncidentId("i0123456789ab".to_owned())),
        target: TargetRef::deployment("shop", "web").ok(),
        policy: Some("sample".to_owned()),
        about: About { state: "paged".to_owned(), alerts: vec![alert], plan: Some(plan), merged: 0 },
        ..poor(moment)
    }
}

fn poor(moment: Moment) -> Message {
    Message {
        id: "sample".to_owned(),
        incident: None,
        moment,
        urgency: Urgency::Announce,
        severity: "critical".to_owned(),
        title: "a title".to_owned(),
        text: "a text\nof two lines".to_owned(),
        target: None,
        policy: None,
        to: Vec::new(),
        labels: BTreeMap::new(),
        folded: Vec::new(),
        about: About::default(),
        at: Time::from_millis(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(moment: Moment, title: &str, text: &str) -> TemplatesSettings {
        [(moment, TemplateSettings { title: Some(title.to_owned()), text: Some(text.to_owned()) })].into()
    }

    fn words(dialect: Dialect, templates: &TemplatesSettings) -> Words {
        let url = |text: &str| url::Url::parse(text).ok();
        let origin = Origin {
            instance: "prod".to_owned(),
            external_url: url("https://backout.example"),
            silence_url: url("https://am.example"),
        };
        Words::new("test", (dialect, dialect), templates, &origin).expect("words")
    }

    #[test]
    fn every_moment_has_built_in_words_and_links() {
        for moment in Moment::ALL {
            for urgency in [Urgency::Announce, Urgency::Ticket, Urgency::Page] {
                let message = Message { urgency, ..rich(moment) };
                let written = words(Dialect::Plain, &TemplatesSettings::new()).write(&message);
                assert_eq!(written.title, "a title");
                assert!(written.text.starts_with(lead(&message)) && written.text.contains("a text\nof two lines"), "{written:?}");
                for link in
                    ["runbook: https://runbook", "dashboard: https://dashboard", "silence: https://am", "incident: https://b"]
                {
                    assert!(written.text.contains(link), "{written:?}");
                }
            }
        }
    }

    #[test]
    fn built_in_words_are_safe_in_every_markup() {
        let nasty = "x`@team\n```\n/close <!channel> <@U1> [a](javascript:b)";
        let message = Message { title: nasty.to_owned(), text: nasty.to_owned(), ..poor(Moment::Paged) };
        let slack = words(Dialect::Slack, &TemplatesSettings::new()).write(&message);
        assert!(!slack.text.contains("<!") && !slack.text.contains("<@") && !slack.title.contains("<!"), "{slack:?}");
        let markdown = words(Dialect::Markdown, &TemplatesSettings::new()).write(&message);
        assert!(markdown.text.contains(&format!("\n````text\n{nasty}\n````\n")), "{markdown:?}");
        let short = Message { text: "@team".to_owned(), ..poor(Moment::Paged) };
        let markdown = words(Dialect::Markdown, &TemplatesSettings::new()).write(&short);
        assert!(markdown.text.contains("```text\n@team\n```"), "{markdown:?}");
    }

    #[test]
    fn a_template_of_the_settings_goes_before() {
        let own = "{{ target }} {{ labels.team | default('-') }} {% if links.runbook %}<{{ links.runbook }}|book>{% endif %} {{ text }}";
        let written = words(Dialect::Slack, &templates(Moment::Paged, "*{{ title }}*", own)).write(&Message {
            title: "<b>".to_owned(),
            text: "a & b".to_owned(),
            ..rich(Moment::Paged)
        });
        assert_eq!(written.title, "*&lt;b&gt;*");
        assert_eq!(written.text, "deployment/shop/web - <https://runbook.example/sample|book> a &amp; b");
        let other = words(Dialect::Slack, &templates(Moment::Paged, "x", "y")).write(&rich(Moment::Closed));
        assert_eq!(other.title, "a title", "the others stay built-in");
    }

    #[test]
    fn a_broken_template_is_found_at_the_start() {
        for (title, expected) in [
            ("{{ titel }}", "did you mean `title`?"),
            ("{{ labels.team }}", "add `| default("),
            ("{{ title", "`templates.paged.title`"),
            ("{{ plan.hash }}", "not defined"),
            ("{% for x in alerts %}{{ x.labels.alertnam }}{% endfor %}", "not defined"),
        ] {
            let error = check(&templates(Moment::Paged, title, "x")).expect_err(title);
            assert!(error.contains(expected), "{title}: {error}");
        }
    }

    #[test]
    fn a_template_that_fails_on_a_message_gives_way_and_says_so_once() {
        // Right for one alert or none, wrong as soon as a firing alert has another name.
        let picky = "{% for x in alerts %}{{ x.labels.severity }}{% endfor %}";
        let words = words(Dialect::Plain, &templates(Moment::Paged, picky, "own text"));
        let mut message = rich(Moment::Paged);
        assert_eq!(words.write(&message).title, "critical");
        message.about.alerts[0].labels.remove("severity");
        for _ in 0..2 {
            let written = words.write(&message);
            assert_eq!((written.title.as_str(), written.text.as_str()), ("a title", "own text"));
        }
        assert_eq!(words.failed.lock().expect("a lock").len(), 1);
    }
}
