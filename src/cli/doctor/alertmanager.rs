//! The Alertmanager peers: do they answer, are all of them named, does one of their receivers post to us, and rightly?

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::finding::{Area, Findings};
use super::{acts, get_json, now};
use crate::model::Time;
use crate::outgoing::Clients;
use crate::policy::duration;
use crate::policy::types::Policies;
use crate::settings::Settings;

/// The end of our webhook's address.
const OUR_PATH: &str = "/v1/webhook/alertmanager";
/// What Alertmanager shows in place of an address since 0.26.
const HIDDEN: &str = "<secret>";

pub(super) async fn look(settings: &Settings, clients: &Clients, policies: &Policies, findings: &mut Findings) {
    let mut area = findings.area("alertmanager");
    if settings.alertmanagers.is_empty() {
        let todo = "name every peer with `alertmanager`; without one nobody can confirm that an alert fires or is over";
        return area.missing(acts(policies), "access", "no Alertmanager is configured", todo);
    }
    for peer in &settings.alertmanagers {
        let endpoint = match clients.endpoint(peer) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                area.problem("access", error.to_string(), "mend the setting");
                continue;
            }
        };
        let status = match get_json(&endpoint, "api/v2/status", &[]).await {
            Ok(status) => status,
            Err(why) => {
                let todo = "is the address right (with its path), is it up, are the credentials valid?";
                area.problem("access", format!("`{}`: {why}", endpoint.name()), todo);
                continue;
            }
        };
        let name = endpoint.name();
        let version = status.pointer("/versionInfo/version").and_then(Value::as_str).unwrap_or("unknown");
        area.ok("access", format!("`{name}` answers, version {version}"));
        uptime(name, &status, settings.limits.peer_up, &mut area);
        peers(name, &status, settings.alertmanagers.len(), &mut area);
        match status.pointer("/config/original").and_then(Value::as_str) {
            Some(config) => route(name, config, &mut area),
            None => {
                area.warning("route", format!("`{name}` does not tell its configuration"), "see for yourself that it posts to us")
            }
        }
    }
}

fn uptime(name: &str, status: &Value, limit: Duration, area: &mut Area<'_>) {
    let Some(started) = status["uptime"].as_str().and_then(Time::parse) else { return };
    let up = now().since(started);
    if up < limit {
        let (up, limit) = (duration::format(Duration::from_secs(up.as_secs())), duration::format(limit));
        let found = format!("`{name}` was started {up} ago");
        area.warning("uptime", found, format!("until it has been up for {limit} its empty list proves nothing; wait"));
    }
}

fn peers(name: &str, status: &Value, named: usize, area: &mut Area<'_>) {
    let peers = status.pointer("/cluster/peers").and_then(Value::as_array).map_or(0, Vec::len);
    if peers > named {
        let found = format!("`{name}` has {peers} peers (itself included), and {named} are named in the settings");
        area.warning(
            "peers",
            found,
            "name every peer under `alertmanager`: each may know an alert that the others do not know yet",
        );
    } else if peers > 1 {
        area.ok("peers", format!("`{name}` is one of {peers} peers, all named"));
    }
}

/// A receiver's webhook.
#[derive(Debug, PartialEq, Eq)]
struct Hook {
    receiver: String,
    /// `None`: hidden.
    url: Option<String>,
    send_resolved: bool,
    max_alerts: u64,
    follow_redirects: bool,
    /// Whether a route leads to it.
    used: bool,
}

fn route(name: &str, config: &str, area: &mut Area<'_>) {
    let hooks = match hooks(config) {
        Ok(hooks) => hooks,
        Err(why) => {
            let found = format!("the configuration of `{name}` cannot be read: {why}");
            return area.warning("route", found, "see for yourself that a receiver posts to us");
        }
    };
    let shown = |hook: &&Hook| hook.url.as_deref().is_some_and(|url| url.trim_end_matches('/').ends_with(OUR_PATH));
    let named = |hook: &&Hook| hook.url.is_none() && hook.receiver.to_ascii_lowercase().contains("backout");
    let ours: Vec<&Hook> = hooks.iter().filter(|hook| shown(hook) || named(hook)).collect();
    let hidden = hooks.iter().filter(|hook| hook.url.is_none()).count();
    if ours.is_empty() && hidden > 0 {
        let found = format!(
            "whether a receiver of `{name}` posts to us cannot be told: it has {hidden} webhooks, whose addresses it hides, and no \
             receiver with `backout` in its name"
        );
        return area.warning(
            "route",
            found,
            "give our receiver such a name; `backout_webhook_requests_total` counts what arrives",
        );
    }
    if ours.is_empty() {
        let found = format!("no receiver of `{name}` posts to `…{OUR_PATH}`: no alert will arrive");
        return area.problem("route", found, "add a receiver with a webhook to that path, and a route that leads to it");
    }
    for hook in ours {
        settings_of(name, hook, area);
    }
}

