//! What a world may be about: one promise each, and what leads up to its being kept or broken. The details are by chance; what is in the
//! way of a rollback besides is not. Worlds by pure chance seldom get this far.

use super::dice::Dice;
use super::rules::{Mode, Rules, minutes};
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
const ALL: [(&str, Theme); 43] = [
    ("a change long ago", long_ago),
    ("trouble before the change", before_the_change),
    ("one bad release after the other", twice),
    ("two at once, one allowed", two_at_once),
    ("three at once", three_at_once),
    ("it flaps", flaps),
    ("a release too young", too_young),
    ("a release that was left before", left_before),
    ("a release that we put back", put_back),
    ("another object of the same name", same_name),
    ("marked wrong", marked_wrong),
    ("shadow", shadow),
    ("outside of the targets", outside),
    ("owned by others", owned),
    ("a time to stand still", frozen),
    ("paused", paused),
    ("paused in the last minute", paused_late),
    ("a person at work", at_work),
    ("a veto", veto),
    ("somebody has it", acknowledged),
    ("a yes to another plan", another_plan),
    ("a yes, and then a brake", yes_and_brake),
    ("silenced", silenced),
    ("over in time", over_in_time),
    ("again", again),
    ("cut", cut),
    ("another cluster", another_cluster),
    ("old facts", old_facts),
    ("nobody looked", nobody_looked),
    ("peers that cannot tell", mute_peers),
    ("a proof that cannot be seen", unseen_proof),
    ("a write without an answer", no_answer),
    ("a slow commit", slow_commit),
    ("changed at the last moment", late_change),
    ("started again, or answers lost", started_again),
    ("the clock is set", clock_set),
    ("nobody can be told", untold),
    ("a page of several", folded),
    ("inhibited", inhibited),
    ("one peer only", one_peer),
    ("a false word", false_word),
    ("other policies", other_policies),
    ("corrupt data", corrupt),
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

fn long_ago(on: &mut Stage<'_>) {
    on.rules.recent = minutes(10);
    on.stand(1);
    let (t, ago) = (on.begin(), on.dice.number(12, 50));
    let text = format!("at -{ago}m deploy {} {}", on.at(), on.shops[0].image(4));
    on.line(text);
    on.trouble(t, 0);
}

fn before_the_change(on: &mut Stage<'_>) {
    on.stand(1);
    let (t, ago) = (on.begin(), on.dice.number(5, 30));
    on.deploy(t, 0, 4);
    on.errors(t + 45, 0);
    on.alert(t + 60, 0, &format!("{ago}m"));
}

fn twice(on: &mut Stage<'_>) {
    on.rules.cooldown = minutes(60);
    let t = on.bad_release();
    let again = t + on.dice.number(700, 1500);
    on.deploy(again, 0, 3);
}

fn two_at_once(on: &mut Stage<'_>) {
    on.rules.per_hour = 1;
    on.rules.per_target = 1;
    on.rules.per = minutes(720);
    on.stand(2);
    let (t, later) = (on.begin(), on.dice.number(20, 40));
    on.deploy(t, 0, 2);
    on.deploy(t + later, 1, 2);
}

fn three_at_once(on: &mut Stage<'_>) {
    on.rules.storm = if on.dice.one_in(2) { 2 } else { 3 };
    on.stand(3);
    let t = on.begin();
    for shop in 0..3 {
        let later = on.dice.number(0, 60);
        on.deploy(t + later, shop, 2);
    }
}

fn flaps(on: &mut Stage<'_>) {
    on.rules.damped = true;
    on.stand(1);
    let t = on.begin();
    for turn in [t, t + 800] {
        on.alert(turn, 0, "1m");
        let over = turn + on.dice.number(20, 60);
        on.resolve(over, 0);
    }
    let bad = t + on.dice.number(1500, 1900);
    on.deploy(bad, 0, 2);
}

fn too_young(on: &mut Stage<'_>) {
    on.rules.healthy = if on.dice.one_in(2) { minutes(30) } else { minutes(120) };
    on.stand(1);
    let (t, ago) = (on.begin(), on.dice.number(3, 15));
    let text = format!("at -{ago}m deploy {} {}", on.at(), on.shops[0].image(4));
    on.line(text);
    on.deploy(t, 0, 2);
}

/// Rolled back from for one alert, put there again and well for a while; then another one is bad, by another alert.
fn left_before(on: &mut Stage<'_>) {
    on.rules.facts = false;
    on.stand(1);
    let t = on.begin();
    on.deploy(t, 0, 4);
    on.alert(t + 60, 0, "30s");
    let slow = on.shops[0].slow.clone();
    on.line(format!("each verifying +15s resolve {slow}"));
    let again = t + on.dice.number(700, 900);
    let text = format!("at {again}s deploy {} {} by=ann", on.at(), on.shops[0].image(4));
    on.line(text);
    let bad = again + on.dice.number(400, 700);
    on.deploy(bad, 0, 3);
}

fn put_back(on: &mut Stage<'_>) {
    on.stand(1);
    let t = on.begin();
    let text = format!("at -80m deploy {} {}", on.at(), on.shops[0].image(4));
    on.line(text);
    on.deploy(t, 0, 2);
    on.errors(t + 20, 0);
    on.writes_help(0);
    // Once the first incident is closed.
    let again = t + on.dice.number(1300, 1700);
    on.errors(again, 0);
}

/// Between the last look and the write it is deleted and made anew, and looks the same.
fn same_name(on: &mut Stage<'_>) {
    on.bad_release();
    let (at, good, bad) = (on.at(), on.shops[0].image(1), on.shops[0].image(2));
    let (gone, made) = (on.dice.number(1, 40), on.dice.number(50, 150));
    on.line(format!("on executing +{gone}ms delete {at}"));
    on.line(format!("on executing +{made}ms deployment {at} {good}"));
    let changed = made + on.dice.number(150, 300);
    on.line(format!("on executing +{changed}ms deploy {at} {bad}"));
}

fn marked_wrong(on: &mut Stage<'_>) {
    on.stand(2);
    let t = on.begin();
    on.deploy(t, 0, 2);
    on.line("on verified +5s mark wrong".to_owned());
    let later = t + on.dice.number(900, 1300);
    on.deploy(later, 1, 2);
}

fn shadow(on: &mut Stage<'_>) {
    on.rules.mode = Mode::Shadow;
    on.bad_release();
}

fn outside(on: &mut Stage<'_>) {
    on.rules.only = Some("b".to_owned());
    on.bad_release();
}

fn owned(on: &mut Stage<'_>) {
    let at = on.at();
    let owner = match on.dice.one_in(2) {
        true => " meta.helm.sh/release-name=x".to_owned(),
        false => format!(" argocd.argoproj.io/tracking-id=app:apps/Deployment:{at}"),
    };
    on.drawing.owned.push(at);
    on.drawing.stands(&on.shops[0], "-3h", &owner, "critical");
    let t = on.begin();
    on.deploy(t, 0, 2);
}

fn frozen(on: &mut Stage<'_>) {
    on.rules.freeze = Some((on.dice.number(1, 2), on.dice.number(20, 45)));
    on.bad_release();
}

fn paused(on: &mut Stage<'_>) {
    let t = on.bad_release();
    let (at, soon) = (on.at(), t + on.dice.number(0, 80));
    let text = match on.dice.number(0, 3) {
        0 => format!("at {soon}s annotate {at} backout.dev/pause=looking"),
        1 => format!("at {soon}s pause-namespace shop reason=looking"),
        2 => format!("at {soon}s pause global for=20m"),
        _ => format!("at {soon}s pause target/{at} for=20m"),
    };
    on.line(text);
}

/// Nothing tells of it: only who reads everything again sees it.
fn paused_late(on: &mut Stage<'_>) {
    on.bad_release();
    let late = on.dice.number(1, 25);
    on.line(format!("on countdown +{late}s pause-namespace shop reason=looking"));
}

fn at_work(on: &mut Stage<'_>) {
    let t = on.bad_release();
    let (at, good) = (on.at(), on.shops[0].image(1));
    let (from, to) = (on.dice.number(1, 10), on.dice.number(11, 25));
    if on.dice.one_in(2) {
        on.line(format!("on countdown +{from}s veto reason=no"));
        on.line(format!("at {}s deploy {at} {good} by=ann", t + 500));
        let again = t + on.dice.number(1000, 1400);
        on.deploy(again, 0, 3);
    } else {
        on.line(format!("on countdown +{from}s hold {at} by=ann"));
        on.line(format!("on countdown +{to}s let-go {at} by=ann"));
    }
}

fn veto(on: &mut Stage<'_>) {
    on.bad_release();
    let after = on.dice.number(1, 25);
    on.line(format!("on countdown +{after}s veto reason=no"));
}

fn acknowledged(on: &mut Stage<'_>) {
    on.bad_release();
    let after = on.dice.number(1, 25);
    on.line(format!("on countdown +{after}s ack"));
}

fn another_plan(on: &mut Stage<'_>) {
    if on.dice.one_in(2) {
        on.rules.mode = Mode::Approve;
    }
    on.bad_release();
    let after = on.dice.number(1, 25);
    for phase in ["approval", "countdown"] {
        on.line(format!("on {phase} +{after}s approve plan=0123456789abcdef"));
    }
}

fn yes_and_brake(on: &mut Stage<'_>) {
    on.rules.mode = Mode::Approve;
    on.bad_release();
    let at = on.at();
    if on.dice.one_in(2) {
        on.line("on approval +2s pause-namespace shop reason=looking".to_owned());
    } else {
        on.line(format!("on approval +2s hold {at} by=ann"));
        on.line(format!("on approval +6s let-go {at} by=ann"));
    }
    let after = on.dice.number(10, 100);
    on.line(format!("on approval +{after}s approve by=bob"));
}

fn silenced(on: &mut Stage<'_>) {
    let t = on.bad_release();
    let (after, name) = (on.dice.number(1, 20), on.shops[0].errors.clone());
    on.line(format!("on countdown +{after}s silence alertname={name}"));
    on.line(format!("at {}s unsilence", t + 1500));
}

fn over_in_time(on: &mut Stage<'_>) {
    on.rules.facts = false;
    on.rules.countdown = minutes(2);
    on.bad_release();
    let (after, query) = (on.dice.number(1, 60), on.shops[0].query.clone());
    on.line(format!("on countdown +{after}s value {query} 0.001"));
}

/// It fires again, long after it was over.
fn again(on: &mut Stage<'_>) {
    on.stand(1);
    let (t, lasts, later) = (on.begin(), on.dice.number(30, 90), on.dice.number(900, 1000));
    on.alert(t, 0, "1m");
    on.resolve(t + lasts, 0);
    on.alert(t + later, 0, "1m");
    on.resolve(t + later + 1000, 0);
}

fn cut(on: &mut Stage<'_>) {
    on.rules.absence = true;
    on.rules.settle = minutes(1);
    let t = on.bad_release();
    on.alert(t + 30, 0, "5s");
    let (left_out, Shop { slow, labels, .. }) = (on.dice.number(1, 9), &on.shops[0]);
    let text = format!("at {}s post firing {slow} {labels} severity=critical truncated={left_out}", t + 31);
    on.line(text);
    on.resolve(t + 1000, 0);
}

fn another_cluster(on: &mut Stage<'_>) {
    let t = on.bad_release();
    let Shop { slow, labels, .. } = &on.shops[0];
    let text = format!("at {}s alert {slow} {labels} severity=critical cluster=other onset=20s", t + 40);
    on.line(text);
}

fn old_facts(on: &mut Stage<'_>) {
    on.rules.settle = minutes(3);
    let t = on.bad_release();
    let (from, to) = if on.dice.one_in(2) {
        on.rules.facts = true;
        ("lag 2m", "lag 0")
    } else {
        ("down watch", "up watch")
    };
    let after = on.dice.number(25, 70);
    on.line(format!("at {}s {from}", t + after));
    on.line(format!("at {}s {to}", t + 1200));
}

fn nobody_looked(on: &mut Stage<'_>) {
    let t = on.bad_release();
    let (from, back) = (t + on.dice.number(5, 60), t + on.dice.number(400, 600));
    on.line(format!("at {from}s crash"));
    on.line(format!("at {back}s start"));
}

fn mute_peers(on: &mut Stage<'_>) {
    on.stand(1);
    let t = on.begin();
    on.trouble(t, 0);
    on.line(format!("at {}s down alertmanager", t + 300));
    on.line(format!("at {}s up alertmanager", t + 1600));
}

/// It does not help, and nobody can see whether it does.
fn unseen_proof(on: &mut Stage<'_>) {
    let t = on.bad_release();
    on.alert(t + 60, 0, "20s");
    if on.dice.one_in(2) {
        on.rules.proves_alert = true;
        let slow = on.shops[0].slow.clone();
        on.line(format!("on verifying +100ms silence alertname={slow}"));
    } else {
        on.rules.proves_facts = true;
        on.line("on verifying +50ms down prometheus".to_owned());
    }
}

fn no_answer(on: &mut Stage<'_>) {
    on.bad_release();
    let what = on.dice.of(&["lost", "applied", "late=20s", "late=80s"]);
    on.line(format!("doubt {what}"));
}

fn slow_commit(on: &mut Stage<'_>) {
    let t = on.bad_release();
    on.line("on redeciding +50ms store full".to_owned());
    on.line(format!("at {}s store ok", t + 900));
}

/// Between the last look and the write.
fn late_change(on: &mut Stage<'_>) {
    on.bad_release();
    let text = format!("on executing +{}ms scale {} replicas=3 by=hpa", on.dice.number(1, 450), on.at());
    on.line(text);
}

fn started_again(on: &mut Stage<'_>) {
    on.bad_release();
    let after = on.dice.number(2, 25);
    match on.dice.number(0, 2) {
        0 => on.line("on deciding +10ms answer lost of=observed".to_owned()),
        _ => on.line(format!("on countdown +{after}s restart")),
    }
}

fn clock_set(on: &mut Stage<'_>) {
    on.rules.settle = minutes(3);
    let t = on.bad_release();
    let (after, by) = (on.dice.number(120, 200), on.dice.of(&["-1h", "-40m", "1h"]));
    on.line(format!("at {}s clock leaps {by}", t + after));
}

/// No channel takes the page, for a while.
fn untold(on: &mut Stage<'_>) {
    on.stand(1);
    let (t, up) = (on.begin(), on.dice.number(200, 400));
    on.trouble(t, 0);
    on.line(format!("at {t}s down channel"));
    on.line(format!("at {}s up channel", t + up));
}

/// The same is in the way of several at once, and nothing else is ever said of them.
fn folded(on: &mut Stage<'_>) {
    on.rules.beside = false;
    on.rules.facts = false;
    on.rules.storm = 9;
    on.stand(3);
    let t = on.begin();
    for shop in 0..3 {
        let later = on.dice.number(0, 15);
        on.alert(t + later, shop, "1m");
    }
}

fn inhibited(on: &mut Stage<'_>) {
    on.bad_release();
    let (after, name) = (on.dice.number(1, 20), on.shops[0].errors.clone());
    on.line(format!("inhibit Outage {name}"));
    on.line(format!("on countdown +{after}s alert Outage everywhere=yes onset=1m"));
}

/// One peer was started anew, or one is down while the other one was.
fn one_peer(on: &mut Stage<'_>) {
    if on.dice.one_in(2) {
        on.line("peers 1".to_owned());
        on.rules.proves_alert = true;
        on.rules.facts = false;
        let t = on.bad_release();
        on.alert(t + 60, 0, "20s");
        let after = on.dice.number(20, 50);
        on.line(format!("on verifying +{after}s peer-restart peer=0"));
        return;
    }
    on.line("peers 2".to_owned());
    on.rules.facts = false;
    on.rules.countdown = minutes(2);
    on.bad_release();
    // What the other one holds is lost with it: it was cut off for long.
    let after = on.dice.number(1, 20);
    on.line("peer-freeze peer=1".to_owned());
    on.line(format!("on countdown +{after}s down alertmanager:0"));
    on.line(format!("on countdown +{}s up alertmanager:0", after + 900));
}

/// A sender says that it is over, and it is not; or that it fires, and it is over.
fn false_word(on: &mut Stage<'_>) {
    on.rules.settle = minutes(1);
    let t = on.bad_release();
    on.alert(t + 30, 0, "5s");
    on.resolve(t + 1200, 0);
    let Shop { slow, labels, .. } = &on.shops[0];
    let after = on.dice.number(31, 55);
    let text = format!("at {}s post resolved {slow} {labels} severity=critical", t + after);
    on.line(text);
    let late = t + on.dice.number(1300, 1500);
    on.line(format!("at {late}s post firing {slow} {labels} severity=critical"));
}

fn other_policies(on: &mut Stage<'_>) {
    let mut later = on.rules.clone();
    match on.dice.number(0, 3) {
        0 | 1 => later.mode = Mode::Shadow,
        2 => later.only = Some("b".to_owned()),
        _ => later.freeze = Some((0, 50)),
    }
    on.drawing.later = vec![later];
    on.bad_release();
    let (early, late) = (on.dice.number(1, 25), on.dice.number(10, 900));
    let text = match on.dice.one_in(2) {
        true => format!("on countdown +{early}s reload v2"),
        false => format!("on preparing +{late}ms reload v2"),
    };
    on.line(text);
}

/// An alert says that data may be corrupt; long after it a bad release comes.
fn corrupt(on: &mut Stage<'_>) {
    (on.rules.absence, on.rules.latch) = (true, true);
    on.stand(1);
    let t = on.begin();
    let labels = on.shops[0].labels.clone();
    on.line(format!("at {t}s alert CorruptA {labels} kind=corruption severity=critical onset=1m"));
    let over = t + on.dice.number(100, 300);
    on.line(format!("at {over}s resolve CorruptA"));
    if on.dice.one_in(4) {
        on.line(format!("at {}s clear latch=1 by=bob", t + 800));
    }
    let bad = t + on.dice.number(1000, 1400);
    on.deploy(bad, 0, 2);
}
