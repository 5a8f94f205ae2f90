//! What concerns people: announcements, messages, approvals, links, objectives, follow-ups, drills.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;

use super::super::diagnostic::Raised;
use super::super::expr::{Env, Expr};
use super::super::source::At;
use super::super::syntax::{
    self, Announcement as Written, Announcements, Approval, DateText, Drill, DurationText, File, FollowUp, TemplateText,
};
use super::super::template::Template;
use super::super::types::{Announcement, MessageWords, Objectives};
use super::super::yaml::{Entries, Field, Listed, OneOrMany, Short};
use super::Lower;
use super::text::Zero;
use super::verify::has_literal_host;
use crate::model::Moment;

/// What the words of messages may name.
pub(super) const MESSAGE_PATHS: [&str; 31] = [
    "incident.id",
    "incident.status",
    "incident.lead",
    "incident.started_at",
    "alert.name",
    "alert.labels.",
    "alert.annotations.",
    "labels.",
    "annotations.",
    "target.kind",
    "target.namespace",
    "target.name",
    "target.cluster",
    "facts.",
    "plan.procedure",
    "plan.hash",
    "plan.from",
    "plan.to",
    "plan.progress",
    "plan.deadline",
    "plan.remaining",
    "report.outcome",
    "report.reason",
    "report.summary",
    "report.text",
    "links.",
    "figures.",
    "policy.name",
    "policy.owner",
    "policy.place",
    "now",
];

/// What addresses may name.
const LINK_PATHS: [&str; 8] =
    ["labels.", "annotations.", "alert.name", "target.kind", "target.namespace", "target.name", "target.cluster", "incident.id"];

