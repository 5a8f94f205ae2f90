//! `backout doctor` on real parts: an installation that is sound, beside the running service, and each part of it made wrong.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::{
    Alertmanager, Backout, Namespace, Prometheus, Release, Stage, prometheus_config, route_to_webhook, rules, with_namespace,
};

/// What the doctor says.
struct Findings {
    code: Option<i32>,
    json: Value,
}

impl Findings {
    /// Level and words of everything found by a check of an area.
    fn of(&self, area: &str, check: &str) -> Vec<(String, String)> {
        let all = self.json["findings"].as_array().unwrap_or_else(|| panic!("no findings in {:#}", self.json));
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let fits = all.iter().filter(|finding| finding["area"] == area && finding["check"] == check);
        fits.map(|finding| (word(&finding["level"]), word(&finding["found"]))).collect()
    }

    #[track_caller]
    fn has(&self, area: &str, check: &str, level: &str, words: &str) {
        let found = self.of(area, check);
        let fits = found.iter().any(|(as_bad, found)| as_bad == level && found.contains(words));
        assert!(fits, "no {level} `{words}` in {found:#?}\n{:#}", self.json);
    }

    #[track_caller]
    fn sound(&self, area: &str) {
        let all = self.json["findings"].as_array().cloned().unwrap_or_default();
        let bad: Vec<&Value> = all.iter().filter(|finding| finding["area"] == area && finding["level"] == "problem").collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

async fn doctor(args: &[&str]) -> Findings {
    let output = Backout::run(&[&["doctor", "--output", "json"], args].concat()).await;
    let json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    Findings { code: output.status.code(), json }
}

/// A folder with rules for a namespace.
fn folder(ns: &str, mode: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("rules")).expect("a folder");
    fs::write(folder.path().join("rules/shop.yaml"), rules(mode, "30s").replace("NAMESPACE", ns)).expect("written");
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[tokio::test]
async fn a_sound_installation_is_sound_also_while_the_service_runs() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "30s")).await;
        let beside = stage.backout.data_dir();
        let kubeconfig = stage.ns.plane.backout_kubeconfig();
        let (config, rules) = (beside.with_file_name("config.yaml"), stage.backout.rules_dir());
        let found = doctor(&[
            "--config",
            text(&config),
            "--rules",
            text(&rules),
            "--data",
            text(&beside),
            "--kubeconfig",
            text(kubeconfig),
            "--cluster-name",
            "test",
            "--prometheus",
            stage.prometheus.url(),
            "--alertmanager",
            stage.alertmanagers[0].url(),
        ])
        .await;
        assert_eq!(found.code, Some(0), "{:#}", found.json);
        for area in ["policies", "journal", "service", "cluster", "prometheus", "alertmanager", "channels"] {
            found.sound(area);
        }
        found.has("service", "service", "ok", "is ready");
        found.has("journal", "journal", "ok", "rows");
        found.has("cluster", "access", "ok", "version v1.");
        found.has("cluster", "clock", "ok", "agrees");
        found.has("cluster", "permission", "ok", "what a rollback writes may be written");
        found.has("cluster", "watch", "ok", "Deployments in");
        found.has("prometheus", "clock", "ok", "agrees");
        found.has("prometheus", "series", "ok", "kinds of series that facts read are there");
        found.has("prometheus", "watchdog", "warning", "no rule fires always");
        found.has("channels", "pagers", "warning", "only `people` takes pages");
    })
    .await;
}

/// A kubeconfig of a ServiceAccount that may do what these rules say, in one namespace.
async fn limited(ns: &Namespace, rules: Value, dir: &Path) -> PathBuf {
    let accounts = Api::<ServiceAccount>::namespaced(ns.client.clone(), &ns.name);
    accounts.create(&PostParams::default(), &object(json!({ "metadata": { "name": "limited" } }))).await.expect("made");
    let role = json!({ "metadata": { "name": "limited" }, "rules": rules });
    Api::<Role>::namespaced(ns.client.clone(), &ns.name).create(&PostParams::default(), &object(role)).await.expect("made");
    let binding = json!({
        "metadata": { "name": "limited" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "limited" },
        "subjects": [{ "kind": "ServiceAccount", "name": "limited", "namespace": ns.name }],
    });
    Api::<RoleBinding>::namespaced(ns.client.clone(), &ns.name)
        .create(&PostParams::default(), &object(binding))
        .await
        .expect("made");
    let request =
        TokenRequest { spec: TokenRequestSpec { expiration_seconds: Some(3600), ..Default::default() }, ..Default::default() };
    let answer = accounts.create_token_request("limited", &PostParams::default(), &request).await.expect("a token");
    let file = fs::read_to_string(ns.plane.backout_kubeconfig()).expect("a kubeconfig");
    let mut config = serde_json::to_value(kube::config::Kubeconfig::from_yaml(&file).expect("a kubeconfig")).expect("JSON");
    for user in config["users"].as_array_mut().into_iter().flatten() {
        user["user"] = json!({ "token": answer.status.as_ref().expect("a status").token });
    }
    let path = dir.join("limited.kubeconfig");
    fs::write(&path, config.to_string()).expect("written");
    path
}

