//! What was so when: a value that changes at times.

use std::time::Duration;

use backout::model::Time;

/// A value that changes at times; it holds from its time on.
#[derive(Clone, Debug)]
pub(crate) struct Track<T> {
    first: T,
    steps: Vec<(Time, T)>,
}

impl<T: Clone + PartialEq> Track<T> {
    pub(crate) fn new(first: T) -> Self {
        Self { first, steps: Vec::new() }
    }

    /// From then on it is this. Times never go back.
    pub(crate) fn set(&mut self, at: Time, value: T) {
        self.steps.push((at, value));
    }

    pub(crate) fn at(&self, at: Time) -> &T {
        self.steps.iter().rev().find(|(since, _)| *since <= at).map_or(&self.first, |(_, value)| value)
    }

    /// Every value that it had between the two times, both included.
    pub(crate) fn within(&self, from: Time, to: Time) -> Vec<&T> {
        let later = self.steps.iter().filter(|(at, _)| from < *at && *at <= to).map(|(_, value)| value);
        std::iter::once(self.at(from)).chain(later).collect()
    }

    /// Whether it was so all the time.
    pub(crate) fn always(&self, (from, to): (Time, Time), is: impl Fn(&T) -> bool) -> bool {
        self.within(from, to).into_iter().all(is)
    }

    /// The pieces between two times.
    pub(crate) fn pieces(&self, from: Time, to: Time) -> Vec<(Time, Time, &T)> {
        let mut pieces = Vec::new();
        let (mut since, mut value) = (from, self.at(from));
        for (at, next) in self.steps.iter().filter(|(at, _)| from < *at && *at < to) {
            pieces.push((since, *at, value));
            (since, value) = (*at, next);
        }
        if since < to {
            pieces.push((since, to, value));
        }
        pieces
    }

    /// The times at which it changed.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Time> {
        self.steps.iter().map(|(at, _)| *at)
    }
}

impl Track<bool> {
    /// For how long it was so between two times.
    pub(crate) fn lasting(&self, from: Time, to: Time) -> Duration {
        self.pieces(from, to).into_iter().filter(|(_, _, is)| **is).map(|(from, to, _)| to.since(from)).sum()
    }
}