impl Lower<'_> {
    pub(super) fn messages(&self, files: &[File]) -> BTreeMap<String, MessageWords> {
        let mut places: BTreeMap<String, At> = BTreeMap::new();
        let mut all = BTreeMap::new();
        for written in files.iter().flat_map(|file| file.messages.get().into_iter().flatten()) {
            let Some((written, at)) = written.placed() else { continue };
            let name = self.name("message", &written.name, at);
            if written.title.is_missing() {
                let raised = Raised::error("missing-key", at, "`title` is missing").missing_in(at);
                self.raise(raised.expected("one line of text"));
            }
            let words =
                |field: &Field<TemplateText>| field.placed().and_then(|(text, at)| self.template(text, at, &MESSAGE_PATHS));
            let (title, text) = (words(&written.title), words(&written.text));
            let Some((name, at)) = name else { continue };
            if let Some(first) = places.get(&name) {
                let message = format!("the message `{name}` is already there, in {}", self.place_text(*first));
                self.raise(Raised::error("duplicate-name", at, message).help("rename one of the two"));
                continue;
            }
            places.insert(name.clone(), at);
            let title = title.unwrap_or_else(|| Template::literal(""));
            all.insert(name, MessageWords { title, text });
        }
        all
    }

    pub(super) fn announcements(&self, field: &Announcements) -> Vec<Announcement> {
        let Some(Listed(items)) = field.get() else { return Vec::new() };
        items.iter().filter_map(Field::placed).filter_map(|(Short(written), at)| self.announcement(written, at)).collect()
    }

    fn announcement(&self, written: &Written, at: At) -> Option<Announcement> {
        self.later("announcement", "every", &written.every);
        self.later("announcement", "within", &written.within);
        for duration in [&written.every, &written.within] {
            self.duration(duration, Zero::Refused("write for example `5m`"));
        }
        let to = self.channels(&written.to);
        if super::policy::is_none(&written.to) {
            let raised = Raised::error("missing-key", at, "this announcement does not say to whom").missing_in(at);
            self.raise(raised.expected("channels under `to`"));
        }
        let moments =
            written.at.get().map(|Listed(items)| items.iter().filter_map(|at| at.get().map(|at| moment(*at))).collect());
        let usual =
            || Moment::ALL.into_iter().filter(|at| !matches!(at, Moment::Opened | Moment::Blind | Moment::Drill)).collect();
        let message = written.message.placed().and_then(|(name, at)| self.known("message", name, at, self.known_messages));
        Some(Announcement { at: moments.unwrap_or_else(usual), to, message })
    }

    /// A name that must be one of these.
    pub(super) fn known(&self, what: &str, name: &str, at: At, known: &[String]) -> Option<String> {
        if known.iter().any(|known| known == name) {
            return Some(name.to_owned());
        }
        let near = super::super::problem::nearest(name, known.iter().map(String::as_str));
        let list: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        let raised = Raised::error("unknown-name", at, format!("there is no {what} `{name}`"));
        let raised = match list.as_slice() {
            [] => raised.expected(format!("no {what} is written anywhere")),
            [one] => raised.expected(one.clone()),
            _ => raised.expected(format!("one of {}", list.join(", "))),
        };
        self.raise(raised.maybe_help(near.map(|near| format!("did you mean `{near}`?"))));
        None
    }

    /// How long an approval is waited for.
    pub(super) fn approval(&self, field: &Field<Short<Approval>>) -> Option<Duration> {
        let Short(approval) = field.get()?;
        self.later("approval", "from", &approval.from);
        self.channels(&approval.from);
        match approval.people.placed() {
            Some((0, at)) => {
                let raised = Raised::error("impossible-number", at, "an approval by nobody is none");
                self.raise(raised.expected("a whole number, 1 or more"));
            }
            Some((1, _)) | None => {}
            Some((_, at)) => self.later_at("approval", "people", at),
        }
        self.duration(&approval.within, Zero::Refused("write for example `approval: 10m`"))
    }

    /// Addresses by name.
    pub(super) fn links(&self, field: &Field<Entries<TemplateText>>) -> Vec<(String, Template)> {
        let mut links = Vec::new();
        for (name, url) in field.get().into_iter().flat_map(|Entries(entries)| entries) {
            let (Some((name, name_at)), Some((text, at))) = (name.placed(), url.placed()) else { continue };
            if !self.check_name("link", name, name_at) {
                continue;
            }
            if !has_literal_host(&text.0) {
                let raised = Raised::error("bad-url", at, "scheme and host of an address must be written out");
                self.raise(raised.expected("an address such as `https://grafana.example/d/shop`"));
                continue;
            }
            links.extend(self.template(text, at, &LINK_PATHS).map(|url| (name.clone(), url)));
        }
        links
    }

    pub(super) fn review_by(&self, field: &Field<DateText>) -> Option<Date> {
        let (DateText(text), at) = field.placed()?;
        let date = text.parse::<Date>().ok().filter(|date| date.to_string() == *text);
        if date.is_none() {
            let raised = Raised::error("bad-date", at, format!("`{text}` is not a day of the calendar"));
            self.raise(raised.expected("a date such as `2026-12-31`"));
        }
        date
    }

    pub(super) fn objectives(&self, field: &Field<OneOrMany<syntax::Objectives>>) -> Vec<Objectives> {
        self.later("policy", "objectives", field);
        let Some(OneOrMany(items)) = field.get() else { return Vec::new() };
        let one = |(written, at): (&syntax::Objectives, At)| {
            let limits = [
                ("detect", &written.detect),
                ("decide", &written.decide),
                ("start", &written.start),
                ("roll_back", &written.roll_back),
                ("verify", &written.verify),
                ("rto", &written.rto),
                ("rpo", &written.rpo),
            ];
            if limits.iter().all(|(_, field)| field.is_missing()) {
                let raised = Raised::error("no-objective", at, "these objectives bound nothing").missing_in(at);
                self.raise(raised.help("write for example `objectives: {rto: 5m}`"));
            }
            let limit = |(name, field): &(&'static str, &Field<DurationText>)| {
                let zero =
                    if *name == "rpo" { Zero::Allowed } else { Zero::Refused("nothing is over at once: write for example `5m`") };
                self.duration(field, zero).map(|limit| (*name, limit))
            };
            Objectives { matchers: self.matchers(&written.matchers), limits: limits.iter().filter_map(limit).collect() }
        };
        items.iter().filter_map(Field::placed).map(one).collect()
    }

    /// Values that are there to be shown.
    pub(super) fn figures(&self, field: &Field<Entries<syntax::CelText>>, env: &Env) -> Vec<(String, Expr)> {
        let mut figures = Vec::new();
        for (name, figure) in field.get().into_iter().flat_map(|Entries(entries)| entries) {
            let (Some((name, name_at)), Some((syntax::CelText(text), at))) = (name.placed(), figure.placed()) else { continue };
            self.check_name("figure", name, name_at);
            match Expr::shown(text, env) {
                Ok(expr) => figures.push((name.clone(), expr)),
                Err(problems) => problems.into_iter().for_each(|problem| self.problem("bad-condition", at, text, problem)),
            }
        }
        figures
    }

    /// What of a policy is checked here and carried out nowhere yet.
    pub(super) fn for_people_later(&self, written: &syntax::Policy) {
        self.later("policy", "evidence", &written.evidence);
        if let Some(evidence) = written.evidence.get() {
            let help = Zero::Refused("write for example `1h`");
            self.duration(&evidence.logs, help);
            if let Some((range, at)) = evidence.range.placed() {
                self.promql(&range.promql, at);
                self.duration(&range.last, help);
                if range.last.is_missing() {
                    let raised = Raised::error("missing-key", at, "`last` is missing").missing_in(at);
                    self.raise(raised.expected("how far back, such as `1h`"));
                }
            }
        }
        self.later("policy", "follow_ups", &written.follow_ups);
        for (follow_up, at) in written.follow_ups.get().into_iter().flatten().filter_map(Field::placed) {
            self.follow_up(follow_up, at);
        }
    }

    fn follow_up(&self, written: &FollowUp, at: At) {
        self.duration(&written.within, Zero::Refused("write for example `24h`"));
        self.channels(&written.to);
        match written.title.placed() {
            Some((title, at)) => drop(self.template(title, at, &MESSAGE_PATHS)),
            None if written.title.is_missing() => {
                let raised = Raised::error("missing-key", at, "`title` is missing").missing_in(at);
                self.raise(raised.expected("what is to be done, in a line"));
            }
            None => {}
        }
    }

    /// Drills of all files: their names, and what they name.
    pub(super) fn drills(&self, files: &[File], policies: &[String], procedures: &[String]) {
        let mut places: BTreeMap<String, At> = BTreeMap::new();
        for file in files {
            self.later("file", "drills", &file.drills);
            for (drill, at) in file.drills.get().into_iter().flatten().filter_map(Field::placed) {
                if let Some((name, at)) = self.name("drill", &drill.name, at)
                    && let Some(first) = places.insert(name.clone(), at)
                {
                    let message = format!("the drill `{name}` is already there, in {}", self.place_text(first));
                    self.raise(Raised::error("duplicate-name", at, message).help("rename one of the two"));
                }
                self.drill(drill, at, policies, procedures);
            }
        }
        let later = self.take_later();
        self.say_later(&later, crate::model::Mode::Shadow, "a drill");
    }

    fn drill(&self, drill: &Drill, at: At, policies: &[String], procedures: &[String]) {
        match drill.schedule.placed() {
            Some((schedule, at)) if !is_schedule(schedule) => {
                let raised = Raised::error("bad-schedule", at, format!("`{schedule}` is no schedule of cron"));
                self.raise(raised.expected("five fields: minute, hour, day, month, day of the week, such as `0 9 * * 1-5`"));
            }
            None if drill.schedule.is_missing() => {
                let raised = Raised::error("missing-key", at, "`schedule` is missing").missing_in(at);
                self.raise(raised.expected("five fields of cron, such as `0 9 * * 1-5`"));
            }
            _ => {}
        }
        if let (Some(_), Some(at)) = (drill.policies.at(), drill.procedures.at()) {
            let raised = Raised::error("conflicting-keys", at, "`procedures` beside `policies`");
            self.raise(raised.help("write two drills"));
        }
        for (what, field, known) in [
            ("policy", &drill.policies, policies),
            ("procedure", &drill.procedures, procedures),
            ("message", &drill.messages, self.known_messages),
        ] {
            for (name, at) in field.get().into_iter().flat_map(|Listed(items)| items).filter_map(Field::placed) {
                self.known(what, name, at, known);
            }
        }
        self.jobs(&drill.jobs);
        self.duration(&drill.overdue, Zero::Refused("write for example `30d`"));
        self.channels(&drill.to);
    }
}

