//! How much memory the watch takes for 1,000 Deployments with 11 ReplicaSets each, 6.5 kB of JSON an object, from a fake API server.
//!
//! ```text
//! cargo test --release --test watch_memory -- --ignored --nocapture
//! ```

use std::sync::Arc;
use std::time::Duration;

use backout::cluster::Clients;
use backout::model::Time;
use backout::observe::{ClusterWatch, WatchSettings};
use backout::ports::Clock;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

mod objects;
use objects::{DEPLOYMENTS, SETS_EACH};

/// What the README promises, with the whole process around it.
const LIMIT_KB: u64 = 64 * 1024;

struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Time {
        Time::default()
    }

    fn sleep_until(&self, _: Time) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

/// A figure of `/proc/self/status`, in kB.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a figure");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

#[test]
#[ignore = "a measurement; see the command at the top"]
fn a_thousand_deployments_fit() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (address, bytes) = objects::serve().await;
        let clients = Clients::of(kube::Config::new(format!("http://{address}").parse().expect("a URL"))).expect("clients");

        let before = memory("VmRSS");
        let (sender, mut news) = mpsc::channel(64);
        let clock: Arc<dyn Clock> = Arc::new(NoClock);
        let watch = ClusterWatch::new(&clients.reads, &clock, &WatchSettings::default(), sender);
        let running = watch.clone();
        tokio::spawn(async move { running.run(CancellationToken::new()).await });
        let count = async {
            for _ in 0..DEPLOYMENTS {
                assert!(news.recv().await.expect("an event").relearned);
            }
        };
        tokio::time::timeout(Duration::from_secs(120), count).await.expect("every Deployment is told");
        let status = watch.status();
        assert_eq!(status.objects, DEPLOYMENTS * (SETS_EACH + 1));
        let (now, peak) = (memory("VmRSS"), memory("VmHWM"));
        #[expect(clippy::print_stderr, reason = "the figure is the result")]
        {
            eprintln!("{} objects of {bytes} bytes: before {before} kB, now {now} kB, peak {peak} kB", status.objects);
        }
        assert!(peak < LIMIT_KB, "peak {peak} kB");
    });
}
