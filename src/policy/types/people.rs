//! What concerns people: announcements and their words, objectives.

use std::time::Duration;

use super::super::matcher::Matcher;
use super::super::template::Template;
use crate::model::Moment;

/// Who is told at which moments.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// The moments.
    pub at: Vec<Moment>,
    /// Channels by name; never empty.
    pub to: Vec<String>,
    /// The message's name; without it, our own words.
    pub message: Option<String>,
}

/// Words for announcements.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageWords {
    /// One line.
    pub title: Template,
    /// What happened; our own words without it.
    pub text: Option<Template>,
}

/// How soon things should be over.
#[derive(Clone, Debug, PartialEq)]
pub struct Objectives {
    /// Which alerts they are for; empty: every one.
    pub matchers: Vec<Matcher>,
    /// What is bounded, by the key of the language, and by what.
    pub limits: Vec<(&'static str, Duration)>,
}
