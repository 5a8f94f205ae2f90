//! The production brain behind `explain`, over hands that count what they are asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use super::brain::{self, Explained};
use super::{hands, markdown, show, template};
use crate::cli::output::{Format, Output};
use crate::decide::book::Book;
use crate::decide::decision::Grip;
use crate::decide::effect::Heard;
use crate::decide::incident::{Lane, Phase};
use crate::decide::limits::Limits;
use crate::decide::memory::Memory;
use crate::engine::Hands;
use crate::journal::record::{Record, Stamped};
use crate::model::{
    Alert, Applied, Brake, Delivery, Digest, Evidence, Fact, Guard, HttpCheck, HttpFact, HttpResult, IncidentId, Lookup, Message,
    Notification, Number, Onset, Outcome, Owner, Plan, PreflightReport, Reason, ReplicaSetSeen, Replicas, Resolution,
    RolloutStatus, Source, Strategy, TailSource, TargetId, TargetRef, Time, WatchEvent, Workload,
};
use crate::policy::types::Policies;
use crate::policy::{SourceFile, load};
use crate::ports::{Clock, Cluster, HttpProbe, Notifier, Prometheus};

const NOW: Time = Time::from_millis(1_800_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Time {
        NOW
    }

    fn sleep_until(&self, _: Time) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

/// A world in which a bad release went out half an hour ago; whoever writes or speaks in it fails the test.
#[derive(Default)]
struct World {
    reads: AtomicUsize,
}

fn digest(name: &str) -> Digest {
    Digest(format!("v1:{}", name.repeat(64)))
}

fn replica_set(name: &str, revision: u64, age: Duration, pods: i32) -> ReplicaSetSeen {
    ReplicaSetSeen {
        name: format!("web-{name}"),
        uid: format!("uid-{name}"),
        digest: digest(name),
        revision,
        created_at: NOW - age,
        desired: pods,
        available: pods,
        images: vec![format!("web:{name}")],
        image_digests: BTreeMap::new(),
        data_barrier: None,
    }
}

fn workload() -> Workload {
    let at = TargetRef::deployment("shop", "web").expect("a name");
    Workload {
        id: TargetId { at, uid: "u1".to_owned() },
        generation: 7,
        observed_generation: 7,
        replicas: Replicas { desired: 3, total: 3, updated: 3, available: 3 },
        paused: false,
        strategy: Strategy::Rolling,
        release: digest("b"),
        images: vec!["web:b".to_owned()],
        landed_at: Some(NOW - 29 * MINUTE),
        owner: Owner::Plain,
        pause: None,
        writes: Vec::new(),
        last_rollback: None,
        replica_sets: vec![replica_set("a", 1, 1000 * MINUTE, 0), replica_set("b", 2, 30 * MINUTE, 3)],
        migrations: Ok(Vec::new()),
    }
}

impl Cluster for World {
    fn resolve(&self, _: Lookup) -> BoxFuture<'_, Resolution> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        ready(Resolution::Found { workload: Box::new(workload()) }).boxed()
    }

    fn observe(&self, _: TargetId) -> BoxFuture<'_, Resolution> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        ready(Resolution::Found { workload: Box::new(workload()) }).boxed()
    }

    fn preflight(&self, _: Plan, _: Guard) -> BoxFuture<'_, PreflightReport> {
        panic!("explain prepares nothing")
    }

    fn evidence(&self, _: Plan) -> BoxFuture<'_, Evidence> {
        panic!("explain collects nothing")
    }

    fn apply(&self, _: Plan, _: usize, _: Guard) -> BoxFuture<'_, Applied> {
        panic!("explain writes nothing")
    }

    fn rollout(&self, _: TargetId, _: Digest) -> BoxFuture<'_, RolloutStatus> {
        panic!("explain proves nothing")
    }

    fn event(&self, _: TargetId, _: IncidentId, _: &'static str, _: String) -> BoxFuture<'_, ()> {
        panic!("explain leaves no trace")
    }

    fn watch_heard_at(&self) -> Option<Time> {
        Some(NOW)
    }
}

