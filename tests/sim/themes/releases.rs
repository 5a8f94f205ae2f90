//! About releases: which one is gone back to, how soon after another rollback, and on which object.

use super::Stage;
use crate::rules::minutes;

pub(super) fn long_ago(on: &mut Stage<'_>) {
    on.rules.recent = minutes(10);
    on.stand(1);
    let (t, ago) = (on.begin(), on.dice.number(12, 50));
    let text = format!("at -{ago}m deploy {} {}", on.at(), on.shops[0].image(4));
    on.line(text);
    on.trouble(t, 0);
}

pub(super) fn before_the_change(on: &mut Stage<'_>) {
    on.stand(1);
    let (t, ago) = (on.begin(), on.dice.number(5, 30));
    on.deploy(t, 0, 4);
    on.errors(t + 45, 0);
    on.alert(t + 60, 0, &format!("{ago}m"));
}

pub(super) fn twice(on: &mut Stage<'_>) {
    on.rules.cooldown = minutes(60);
    let t = on.bad_release();
    let again = t + on.dice.number(700, 1500);
    on.deploy(again, 0, 3);
}

pub(super) fn two_at_once(on: &mut Stage<'_>) {
    on.rules.per_hour = 1;
    on.rules.per_target = 1;
    on.rules.per = minutes(720);
    on.stand(2);
    let (t, later) = (on.begin(), on.dice.number(20, 40));
    on.deploy(t, 0, 2);
    on.deploy(t + later, 1, 2);
}

pub(super) fn three_at_once(on: &mut Stage<'_>) {
    on.rules.storm = if on.dice.one_in(2) { 2 } else { 3 };
    on.stand(3);
    let t = on.begin();
    for shop in 0..3 {
        let later = on.dice.number(0, 60);
        on.deploy(t + later, shop, 2);
    }
}

pub(super) fn flaps(on: &mut Stage<'_>) {
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

pub(super) fn too_young(on: &mut Stage<'_>) {
    on.rules.healthy = if on.dice.one_in(2) { minutes(30) } else { minutes(120) };
    on.stand(1);
    let (t, ago) = (on.begin(), on.dice.number(3, 15));
    let text = format!("at -{ago}m deploy {} {}", on.at(), on.shops[0].image(4));
    on.line(text);
    on.deploy(t, 0, 2);
}

/// Rolled back from for one alert, put there again and well for a while; then another one is bad, by another alert.
pub(super) fn left_before(on: &mut Stage<'_>) {
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

pub(super) fn put_back(on: &mut Stage<'_>) {
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
pub(super) fn same_name(on: &mut Stage<'_>) {
    on.bad_release();
    let (at, good, bad) = (on.at(), on.shops[0].image(1), on.shops[0].image(2));
    let (gone, made) = (on.dice.number(1, 40), on.dice.number(50, 150));
    on.line(format!("on executing +{gone}ms delete {at}"));
    on.line(format!("on executing +{made}ms deployment {at} {good}"));
    let changed = made + on.dice.number(150, 300);
    on.line(format!("on executing +{changed}ms deploy {at} {bad}"));
}
