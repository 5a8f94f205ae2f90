//! The service as a process, for whoever runs it: what it survives, what it refuses, how it starts, reloads and ends.

mod support;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Alertmanager, Backout, ControlPlane, Gate, Prometheus, Release, Setup, Sink, eventually, holds, now, prometheus_config,
    route_to_webhook,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SOON: Duration = Duration::from_secs(60);
/// A page through a channel that is down is tried there for a quarter of a minute first.
const LATER: Duration = Duration::from_secs(150);

/// Everything pages, and nothing may act.
const PAGE: &str = "
policies:
  - name: everything
    mode: shadow
    decide: [{name: look, page: {}}]
";

/// Takes every alert and may act, which needs the cluster's name and a channel for pages.
const MAY_ACT: &str = "
policies:
  - name: everything
    mode: enforce
    paging: in_front
    targets: ['*/*']
    labels: {team: shop}
    decide:
      - {name: many, when: 'size(alerts) > 99', rollback: undo}
      - {name: look, page: {}}
";

const TOKENS: &str = "tokens: {read: [token], operate: [token]}\n";

fn rules(text: &str) -> Vec<(String, String)> {
    vec![("policy.yaml".to_owned(), text.to_owned())]
}

/// Without a cluster, with one policy, and with somebody who is told.
fn alone(text: &str, people: &Sink) -> Setup {
    let channels =
        format!("{TOKENS}channels: [{{name: people, per_second: 1000, burst: 1000, webhook: {{url: '{}'}}}}]\n", people.url());
    Setup { config: channels, rules: rules(text), cluster_name: "test".to_owned(), ..Setup::default() }
}

fn alert(name: &str, labels: &Value) -> Value {
    let mut all = json!({ "alertname": name, "severity": "critical" });
    for (key, value) in labels.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    json!({ "version": "4", "receiver": "hook", "status": "firing", "alerts": [{
        "status": "firing", "labels": all, "annotations": {}, "startsAt": now().to_string(), "endsAt": "0001-01-01T00:00:00Z",
    }]})
}

/// The names of the alerts that incidents remember.
async fn remembered(backout: &Backout) -> Result<Vec<String>, String> {
    let list = backout.get("/api/v1/incidents?state=all&limit=1000").await?;
    let mut names = Vec::new();
    for incident in list["incidents"].as_array().into_iter().flatten() {
        let id = incident["id"].as_str().unwrap_or_default();
        let report = backout.get(&format!("/api/v1/incidents/{id}")).await?;
        let members = report["incident"]["members"].as_object().cloned().unwrap_or_default();
        names.extend(members.values().filter_map(|member| Some(member["alert"]["labels"]["alertname"].as_str()?.to_owned())));
    }
    Ok(names)
}

async fn wait_remembered(backout: &Backout, name: &str) {
    eventually(&format!("{name} has an incident"), SOON, async || {
        let names = remembered(backout).await?;
        if names.iter().any(|known| known == name) { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
}

/// It ended by itself, with this exit code, and said this.
async fn refused(setup: Setup, words: &[&str]) -> Backout {
    let mut backout = Backout::spawn(setup);
    let status = backout.wait_end().await;
    let log = backout.log();
    assert_eq!(status.code(), Some(2), "{log}");
    for word in words {
        assert!(log.contains(word), "expected {word:?} in:\n{log}");
    }
    backout
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_it_has_every_alert_that_it_acknowledged() {
    let people = Sink::start().await;
    let mut backout = Backout::start(alone(PAGE, &people)).await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let stop = Arc::new(AtomicBool::new(false));
        let url = backout.webhook_url();
        let senders: Vec<_> = (0..8)
            .map(|sender| {
                let (stop, url, http) = (Arc::clone(&stop), url.clone(), support::http());
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    for number in 0..25 {
                        let name = format!("Load-{round}-{sender}-{number}");
                        let sent = http.post(&url).json(&alert(&name, &json!({}))).send().await;
                        if sent.is_ok_and(|answer| answer.status() == 200) {
                            taken.push(name);
                        }
                        if stop.load(Ordering::SeqCst) {
                            break;
                        }
                    }
                    taken
                })
            })
            .collect();
        // In the middle of it, each time at another moment of the journal.
        eventually("the load has begun", SOON, async || {
            match backout.metric("backout_webhook_requests_total", &[("result", "accepted")]).await {
                count if count >= 20.0 => Ok(()),
                count => Err(count.to_string()),
            }
        })
        .await;
        backout.kill9();
        stop.store(true, Ordering::SeqCst);
        for sender in senders {
            acknowledged.extend(sender.await.expect("a sender"));
        }
        backout.restart().await;
    }
    assert!(acknowledged.len() >= 30, "{}", acknowledged.len());
    eventually("every acknowledged alert has an incident", SOON, async || {
        let names = remembered(&backout).await?;
        let lost: Vec<_> = acknowledged.iter().filter(|name| !names.contains(name)).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("lost of {}: {lost:?}", acknowledged.len())) }
    })
    .await;
    let names = remembered(&backout).await.expect("names");
    let mut once = names.clone();
    once.sort();
    once.dedup();
    assert_eq!(names.len(), once.len(), "no alert has two incidents");
}