impl Notifier for World {
    fn deliver(&self, _: Message) -> BoxFuture<'_, Delivery> {
        panic!("explain tells nobody")
    }

    fn close_page(&self, _: Option<IncidentId>) -> BoxFuture<'_, ()> {
        panic!("explain tells nobody")
    }
}

impl Prometheus for World {
    fn query_at(&self, promql: String, _: Time) -> BoxFuture<'_, Fact<Number>> {
        self.query(promql)
    }

    fn query(&self, promql: String) -> BoxFuture<'_, Fact<Number>> {
        assert!(promql.contains("shop"), "{promql}");
        let number = Number::try_from(0.62).expect("finite");
        ready(Fact::known(number, NOW - Duration::from_secs(12), "prometheus http://prometheus")).boxed()
    }

    fn onset(&self, _: Alert) -> BoxFuture<'_, Onset> {
        ready(Onset { at: Ok(NOW - 10 * MINUTE), source: "ALERTS_FOR_STATE".to_owned() }).boxed()
    }

    fn evaluated_at(&self) -> BoxFuture<'_, Fact<Time>> {
        ready(Fact::known(NOW, NOW, "prometheus")).boxed()
    }

    fn tail(&self, _: String) -> BoxFuture<'_, Option<TailSource>> {
        ready(None).boxed()
    }
}

impl HttpProbe for World {
    fn check(&self, _: HttpCheck) -> BoxFuture<'_, HttpResult> {
        panic!("explain proves nothing")
    }

    fn fetch(&self, what: HttpFact) -> BoxFuture<'_, Fact<String>> {
        panic!("no policy here asks {}", what.url)
    }
}

fn policies(text: &str) -> Policies {
    let files = [SourceFile { path: "shop.yaml".to_owned(), bytes: text.as_bytes().to_vec() }];
    load(&files, true).unwrap_or_else(|found| panic!("{}", crate::policy::diagnostic::to_text(&found))).policies
}

fn alert(labels: &[(&str, &str)]) -> Notification {
    let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    let started = (NOW - 9 * MINUTE).to_string();
    let body = serde_json::json!({ "version": "4", "alerts": [{ "labels": labels, "startsAt": started }] });
    crate::journal::receipt::read(Source::Alertmanager, body.to_string().as_bytes(), NOW).expect("an alert")
}

const SHOP: [(&str, &str); 4] =
    [("alertname", "HighErrorRate"), ("namespace", "shop"), ("deployment", "web"), ("severity", "critical")];

async fn explain(world: &Arc<World>, policies: &Policies, with_cluster: bool, notification: Notification) -> Explained {
    explain_with(world, policies, with_cluster, notification, None).await
}

async fn explain_with(
    world: &Arc<World>,
    policies: &Policies,
    with_cluster: bool,
    notification: Notification,
    memory: Option<&Memory>,
) -> Explained {
    let clock: Arc<dyn Clock> = Arc::new(Stopped);
    let hands = Hands {
        cluster: with_cluster.then(|| Arc::clone(world) as Arc<dyn Cluster>),
        prometheus: Some(world.clone()),
        alertmanagers: Arc::new(hands::Supposed::new(notification.alerts.clone(), Arc::clone(&clock))),
        probe: world.clone(),
        notifier: world.clone(),
        clock,
    };
    let targets = brain::targets(policies, Some("prod"), &hands, notification.clone()).await.expect("no defect");
    let memory = memory.map(|memory| (memory, &targets));
    brain::explain(policies, Some("prod"), &hands, notification, memory).await.expect("no defect")
}

