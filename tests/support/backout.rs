//! The real binary, as its users start it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::http;
use super::metrics::sum;
use super::process::Process;
use super::wait::eventually;

const START_LIMIT: Duration = Duration::from_secs(30);

/// Stands in the file `token` beside the settings file.
pub(crate) const TOKEN: &str = "token-of-the-tests-0123456789abcdef";

/// What `backout serve` is started with. `Setup::default()` has no cluster and no rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// The text of the `--config` file.
    pub(crate) config: String,
    /// File name and text of each file in `--rules`.
    pub(crate) rules: Vec<(String, String)>,
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Empty: the flag is left out.
    pub(crate) cluster_name: String,
    pub(crate) prometheus: Vec<String>,
    pub(crate) alertmanagers: Vec<String>,
    /// Another address than loopback with a port of the system's choice.
    pub(crate) listen: Option<String>,
    /// Another folder than a fresh one: somebody else's, a full one.
    pub(crate) data: Option<PathBuf>,
    /// Another folder than one with `rules` in it.
    pub(crate) rules_dir: Option<PathBuf>,
    /// Further arguments and environment.
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Backout {
    process: Process,
    setup: Setup,
    dir: TempDir,
    url: String,
    http: reqwest::Client,
}

impl Backout {
    /// Started and ready.
    pub(crate) async fn start(setup: Setup) -> Self {
        let mut this = Self::spawn(setup);
        this.wait_ready().await;
        this
    }

    /// Only started: for a start that is meant to fail (`wait_end`) or to be slow (`wait_ready`).
    pub(crate) fn spawn(setup: Setup) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("config.yaml"), &setup.config).expect("written");
        std::fs::write(dir.path().join("token"), TOKEN).expect("written");
        std::fs::create_dir_all(dir.path().join("rules")).expect("a folder");
        for (name, text) in &setup.rules {
            std::fs::write(dir.path().join("rules").join(name), text).expect("written");
        }
        let process = Self::launch(&setup, dir.path());
        Self { process, setup, dir, url: String::new(), http: http() }
    }

    fn launch(setup: &Setup, dir: &Path) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backout"));
        command.current_dir(dir).args(["serve", "--config", "config.yaml"]);
        command.arg("--rules").arg(setup.rules_dir.as_deref().unwrap_or(Path::new("rules")));
        command.arg("--data").arg(setup.data.as_deref().unwrap_or(Path::new("data")));
        command.args(["--listen", setup.listen.as_deref().unwrap_or("127.0.0.1:0")]);
        if let Some(kubeconfig) = &setup.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        if !setup.cluster_name.is_empty() {
            command.args(["--cluster-name", &setup.cluster_name]);
        }
        for url in &setup.prometheus {
            command.args(["--prometheus", url]);
        }
        for url in &setup.alertmanagers {
            command.args(["--alertmanager", url]);
        }
        command.args(&setup.args).envs(setup.env.iter().map(|(key, value)| (key, value)));
        Process::spawn("backout", &mut command, &dir.join("log"))
    }

    /// Waits until it listens, which is before it is ready.
    pub(crate) async fn wait_listening(&mut self) {
        let file = self.data_dir().join("listen");
        let address = eventually("backout listens", START_LIMIT, async || {
            self.process.must_run();
            let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
            text.trim().parse::<std::net::SocketAddr>().map_err(|error| format!("{text:?}: {error}"))
        })
        .await;
        self.url = format!("http://{address}");
    }

    pub(crate) async fn wait_ready(&mut self) {
        self.wait_listening().await;
        eventually("backout is ready", START_LIMIT, async || {
            self.process.must_run();
            let answer = self.http.get(format!("{}/-/ready", self.url)).send().await.map_err(|error| error.to_string())?;
            let status = answer.status();
            if status.is_success() { Ok(()) } else { Err(format!("{status}: {}", answer.text().await.unwrap_or_default())) }
        })
        .await;
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where Alertmanager posts to.
    pub(crate) fn webhook_url(&self) -> String {
        format!("{}/v1/webhook/alertmanager", self.url)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.setup.data.clone().unwrap_or_else(|| self.dir.path().join("data"))
    }

    /// For tests that change a policy while it runs.
    pub(crate) fn rules_dir(&self) -> PathBuf {
        self.setup.rules_dir.clone().unwrap_or_else(|| self.dir.path().join("rules"))
    }

    /// All it printed, over all its starts.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Power off: nothing is flushed, nothing is said.
    pub(crate) fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts again on the same data folder and waits until it is ready. What still runs is killed first.
    pub(crate) async fn restart(&mut self) {
        self.respawn();
        self.wait_ready().await;
    }

    pub(crate) fn respawn(&mut self) {
        self.process.kill9();
        // The address will be another one.
        let _ = std::fs::remove_file(self.data_dir().join("listen"));
        self.process = Self::launch(&self.setup, self.dir.path());
    }

    /// Asks it to end (SIGTERM).
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.process.stop(Duration::from_secs(30)).await
    }

    /// How it ended by itself.
    pub(crate) async fn wait_end(&mut self) -> ExitStatus {
        self.process.wait(START_LIMIT).await
    }

    pub(crate) fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, String> {
        let answer =
            self.http.get(format!("{}{path}", self.url)).bearer_auth(TOKEN).send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    /// Does something over the API, with the token that a settings file may name as `token`.
    pub(crate) async fn operate(&self, path: &str, body: &Value) -> reqwest::StatusCode {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(TOKEN).json(body);
        request.send().await.expect("an answer").status()
    }

    /// The same, with what it answered.
    pub(crate) async fn operate_text(&self, path: &str, body: &Value) -> (u16, String) {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(TOKEN).json(body);
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.unwrap_or_default())
    }

    /// Posts a body to the webhook, as Alertmanager would.
    pub(crate) async fn post_webhook(&self, body: &Value) -> reqwest::StatusCode {
        self.http.post(self.webhook_url()).json(body).send().await.expect("an answer").status()
    }

    /// All of `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        let answer = self.http.get(format!("{}/metrics", self.url)).send().await.expect("an answer");
        answer.text().await.expect("a body")
    }

    /// [`sum()`] of what `/metrics` says now.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sum(&self.metrics().await, name, labels)
    }

    /// Another command of the same binary, run to its end.
    pub(crate) fn command(args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_backout")).args(args).output().expect("the binary")
    }

    /// The same, while the test itself serves what the command asks.
    pub(crate) async fn run(args: &[&str]) -> Output {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let run = move || Self::command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.expect("it runs")
    }
}