#[tokio::test]
async fn a_second_process_on_the_same_journal_is_refused() {
    let people = Sink::start().await;
    let first = Backout::start(alone(PAGE, &people)).await;
    let second = Setup { data: Some(first.data_dir()), ..alone(PAGE, &people) };
    let holder = format!("is in use by process {}", first.pid());
    refused(second, &[&holder, "give this one a folder of its own"]).await;
    assert_eq!(first.post_webhook(&alert("Still", &json!({}))).await, 200, "the first does not mind");
}

/// A journal with one alert in it, of a process that has ended.
async fn written(people: &Sink) -> Backout {
    let mut backout = Backout::start(alone(PAGE, people)).await;
    assert_eq!(backout.post_webhook(&alert("Written", &json!({}))).await, 200);
    wait_remembered(&backout, "Written").await;
    assert!(backout.stop().await.success(), "{}", backout.log());
    backout
}

#[tokio::test]
async fn a_damaged_journal_is_refused_and_left_as_it_is() {
    let people = Sink::start().await;
    let whole = written(&people).await;
    let good = std::fs::read(whole.data_dir().join("journal.db")).expect("a journal");
    let id = std::fs::read(whole.data_dir().join("journal.id")).expect("a marker");
    let mut spoiled = good.clone();
    let middle = spoiled.len() / 2;
    spoiled[middle - 2048..middle + 2048].fill(0xa5);
    for (what, bytes) in [("is damaged", &spoiled[..]), ("empty or cut off", &[]), ("not a database", &[b'x'; 8192])] {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal.db");
        std::fs::write(&journal, bytes).expect("written");
        std::fs::write(folder.path().join("journal.id"), &id).expect("written");
        refused(
            Setup { data: Some(folder.path().to_owned()), ..alone(PAGE, &people) },
            &["is damaged", what, "restore the folder from a backup"],
        )
        .await;
        assert_eq!(std::fs::read(&journal).expect("still there"), bytes, "{what}");
    }
    // Gone, though there was one.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("journal.id"), &id).expect("written");
    refused(
        Setup { data: Some(folder.path().to_owned()), ..alone(PAGE, &people) },
        &["is gone", "restore the folder from a backup"],
    )
    .await;
    assert!(!folder.path().join("journal.db").exists(), "nothing is started anew");
}

#[tokio::test]
async fn a_newer_journal_is_refused() {
    let people = Sink::start().await;
    let backout = written(&people).await;
    let journal = rusqlite::Connection::open(backout.data_dir().join("journal.db")).expect("a database");
    journal.execute("UPDATE meta SET value = '99' WHERE key = 'format_major'", []).expect("newer");
    journal.execute("UPDATE meta SET value = '42.0.0' WHERE key = 'opened_by'", []).expect("newer");
    drop(journal);
    refused(
        Setup { data: Some(backout.data_dir()), ..alone(PAGE, &people) },
        &["has format 99", "backout 42.0.0", "start that version or a later one"],
    )
    .await;
}

/// A small file system of its own; gone with the test.
struct Mount(PathBuf);