/// What a service remembers that watched the target for a day, and never slept.
fn memory() -> Memory {
    let mut book = Book::default();
    let mut fold = |at: Time, record: Record| book.fold(&Stamped { at, record }).expect("it fits");
    fold(NOW - 1000 * MINUTE, Record::Started { program: "test".to_owned() });
    let event = |release: &str, since: u32, available: bool| WatchEvent {
        target: workload().id,
        release: digest(release),
        images: vec![format!("web:{release}")],
        replica_set: Some(format!("web-{release}")),
        first_write: NOW - since * MINUTE,
        by: Some("ci".to_owned()),
        by_us: false,
        available,
        relearned: false,
        landed_at: None,
        gone: false,
    };
    for minute in (0..1000).rev() {
        let watched = match minute {
            999 => Record::Watched { event: Box::new(event("a", 1000, true)) },
            30 => Record::Watched { event: Box::new(event("b", 30, false)) },
            29 => Record::Watched { event: Box::new(event("b", 30, true)) },
            _ => Record::Alive,
        };
        fold(NOW - minute * MINUTE, watched);
    }
    Memory { book, at: NOW, limits: Limits::default(), cluster: Some("prod".to_owned()), cut: false }
}

#[tokio::test]
async fn with_what_a_service_remembers_no_brake_holds() {
    let (world, policies) = (Arc::new(World::default()), policies(POLICIES));
    let memory = memory();
    let explained = explain_with(&world, &policies, true, alert(&SHOP), Some(&memory)).await;
    let shadow = &explained.incidents[1];
    let decision = shadow.decision.as_ref().expect("a decision");
    assert_eq!((decision.outcome, decision.reason), (Outcome::Rollback, Reason::Rule), "{:#?}", decision.brakes);
    assert!(decision.brakes.iter().all(|judgement| !judgement.holds()), "{:#?}", decision.brakes);
    assert!(explained.known.is_empty());
}

#[tokio::test]
async fn what_is_open_on_the_target_is_decided_anew_and_nothing_else_moves() {
    let (world, policies) = (Arc::new(World::default()), policies(POLICIES));
    let mut memory = memory();
    // What an explanation came to stands for what the service has open; beside it, something on another target that is due.
    let first = explain_with(&world, &policies, true, alert(&SHOP), Some(&memory)).await;
    for incident in &first.incidents {
        memory.book.incidents.insert(incident.id.clone(), incident.clone());
    }
    let mut other = first.incidents[0].clone();
    other.id = IncidentId("i000000000000".to_owned());
    other.target = other.target.map(|target| TargetId { at: TargetRef::deployment("shop", "other").expect("a name"), ..target });
    other.phase = Phase::Deciding { since: NOW - 9 * MINUTE };
    memory.book.incidents.insert(other.id.clone(), other.clone());

    let again = explain_with(&world, &policies, true, alert(&SHOP), Some(&memory)).await;
    let ids = |explained: &Explained| explained.incidents.iter().map(|incident| incident.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&first), "the very incidents");
    assert_eq!(again.known.values().copied().collect::<std::collections::BTreeSet<_>>(), ["approval", "shadowed"].into());
    for (before, after) in first.incidents.iter().zip(&again.incidents) {
        let plan = |incident: &crate::decide::incident::Incident| incident.plan.as_deref().map(Plan::hash);
        assert_eq!((plan(before), &before.phase), (plan(after), &after.phase));
    }
    let mut text = Output::new(Format::Text).text();
    show::write(&again, &[], &mut text);
    assert!(text.as_str().contains("is open and `shadowed`; decided anew, now:"), "{}", text.as_str());
}

const POLICIES: &str = r#"
policies:
  - name: tried
    matchers: ['namespace = "shop"']
    for: 5m
    facts: {errors: {promql: 'errors{namespace="$namespace"}'}}
    decide:
      - {name: never, when: 'facts.errors > 0.9', page: {}}
      - {name: many-errors, when: 'facts.errors > 0.5', rollback: undo}
  - name: acting
    matchers: ['namespace = "shop"']
    mode: enforce
    paging: in_front
    targets: ['shop/*']
    brakes: {quiet_start: {disabled: 'for the test'}}
    decide: [{rollback: quick}]
