//! What a file says and nobody carries out yet: named in any case, and refused where something else would be done than it says.

use super::super::diagnostic::Raised;
use super::super::source::At;
use super::super::syntax::{Weight, weight};
use super::super::yaml::Field;
use super::Lower;
use crate::model::Mode;

/// Something that is read and checked, and not carried out.
#[derive(Clone, Debug)]
pub(super) struct Later {
    at: At,
    /// `` `objectives` is``, to be followed by "not carried out yet".
    what: String,
    weight: Weight,
    /// The mode of the rule that it stands in, where that has one.
    cap: Option<Mode>,
}

impl Later {
    /// Its name, where leaving it out would change what is done.
    pub(super) fn changes(&self) -> Option<String> {
        (self.weight == Weight::Changes).then(|| self.what.trim_end_matches(" is").trim_end_matches(" are").to_owned())
    }
}

impl Lower<'_> {
    /// Notes a key that is there and not carried out.
    pub(super) fn later<T>(&self, holder: &'static str, name: &'static str, field: &Field<T>) {
        if let Some(at) = field.at() {
            self.later_at(holder, name, at);
        }
    }

    /// Notes that at this place stands something that is not carried out.
    pub(super) fn later_at(&self, holder: &'static str, name: &'static str, at: At) {
        let Some(weight) = weight(holder, name) else { return };
        let what = match holder {
            "kind" => format!("procedures of the kind `{name}` are"),
            "step" => format!("the step `{name}` is"),
            "target" => format!("`{name}` as a target is"),
            "step `undo`" => format!("`{name}` of the step `undo` is"),
            _ => format!("`{name}` is"),
        };
        self.later.borrow_mut().push(Later { at, what, weight, cap: None });
    }

    /// What was noted since the last call.
    pub(super) fn take_later(&self) -> Vec<Later> {
        self.later.take()
    }

    /// How many were noted: what is noted from here on can be capped.
    pub(super) fn count_later(&self) -> usize {
        self.later.borrow().len()
    }

    /// All that was noted since then stands in a rule with a mode of its own.
    pub(super) fn cap_later(&self, since: usize, mode: Option<Mode>) {
        for later in self.later.borrow_mut().iter_mut().skip(since) {
            later.cap = later.cap.or(mode);
        }
    }

    /// Says it: `who` may act in this mode.
    pub(super) fn say_later(&self, all: &[Later], mode: Mode, who: &str) {
        for Later { at, what, weight, cap } in all {
            let mode = cap.map_or(mode, |cap| cap.min(mode));
            if *weight == Weight::Changes && mode > Mode::Shadow {
                let message = format!("{what} not carried out yet, and {who} in mode `{}` would act without it", mode.as_str());
                self.raise(Raised::error("not-carried-out", *at, message).help("stay in `mode: shadow`, or remove it"));
            } else {
                let message = format!("{what} not carried out yet");
                self.raise(not_carried_out(*at, message, mode).help("it is read and checked, and nothing more"));
            }
        }
    }
}

/// In shadow nothing is carried out in any case: good to know, and nobody need do anything about it.
pub(super) fn not_carried_out(at: At, message: String, mode: Mode) -> Raised {
    let raise = if mode == Mode::Shadow { Raised::note } else { Raised::warning };
    raise("not-carried-out", at, message)
}
