//! The demo's world: two services, their errors, and the rules that watch them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Labels, TargetRef, Time};
use crate::simulate::{NewDeployment, Rule, Series, World};

/// The images of the first story: what runs when we come, what is deployed under our eyes, and what breaks.
pub(super) const OLD: &str = "registry.example/checkout:1.4.1";
pub(super) const GOOD: &str = "registry.example/checkout:1.4.2";
pub(super) const BAD: &str = "registry.example/checkout:1.5.0";

/// How long both services have been running when the demo begins.
const BEFORE: Duration = Duration::from_secs(3 * 60 * 60);

/// Both services have been running for hours, and nothing is wrong.
pub(super) fn new(now: Time) -> World {
    let mut world = World::new(now - BEFORE, 2);
    world.add_channel("people");
    world.set_grouping(Duration::from_secs(5), Duration::from_secs(30));
    for (name, image) in [("checkout", OLD), ("payments", "registry.example/payments:7.0.1")] {
        world.create(&deployment(name, image), "ci");
        world.add_rule(Rule {
            labels: labels(name),
            query: errors(name),
            above: 0.1,
            hold: Duration::from_secs(60),
            keep: Duration::ZERO,
        });
    }
    let by_image = BTreeMap::from([(GOOD.to_owned(), 0.001), (BAD.to_owned(), 0.42)]);
    let of = target("checkout");
    world.add_series(&errors("checkout"), Series { of, by_image, otherwise: 0.001, look_back: Duration::from_secs(60) });
    world.set_value(&errors("payments"), Some(0.002));
    world.advance(now);
    // We come only now: what was said before is unheard, and the watch begins with a list.
    world.take_emitted();
    world.reconnect();
    world
}

/// The target of that name.
pub(super) fn target(name: &str) -> TargetRef {
    TargetRef { kind: crate::model::WorkloadKind::Deployment, namespace: "shop".to_owned(), name: name.to_owned() }
}

/// The query for a service's errors, as the policy asks it.
pub(super) fn errors(name: &str) -> String {
    format!("app:errors:ratio{{namespace=\"shop\",app=\"{name}\"}}")
}

fn labels(name: &str) -> Labels {
    let pairs = [("alertname", "HighErrorRate"), ("namespace", "shop"), ("deployment", name), ("severity", "critical")];
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn deployment(name: &str, image: &str) -> NewDeployment {
    NewDeployment {
        at: target(name),
        image: image.to_owned(),
        replicas: 3,
        ready_after: Duration::from_secs(8),
        history_limit: 10,
        recreate: false,
        annotations: BTreeMap::new(),
        labels: BTreeMap::new(),
        template_annotations: BTreeMap::new(),
        config_map: None,
    }
}
