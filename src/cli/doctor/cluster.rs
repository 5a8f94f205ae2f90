//! The cluster: can it be reached, may we do what the policies need, does the watch work?

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use http::Request;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::finding::{Area, Findings};
use super::{acting, acts, clock, now};
use crate::cluster::Clients;
use crate::model::Time;
use crate::policy::types::Policies;
use crate::settings::Settings;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Namespaces that are asked about one by one; more are looked at as far as this.
const MOST_SCOPES: usize = 100;

/// Verb, group, resource, subresource.
type Permission = (&'static str, &'static str, &'static str, &'static str);

/// Without these nothing is found or watched.
const READ: [Permission; 8] = [
    ("get", "apps", "deployments", ""),
    ("list", "apps", "deployments", ""),
    ("watch", "apps", "deployments", ""),
    ("get", "apps", "replicasets", ""),
    ("list", "apps", "replicasets", ""),
    ("watch", "apps", "replicasets", ""),
    ("get", "", "pods", ""),
    ("list", "", "pods", ""),
];

/// Without these less is known or told.
const BESIDE: [(Permission, &str); 8] = [
    (("get", "", "pods", "log"), "the logs of a bad release are lost with its pods"),
    (("list", "", "events", ""), "events are missing in the evidence"),
    (("get", "", "configmaps", ""), "a release that names a ConfigMap cannot be proven, and pages"),
    (("get", "", "serviceaccounts", ""), "a release that names a ServiceAccount cannot be proven, and pages"),
    (("get", "", "persistentvolumeclaims", ""), "a release that names a claim cannot be proven, and pages"),
    (("get", "", "namespaces", ""), "the annotation `backout.dev/pause` on the namespace is not seen"),
    (("list", "batch", "jobs", ""), "whether a migration ran between the releases is not known, and pages (brake `data_latch`)"),
    (("create", "events.k8s.io", "events", ""), "no Event on the workload says what was done"),
];

/// What a rollback writes.
const WRITE: [Permission; 1] = [("patch", "apps", "deployments", "")];

pub(super) async fn look(settings: &Settings, policies: &Policies, findings: &mut Findings) {
    let mut area = findings.area("cluster");
    let client = match (Clients::connect(settings.kubeconfig.clone()).await, &settings.kubeconfig) {
        (Ok(clients), _) => clients.reads,
        (Err(error), Some(_)) => return area.problem("access", error, "name a kubeconfig that works with `cluster.kubeconfig`"),
        (Err(error), None) => {
            let todo =
                "run in the cluster, or name a kubeconfig with `cluster.kubeconfig`; without a cluster nothing is rolled back";
            return area.missing(acts(policies), "access", format!("there is no cluster: {error}"), todo);
        }
    };
    if !reach(&client, &mut area).await {
        return;
    }
    let scopes = scopes(&settings.namespaces);
    if scopes.len() > MOST_SCOPES {
        let found = format!("{} namespaces are watched; the first {MOST_SCOPES} are looked at", scopes.len());
        area.warning("namespaces", found, "to watch so many, leave `cluster.namespaces` out and use a ClusterRole");
    }
    let scopes: Vec<Option<String>> = scopes.into_iter().take(MOST_SCOPES).collect();
    reading(&client, &scopes, &mut area).await;
    writing(&client, settings, policies, &mut area).await;
    watching(&client, &scopes, &mut area).await;
}

