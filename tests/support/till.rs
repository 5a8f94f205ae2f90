//! One exporter for all shops of a namespace: each is as good as the image that its Deployment is on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use kube::api::ListParams;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::namespace::{Namespace, image_of};

/// How often the images are looked at.
const TICK: Duration = Duration::from_millis(200);
/// The API server stamps changes with whole seconds: trouble begins in a later one.
const GOES_BAD_AFTER: Duration = Duration::from_millis(1100);

/// The alert of each shop, for `Prometheus::start`: rates over so short a time that it comes and goes in seconds.
pub(crate) const SHOP_ALERTS: &str = r#"
groups:
- name: shop
  rules:
  - alert: ShopErrors
    expr: sum by (namespace, deployment) (rate(http_requests_total{code="500"}[3s])) / sum by (namespace, deployment) (rate(http_requests_total[3s])) > 0.3
    labels: {severity: critical}
"#;

/// Serves `http_requests_total{namespace,deployment,code}` of every Deployment there.
pub(crate) struct Till {
    url: String,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Sold {
    image: String,
    changed: Option<Instant>,
    good: f64,
    failed: f64,
}

impl Till {
    pub(crate) async fn open(namespace: &Namespace) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let sold: Arc<Mutex<BTreeMap<String, Sold>>> = Arc::default();
        let (shown, name) = (Arc::clone(&sold), namespace.name.clone());
        let metrics = move || std::future::ready(render(&lock(&shown), &name));
        let app = Router::new().route("/metrics", get(metrics));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        let trade = tokio::spawn(trade(namespace.clone(), sold));
        Self { url, tasks: [server, trade] }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Till {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn trade(namespace: Namespace, sold: Arc<Mutex<BTreeMap<String, Sold>>>) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(TICK).await;
        let Ok(list) = namespace.deployments().list(&ListParams::default()).await else { continue };
        let requests = last.elapsed().as_secs_f64() * 100.0;
        last = Instant::now();
        let mut sold = lock(&sold);
        for deployment in &list.items {
            let shop = sold.entry(deployment.metadata.name.clone().unwrap_or_default()).or_default();
            let image = image_of(deployment);
            if image != shop.image {
                (shop.image, shop.changed) = (image, Some(last));
            }
            let since = shop.changed.map_or(Duration::ZERO, |at| at.elapsed());
            let ratio = if shop.image.contains("faulty") && since >= GOES_BAD_AFTER { 0.6 } else { 0.0 };
            shop.failed += requests * ratio;
            shop.good += requests * (1.0 - ratio);
        }
    }
}

fn render(sold: &BTreeMap<String, Sold>, namespace: &str) -> String {
    let mut text = "# TYPE http_requests_total counter\n".to_owned();
    for (name, shop) in sold {
        for (code, count) in [("200", shop.good), ("500", shop.failed)] {
            let _ = writeln!(
                text,
                "http_requests_total{{namespace=\"{namespace}\",deployment=\"{name}\",code=\"{code}\"}} {}",
                count.floor()
            );
        }
    }
    text
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
