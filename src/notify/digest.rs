//! Several messages that had to wait for one channel, as one that lists them all. Nothing is left out: each incident has a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::dialect::cut;
use crate::model::{About, Message, Moment, Urgency};

/// The most messages that become one: their lines fit into every provider's limit.
pub(super) const MOST: usize = 250;
/// The longest line.
const LINE: usize = 110;

/// One message for all of them; there is at least one, and all ask the same of their reader.
pub(super) fn merge(messages: &[Message]) -> Message {
    let Some((first, rest)) = messages.split_first() else { return empty() };
    if rest.is_empty() {
        return first.clone();
    }
    let mut folded = Vec::new();
    for incident in messages.iter().flat_map(Message::incidents) {
        if Some(incident) != first.incident.as_ref() && !folded.contains(incident) {
            folded.push(incident.clone());
        }
    }
    let moments = counted(messages);
    let common = if moments.len() == 1 { first.moment } else { Moment::Decided };
    let critical = messages.iter().find(|message| message.severity == "critical");
    Message {
        id: format!("{}+{}", first.id, rest.len()),
        incident: first.incident.clone().or_else(|| folded.first().cloned()),
        moment: if first.urgency == Urgency::Page { Moment::Paged } else { common },
        severity: critical.unwrap_or(first).severity.clone(),
        title: title(messages, folded.len() + usize::from(first.incident.is_some()), &moments),
        text: text(messages),
        target: None,
        policy: rest.iter().all(|message| message.policy == first.policy).then(|| first.policy.clone()).flatten(),
        labels: first
            .labels
            .clone()
            .into_iter()
            .filter(|pair| rest.iter().all(|m| m.labels.get(&pair.0) == Some(&pair.1)))
            .collect(),
        folded,
        about: About { merged: messages.len(), ..About::default() },
        ..first.clone()
    }
}

fn title(messages: &[Message], incidents: usize, moments: &BTreeMap<Moment, usize>) -> String {
    let what = match messages.first().map(|message| message.urgency) {
        Some(Urgency::Page) => "pages",
        Some(Urgency::Ticket) => "tickets",
        _ => "messages",
    };
    let moments: Vec<String> = moments.iter().map(|(moment, number)| format!("{number} {}", moment.as_str())).collect();
    format!("{} {what} at once about {incidents} incidents: {}", messages.len(), moments.join(", "))
}

/// A line for each message, in their order.
fn text(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        let incident = message.incident.as_ref().map_or("-", |incident| incident.as_str());
        let line = format!("{incident} {}: {}", message.moment.as_str(), message.title.replace('\n', " "));
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{}", cut(&line, LINE));
        for other in &message.folded {
            let _ = writeln!(text, "{other} with {incident}");
        }
    }
    text
}

fn counted(messages: &[Message]) -> BTreeMap<Moment, usize> {
    let mut counted = BTreeMap::new();
    for message in messages {
        *counted.entry(message.moment).or_default() += 1;
    }
    counted
}

/// What cannot be: nothing was waiting.
fn empty() -> Message {
    Message {
        id: String::new(),
        incident: None,
        moment: Moment::Decided,
        urgency: Urgency::Announce,
        severity: String::new(),
        title: String::new(),
        text: String::new(),
        target: None,
        policy: None,
        to: Vec::new(),
        labels: BTreeMap::new(),
        folded: Vec::new(),
        about: About::default(),
        at: crate::model::Time::from_millis(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IncidentId;
    use crate::notify::fixture::message;

    fn of(number: usize, moment: Moment) -> Message {
        let incident = IncidentId(format!("i{number:012}"));
        Message { id: format!("{incident}-{number}"), incident: Some(incident), moment, ..message() }
    }

    #[test]
    fn every_incident_has_a_line_and_the_whole_fits() {
        let messages: Vec<Message> = (0..MOST).map(|number| of(number, Moment::Paged)).collect();
        let merged = merge(&messages);
        assert_eq!((merged.incidents().len(), merged.about.merged), (MOST, MOST));
        for message in &messages {
            let line = format!("{} paged: ", message.incident.as_ref().expect("an incident"));
            assert!(merged.text.lines().any(|text| text.starts_with(&line)), "{line}");
        }
        assert!(merged.text.chars().count() < 30_000, "{}", merged.text.len());
        assert_eq!(merged.title, "250 pages at once about 250 incidents: 250 paged");
    }

    #[test]
    fn what_differs_is_not_taken_for_all() {
        let mut two = [of(1, Moment::Opened), of(2, Moment::Closed)];
        two.iter_mut().for_each(|message| message.urgency = Urgency::Announce);
        two[1].labels.insert("team".to_owned(), "other".to_owned());
        two[0].severity = "warning".to_owned();
        two[1].folded = vec![IncidentId("i3".to_owned())];
        let merged = merge(&two);
        assert_eq!((merged.moment, merged.severity.as_str()), (Moment::Decided, "critical"));
        assert_eq!(merged.labels.get("team"), None);
        assert_eq!(merged.incidents().len(), 3);
        assert!(merged.text.contains("i3 with i000000000002"), "{}", merged.text);
    }

    #[test]
    fn one_stays_as_it_is() {
        assert_eq!(merge(&[message()]), message());
    }
}
