//! A real Prometheus.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::bed::built;
use super::process::Process;
use super::wait::eventually;
use super::{free_port, http};

const START_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Prometheus {
    process: Process,
    url: String,
    http: reqwest::Client,
    _dir: TempDir,
}

impl Prometheus {
    /// `rules` is the text of one rule file; `config` names it `rules.yml`, as `prometheus_config` does.
    pub(crate) async fn start(config: &str, rules: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("prometheus.yml"), config).expect("written");
        std::fs::write(dir.path().join("rules.yml"), rules).expect("written");
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(built("prometheus"));
        command
            .current_dir(dir.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={address}"))
            // An alert that goes on firing is sent again after this time; the default is a minute.
            .args(["--rules.alert.resend-delay=1s", "--web.enable-lifecycle"]);
        let process = Process::spawn("prometheus", &mut command, &dir.path().join("log"));
        Self::ready(Self { process, url: format!("http://{address}"), http: http(), _dir: dir }).await
    }

    /// One that has blocks of old times in the folder `data`, and does nothing but answer.
    pub(crate) async fn over(dir: TempDir) -> Self {
        std::fs::write(dir.path().join("prometheus.yml"), "{}\n").expect("written");
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(built("prometheus"));
        command
            .current_dir(dir.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=90y"])
            .arg(format!("--web.listen-address={address}"));
        let process = Process::spawn("prometheus", &mut command, &dir.path().join("log"));
        Self::ready(Self { process, url: format!("http://{address}"), http: http(), _dir: dir }).await
    }

    async fn ready(mut this: Self) -> Self {
        eventually("Prometheus is ready", START_LIMIT, async || {
            this.process.must_run();
            this.http.get(format!("{}/-/ready", this.url)).send().await?.error_for_status()
        })
        .await;
        this
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The samples of an instant query: labels and value.
    pub(crate) async fn query(&self, promql: &str) -> Result<Vec<(Value, f64)>, String> {
        let mut url: url::Url = format!("{}/api/v1/query", self.url).parse().expect("a URL");
        url.query_pairs_mut().append_pair("query", promql);
        let answer = self.http.get(url).send().await.map_err(|error| error.to_string())?;
        let body: Value = answer.json().await.map_err(|error| error.to_string())?;
        let Some(samples) = body["data"]["result"].as_array() else { return Err(body.to_string()) };
        Ok(samples
            .iter()
            .map(|sample| {
                (sample["metric"].clone(), sample["value"][1].as_str().and_then(|v| v.parse().ok()).unwrap_or(f64::NAN))
            })
            .collect())
    }

    /// Waits until a query has at least one sample.
    pub(crate) async fn wait_for(&self, promql: &str, limit: Duration) -> Vec<(Value, f64)> {
        eventually(promql, limit, async || {
            let samples = self.query(promql).await?;
            if samples.is_empty() { Err("no samples".to_owned()) } else { Ok(samples) }
        })
        .await
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    pub(crate) fn kill9(&mut self) {
        self.process.kill9();
    }
}

/// Scrapes and evaluates twice a second, so that an alert takes a second or two; targets and
/// Alertmanagers are `host:port` or URLs.
pub(crate) fn prometheus_config(targets: &[&str], alertmanagers: &[&str]) -> String {
    let list = |all: &[&str]| all.iter().map(|one| format!("'{}'", host_port(one))).collect::<Vec<_>>().join(", ");
    format!(
        "global:\n  scrape_interval: 500ms\n  scrape_timeout: 500ms\n  evaluation_interval: 500ms\n\
         rule_files: [rules.yml]\n\
         alerting:\n  alertmanagers:\n  - static_configs:\n    - targets: [{}]\n\
         scrape_configs:\n- job_name: shop\n  static_configs:\n  - targets: [{}]\n",
        list(alertmanagers),
        list(targets),
    )
}

fn host_port(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}