fn object<K: DeserializeOwned>(body: Value) -> K {
    serde_json::from_value(body).expect("an object of this kind")
}

#[tokio::test]
async fn each_permission_that_is_missing_is_named() {
    with_namespace(async |ns| {
        let folder = folder(&ns.name, "enforce");
        // Everything of deploy/rbac.yaml but: no watch on ReplicaSets, no patch on Deployments, no logs.
        let rules = json!([
            { "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"] },
            { "apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get", "list"] },
            { "apiGroups": [""], "resources": ["pods", "events"], "verbs": ["get", "list"] },
            { "apiGroups": [""], "resources": ["configmaps", "persistentvolumeclaims", "serviceaccounts", "namespaces"], "verbs": ["get"] },
            { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"] },
            { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"] },
        ]);
        let kubeconfig = limited(&ns, rules, folder.path()).await;
        let config = folder.path().join("backout.yaml");
        fs::write(&config, "channels: [{name: people, webhook: {url: 'http://127.0.0.1:9/'}}]\n").expect("written");
        let data = folder.path().join("data");
        let rules = folder.path().join("rules");
        let found = doctor(&[
            "--config", text(&config), "--rules", text(&rules), "--data", text(&data), "--kubeconfig", text(&kubeconfig),
            "--cluster-name", "test", "--namespace", &ns.name,
        ])
        .await;
        assert_eq!(found.code, Some(1), "{:#}", found.json);
        let place = format!("in `{}`", ns.name);
        let refused: Vec<String> =
            found.of("cluster", "permission").into_iter().filter(|(level, _)| level == "problem").map(|(_, words)| words).collect();
        assert_eq!(refused, [format!("not granted: watch replicasets {place}"), format!("not granted: patch deployments {place}")]);
        found.has("cluster", "permission", "warning", &format!("not granted: get pods/log {place}"));
        found.has("cluster", "watch", "ok", "Deployments in");
        // A policy that acts, and nobody to ask.
        found.has("prometheus", "access", "problem", "no Prometheus is configured");
        found.has("alertmanager", "access", "problem", "no Alertmanager is configured");
        found.has("journal", "folder", "ok", "is not there yet");

        // The same namespace, not watched; and in shadow nothing is to be written.
        let found = doctor(&[
            "--config", text(&config), "--rules", text(&rules), "--data", text(&data), "--kubeconfig", text(&kubeconfig),
            "--cluster-name", "test", "--namespace", "elsewhere",
        ])
        .await;
        found.has("cluster", "namespaces", "problem", "which is not watched");
        found.has("cluster", "permission", "problem", "list deployments in `elsewhere`");
    })
    .await;
}