impl Mount {
    /// `None` where mounting is not allowed.
    fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        done.is_ok_and(|done| done.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: whoever still uses it keeps it until then.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[expect(clippy::print_stderr, reason = "a test that checks nothing says so")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_refused() {
    let people = Sink::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let setup = |data: &Path| Setup { data: Some(data.to_owned()), ..alone(PAGE, &people) };
    refused(setup(&file.join("data")), &["cannot create the folder", "check that the folder exists, is writable"]).await;

    let read_only = folder.path().join("read-only");
    std::fs::create_dir(&read_only).expect("a folder");
    std::fs::set_permissions(&read_only, std::fs::Permissions::from_mode(0o500)).expect("read-only");
    let mut _mount = None;
    if std::fs::write(read_only.join("probe"), "").is_ok() {
        // Root writes everywhere but to what is mounted read-only.
        _mount = Mount::tmpfs(&read_only, "ro");
        if _mount.is_none() {
            return skipped("this user writes to read-only folders, and mounting is not allowed");
        }
    }
    refused(setup(&read_only), &["cannot open the lock file", "check that the folder exists, is writable"]).await;
}

/// The hash of the policies in force, and what was wrong with those that are not.
async fn policies(backout: &Backout) -> Result<(String, Value), String> {
    let answer = backout.get("/api/v1/policies").await?;
    Ok((answer["hash"].as_str().unwrap_or_default().to_owned(), answer["reload_problem"].clone()))
}

async fn wait_policy(backout: &Backout, name: &str) {
    eventually(&format!("the policy {name} is in force"), SOON, async || {
        let answer = backout.get("/api/v1/policies").await?;
        if answer["policies"][0]["name"] == name { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn policies_are_reloaded_in_four_ways() {
    let people = Sink::start().await;
    let backout = Backout::start(alone(PAGE, &people)).await;
    let file = backout.rules_dir().join("policy.yaml");

    // A file changes.
    std::fs::write(&file, PAGE.replace("everything", "changed")).expect("written");
    wait_policy(&backout, "changed").await;

    // SIGHUP, without a change.
    let reloads = async || backout.metric("backout_policy_reloads_total", &[("result", "success")]).await;
    let before = reloads().await;
    backout.signal("HUP");
    eventually("SIGHUP reloads", SOON, async || if reloads().await > before { Ok(()) } else { Err("not yet") }).await;

    // A request; not by anybody.
    assert_eq!(backout.operate_text("/-/reload", &json!({})).await.0, 200);
    assert!(reloads().await >= before + 2.0);
    let stranger = support::http().post(format!("{}/-/reload", backout.url())).send().await.expect("an answer");
    assert_eq!(stranger.status(), 401);
}

#[tokio::test]
async fn policies_are_reloaded_when_a_config_map_is_swapped() {
    let people = Sink::start().await;
    // As the kubelet mounts it: files are links into `..data`, which is a link that is turned.
    let volume = tempfile::tempdir().expect("a folder");
    let at = |name: &str| volume.path().join(name);
    for (version, name) in [("..1", "first"), ("..2", "second")] {
        std::fs::create_dir(at(version)).expect("a folder");
        std::fs::write(at(version).join("policy.yaml"), PAGE.replace("everything", name)).expect("written");
    }
    symlink("..1", at("..data")).expect("a link");
    symlink("..data/policy.yaml", at("policy.yaml")).expect("a link");
    let setup = Setup { rules_dir: Some(volume.path().to_owned()), rules: Vec::new(), ..alone(PAGE, &people) };
    let backout = Backout::start(setup).await;
    wait_policy(&backout, "first").await;

    symlink("..2", at("..data_tmp")).expect("a link");
    std::fs::rename(at("..data_tmp"), at("..data")).expect("turned");
    std::fs::remove_dir_all(at("..1")).expect("gone");
    wait_policy(&backout, "second").await;
}

#[tokio::test]
async fn a_bad_reload_changes_nothing_and_is_loud() {
    let people = Sink::start().await;
    let backout = Backout::start(alone(PAGE, &people)).await;
    let (hash, _) = policies(&backout).await.expect("policies");
    assert_eq!(backout.metric("backout_policy_reload_success", &[]).await, 1.0);

    let dir = backout.rules_dir();
    std::fs::write(dir.join("policy.yaml"), PAGE.replace("mode: shadow", "mode: shadwo")).expect("written");
    std::fs::write(dir.join("z-other.yaml"), "policies:\n  - nmae: other\n").expect("written");
    eventually("the metric says so", SOON, async || {
        let success = backout.metric("backout_policy_reload_success", &[]).await;
        if success == 0.0 { Ok(()) } else { Err(success.to_string()) }
    })
    .await;
    // Every problem of every file, with its place.
    let (status, said) = backout.operate_text("/-/reload", &json!({})).await;
    assert_eq!(status, 422, "{said}");
    let (now_hash, problem) = policies(&backout).await.expect("policies");
    let problem = problem.as_str().unwrap_or_default().to_owned();
    for place in ["policy.yaml:4:", "z-other.yaml:2:"] {
        for text in [&said, &problem, &backout.log()] {
            assert!(text.contains(place), "expected {place} in {text}");
        }
    }
    assert_eq!(now_hash, hash);
    assert_eq!(backout.post_webhook(&alert("Under-the-old-ones", &json!({}))).await, 200);
    wait_remembered(&backout, "Under-the-old-ones").await;

    std::fs::remove_file(dir.join("z-other.yaml")).expect("gone");
    std::fs::write(dir.join("policy.yaml"), PAGE).expect("written");
    eventually("mended", SOON, async || {
        let success = backout.metric("backout_policy_reload_success", &[]).await;
        if success == 1.0 { Ok(()) } else { Err(success.to_string()) }
    })
    .await;
    assert_eq!(policies(&backout).await, Ok((hash, Value::Null)));
}

#[tokio::test]
async fn a_reload_may_not_let_policies_act_while_nobody_can_be_paged() {
    let setup = Setup { config: TOKENS.to_owned(), rules: rules(PAGE), cluster_name: "test".to_owned(), ..Setup::default() };
    let backout = Backout::start(setup).await;
    std::fs::write(backout.rules_dir().join("policy.yaml"), MAY_ACT).expect("written");
    let (status, said) = backout.operate_text("/-/reload", &json!({})).await;
    assert_eq!(status, 422, "{said}");
    assert!(said.contains("policy.yaml:3:") && said.contains("nobody could be paged"), "{said}");
    let answer = backout.get("/api/v1/policies").await.expect("policies");
    assert_eq!(answer["policies"][0]["mode"], "shadow");
}

#[tokio::test]
async fn it_is_ready_only_when_the_cluster_was_read() {
    let plane = ControlPlane::shared();
    let gate = Gate::to(&plane.address()).await;
    gate.close();
    let people = Sink::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = Some(plane.backout_kubeconfig_through(&gate, folder.path()));
    let mut backout = Backout::spawn(Setup { kubeconfig, ..alone(PAGE, &people) });
    backout.wait_listening().await;
    let ask = async |path: &str| {
        let answer = support::http().get(format!("{}{path}", backout.url())).send().await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        Ok::<_, String>((status, answer.text().await.unwrap_or_default()))
    };
    eventually("alive and not ready, for this reason", SOON, async || match (ask("/-/healthy").await?, ask("/-/ready").await?) {
        ((200, _), (503, why)) if why.contains("cache is being filled") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // Alerts are taken all the same.
    assert_eq!(backout.post_webhook(&alert("Early", &json!({}))).await, 200);
    holds("it stays so", Duration::from_secs(2), async || match ask("/-/ready").await? {
        (503, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    gate.open();
    backout.wait_ready().await;
    wait_remembered(&backout, "Early").await;
}

#[tokio::test]
async fn asked_to_end_it_finishes_what_is_being_sent() {
    let people = Sink::start().await;
    let mut backout = Backout::start(alone(PAGE, &people)).await;
    let body = alert("In-flight", &json!({})).to_string();
    let address = backout.url().trim_start_matches("http://").to_owned();
    let mut connection = tokio::net::TcpStream::connect(&address).await.expect("connected");
    let head = format!(
        "POST /v1/webhook/alertmanager HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(body.len() / 2);
    connection.write_all(format!("{head}{first}").as_bytes()).await.expect("sent");
    // A whole request on another connection: by then the first one is being read.
    assert_eq!(backout.post_webhook(&alert("Before", &json!({}))).await, 200);
    wait_remembered(&backout, "Before").await;

    backout.signal("TERM");
    eventually("it accepts nothing new", SOON, async || match tokio::net::TcpStream::connect(&address).await {
        Err(_) => Ok(()),
        Ok(_) => Err("it still does"),
    })
    .await;
    connection.write_all(rest.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let status = backout.wait_end().await;
    assert_eq!(status.code(), Some(0), "{}", backout.log());

    backout.restart().await;
    wait_remembered(&backout, "In-flight").await;
    assert!(backout.stop().await.success(), "and without anything under way it ends as well");
}

#[tokio::test]
async fn without_a_cluster_it_observes_and_says_so() {
    let people = Sink::start().await;
    let backout = Backout::start(alone(MAY_ACT, &people)).await;
    assert!(backout.log().contains("no cluster"), "{}", backout.log());
    let labels = json!({ "namespace": "shop", "deployment": "web" });
    assert_eq!(backout.post_webhook(&alert("Errors", &labels)).await, 200);
    let page = people.wait_for("a page", SOON, |body| body["moment"] == "paged").await;
    assert_eq!(page["urgency"], "page");
    assert!(page["text"].as_str().is_some_and(|text| text.contains("no cluster is configured")), "{page}");
    assert_eq!(page["instance"], "test");
}

#[tokio::test]
async fn unsafe_settings_are_refused() {
    // It may act, and nobody would hear.
    let acts = Setup { rules: rules(MAY_ACT), cluster_name: "test".to_owned(), ..Setup::default() };
    refused(acts, &["policy.yaml:3:", "could act, and nobody could be paged", "add a channel that takes pages"]).await;
    // It may act, and does not know which cluster is meant.
    let people = Sink::start().await;
    refused(Setup { cluster_name: String::new(), ..alone(MAY_ACT, &people) }, &["policy.yaml:4:", "cluster"]).await;
    // Anybody could post alerts.
    let open = Setup { listen: Some("0.0.0.0:0".to_owned()), ..alone(PAGE, &people) };
    let asked = ["`http.listen`", "anybody could post alerts there; set `tokens.ingest`"];
    refused(open, &asked).await;
    // With a token it listens, and takes alerts from who has it.
    let mut guarded = Setup { listen: Some("0.0.0.0:0".to_owned()), ..alone(PAGE, &people) };
    guarded.config = guarded.config.replace("tokens: {", "tokens: {ingest: [token], ");
    let mut backout = Backout::spawn(guarded);
    backout.wait_listening().await;
    assert_eq!(backout.post_webhook(&alert("Stranger", &json!({}))).await, 401);
    // All that is wrong with the policies, at once.
    let text = format!("{PAGE}  - nmae: other\n");
    let two = vec![("a.yaml".to_owned(), text.replace("shadow", "shadwo")), ("b.yaml".to_owned(), "polices: []\n".to_owned())];
    refused(Setup { rules: two, ..alone(PAGE, &people) }, &["a.yaml:4:", "a.yaml:6:", "b.yaml:1:"]).await;
}

#[tokio::test]
async fn alerts_of_another_cluster_and_our_own_pages_are_not_acted_on() {
    let people = Sink::start().await;
    let backout = Backout::start(alone(MAY_ACT, &people)).await;
    assert_eq!(backout.post_webhook(&alert("Elsewhere", &json!({ "cluster": "other" }))).await, 200);
    assert_eq!(backout.post_webhook(&alert("BackoutPage", &json!({ "backout_incident": "i0123456789ab" }))).await, 200);
    assert_eq!(backout.post_webhook(&alert("Here", &json!({ "cluster": "test" }))).await, 200);
    wait_remembered(&backout, "Here").await;
    let alerts = async |result| backout.metric("backout_alerts_received_total", &[("result", result)]).await;
    assert_eq!((alerts("foreign").await, alerts("own_page").await), (1.0, 1.0));
    people.wait_for("the page about the third", SOON, |body| body["moment"] == "paged").await;
    assert_eq!(remembered(&backout).await, Ok(vec!["Here".to_owned()]));
    assert!(people.received().iter().all(|body| !body.to_string().contains("Elsewhere")));
}

const FAST: &str = "
timing: {close_after: 3s, peer_up: 1s, evaluation_age: 30s, watch_every: 1s, patience: 2s}
";

#[tokio::test]
async fn it_pages_through_the_real_alertmanager() {
    for release in [Release::New, Release::Old] {
        let door = Gate::to("127.0.0.1:1").await;
        let hook = format!("{}/v1/webhook/alertmanager", door.url());
        let alertmanager = Alertmanager::start(release, &route_to_webhook(&hook, Duration::from_secs(1)), &[]).await;
        // Only so that an end can be confirmed: somebody evaluates rules.
        let prometheus = Prometheus::start(
            &prometheus_config(&[], &[]),
            "groups: [{name: any, rules: [{alert: Never, expr: vector(0) > 1}]}]\n",
        )
        .await;
        // No channels in the settings: pages go through the peers.
        let setup = Setup {
            config: format!("{TOKENS}{FAST}"),
            rules: rules(MAY_ACT),
            cluster_name: "test".to_owned(),
            alertmanagers: vec![alertmanager.url().to_owned()],
            prometheus: vec![prometheus.url().to_owned()],
            ..Setup::default()
        };
        let backout = Backout::start(setup).await;
        door.lead_to(backout.url().trim_start_matches("http://"));

        let labels = [("alertname", "Errors"), ("severity", "critical"), ("secret", "of the alert")];
        alertmanager.post_alert(&labels, &[]).await;
        let ours = |alert: &Value| alert["labels"]["alertname"] == "BackoutPage";
        let page = eventually("the page is active and has a receiver", SOON, async || {
            let all = alertmanager.alerts().await;
            let page = all.iter().find(|alert| ours(alert)).ok_or_else(|| format!("{all:?}"))?;
            let shown = page["status"]["state"] == "active" && page["receivers"][0]["name"] == "hook";
            if shown { Ok(page.clone()) } else { Err(page.to_string()) }
        })
        .await;
        let list = backout.get("/api/v1/incidents").await.expect("incidents");
        assert_eq!(page["labels"]["backout_incident"], list["incidents"][0]["id"]);
        assert_eq!(page["labels"]["severity"], "critical");
        assert_eq!(page["labels"]["backout_policy"], "everything");
        assert_eq!(page["labels"]["team"], "shop", "the policy's own labels");
        assert_eq!(page["labels"]["secret"], Value::Null, "never the alert's");
        eventually("it is counted as delivered", SOON, async || {
            let labels = [("channel", "alertmanager"), ("result", "delivered")];
            let count = backout.metric("backout_notifications_total", &labels).await;
            if count >= 1.0 { Ok(()) } else { Err(count.to_string()) }
        })
        .await;
        eventually("its own page came by and was dropped", SOON, async || {
            let count = backout.metric("backout_alerts_received_total", &[("result", "own_page")]).await;
            if count >= 1.0 { Ok(()) } else { Err(count.to_string()) }
        })
        .await;

        alertmanager.resolve_alert(&labels).await;
        eventually("closed, and the page is gone", SOON, async || {
            let open = backout.get("/api/v1/incidents").await?;
            let pages: Vec<_> = alertmanager.alerts().await.into_iter().filter(ours).collect();
            if open["total"] == 0 && pages.is_empty() {
                return Ok(());
            }
            Err(format!("{open} {pages:?}"))
        })
        .await;
    }
}

#[tokio::test]
async fn the_next_channel_pages_when_alertmanager_is_down() {
    let people = Sink::start().await;
    let mut alertmanager = Alertmanager::start(Release::New, &route_to_webhook("http://127.0.0.1:1/", SOON), &[]).await;
    let url = alertmanager.url().to_owned();
    let channels = format!(
        "{TOKENS}channels:\n- {{name: pager, alertmanager: {{urls: ['{url}']}}}}\n- {{name: people, webhook: {{url: '{}', takes: [page]}}}}\n",
        people.url()
    );
    let backout = Backout::start(Setup { config: channels, ..alone(MAY_ACT, &people) }).await;
    alertmanager.kill9();
    assert_eq!(backout.post_webhook(&alert("Errors", &json!({}))).await, 200);
    let page = people.wait_for("the page on the second channel", LATER, |body| body["moment"] == "paged").await;
    assert_eq!(page["urgency"], "page");
    for (channel, result) in [("pager", "failed"), ("people", "delivered")] {
        eventually(&format!("{channel} {result}"), SOON, async || {
            let count = backout.metric("backout_notifications_total", &[("channel", channel), ("result", result)]).await;
            if count >= 1.0 { Ok(()) } else { Err(count.to_string()) }
        })
        .await;
    }
}

#[tokio::test]
async fn a_channel_that_is_down_in_a_storm_holds_up_no_decision() {
    const STORM: usize = 400;
    let people = Sink::start().await;
    people.answer_with(503);
    let backout = Backout::start(alone(MAY_ACT, &people)).await;
    let labels = |number: usize| json!({ "number": number.to_string() });
    for number in 0..STORM {
        assert_eq!(backout.post_webhook(&alert(&format!("Storm-{number}"), &labels(number))).await, 200);
    }
    // Every one of them pages, and every page is tried for a quarter of a minute. This one has a target to look for.
    let named = json!({ "namespace": "shop", "deployment": "web" });
    assert_eq!(backout.post_webhook(&alert("Errors", &named)).await, 200);
    eventually("the last one has an incident", Duration::from_secs(30), async || {
        let total = backout.get("/api/v1/incidents?state=all&limit=1").await?["total"].clone();
        if total == STORM + 1 { Ok(()) } else { Err(total.to_string()) }
    })
    .await;
    assert_eq!(backout.metric("backout_notifications_total", &[("result", "delivered")]).await, 0.0);
    people.answer_with(200);
    eventually("people hear when they can", LATER, async || {
        let count = backout.metric("backout_notifications_total", &[("result", "delivered")]).await;
        if count >= 1.0 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn with_a_full_disk_alerts_are_refused_and_a_human_hears() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let Some(_mount) = Mount::tmpfs(&disk, "size=4m") else {
        return skipped("mounting a small file system is not allowed");
    };
    let people = Sink::start().await;
    let mut backout = Backout::start(Setup { data: Some(disk.join("data")), ..alone(PAGE, &people) }).await;
    assert_eq!(backout.post_webhook(&alert("Before", &json!({}))).await, 200);
    wait_remembered(&backout, "Before").await;

    let ballast = disk.join("ballast");
    // Until nothing fits any more: the last blocks go one by one.
    let fill = Command::new("dd").arg("if=/dev/zero").arg(format!("of={}", ballast.display())).arg("bs=4096").output();
    assert!(fill.is_ok_and(|fill| !fill.status.success()), "the disk is full");
    // What is allocated already may still take a few.
    eventually("alerts are refused", SOON, async || {
        let padded = alert("Refused", &json!({ "padding": "x".repeat(20_000) }));
        match backout.post_webhook(&padded).await.as_u16() {
            503 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    let page = people.wait_for("a page from memory", LATER, |body| body["moment"] == "blind").await;
    assert_eq!(page["urgency"], "page");
    assert!(page["title"].as_str().is_some_and(|title| title.contains("BLIND")), "{page}");
    assert!(backout.metric("backout_store_commit_failures_total", &[]).await >= 1.0);
    assert!(backout.metric("backout_webhook_requests_total", &[("result", "store_failed")]).await >= 1.0);

    std::fs::remove_file(&ballast).expect("room again");
    eventually("alerts are taken again", SOON, async || match backout.post_webhook(&alert("After", &json!({}))).await.as_u16() {
        200 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    let over = |body: &Value| body["moment"] == "closed" && body["dedup_key"] == page["dedup_key"];
    let over = people.wait_for("the end of it", LATER, over).await;
    assert_eq!((&over["urgency"], &over["incident"]), (&json!("announce"), &Value::Null), "{over}");
    wait_remembered(&backout, "After").await;
    backout.kill9();
    backout.restart().await;
    let names = remembered(&backout).await.expect("names");
    assert!(["Before", "After"].iter().all(|name| names.iter().any(|known| known == name)), "{names:?}");
}