fn moment(at: syntax::Moment) -> Moment {
    match at {
        syntax::Moment::Opened => Moment::Opened,
        syntax::Moment::Decided => Moment::Decided,
        syntax::Moment::Started => Moment::Started,
        syntax::Moment::RolledBack => Moment::RolledBack,
        syntax::Moment::Verified => Moment::Verified,
        syntax::Moment::Ineffective => Moment::Ineffective,
        syntax::Moment::Failed => Moment::Failed,
        syntax::Moment::Paged => Moment::Paged,
        syntax::Moment::Closed => Moment::Closed,
    }
}

/// Five fields in cron's letters. What they mean is for whoever keeps the schedule.
fn is_schedule(text: &str) -> bool {
    let field = |field: &str| field.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*/,-".contains(&byte));
    text.split_whitespace().count() == 5 && text.split_whitespace().all(field)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{loaded, said};
    use super::*;

    #[test]
    fn who_names_no_moments_is_told_of_all_but_the_opening_and_what_is_about_no_incident() {
        use Moment::{Closed, Decided, Failed, Ineffective, Paged, RolledBack, Started, Verified};
        let policies = loaded("policies: [{name: a, decide: [{page: {}}], announce: [ops]}]\n").policies;
        let [announcement] = policies.policies[0].announce.as_slice() else { panic!("one announcement") };
        assert_eq!(announcement.to, ["ops"]);
        assert_eq!(announcement.at, [Decided, Started, RolledBack, Verified, Ineffective, Failed, Paged, Closed]);
    }

    #[test]
    fn a_review_is_due_on_a_day_of_the_calendar() {
        let with = |date: &str| format!("policies: [{{name: a, decide: [{{page: {{}}}}], review_by: {date}}}]\n");
        let policies = loaded(&with("2026-12-31")).policies;
        assert_eq!(policies.policies[0].review_by.map(|date| date.to_string()).as_deref(), Some("2026-12-31"));
        for date in ["2026-02-30", "20261231", "2026-12-31T00:00"] {
            assert_eq!(said(&with(date)), [format!("error: `{date}` is not a day of the calendar")]);
        }
    }

    #[test]
    fn what_is_there_and_wrong_is_not_called_missing() {
        for (text, missing, is_missing) in [
            ("follow_ups: [{to: [ops]}]}]", "error: `title` is missing", true),
            ("follow_ups: [{to: [ops], title: [x]}]}]", "error: `title` is missing", false),
            ("}]\ndrills: [{name: d}]", "error: `schedule` is missing", true),
            ("}]\ndrills: [{name: d, schedule: [x]}]", "error: `schedule` is missing", false),
        ] {
            let said = said(&format!("policies: [{{name: a, decide: [{{page: {{}}}}], {text}\n"));
            assert_eq!(said.iter().any(|said| said == missing), is_missing, "{text}: {said:?}");
        }
    }
}
