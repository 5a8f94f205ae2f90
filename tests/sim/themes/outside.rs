//! About what others say, and what fails: alerts, peers, facts, channels, the journal, the clock.

use super::Stage;
use crate::rules::{Mode, minutes};
use crate::world::Shop;

pub(super) fn silenced(on: &mut Stage<'_>) {
    let t = on.bad_release();
    let (after, name) = (on.dice.number(1, 20), on.shops[0].errors.clone());
    on.line(format!("on countdown +{after}s silence alertname={name}"));
    on.line(format!("at {}s unsilence", t + 1500));
}

pub(super) fn over_in_time(on: &mut Stage<'_>) {
    on.rules.facts = false;
    on.rules.countdown = minutes(2);
    on.bad_release();
    let (after, query) = (on.dice.number(1, 60), on.shops[0].query.clone());
    on.line(format!("on countdown +{after}s value {query} 0.001"));
}

/// It fires again, long after it was over.
pub(super) fn again(on: &mut Stage<'_>) {
    on.stand(1);
    let (t, lasts, later) = (on.begin(), on.dice.number(30, 90), on.dice.number(900, 1000));
    on.alert(t, 0, "1m");
    on.resolve(t + lasts, 0);
    on.alert(t + later, 0, "1m");
    on.resolve(t + later + 1000, 0);
}

pub(super) fn cut(on: &mut Stage<'_>) {
    on.rules.absence = true;
    on.rules.settle = minutes(1);
    let t = on.bad_release();
    on.alert(t + 30, 0, "5s");
    let (left_out, Shop { slow, labels, .. }) = (on.dice.number(1, 9), &on.shops[0]);
    let text = format!("at {}s post firing {slow} {labels} severity=critical truncated={left_out}", t + 31);
    on.line(text);
    on.resolve(t + 1000, 0);
}

pub(super) fn another_cluster(on: &mut Stage<'_>) {
    let t = on.bad_release();
    let Shop { slow, labels, .. } = &on.shops[0];
    let text = format!("at {}s alert {slow} {labels} severity=critical cluster=other onset=20s", t + 40);
    on.line(text);
}

pub(super) fn old_facts(on: &mut Stage<'_>) {
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

pub(super) fn nobody_looked(on: &mut Stage<'_>) {
    let t = on.bad_release();
    let (from, back) = (t + on.dice.number(5, 60), t + on.dice.number(400, 600));
    on.line(format!("at {from}s crash"));
    on.line(format!("at {back}s start"));
}

pub(super) fn mute_peers(on: &mut Stage<'_>) {
    on.stand(1);
    let t = on.begin();
    on.trouble(t, 0);
    on.line(format!("at {}s down alertmanager", t + 300));
    on.line(format!("at {}s up alertmanager", t + 1600));
}

/// It does not help, and nobody can see whether it does.
pub(super) fn unseen_proof(on: &mut Stage<'_>) {
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

pub(super) fn no_answer(on: &mut Stage<'_>) {
    on.bad_release();
    let what = on.dice.of(&["lost", "applied", "late=20s", "late=80s"]);
    on.line(format!("doubt {what}"));
}

pub(super) fn slow_commit(on: &mut Stage<'_>) {
    let t = on.bad_release();
    on.line("on redeciding +50ms store full".to_owned());
    on.line(format!("at {}s store ok", t + 900));
}

/// Between the last look and the write.
pub(super) fn late_change(on: &mut Stage<'_>) {
    on.bad_release();
    let text = format!("on executing +{}ms scale {} replicas=3 by=hpa", on.dice.number(1, 450), on.at());
    on.line(text);
}

pub(super) fn started_again(on: &mut Stage<'_>) {
    on.bad_release();
    let after = on.dice.number(2, 25);
    match on.dice.number(0, 2) {
        0 => on.line("on deciding +10ms answer lost of=observed".to_owned()),
        _ => on.line(format!("on countdown +{after}s restart")),
    }
}

pub(super) fn clock_set(on: &mut Stage<'_>) {
    on.rules.settle = minutes(3);
    let t = on.bad_release();
    let (after, by) = (on.dice.number(120, 200), on.dice.of(&["-1h", "-40m", "1h"]));
    on.line(format!("at {}s clock leaps {by}", t + after));
}

/// No channel takes the page, for a while.
pub(super) fn untold(on: &mut Stage<'_>) {
    if on.dice.one_in(2) {
        // It is all over before anybody can hear of it.
        on.bad_release();
        on.line("on executing +100ms down channel".to_owned());
        let up = on.dice.number(1700, 2000);
        on.line(format!("on executing +{up}s up channel"));
        return;
    }
    on.stand(1);
    let (t, up) = (on.begin(), on.dice.number(200, 400));
    on.trouble(t, 0);
    on.line(format!("at {t}s down channel"));
    on.line(format!("at {}s up channel", t + up));
}

/// The same is in the way of several at once, and nothing else is ever said of them.
pub(super) fn folded(on: &mut Stage<'_>) {
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

pub(super) fn inhibited(on: &mut Stage<'_>) {
    on.bad_release();
    let (after, name) = (on.dice.number(1, 20), on.shops[0].errors.clone());
    on.line(format!("inhibit Outage {name}"));
    on.line(format!("on countdown +{after}s alert Outage everywhere=yes onset=1m"));
}

/// One peer was started anew, or one is down while the other one was.
pub(super) fn one_peer(on: &mut Stage<'_>) {
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
pub(super) fn false_word(on: &mut Stage<'_>) {
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

pub(super) fn other_policies(on: &mut Stage<'_>) {
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
pub(super) fn corrupt(on: &mut Stage<'_>) {
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
