//! One Kubernetes control plane for all tests of a process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::bed::built;
use super::gate::Gate;
use super::install_crypto;
use super::namespace::{SCHEDULER, apply, random_name};
use super::process::Process;
use super::wait::eventually;

/// Points the tests at a cluster that is there already.
const VARIABLE: &str = "BACKOUT_TEST_KUBECONFIG";

/// Who the tested service is in the cluster.
pub(crate) const BACKOUT_USER: &str = "system:serviceaccount:backout:backout";

/// The cluster that the tests of this process share; they keep apart by namespaces.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    admin: PathBuf,
    backout: PathBuf,
    audit_log: Option<PathBuf>,
    // Killed with the test process, since statics are never dropped.
    _kubelet: Option<Process>,
    _dir: Option<tempfile::TempDir>,
}

/// One write that reached the API server, by its audit log.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) user: String,
    pub(crate) verb: String,
    /// `deployments`, or with the subresource `deployments/scale`.
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) dry_run: bool,
    /// The status code of the answer.
    pub(crate) code: u64,
    /// When it was answered, RFC 3339.
    pub(crate) at: String,
    pub(crate) body: Value,
}

impl ControlPlane {
    /// The cluster of `BACKOUT_TEST_KUBECONFIG`, else one of our own, started at the first call.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(|| {
            install_crypto();
            // A thread of its own: the caller is inside a runtime, in which one must not block on another.
            std::thread::spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(Self::open())
            })
            .join()
            .unwrap_or_else(|_| panic!("no control plane; the reason is above"))
        })
    }

    async fn open() -> Self {
        let plane = match std::env::var_os(VARIABLE) {
            Some(kubeconfig) => Self::existing(&std::path::absolute(kubeconfig).expect("a path")).await,
            None => Self::start().await,
        };
        plane.allow_reading().await;
        plane
    }

    async fn start() -> Self {
        // Not a TempDir: the program removes it when this process is gone.
        let dir = tempfile::Builder::new().prefix("backout-plane-").tempdir().expect("a folder").keep();
        let log = std::env::temp_dir().join(format!("{}.log", dir.file_name().expect("a name").to_string_lossy()));
        let mut command = Command::new(built("testplane"));
        command.args(["up", "--remove", "--parent-pid", &std::process::id().to_string(), "--dir"]).arg(&dir);
        // Not a Process: killed, it could not end its own children in order.
        let out = std::fs::File::create(&log).expect("a log file");
        let mut child = command
            .stdin(std::process::Stdio::null())
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out)
            .spawn()
            .expect("testplane");
        let description = eventually("the control plane is ready", Duration::from_secs(150), async || {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                panic!("testplane ended ({status}):\n{}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            std::fs::read(dir.join("plane.json"))
        })
        .await;
        let _ = std::fs::remove_file(&log);
        Self::of_testplane(&dir, &description)
    }

    fn of_testplane(dir: &Path, description: &[u8]) -> Self {
        let description: Value = serde_json::from_slice(description).expect("plane.json");
        Self {
            admin: dir.join("admin.kubeconfig"),
            backout: dir.join("backout.kubeconfig"),
            audit_log: description["audit_log"].as_str().map(PathBuf::from),
            _kubelet: None,
            _dir: None,
        }
    }

    /// A plane that `testplane up` started has a description beside its kubeconfig. Any other cluster gets
    /// a service account for backout and our fake kubelet, for our own pods only.
    async fn existing(admin: &Path) -> Self {
        let beside = admin.parent().expect("a file in a folder");
        if let Ok(description) = std::fs::read(beside.join("plane.json")) {
            return Self::of_testplane(beside, &description);
        }
        let dir = tempfile::tempdir().expect("a folder");
        let client = client_of(admin).await;
        apply(&Api::<Namespace>::all(client.clone()), "backout", json!({})).await;
        let accounts = Api::<ServiceAccount>::namespaced(client, "backout");
        apply(&accounts, "backout", json!({})).await;
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(8 * 3600), ..Default::default() },
            ..Default::default()
        };
        let answer = accounts.create_token_request("backout", &PostParams::default(), &request).await.expect("a token");
        let token = answer.status.expect("a status").token;

        let mut config = serde_json::to_value(Kubeconfig::read_from(admin).expect("a kubeconfig")).expect("JSON");
        let user = config["users"][0]["name"].clone();
        let current = config["current-context"].clone();
        config["users"] = json!([{ "name": user, "user": { "token": token } }]);
        for context in config["contexts"].as_array_mut().into_iter().flatten() {
            if context["name"] == current {
                context["context"]["user"] = user.clone();
            }
        }
        let backout = dir.path().join("backout.kubeconfig");
        std::fs::write(&backout, config.to_string()).expect("written");

        let mut command = Command::new(built("testplane"));
        command.args(["kubelet", "--parent-pid", &std::process::id().to_string(), "--scheduler", SCHEDULER]);
        command.arg("--kubeconfig").arg(admin);
        let kubelet = Process::spawn("kubelet", &mut command, &dir.path().join("kubelet.log"));
        Self { admin: admin.to_owned(), backout, audit_log: None, _kubelet: Some(kubelet), _dir: Some(dir) }
    }

    /// A kubeconfig that may do everything.
    pub(crate) fn admin_kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// A kubeconfig of the tested service: it reads everywhere and writes only where a test lets it
    /// (`Namespace::allow_writing`).
    pub(crate) fn backout_kubeconfig(&self) -> &Path {
        &self.backout
    }

    /// The same through a gate, which can be closed: for an API server that is gone.
    pub(crate) fn backout_kubeconfig_through(&self, gate: &Gate, dir: &Path) -> PathBuf {
        let mut config = serde_json::to_value(Kubeconfig::read_from(&self.backout).expect("a kubeconfig")).expect("JSON");
        for cluster in config["clusters"].as_array_mut().into_iter().flatten() {
            let server: url::Url = cluster["cluster"]["server"].as_str().expect("a server").parse().expect("a URL");
            cluster["cluster"]["tls-server-name"] = json!(server.host_str());
            cluster["cluster"]["server"] = json!(format!("https://{}", gate.address()));
        }
        let file = dir.join("gated.kubeconfig");
        std::fs::write(&file, config.to_string()).expect("written");
        file
    }

    /// `host:port` of the API server.
    pub(crate) fn address(&self) -> String {
        let config = serde_json::to_value(Kubeconfig::read_from(&self.admin).expect("a kubeconfig")).expect("JSON");
        let server: url::Url = config["clusters"][0]["cluster"]["server"].as_str().expect("a server").parse().expect("a URL");
        format!("{}:{}", server.host_str().expect("a host"), server.port_or_known_default().expect("a port"))
    }

    /// A client that may do everything, bound to the calling test's runtime.
    pub(crate) async fn admin(&self) -> Client {
        client_of(&self.admin).await
    }

    /// A client with the rights of the tested service.
    pub(crate) async fn as_backout(&self) -> Client {
        client_of(&self.backout).await
    }

    /// Every write in a namespace up to now, or `None` where there is no audit log to read (a cluster of one's own).
    pub(crate) async fn writes(&self, namespace: &str) -> Option<Vec<Write>> {
        let log = self.audit_log.as_ref()?;
        // The log is written after the answer: one's own mark in it says that it has come so far.
        let marks = Api::<ConfigMap>::namespaced(self.admin().await, namespace);
        let mark = random_name("audit-mark");
        apply(&marks, &mark, json!({})).await;
        let text = eventually("the audit log has our mark", Duration::from_secs(10), async || {
            let text = std::fs::read_to_string(log).map_err(|error| error.to_string())?;
            if text.contains(&mark) { Ok(text) } else { Err("not yet".to_owned()) }
        })
        .await;
        let _ = marks.delete(&mark, &DeleteParams::default()).await;
        let of_namespace = |event: &Value| event["objectRef"]["namespace"] == namespace;
        let of_mark = |event: &Value| event["objectRef"]["name"].as_str().is_some_and(|name| name.starts_with("audit-mark"));
        Some(
            text.lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .filter(|event| of_namespace(event) && !of_mark(event))
                .map(|event| Write::of(&event))
                .collect(),
        )
    }

    /// What the service may do everywhere: read. Writing is allowed by each test for its namespace.
    async fn allow_reading(&self) {
        let client = self.admin().await;
        let read = json!(["get", "list", "watch"]);
        let rules = json!({ "rules": [
            { "apiGroups": [""], "resources": ["pods", "events", "configmaps", "namespaces"], "verbs": read },
            { "apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"] },
            { "apiGroups": ["apps"], "resources": ["deployments", "replicasets", "statefulsets", "daemonsets", "controllerrevisions"], "verbs": read },
            { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"] },
            { "apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": read },
            { "apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": read },
        ]});
        apply(&Api::<ClusterRole>::all(client.clone()), "backout-test-read", rules).await;
        let binding = json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "backout-test-read" },
            "subjects": [{ "kind": "ServiceAccount", "name": "backout", "namespace": "backout" }],
        });
        apply(&Api::<ClusterRoleBinding>::all(client), "backout-test-read", binding).await;
    }
}

impl Write {
    fn of(event: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let subresource = object["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
        Self {
            user: text(&event["user"]["username"]),
            verb: text(&event["verb"]),
            resource: text(&object["resource"]) + &subresource,
            name: text(&object["name"]),
            dry_run: event["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=All")),
            code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
            at: text(&event["stageTimestamp"]),
            body: event["requestObject"].clone(),
        }
    }
}

pub(crate) async fn client_of(kubeconfig: &Path) -> Client {
    install_crypto();
    let file = Kubeconfig::read_from(kubeconfig).unwrap_or_else(|error| panic!("{}: {error}", kubeconfig.display()));
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a usable kubeconfig");
    config.proxy_url = None;
    Client::try_from(config).expect("a client")
}