procedures:
  - {name: quick, countdown: 0s, mode: approve, steps: [undo]}
"#;

#[tokio::test]
async fn every_lane_gets_a_verdict_and_nothing_is_done() {
    let (world, policies) = (Arc::new(World::default()), policies(POLICIES));
    let explained = explain(&world, &policies, true, alert(&SHOP)).await;
    assert_eq!(explained.heard[0].1, Heard::News);
    let [live, shadow] = &explained.incidents[..] else { panic!("{} incidents", explained.incidents.len()) };
    assert_eq!((&live.lane, &shadow.lane), (&Lane::Live, &Lane::Shadow("tried".to_owned())));

    let decision = shadow.decision.as_ref().expect("a decision");
    assert_eq!((decision.outcome, decision.reason, decision.brake), (Outcome::Page, Reason::BrakeHeld, Some(Brake::QuietStart)));
    let holding: Vec<Brake> = decision.brakes.iter().filter(|j| j.holds()).map(|j| j.brake).collect();
    assert_eq!(holding, [Brake::QuietStart], "{:#?}", decision.brakes);
    assert_eq!(decision.brakes.len(), Brake::ALL.len());
    assert_eq!(decision.rules.len(), 2);
    let plan = decision.plan.as_ref().expect("a held plan is shown, too");
    assert_eq!((&plan.from.digest, &plan.to.digest), (&digest("b"), &digest("a")));

    let decision = live.decision.as_ref().expect("a decision");
    assert_eq!((decision.outcome, decision.reason), (Outcome::Rollback, Reason::Rule), "{}", decision.summary);
    assert!(decision.brakes.iter().any(|j| j.brake == Brake::QuietStart && matches!(j.grip, Grip::Off(_))));
    assert!(live.attempts.is_empty() && matches!(live.phase, Phase::Approval { .. }), "{:?}", live.phase);
    assert!(world.reads.load(Ordering::Relaxed) <= 8, "a look-up and a few reads for each lane");
}

#[tokio::test]
async fn an_explanation_says_where_everything_comes_from() {
    let (world, policies) = (Arc::new(World::default()), policies(POLICIES));
    let explained = explain(&world, &policies, true, alert(&SHOP)).await;
    let mut text = Output::new(Format::Json).text();
    show::write(&explained, &["nothing is remembered".to_owned()], &mut text);
    for wanted in [
        "policy tried on deployment/shop/web (in shadow",
        "verdict: page (brake_held: quiet_start)",
        "facts.errors = 0.62",
        "facts.errors          0.62 [prometheus http://prometheus, 12s ago]",
        "onset of HighErrorRate 2027-01-15T07:50:00.000Z, 10m ago [ALERTS_FOR_STATE]",
        "runs web:b (bbbbbbbbbbbb) [read live 0s ago]",
        "only `quiet_start` holds, because explain remembers nothing",
        "(held: it would not be carried out)",
        "to        web:a (v1:aaaa",
        "then: a person is asked for a yes to the plan's hash",
        "- nothing is remembered",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        assert!(squeezed(text.as_str()).contains(&squeezed(wanted)), "no {wanted:?} in\n{}", text.as_str());
    }
    let json = show::json(&explained, &policies, &[]);
    assert_eq!(json["verdicts"][0]["outcome"], "rollback");
    let hash = explained.incidents[0].plan.as_deref().map(Plan::hash).expect("a plan");
    assert_eq!(json["verdicts"][0]["plan"], hash.to_string());
    assert!(json["verdicts"][0]["incident"]["decision"]["observation"]["workload"].is_object());
    assert_eq!(json["alerts"][0]["heard"], "news");
}

