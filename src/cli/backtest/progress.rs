//! How far it is, on a terminal: a bar on stderr with the time that is left.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::model::Time;

/// A bar, shown only where stderr is a terminal.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new(0);
        // The template is a constant: if it were wrong the bar would look plain.
        if let Ok(style) = ProgressStyle::with_template("{msg:>16} [{bar:40}] {percent:>3} %, {eta} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    /// So many answers of all are there.
    pub(super) fn downloaded(&self, done: u64, all: u64) {
        self.show("downloading", done, all);
    }

    /// The virtual time.
    pub(super) fn lived(&self, begin: Time, end: Time, at: Time) {
        self.show("living through it", at.since(begin).as_secs(), end.since(begin).as_secs());
    }

    /// The bar goes away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self, what: &'static str, done: u64, all: u64) {
        if self.bar.message() != what {
            self.bar.set_message(what);
            self.bar.reset();
        }
        self.bar.set_length(all);
        self.bar.set_position(done);
    }
}
