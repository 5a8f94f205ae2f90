//! The last words of the worst pods: current and previous container, bounded.

use futures_util::future::join_all;
use serde_json::Value;

use super::ask::{self, Failure};
use super::evidence::ONE_REQUEST;
use super::writer::{ClusterWriter, owned};
use crate::model::Plan;
use crate::model::manifest::{count, items};

/// Containers of a pod whose logs are read.
const CONTAINERS: usize = 2;
/// Lines and bytes of one log.
const TAIL: &str = "tailLines=200&limitBytes=262144";

impl ClusterWriter {
    /// `(section, text)` for each log, and what could not be read.
    pub(super) async fn last_logs(&self, plan: &Plan, pods: &[&Value]) -> (Vec<(String, String)>, Vec<String>) {
        let namespace = &plan.target.at.namespace;
        let wanted = pods.iter().flat_map(|pod| {
            let name = owned(pod, "/metadata/name");
            let containers: Vec<_> = items(pod, "/status/containerStatuses").iter().take(CONTAINERS).collect();
            containers.into_iter().flat_map(move |status| {
                let name = name.clone();
                let crashed = count(status, "/restartCount") > 0;
                let of = owned(status, "/name");
                [false, true]
                    .into_iter()
                    .filter(move |previous| !previous || crashed)
                    .map(move |previous| (name.clone(), of.clone(), previous))
            })
        });
        let read = wanted.map(|(pod, container, previous)| async move {
            let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&previous={previous}&{TAIL}");
            let section = format!("logs {pod}/{container}{}", if previous { " (previous)" } else { "" });
            let log = tokio::time::timeout(ONE_REQUEST, ask::get_text(&self.reads, &path)).await;
            (section, log.unwrap_or_else(|_| Err(Failure::Doubtful("no answer in time".to_owned()))))
        });
        let mut sections = Vec::new();
        let mut missing = Vec::new();
        for (section, log) in join_all(read).await {
            match log {
                Ok(text) if text.trim().is_empty() => missing.push(format!("{section}: empty")),
                Ok(text) => sections.push((section, text)),
                // 400: there is no such container any more, or not yet.
                Err(Failure::Invalid(_)) => missing.push(format!("{section}: there is none")),
                Err(failure) => missing.push(format!("{section}: {}", failure.text())),
            }
        }
        (sections, missing)
    }
}