#[tokio::test]
async fn without_a_cluster_no_target_is_found_and_a_human_is_asked() {
    let (world, policies) = (Arc::new(World::default()), policies(POLICIES));
    let explained = explain(&world, &policies, false, alert(&SHOP)).await;
    for incident in &explained.incidents {
        let page = incident.page.as_ref().expect("a page");
        assert_eq!(page.reason, Reason::Unresolved);
        assert!(page.text.contains("no cluster is configured"), "{}", page.text);
    }
    let mut text = Output::new(Format::Text).text();
    show::write(&explained, &[], &mut text);
    assert!(text.as_str().contains("(unresolved)"), "{}", text.as_str());
}

#[tokio::test]
async fn what_no_policy_is_about_is_said() {
    let (world, policies) = (Arc::new(World::default()), policies(POLICIES));
    for (labels, wanted) in [
        (&[("alertname", "A"), ("namespace", "other")][..], Heard::Unmatched),
        (&[("alertname", "A"), ("namespace", "shop"), ("cluster", "elsewhere")], Heard::Foreign),
    ] {
        let explained = explain(&world, &policies, true, alert(labels)).await;
        assert_eq!((explained.heard[0].1, explained.incidents.len()), (wanted, 0));
    }
    assert_eq!(world.reads.load(Ordering::Relaxed), 0);
}

/// Labels that would move a cursor, colour a terminal, end a cell, open a link or a tag.
const HOSTILE: [(&str, &str); 6] = [
    ("alertname", "High\x1b[31mErrorRate"),
    ("namespace", "shop"),
    ("deployment", "web"),
    ("severity", "critical"),
    ("team", "a|b `c` [d](https://evil.example) <script>alert(1)</script>\n# e"),
    ("turned", "x\u{202e}txt.exe\r\u{7}"),
];

const ONE: &str = r#"
policies:
  - name: tried
    matchers: ['namespace = "shop"']
    facts: {errors: {promql: 'errors{namespace="$namespace"}'}}
    brakes: {recent_change: {within: 7m}, quiet_start: {disabled: 'for the test'}}
    decide:
      - {name: never, when: 'facts.errors > 0.9', page: {}}
      - {name: many-errors, when: 'facts.errors > 0.5', rollback: undo}
"#;

fn pod_template(image: &str, password: &str) -> serde_json::Value {
    serde_json::json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{
        "name": "web", "image": image,
        "env": [{"name": "LEVEL", "value": "info"}, {"name": "DB_PASSWORD", "value": password}],
    }]}})
}

/// Compares with a file below `tests/explain`, or writes it anew.
fn golden(name: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain").join(name);
    let bless = std::env::var_os("BACKOUT_BLESS").is_some();
    if bless {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, found).expect("written");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{name}: BACKOUT_BLESS=1 writes it anew");
}

#[tokio::test]
async fn the_same_explanation_in_each_format() {
    let (world, policies) = (Arc::new(World::default()), policies(ONE));
    let mut explained = explain_with(&world, &policies, true, alert(&HOSTILE), Some(&memory())).await;
    let incident = &explained.incidents[0];
    let plan = incident.decision.as_ref().and_then(|decision| decision.plan.as_ref()).expect("a plan, though a brake holds");
    let diff = template::diff(plan, &pod_template("web:b", "hunter2"), &pod_template("web:a", "hunter1"));
    explained.diffs.insert(incident.id.clone(), Ok(diff));
    let missing = ["nothing of \x1b[2J this".to_owned()];

    let mut text = Output::new(Format::Json).text();
    show::write(&explained, &missing, &mut text);
    let (text, page) = (text.wrapped(100), markdown::page(&explained, &missing));
    let json = format!("{:#}\n", show::json(&explained, &policies, &missing));
    for (name, found) in [("terminal.txt", &text), ("page.md", &page), ("answer.json", &json)] {
        let moves = |c: &char| c.is_control() && *c != '\n';
        assert_eq!(found.chars().find(moves), None, "{name}");
        assert!(!found.contains("hunter"), "{name}");
        assert!(found.contains("the change had been 12m younger"), "{name}: {found}");
        golden(name, found);
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(!text.contains('\u{202e}') && !page.contains('\u{202e}'));
}