/// Version and clock.
async fn reach(client: &Client, area: &mut Area<'_>) -> bool {
    let before = now();
    let request = Request::get("/version").body(Body::empty());
    let answer = match request {
        Ok(request) => tokio::time::timeout(LIMIT, client.send(request)).await,
        Err(error) => {
            area.problem("access", error.to_string(), "this is a defect");
            return false;
        }
    };
    let todo = "is the address in the kubeconfig right, and does the network let us through?";
    let response = match answer {
        Ok(Ok(response)) if response.status().is_success() => response,
        Ok(Ok(response)) => {
            let todo = "is the kubeconfig's user known to the cluster, and its token fresh?";
            area.problem("access", format!("the API server answers {} to `/version`", response.status()), todo);
            return false;
        }
        Ok(Err(error)) => {
            area.problem("access", format!("the API server cannot be reached: {}", chain(&error)), todo);
            return false;
        }
        Err(_) => {
            area.problem("access", format!("the API server does not answer within {} s", LIMIT.as_secs()), todo);
            return false;
        }
    };
    let after = now();
    let date = response.headers().get("date").and_then(|date| date.to_str().ok()).and_then(http_date);
    let version = ask(client, Request::get("/version"), Value::Null).await;
    let version = version.ok().and_then(|version| version["gitVersion"].as_str().map(str::to_owned));
    area.ok("access", format!("the API server answers, version {}", version.as_deref().unwrap_or("unknown")));
    if let Some(date) = date {
        clock(area, "the API server", date, (before, after), Duration::from_secs(1));
    }
    true
}

/// The scopes that are watched: namespaces, or all of them at once.
fn scopes(namespaces: &[String]) -> Vec<Option<String>> {
    match namespaces {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    }
}

async fn reading(client: &Client, scopes: &[Option<String>], area: &mut Area<'_>) {
    let mut refused = Vec::new();
    for scope in scopes {
        refused.extend(not_allowed(client, scope.as_deref(), READ.iter().copied()).await);
        for (permission, why) in BESIDE {
            for missing in not_allowed(client, scope.as_deref(), [permission].into_iter()).await {
                area.warning("permission", missing, format!("{why}; grant it as in deploy/rbac.yaml"));
            }
        }
    }
    let todo = "grant it as in deploy/rbac.yaml: a Role in each namespace of `cluster.namespaces`, or a ClusterRole";
    if refused.is_empty() {
        area.ok("permission", format!("what deciding needs may be read in {}", places(scopes)));
    }
    for missing in refused {
        area.problem("permission", missing, todo);
    }
}

/// What acting policies write, where they may.
async fn writing(client: &Client, settings: &Settings, policies: &Policies, area: &mut Area<'_>) {
    let mut wanted: BTreeSet<Option<String>> = BTreeSet::new();
    for policy in acting(policies) {
        for pattern in &policy.targets {
            match pattern.0.split_once('/') {
                Some((namespace, _)) if !namespace.contains('*') => {
                    if !settings.namespaces.is_empty() && !settings.namespaces.iter().any(|watched| watched == namespace) {
                        let found = format!("the policy `{}` may act in `{namespace}`, which is not watched", policy.name);
                        area.problem(
                            "namespaces",
                            found,
                            "add it to `cluster.namespaces`, or take it out of the policy's `targets`",
                        );
                    }
                    wanted.insert(Some(namespace.to_owned()));
                }
                _ => wanted.extend(scopes(&settings.namespaces)),
            }
        }
    }
    if wanted.is_empty() {
        return area.ok("permission", "no policy acts: nothing needs to be written");
    }
    let wanted: Vec<Option<String>> = wanted.into_iter().take(MOST_SCOPES).collect();
    let mut refused = Vec::new();
    for scope in &wanted {
        refused.extend(not_allowed(client, scope.as_deref(), WRITE.iter().copied()).await);
    }
    if refused.is_empty() {
        area.ok("permission", format!("what a rollback writes may be written in {}", places(&wanted)));
    }
    for missing in refused {
        area.problem("permission", missing, "policies may act there: grant it as in deploy/rbac.yaml, or leave them in shadow");
    }
}

fn places(scopes: &[Option<String>]) -> String {
    let names: Vec<String> = scopes
        .iter()
        .map(|scope| scope.as_ref().map_or_else(|| "all namespaces".to_owned(), |name| format!("`{name}`")))
        .collect();
    names.join(", ")
}