fn settings_of(name: &str, hook: &Hook, area: &mut Area<'_>) {
    let receiver = format!("the receiver `{}` of `{name}`", hook.receiver);
    match (hook.used, &hook.url) {
        (false, _) => area.problem("route", format!("no route leads to {receiver}"), "add one, first and with `continue: true`"),
        (true, Some(_)) => area.ok("route", format!("{receiver} posts to us")),
        (true, None) => area.ok("route", format!("{receiver} seems to post to us (its address is hidden)")),
    }
    if !hook.send_resolved {
        let todo = "set `send_resolved: true`; without it nobody hears that an alert is over until we ask";
        area.problem("send_resolved", format!("{receiver} does not send what is resolved"), todo);
    }
    if hook.max_alerts > 0 {
        let found = format!("{receiver} cuts notifications to {} alerts", hook.max_alerts);
        area.warning(
            "max_alerts",
            found,
            "set `max_alerts: 0`: a cut list may lack what a rule asks for, and holds the brake `truncated`",
        );
    }
    if hook.follow_redirects {
        let todo =
            "set `follow_redirects: false` in its `http_config`: a redirected notification counts as delivered and is lost";
        area.warning("follow_redirects", format!("{receiver} follows redirects"), todo);
    }
}

/// Every webhook of a configuration.
fn hooks(config: &str) -> Result<Vec<Hook>, String> {
    let config: Value = serde_saphyr::from_str(config).map_err(|error| error.without_snippet().to_string())?;
    let mut used = BTreeSet::new();
    receivers(&config["route"], 0, &mut used);
    let global = config.pointer("/global/http_config/follow_redirects").and_then(Value::as_bool);
    let mut hooks = Vec::new();
    for receiver in config["receivers"].as_array().into_iter().flatten() {
        let name = receiver["name"].as_str().unwrap_or_default().to_owned();
        for hook in receiver["webhook_configs"].as_array().into_iter().flatten() {
            let own = hook.pointer("/http_config/follow_redirects").and_then(Value::as_bool);
            hooks.push(Hook {
                receiver: name.clone(),
                url: hook["url"].as_str().filter(|url| *url != HIDDEN).map(str::to_owned),
                send_resolved: hook["send_resolved"].as_bool().unwrap_or(true),
                max_alerts: hook["max_alerts"].as_u64().unwrap_or(0),
                follow_redirects: own.or(global).unwrap_or(true),
                used: used.contains(&name),
            });
        }
    }
    Ok(hooks)
}

/// The receivers that routes lead to. A route without one has its parent's.
fn receivers(route: &Value, depth: usize, used: &mut BTreeSet<String>) {
    /// Deeper trees of routes than this are nobody's.
    const MOST: usize = 64;
    used.extend(route["receiver"].as_str().map(str::to_owned));
    for child in route["routes"].as_array().into_iter().flatten().filter(|_| depth < MOST) {
        receivers(child, depth + 1, used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    fn levels(config: &str) -> (usize, usize) {
        let mut findings = Findings::default();
        route("am", config, &mut findings.area("alertmanager"));
        (findings.count(Level::Problem), findings.count(Level::Warning))
    }

    fn config(route: &str, hook: &str) -> String {
        format!(
            "route: {{receiver: pager, routes: [{route}]}}\nreceivers:\n- name: pager\n- name: backout\n  webhook_configs:\n  - {hook}\n"
        )
    }

    const RIGHT: &str = "{url: 'http://backout:9095/v1/webhook/alertmanager', http_config: {follow_redirects: false}}";

    #[test]
    fn our_route_is_looked_at() {
        let to_us = "{receiver: backout, continue: true}";
        assert_eq!(levels(&config(to_us, RIGHT)), (0, 0));
        assert_eq!(levels(&config("", RIGHT)), (1, 0), "no route leads there");
        assert_eq!(levels(&config(to_us, "{url: 'http://other/'}")), (1, 0), "nothing posts to us");
        let careless = "{url: 'http://b/v1/webhook/alertmanager/', send_resolved: false, max_alerts: 10}";
        assert_eq!(levels(&config(to_us, careless)), (1, 2));
        assert_eq!(levels(&config(to_us, "{url: <secret>, http_config: {follow_redirects: false}}")), (0, 0), "by its name");
        let hidden = config(to_us, "{url: <secret>}").replace("backout", "hook");
        assert_eq!(levels(&hidden), (0, 1), "cannot be told");
        assert_eq!(levels("receivers: ["), (0, 1));
    }
}
