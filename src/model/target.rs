//! What a policy may act on, and who owns it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Kinds of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
}

impl WorkloadKind {
    /// The name in text: `deployment`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
        }
    }
}

/// Names a target in the cluster. Names were checked to be valid Kubernetes names when this was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetRef {
    /// What kind of workload.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl TargetRef {
    /// A Deployment, if both names could exist in Kubernetes; label values are untrusted input.
    ///
    /// # Errors
    /// Says which of the two names is not valid.
    pub fn deployment(namespace: &str, name: &str) -> Result<Self, String> {
        if !is_dns_label(namespace) {
            return Err(format!("{namespace:?} is not a valid namespace name"));
        }
        if !is_dns_subdomain(name) {
            return Err(format!("{name:?} is not a valid Deployment name"));
        }
        Ok(Self { kind: WorkloadKind::Deployment, namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for TargetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// One particular target: a Deployment that was deleted and made again under the same name is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetId {
    /// Where it is found.
    #[serde(flatten)]
    pub at: TargetRef,
    /// The API server's UID.
    pub uid: String,
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}

/// How an alert names its target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lookup {
    /// A workload by name.
    Workload(TargetRef),
    /// The workload that controls this pod (owner references are walked).
    Pod {
        /// Its namespace; a valid name.
        namespace: String,
        /// Its name; a valid name.
        pod: String,
    },
}

/// Who would undo our write, or be confused by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum Owner {
    /// Nobody: somebody applies manifests by hand or from a pipeline.
    Plain,
    /// A Helm release, `namespace/name`.
    Helm(String),
    /// An Argo CD Application.
    ArgoCd(String),
    /// A Flux Kustomization or HelmRelease, `namespace/name`.
    Flux(String),
    /// A controller of another kind (owner reference), `Kind/name`.
    Controller(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("nobody"),
            Self::Helm(name) => write!(f, "Helm release {name}"),
            Self::ArgoCd(name) => write!(f, "Argo CD application {name}"),
            Self::Flux(name) => write!(f, "Flux {name}"),
            Self::Controller(name) => write!(f, "controller {name}"),
        }
    }
}

/// How a Deployment replaces its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Step by step; some pods keep serving.
    Rolling,
    /// `Recreate`, or `maxUnavailable: 100%`: a rollback is an outage.
    AllAtOnce,
}

/// RFC 1123 label: what namespaces are named by.
fn is_dns_label(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len()) && bytes.iter().all(inner) && bytes.first() != Some(&b'-') && bytes.last() != Some(&b'-')
}

/// RFC 1123 subdomain: what Deployments and pods are named by.
fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_labels_are_checked() {
        assert!(TargetRef::deployment("shop", "checkout-v2").is_ok());
        for bad in ["", "Shop", "../x", "a/b", "a b", "-a", "a-", "a\n", "a_b", &"x".repeat(254)] {
            assert!(TargetRef::deployment("shop", bad).is_err(), "{bad:?}");
            assert!(TargetRef::deployment(bad, "web").is_err(), "{bad:?}");
        }
    }
}