/// Those of the permissions that the cluster does not grant, in words.
async fn not_allowed(client: &Client, namespace: Option<&str>, permissions: impl Iterator<Item = Permission>) -> Vec<String> {
    let asked = permissions.map(|(verb, group, resource, subresource)| async move {
        let name = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
        let place = namespace.map_or_else(|| "in all namespaces".to_owned(), |namespace| format!("in `{namespace}`"));
        let mut attributes = json!({ "group": group, "resource": resource, "verb": verb });
        if !subresource.is_empty() {
            attributes["subresource"] = json!(subresource);
        }
        if let Some(namespace) = namespace {
            attributes["namespace"] = json!(namespace);
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": { "resourceAttributes": attributes },
        });
        match ask(client, Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"), review).await {
            Ok(answer) if answer.pointer("/status/allowed") == Some(&Value::Bool(true)) => None,
            Ok(_) => Some(format!("not granted: {verb} {name} {place}")),
            Err(why) => Some(format!("whether {verb} {name} {place} is granted cannot be told: {why}")),
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Lists and watches as the service does, for a second.
async fn watching(client: &Client, scopes: &[Option<String>], area: &mut Area<'_>) {
    let looked = join_all(scopes.iter().map(|scope| watch(client, scope.as_deref()))).await;
    let mut seen = 0;
    let mut works = true;
    for (scope, found) in scopes.iter().zip(looked) {
        let place = places(std::slice::from_ref(scope));
        match found {
            Ok(deployments) => seen += deployments,
            Err(why) => {
                works = false;
                area.problem(
                    "watch",
                    format!("{place}: {why}"),
                    "without the watch a decision knows no history; grant `list` and `watch`",
                );
            }
        }
    }
    if works {
        area.ok("watch", format!("{seen} Deployments in {}", places(scopes)));
    }
}

/// The number of Deployments that a list tells, if they can be watched, too.
async fn watch(client: &Client, namespace: Option<&str>) -> Result<u64, String> {
    let place = namespace.map_or_else(String::new, |namespace| format!("namespaces/{namespace}/"));
    let path = format!("/apis/apps/v1/{place}deployments");
    let list = ask(client, Request::get(format!("{path}?limit=1")), Value::Null).await;
    let list = list.map_err(|why| format!("Deployments cannot be listed: {why}"))?;
    let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or("0");
    let more = list.pointer("/metadata/remainingItemCount").and_then(Value::as_u64).unwrap_or(0);
    let request = Request::get(format!("{path}?watch=1&timeoutSeconds=1&resourceVersion={version}")).body(Vec::new());
    let request = request.map_err(|error| error.to_string())?;
    match tokio::time::timeout(LIMIT, client.request_text(request)).await {
        Ok(Ok(_)) => Ok(more + list["items"].as_array().map_or(0, |items| items.len() as u64)),
        Ok(Err(error)) => Err(format!("the watch is refused: {}", chain(&error))),
        Err(_) => Err(format!("a watch of one second did not end within {} s; does a proxy hold answers back?", LIMIT.as_secs())),
    }
}

async fn ask(client: &Client, request: http::request::Builder, body: Value) -> Result<Value, String> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = request.header("content-type", "application/json").body(body).map_err(|error| error.to_string())?;
    match tokio::time::timeout(LIMIT, client.request::<Value>(request)).await {
        Ok(answer) => answer.map_err(|error| chain(&error)),
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

/// `Thu, 26 Nov 2026 03:37:43 GMT`
fn http_date(text: &str) -> Option<Time> {
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Time::from_millis(at.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read() {
        assert_eq!(
            http_date("Thu, 26 Nov 2026 03:37:43 GMT").map(|at| at.to_string()).as_deref(),
            Some("2026-11-26T03:37:43.000Z")
        );
        assert_eq!(http_date("yesterday"), None);
    }
}
