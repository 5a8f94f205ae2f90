//! A message for tests.

use crate::model::{About, IncidentId, Message, Moment, TargetRef, Time, Urgency};

pub(super) fn message() -> Message {
    Message {
        id: "i0123456789ab/paged/1".to_owned(),
        incident: Some(IncidentId("i0123456789ab".to_owned())),
        moment: Moment::Paged,
        urgency: Urgency::Page,
        severity: "critical".to_owned(),
        title: "shop/web: not rolled back".to_owned(),
        text: "why\nand more".to_owned(),
        target: TargetRef::deployment("shop", "web").ok(),
        policy: Some("web".to_owned()),
        to: Vec::new(),
        labels: [("team".to_owned(), "shop".to_owned()), ("severity".to_owned(), "none".to_owned())].into(),
        folded: Vec::new(),
        about: About::default(),
        at: Time::from_millis(1_800_000_000_000),
    }
}