#[tokio::test]
async fn a_prometheus_without_the_series_and_an_alertmanager_without_the_route() {
    let folder = folder("shop", "shadow");
    let empty = Prometheus::start(&prometheus_config(&[], &[]), "").await;
    let elsewhere =
        Alertmanager::start(Release::Old, &route_to_webhook("http://127.0.0.1:9/other", Duration::from_secs(1)), &[]).await;
    let data = folder.path().join("data");
    let rules = folder.path().join("rules");
    let ask = async |prometheus: &str, alertmanager: &str| {
        let args = ["--rules", text(&rules), "--data", text(&data), "--prometheus", prometheus, "--alertmanager", alertmanager];
        doctor(&args).await
    };
    let found = ask(empty.url(), elsewhere.url()).await;
    assert_eq!(found.code, Some(1), "{:#}", found.json);
    found.has("prometheus", "access", "ok", "answers");
    found.has("prometheus", "rules", "problem", "it has no alerting rules");
    found.has("prometheus", "series", "warning", "there is no series `http_requests_total`");
    found.has("alertmanager", "route", "problem", "no receiver of");
    found.has("alertmanager", "uptime", "warning", "was started");
    found.has("cluster", "access", "warning", "there is no cluster");

    // Rules, of other names; a newer Alertmanager, which hides addresses.
    let other = "groups:\n- name: a\n  rules:\n  - {alert: Watchdog, expr: vector(1)}\n";
    let other = Prometheus::start(&prometheus_config(&[], &[]), other).await;
    other.wait_for("ALERTS_FOR_STATE", Duration::from_secs(30)).await;
    let hook = "http://127.0.0.1:9095/v1/webhook/alertmanager";
    let hidden = Alertmanager::start(Release::New, &route_to_webhook(hook, Duration::from_secs(1)), &[]).await;
    let found = ask(other.url(), hidden.url()).await;
    found.has("prometheus", "rules", "warning", "no alerting rule here has a name that the policy `shop` is about");
    found.has("prometheus", "watchdog", "ok", "`Watchdog` fires");
    found.has("prometheus", "onset", "ok", "`ALERTS_FOR_STATE` is there");
    found.has("alertmanager", "route", "warning", "cannot be told");

    // Ours, shown by the older one, set up carelessly.
    let careless =
        route_to_webhook(hook, Duration::from_secs(1)).replace("send_resolved: true", "send_resolved: false\n    max_alerts: 5");
    let careless = Alertmanager::start(Release::Old, &careless, &[]).await;
    let found = ask("http://127.0.0.1:9", careless.url()).await;
    assert_eq!(found.code, Some(1), "{:#}", found.json);
    found.has("prometheus", "access", "problem", "cannot connect");
    found.has("alertmanager", "route", "ok", "posts to us");
    found.has("alertmanager", "send_resolved", "problem", "does not send what is resolved");
    found.has("alertmanager", "max_alerts", "warning", "to 5 alerts");
    found.has("alertmanager", "follow_redirects", "warning", "follows redirects");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_findings() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("backout.yaml");
    fs::write(&config, "retention: {age: 1h}\nhttp: {listen: '0.0.0.0:9095'}\n").expect("written");
    let found = doctor(&["--config", text(&config), "--rules", text(folder.path())]).await;
    assert_eq!(found.code, Some(1));
    found.has("settings", "settings", "problem", "`retention.age`");
    found.has("settings", "settings", "problem", "`tokens.ingest`");
}

/// What GitHub answers to a token that it does not know.
async fn refuses_tokens() -> String {
    use axum::http::StatusCode;
    let refused = || async { (StatusCode::UNAUTHORIZED, axum::Json(json!({ "message": "Bad credentials" }))) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(refused)).await });
    url
}

#[tokio::test]
async fn channels_that_cannot_be_used_are_findings_and_the_others_are_not() {
    let alertmanager =
        Alertmanager::start(Release::New, &route_to_webhook("http://127.0.0.1:9", Duration::from_secs(1)), &[]).await;
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("token");
    fs::write(&secret, "a-secret-of-ours").expect("written");
    let settings = json!({ "channels": [
        { "name": "pager", "alertmanager": { "urls": [alertmanager.url()] } },
        { "name": "dead", "alertmanager": { "urls": [alertmanager.url(), format!("http://{gone}")] } },
        { "name": "tracker", "github": { "repository": "shop/web", "token_file": "token", "api_url": refuses_tokens().await } },
        { "name": "hook", "webhook": { "url": format!("http://{gone}") } },
    ] });
    let config = folder.path().join("backout.yaml");
    fs::write(&config, settings.to_string()).expect("written");
    fs::write(folder.path().join("shop.yaml"), "policies: [{name: all, decide: [{name: all, page: {}}]}]").expect("written");
    let found = doctor(&["--config", text(&config), "--rules", text(folder.path())]).await;
    found.has("channels", "channel", "ok", "`pager`: 1 peers answer");
    found.has("channels", "channel", "problem", "`dead` cannot be used");
    found.has("channels", "channel", "problem", "`tracker` cannot be used");
    found.has("channels", "channel", "problem", "401");
    found.has("channels", "channel", "ok", "`hook` was not asked");
    assert_eq!(found.code, Some(1));
    assert!(!found.json.to_string().contains("a-secret-of-ours"));
}
