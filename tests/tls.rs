//! TLS over real connections: whose certificates are believed, what they allow, how they are changed, and what becomes of those who
//! do not speak it.

#[path = "support/http.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backout::http::auth::{ClientNames, TokenFiles};
use backout::http::tls::{Tls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use support::{HOOK, PATIENCE, Service, Setup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An authority, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate with its key.
    fn sign(&self, common_name: &str, alternatives: &[&str]) -> (String, String) {
        let names: Vec<String> = alternatives.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A folder with everybody's certificates, and what is served with them.
struct Bed {
    folder: tempfile::TempDir,
    ours: Authority,
    theirs: Authority,
    service: Service,
}

impl Bed {
    async fn start(client_required: bool, clients: ClientNames) -> Self {
        // An error says that it was done before in this process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, theirs) = (Authority::new("our authority"), Authority::new("their authority"));
        let (certificate, key) = ours.sign("backout", &["localhost", "127.0.0.1"]);
        fs::write(folder.path().join("operate"), "ada: operate-token-0123456789\n").expect("written");
        let bed = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let files = TlsFiles {
            certificate: bed("tls.crt", &certificate),
            key: bed("tls.key", &key),
            client_ca: Some(bed("clients.crt", &theirs.pem)),
            client_required,
        };
        let tls = Some(Arc::new(Tls::load(files).expect("good certificates")));
        let tokens = TokenFiles { operate: vec![folder.path().join("operate")], ..TokenFiles::default() };
        let service = Service::start(Setup { tls, clients, tokens, ..Setup::default() }).await;
        Self { folder, ours, theirs, service }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client that trusts our authority, with a certificate or without one. Each has connections of its own.
    fn client(&self, certificate: Option<&(String, String)>) -> reqwest::Client {
        client(&self.ours.pem, certificate)
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.service.address.port())
    }

    async fn status(&self, client: &reqwest::Client, path: &str) -> Result<u16, String> {
        client.get(self.url(path)).send().await.map(|answer| answer.status().as_u16()).map_err(|error| format!("{error:?}"))
    }

    /// Waits until a metric says so.
    async fn counts(&self, line: &str) {
        self.service.counts(line).await;
    }
}

fn client(authority: &str, certificate: Option<&(String, String)>) -> reqwest::Client {
    let trusted = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
    let mut builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only([trusted]);
    if let Some((certificate, key)) = certificate {
        builder = builder.identity(reqwest::Identity::from_pem(format!("{certificate}{key}").as_bytes()).expect("an identity"));
    }
    builder.build().expect("a client")
}

fn names(ingest: &[&str], operate: &[&str]) -> ClientNames {
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    ClientNames { ingest: all(ingest), operate: all(operate), ..ClientNames::default() }
}

#[tokio::test]
async fn certificates_allow_what_their_names_allow() {
    let bed = Bed::start(false, names(&["alertmanager"], &["ada@example.com"])).await;
    let alertmanager = bed.client(Some(&bed.theirs.sign("alertmanager", &[])));
    let ada = bed.client(Some(&bed.theirs.sign("Ada", &["ada@example.com"])));
    let nobody = bed.client(None);
    let body = support::notification(1, 10);
    let post = async |client: &reqwest::Client| {
        let answer = client.post(bed.url(HOOK)).body(body.clone()).send().await.expect("an answer");
        answer.status().as_u16()
    };
    assert_eq!(post(&alertmanager).await, 200);
    assert_eq!(post(&ada).await, 403);
    assert_eq!(post(&nobody).await, 401);
    assert_eq!(bed.status(&ada, "/api/v1/status").await, Ok(200), "who operates may read");
    assert_eq!(bed.status(&alertmanager, "/api/v1/status").await, Ok(403));
    assert_eq!(bed.status(&nobody, "/-/healthy").await, Ok(200), "probes need no certificate unless it is required");

    let said = json!({ "by": "ada", "reason": "fixing" });
    let veto = ada.post(bed.url("/api/v1/incidents/i0123456789ab/veto")).json(&said).send().await.expect("an answer");
    let order: Value = veto.json().await.expect("json");
    assert_eq!(order["identity"], json!({ "name": "ada@example.com", "by": "certificate" }));
    let basic = nobody.get(bed.url("/api/v1/status")).basic_auth("ada", Some("operate-token-0123456789"));
    assert_eq!(basic.send().await.expect("an answer").status(), 200, "a password is as good");
}

#[tokio::test]
async fn certificates_of_strangers_and_missing_ones_end_at_the_handshake() {
    let bed = Bed::start(true, names(&[], &["ada"])).await;
    let stranger = Authority::new("their authority");
    let forged = bed.client(Some(&stranger.sign("ada", &[])));
    assert!(bed.status(&forged, "/api/v1/status").await.is_err());
    assert!(bed.status(&bed.client(None), "/-/healthy").await.is_err(), "required means required");
    let ada = bed.client(Some(&bed.theirs.sign("ada", &[])));
    assert_eq!(bed.status(&ada, "/api/v1/status").await, Ok(200));
    assert!(bed.status(&client(&stranger.pem, None), "/-/healthy").await.is_err(), "we are none of theirs");
    bed.counts("backout_tls_refused_total{reason=\"failed\"} 3").await;
}

#[tokio::test]
async fn certificates_are_changed_while_it_runs_and_bad_ones_change_nothing() {
    let bed = Bed::start(false, names(&[], &["ada"])).await;
    let before = bed.client(None);
    assert_eq!(bed.status(&before, "/-/healthy").await, Ok(200));

    fs::write(bed.file("tls.crt"), "no certificate").expect("written");
    bed.counts("backout_tls_reload_success 0").await;
    bed.counts("backout_tls_reloads_total{result=\"failure\"} 1").await;
    assert_eq!(bed.status(&bed.client(None), "/-/healthy").await, Ok(200), "the one before stays");

    // A new certificate with the old key is half of a change.
    let successor = Authority::new("its successor");
    let (certificate, key) = successor.sign("backout", &["localhost"]);
    fs::write(bed.file("tls.crt"), &certificate).expect("written");
    bed.counts("backout_tls_reloads_total{result=\"failure\"} 2").await;
    assert_eq!(bed.status(&bed.client(None), "/-/healthy").await, Ok(200));

    fs::write(bed.file("tls.key"), &key).expect("written");
    bed.counts("backout_tls_reload_success 1").await;
    let after = client(&successor.pem, None);
    assert_eq!(bed.status(&after, "/-/healthy").await, Ok(200));
    assert!(
        bed.status(&before, "/-/healthy").await.is_err(),
        "its connection was ended, and a new one meets the new certificate"
    );
    assert!(bed.service.metrics.render().contains("backout_tls_certificate_expiry_timestamp_seconds 6709"), "the year 4096");
}

#[tokio::test]
async fn a_certificate_is_worth_nothing_once_its_authority_is_gone() {
    let bed = Bed::start(false, names(&[], &["ada"])).await;
    let ada = bed.client(Some(&bed.theirs.sign("ada", &[])));
    assert_eq!(bed.status(&ada, "/api/v1/status").await, Ok(200));
    fs::write(bed.file("clients.crt"), Authority::new("another one").pem).expect("written");
    bed.counts("backout_tls_reloads_total{result=\"success\"} 1").await;
    assert!(bed.status(&ada, "/api/v1/status").await.is_err(), "also over the connection that it had");
}

#[tokio::test]
async fn who_does_not_speak_tls_is_hung_up_on_in_good_order() {
    let bed = Bed::start(false, ClientNames::default()).await;
    let mut plain = TcpStream::connect(bed.service.address).await.expect("connected");
    plain.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("written");
    let mut said = Vec::new();
    let end = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut said)).await.expect("in time");
    assert_eq!((end.map_err(|error| error.kind()), said), (Ok(0), Vec::new()), "an end, and no broken connection");
    bed.counts("backout_tls_refused_total{reason=\"plain\"} 1").await;

    // Who only connects is let go, too, and holds nobody else up.
    let mut silent = TcpStream::connect(bed.service.address).await.expect("connected");
    assert_eq!(bed.status(&bed.client(None), "/-/healthy").await, Ok(200));
    let end = tokio::time::timeout(Duration::from_secs(20), silent.read(&mut [0; 1])).await.expect("within the handshake's time");
    assert_eq!(end.expect("an end"), 0);
    bed.counts("backout_tls_refused_total{reason=\"late\"} 1").await;
}

#[test]
fn what_does_not_go_together_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("a");
    let ((certificate, key), (_, other)) = (authority.sign("x", &[]), authority.sign("y", &[]));
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let load = |certificate: &Path, key: &Path, client_ca: Option<&Path>| {
        let files = TlsFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            client_ca: client_ca.map(Path::to_owned),
            client_required: false,
        };
        Tls::load(files).map(|_| ()).map_err(|problem| problem.to_string())
    };
    let (certificate, right) = (write("crt", &certificate), write("key", &key));
    let (wrong, empty, gone) = (write("other", &other), write("empty", ""), folder.path().join("gone"));
    assert_eq!(load(&certificate, &right, None), Ok(()));
    for (result, text) in [
        (load(&certificate, &wrong, None), "does not go with the key in"),
        (load(&empty, &right, None), "holds no certificate"),
        (load(&certificate, &empty, None), "holds no private key"),
        (load(&gone, &right, None), "cannot be read"),
        (load(&certificate, &right, Some(&empty)), "holds no certificate"),
        (load(&certificate, &right, Some(&right)), "holds no certificate"),
    ] {
        let problem = result.expect_err("refused");
        assert!(problem.contains(text), "{problem}");
        assert!(!problem.contains("PRIVATE"), "{problem}");
    }
}
