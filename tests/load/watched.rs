//! Memory of the service while it watches 1,000 Deployments with 11 ReplicaSets each, from a fake API server.

use std::time::Duration;

use crate::support::{Backout, Setup};
use crate::{megabytes, say};

#[path = "objects.rs"]
mod objects;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement"]
async fn a_thousand_deployments() {
    let (address, bytes) = objects::serve().await;
    let dir = tempfile::tempdir().expect("a folder");
    let kubeconfig = dir.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: none}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).expect("written");
    say(&format!(
        "\n### Memory with {} Deployments of {} ReplicaSets each watched ({bytes} bytes of JSON an object), MB\n\n\
         | round | resident | anonymous | peak |\n|---|---|---|---|",
        objects::DEPLOYMENTS,
        objects::SETS_EACH
    ));
    for round in 1..=3 {
        let backout = Backout::start(Setup { kubeconfig: Some(kubeconfig.clone()), ..Setup::default() }).await;
        // The allocator gives back what the lists took.
        tokio::time::sleep(Duration::from_secs(15)).await;
        let of = |name| megabytes(backout.pid(), name);
        say(&format!("| {round} | {:.1} | {:.1} | {:.1} |", of("VmRSS:"), of("RssAnon:"), of("VmHWM:")));
    }
}
