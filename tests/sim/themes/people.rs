//! About people: what they own, pause, veto, approve or put there themselves.

use super::Stage;
use crate::rules::Mode;

pub(super) fn marked_wrong(on: &mut Stage<'_>) {
    on.stand(2);
    let t = on.begin();
    on.deploy(t, 0, 2);
    on.line("on verified +5s mark wrong".to_owned());
    let later = t + on.dice.number(900, 1300);
    on.deploy(later, 1, 2);
}

pub(super) fn shadow(on: &mut Stage<'_>) {
    on.rules.mode = Mode::Shadow;
    on.bad_release();
}

pub(super) fn outside(on: &mut Stage<'_>) {
    on.rules.only = Some("b".to_owned());
    on.bad_release();
}

pub(super) fn owned(on: &mut Stage<'_>) {
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

pub(super) fn frozen(on: &mut Stage<'_>) {
    on.rules.freeze = Some((on.dice.number(1, 2), on.dice.number(20, 45)));
    on.bad_release();
}

pub(super) fn paused(on: &mut Stage<'_>) {
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
pub(super) fn paused_late(on: &mut Stage<'_>) {
    on.bad_release();
    let late = on.dice.number(1, 25);
    on.line(format!("on countdown +{late}s pause-namespace shop reason=looking"));
}

pub(super) fn at_work(on: &mut Stage<'_>) {
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

pub(super) fn veto(on: &mut Stage<'_>) {
    on.bad_release();
    let after = on.dice.number(1, 25);
    on.line(format!("on countdown +{after}s veto reason=no"));
}

pub(super) fn acknowledged(on: &mut Stage<'_>) {
    on.bad_release();
    let after = on.dice.number(1, 25);
    on.line(format!("on countdown +{after}s ack"));
}

pub(super) fn another_plan(on: &mut Stage<'_>) {
    if on.dice.one_in(2) {
        on.rules.mode = Mode::Approve;
    }
    on.bad_release();
    let after = on.dice.number(1, 25);
    for phase in ["approval", "countdown"] {
        on.line(format!("on {phase} +{after}s approve plan=0123456789abcdef"));
    }
}

pub(super) fn yes_and_brake(on: &mut Stage<'_>) {
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

/// The process dies between the yes and the write, and stays away.
pub(super) fn yes_long_ago(on: &mut Stage<'_>) {
    on.rules.mode = Mode::Approve;
    on.bad_release();
    let after = on.dice.number(2, 60);
    on.line(format!("on approval +{after}s approve by=bob"));
    on.line("on preparing +200ms crash".to_owned());
    let away = on.dice.number(300, 1800);
    on.line(format!("on preparing +{away}s start"));
}
