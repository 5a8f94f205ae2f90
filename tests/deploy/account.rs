//! An installation in namespaces of a test's own, and the service account that it makes: with a token that the API server issued,
//! and with no rights but those of the shipped files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace as KubeNamespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::config::Kubeconfig;
use kube::core::GroupVersionKind;
use kube::discovery::pinned_kind;
use serde_json::{Value, json};

use crate::support::Namespace;

/// The rendered files of an overlay, moved: `backout` to a namespace of its own, `shop` to the test's.
pub(crate) struct Installation {
    ns: Namespace,
    /// Where the service account is.
    pub(crate) home: String,
    pub(crate) objects: Vec<Value>,
}

impl Installation {
    /// Moves the objects of an overlay; nothing is applied but the namespace.
    pub(crate) async fn of(ns: &Namespace, mut objects: Vec<Value>) -> Self {
        // One's own for each: a namespace goes slowly.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let home = format!("{}-home{}", ns.name, NEXT.fetch_add(1, Ordering::Relaxed));
        for object in &mut objects {
            let moved = match object["metadata"]["namespace"].as_str() {
                Some("backout") => Some(home.as_str()),
                Some("shop") => Some(ns.name.as_str()),
                Some(other) => panic!("no overlay speaks of the namespace {other}"),
                None => None,
            };
            if let Some(namespace) = moved {
                object["metadata"]["namespace"] = json!(namespace);
            }
            for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
                assert_eq!((&subject["name"], &subject["namespace"]), (&json!("backout"), &json!("backout")));
                subject["namespace"] = json!(home);
            }
            // Objects without a namespace are everybody's: their names must not meet those of another test.
            if moved.is_none() {
                object["metadata"]["name"] = json!(home);
                match object["kind"].as_str() {
                    Some("ClusterRoleBinding") => object["roleRef"]["name"] = json!(home),
                    Some("ValidatingAdmissionPolicyBinding") => object["spec"]["policyName"] = json!(home),
                    Some("ValidatingAdmissionPolicy") => {
                        let who = format!("request.userInfo.username == 'system:serviceaccount:{home}:backout'");
                        let conditions = &mut object["spec"]["matchConditions"];
                        assert_eq!(conditions[0]["expression"], who.replace(&home, "backout"));
                        conditions[0]["expression"] = json!(who);
                    }
                    _ => {}
                }
            }
        }
        let this = Self { ns: ns.clone(), home, objects };
        this.apply(&["Namespace"]).await;
        this
    }

    /// Applies the objects of these kinds.
    pub(crate) async fn apply(&self, kinds: &[&str]) {
        for object in self.objects.iter().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind)) {
            self.write(object, false).await.unwrap_or_else(|error| panic!("apply {}: {error}", object["kind"]));
        }
    }

    /// What `kubectl apply --server-side --validate=strict` sends, with `--dry-run=server` or without.
    pub(crate) async fn write(&self, object: &Value, dry_run: bool) -> Result<DynamicObject, kube::Error> {
        let (version, kind) = (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let (resource, _) = pinned_kind(&self.ns.client, &GroupVersionKind::gvk(group, version, kind)).await?;
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.ns.client.clone(), namespace, &resource),
            None => Api::all_with(self.ns.client.clone(), &resource),
        };
        let params = PatchParams {
            dry_run,
            field_manager: Some("backout-deploy-test".to_owned()),
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::default()
        };
        api.patch(object["metadata"]["name"].as_str().unwrap_or_default(), &params, &Patch::Apply(object)).await
    }

    /// A kubeconfig with the token of a service account in the installation's namespace.
    pub(crate) async fn kubeconfig(&self, account: &str, folder: &Path) -> PathBuf {
        let accounts = Api::<ServiceAccount>::namespaced(self.ns.client.clone(), &self.home);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.expect("a token");
        let token = answer.status.expect("a status").token;
        let admin = Kubeconfig::read_from(self.ns.plane.admin_kubeconfig()).expect("a kubeconfig");
        let mut config = serde_json::to_value(admin).expect("JSON");
        let user = config["users"][0]["name"].clone();
        config["users"] = json!([{ "name": user, "user": { "token": token } }]);
        let file = folder.join(format!("{account}.kubeconfig"));
        std::fs::write(&file, config.to_string()).expect("written");
        file
    }

    /// Removes what does not lie in the test's own namespace.
    pub(crate) async fn remove(self) {
        if std::env::var_os("BACKOUT_TEST_KEEP").is_some() {
            return;
        }
        let params = DeleteParams::default();
        let client = &self.ns.client;
        let _ = Api::<KubeNamespace>::all(client.clone()).delete(&self.home, &params).await;
        let _ = Api::<ClusterRole>::all(client.clone()).delete(&self.home, &params).await;
        let _ = Api::<ClusterRoleBinding>::all(client.clone()).delete(&self.home, &params).await;
        let _ = Api::<ValidatingAdmissionPolicyBinding>::all(client.clone()).delete(&self.home, &params).await;
        let _ = Api::<ValidatingAdmissionPolicy>::all(client.clone()).delete(&self.home, &params).await;
    }
}
