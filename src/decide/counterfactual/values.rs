//! Values of inputs as whole numbers: milliseconds, and numbers by their place among all that there are. Texts that stand for either.

use std::time::Duration;

use super::Basis;
use super::variable::Carrier;
use crate::model::{Fact, FactType};
use crate::policy::duration;
use crate::policy::types::from_text;

/// What a text fact says.
pub(super) fn text_of(basis: &Basis, name: &str, carrier: &Carrier) -> Option<String> {
    let alert = || basis.incident.lead().map(|lead| &lead.alert);
    match carrier {
        Carrier::Document => basis.observation.texts.get(name)?.get().cloned(),
        Carrier::Label(label) => alert()?.labels.get(label).map(str::to_owned),
        Carrier::Annotation(annotation) => alert()?.annotations.get(annotation).map(str::to_owned),
    }
}

pub(super) fn as_number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

/// A number by its place, a duration in milliseconds.
pub(super) fn text_value(text: &str) -> Option<i64> {
    match as_number(text) {
        Some(number) => Some(place(number)),
        None => from_text(text, FactType::Duration).ok().and_then(|_| duration::parse(text.trim()).ok()).map(millis),
    }
}

pub(super) fn set_text(basis: &mut Basis, was: &Basis, (name, carrier): (&str, &Carrier), to: i64) {
    let text = match text_of(was, name, carrier).and_then(|text| as_number(&text)) {
        Some(_) => number(to).to_string(),
        None => duration::format(Duration::from_millis(u64::try_from(to).unwrap_or(0))),
    };
    let Some(lead) = was.incident.lead().map(|lead| lead.alert.occurrence()) else { return };
    match carrier {
        Carrier::Document => {
            let Some(known) = was.observation.texts.get(name) else { return };
            basis.observation.texts.insert(name.to_owned(), Fact { value: Ok(text), ..known.clone() });
        }
        Carrier::Label(label) => basis.incident.members.change(lead, |member| member.alert.labels.insert(label, &text)),
        Carrier::Annotation(annotation) => {
            basis.incident.members.change(lead, |member| member.alert.annotations.insert(annotation, &text));
        }
    }
}

pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// The place of a number among all floating-point numbers: zero is 0, the next greater one 1.
pub(super) fn place(number: f64) -> i64 {
    let bits = number.to_bits().cast_signed();
    if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }
}

/// The number at a place.
pub(super) fn number(place: i64) -> f64 {
    let bits = if place < 0 { i64::MIN.wrapping_sub(place) } else { place };
    f64::from_bits(bits.cast_unsigned())
}
