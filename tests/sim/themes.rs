//! What a world may be about: one promise each, and what leads up to its being kept or broken. The details are by chance; what is in the
//! way of a rollback besides is not. Worlds by pure chance seldom get this far.

mod outside;
mod people;
mod releases;

use super::dice::Dice;
use super::rules::Rules;
use super::world::{Drawing, Shop};

/// Where a world is put together.
pub(crate) struct Stage<'a> {
    pub(crate) dice: &'a mut Dice,
    pub(crate) rules: &'a mut Rules,
    pub(crate) drawing: &'a mut Drawing,
    pub(crate) shops: &'a [Shop],
}

/// Draws what a world is about.
pub(crate) type Theme = fn(&mut Stage<'_>);

/// All of them.
const ALL: [(&str, Theme); 44] = [
    ("a change long ago", releases::long_ago),
    ("trouble before the change", releases::before_the_change),
    ("one bad release after the other", releases::twice),
    ("two at once, one allowed", releases::two_at_once),
    ("three at once", releases::three_at_once),
    ("it flaps", releases::flaps),
    ("a release too young", releases::too_young),
    ("a release that was left before", releases::left_before),
    ("a release that we put back", releases::put_back),
    ("another object of the same name", releases::same_name),
    ("marked wrong", people::marked_wrong),
    ("shadow", people::shadow),
    ("outside of the targets", people::outside),
    ("owned by others", people::owned),
    ("a time to stand still", people::frozen),
    ("paused", people::paused),
    ("paused in the last minute", people::paused_late),
    ("a person at work", people::at_work),
    ("a veto", people::veto),
    ("somebody has it", people::acknowledged),
    ("a yes to another plan", people::another_plan),
    ("a yes, and then a brake", people::yes_and_brake),
    ("a yes long ago", people::yes_long_ago),
    ("silenced", outside::silenced),
    ("over in time", outside::over_in_time),
    ("again", outside::again),
    ("cut", outside::cut),
    ("another cluster", outside::another_cluster),
    ("old facts", outside::old_facts),
    ("nobody looked", outside::nobody_looked),
    ("peers that cannot tell", outside::mute_peers),
    ("a proof that cannot be seen", outside::unseen_proof),
    ("a write without an answer", outside::no_answer),
    ("a slow commit", outside::slow_commit),
    ("changed at the last moment", outside::late_change),
    ("started again, or answers lost", outside::started_again),
    ("the clock is set", outside::clock_set),
    ("nobody can be told", outside::untold),
    ("a page of several", outside::folded),
    ("inhibited", outside::inhibited),
    ("one peer only", outside::one_peer),
    ("a false word", outside::false_word),
    ("other policies", outside::other_policies),
    ("corrupt data", outside::corrupt),
];

/// What the world of a seed is about, if it is about anything.
pub(crate) fn of(seed: u64) -> Option<(&'static str, Theme)> {
    let turn = usize::try_from(seed / 2).unwrap_or(0) % ALL.len();
    (seed % 2 == 1).then(|| ALL[turn])
}

impl Stage<'_> {
    fn line(&mut self, text: String) {
        self.drawing.line(text);
    }

    /// So many workloads that have run well for hours.
    fn stand(&mut self, many: usize) {
        let severity = self.dice.of(&["critical", "warning"]);
        for shop in &self.shops[..many] {
            self.drawing.stands(shop, "-3h", "", severity);
        }
    }

    /// When it begins.
    fn begin(&mut self) -> u64 {
        self.dice.number(60, 300)
    }

    /// A release: `2` and `3` make errors, and their alert fires a minute and a half after.
    fn deploy(&mut self, at: u64, shop: usize, number: u64) {
        self.drawing.deploy(at, &self.shops[shop], number);
    }

    /// A bad release on the first workload.
    fn bad_release(&mut self) -> u64 {
        self.stand(1);
        let t = self.begin();
        self.deploy(t, 0, 2);
        t
    }

    /// Errors, whatever runs there.
    fn errors(&mut self, at: u64, shop: usize) {
        let text = format!("at {at}s value {} 0.6", self.shops[shop].query);
        self.line(text);
    }

    /// A write helps against them.
    fn writes_help(&mut self, shop: usize) {
        let text = format!("each verifying +15s value {} 0.001", self.shops[shop].query);
        self.line(text);
    }

    /// An alert that no rule makes, whose condition began so long before.
    fn alert(&mut self, at: u64, shop: usize, onset: &str) {
        let Shop { slow, labels, .. } = &self.shops[shop];
        let text = format!("at {at}s alert {slow} {labels} severity=critical onset={onset} tail=1m");
        self.line(text);
    }

    fn resolve(&mut self, at: u64, shop: usize) {
        self.drawing.resolve(at, &self.shops[shop].slow);
    }

    /// Trouble that no release made.
    fn trouble(&mut self, at: u64, shop: usize) {
        self.errors(at, shop);
        self.alert(at + 25, shop, "10s");
    }

    fn at(&self) -> String {
        self.shops[0].at.clone()
    }
}
