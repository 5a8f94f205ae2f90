//! TLS: our certificate, whose client certificates are believed, and how both are changed without a restart. Must not know what is
//! served, nor what a name in a certificate allows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use x509_parser::extensions::GeneralName;

use super::auth::{Look, look};
use crate::metrics::{Metrics, TlsRefusal};

/// How often files are looked at.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long who does not speak TLS may take to hang up, too.
const GOODBYE: Duration = Duration::from_secs(1);

/// What every TLS connection begins with: a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;

/// A file greater than this holds no certificates.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// Where certificates are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, with those that lead to an authority (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
    /// The authorities whose client certificates are believed (PEM).
    pub client_ca: Option<PathBuf>,
    /// Whether who has no client certificate is turned away at the handshake.
    pub client_required: bool,
}

/// What is wrong with certificates. Says nothing of a key but whether it fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {why}", file.display())]
pub struct TlsProblem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, and what to do.
    pub why: String,
}

/// The certificates in use.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    /// Held only to clone or replace the pointer.
    current: RwLock<Arc<Current>>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    looks: Vec<Option<Look>>,
    /// When our certificate ends, in Unix seconds.
    expires_at: i64,
    /// Cancelled when others are in use: connections that were made with these end after their request.
    retired: CancellationToken,
}

/// A connection after its handshake.
pub(super) struct Accepted {
    pub(super) stream: TlsStream<TcpStream>,
    /// The names in the client's certificate; empty without one.
    pub(super) names: Vec<String>,
    /// Cancelled when the certificates are other ones.
    pub(super) retired: CancellationToken,
}

impl Tls {
    /// Reads the certificates.
    ///
    /// # Errors
    /// A file cannot be read, or they do not go together.
    pub fn load(files: TlsFiles) -> Result<Self, TlsProblem> {
        let current = Current::read(&files)?;
        Ok(Self { files, current: RwLock::new(Arc::new(current)) })
    }

    /// Reads changed files again. What cannot be used changes nothing: the certificates before it stay. Tells whether there are
    /// others now.
    ///
    /// # Errors
    /// What is wrong with the new files.
    pub fn refresh(&self) -> Result<bool, TlsProblem> {
        let old = self.current();
        if looks(&self.files) == old.looks {
            return Ok(false);
        }
        let new = Current::read(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        old.retired.cancel();
        Ok(true)
    }

    /// Keeps certificates up to date until `stop`. A problem is said and counted once, not each second.
    pub(super) async fn keep_fresh(self: Arc<Self>, metrics: Arc<Metrics>, stop: CancellationToken) {
        let metrics = &metrics.access;
        let expiry = |tls: &Self| metrics.tls_certificate_expiry.set(tls.current().expires_at as f64);
        expiry(&self);
        let mut said = None;
        while stop.run_until_cancelled(tokio::time::sleep(REFRESH_EVERY)).await.is_some() {
            let tls = Arc::clone(&self);
            let Ok(refreshed) = tokio::task::spawn_blocking(move || tls.refresh()).await else { continue };
            match refreshed {
                Ok(true) => {
                    tracing::info!("certificates were read again");
                    metrics.tls_reloaded(true);
                    expiry(&self);
                    said = None;
                }
                Ok(false) if said.take().is_some() => metrics.tls_reloaded(true),
                Ok(false) => {}
                Err(problem) if said.as_ref() == Some(&problem) => {}
                Err(problem) => {
                    tracing::error!(%problem, "certificates were NOT read again; the ones before stay in use");
                    metrics.tls_reloaded(false);
                    said = Some(problem);
                }
            }
        }
    }

    /// Shakes hands, within a time. Who does not speak TLS is hung up on in good order.
    pub(super) async fn accept(&self, mut stream: TcpStream) -> Result<Accepted, TlsRefusal> {
        let current = self.current();
        let hands = async {
            let mut first = [0];
            match stream.peek(&mut first).await {
                Ok(1) if first != [HANDSHAKE_RECORD] => {
                    hang_up(&mut stream).await;
                    return Err(TlsRefusal::Plain);
                }
                Ok(1) => {}
                _ => return Err(TlsRefusal::Failed),
            }
            TlsAcceptor::from(Arc::clone(&current.config)).accept(stream).await.map_err(|error| {
                tracing::debug!(%error, "a TLS handshake failed");
                TlsRefusal::Failed
            })
        };
        let stream = tokio::time::timeout(HANDSHAKE, hands).await.unwrap_or(Err(TlsRefusal::Late))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let names = certificate.map_or_else(Vec::new, |certificate| names(certificate));
        Ok(Accepted { stream, names, retired: current.retired.clone() })
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Current {
    fn read(files: &TlsFiles) -> Result<Self, TlsProblem> {
        // The looks come first: a file that changes in between looks changed the next time.
        let looks = looks(files);
        let chain = certificates(&files.certificate)?;
        let key_problem = |why: String| TlsProblem { file: files.key.clone(), why };
        let pem = contents(&files.key)?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| key_problem(format!("holds no private key: {error}; expected a PEM file")))?;
        let problem = |why: String| TlsProblem { file: files.certificate.clone(), why };
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| problem(format!("cannot be used: {error}")))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let ca_problem = |why: String| TlsProblem { file: file.clone(), why };
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|error| ca_problem(format!("holds what is no authority: {error}")))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if files.client_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| ca_problem(error.to_string()))?)
            }
        };
        let expires_at = expiry(&chain).map_err(problem)?;
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| problem(format!("does not go with the key in `{}`: {error}", files.key.display())))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), looks, expires_at, retired: CancellationToken::new() })
    }
}

fn looks(files: &TlsFiles) -> Vec<Option<Look>> {
    [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()]
        .into_iter()
        .flatten()
        .map(|file| look(file).ok())
        .collect()
}

fn contents(file: &Path) -> Result<Vec<u8>, TlsProblem> {
    let cannot = |why: String| TlsProblem { file: file.to_owned(), why };
    let bytes = fs::metadata(file).map_err(|error| cannot(format!("cannot be read: {error}")))?.len();
    if bytes > FILE_LIMIT_BYTES {
        return Err(cannot(format!("is greater than {FILE_LIMIT_BYTES} bytes; expected a PEM file")));
    }
    fs::read(file).map_err(|error| cannot(format!("cannot be read: {error}")))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let problem = |why: String| TlsProblem { file: file.to_owned(), why };
    let pem = contents(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = read.map_err(|error| problem(format!("holds a broken certificate: {error}; expected a PEM file")))?;
    if chain.is_empty() { Err(problem("holds no certificate; expected a PEM file".to_owned())) } else { Ok(chain) }
}

fn expiry(chain: &[CertificateDer<'_>]) -> Result<i64, String> {
    let first = chain.first().map_or(&[][..], |certificate| certificate.as_ref());
    let (_, parsed) = x509_parser::parse_x509_certificate(first).map_err(|error| format!("cannot be understood: {error}"))?;
    Ok(parsed.validity().not_after.timestamp())
}

/// The names that a certificate gives its owner: alternative names, then common names.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        names.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    names.extend(parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok().map(str::to_owned)));
    names
}

/// Says goodbye, and takes what was sent, within a moment: closing with bytes unread would break the connection instead of ending it.
async fn hang_up(stream: &mut TcpStream) {
    const MOST_BYTES: usize = 64 << 10;
    let _ = stream.shutdown().await;
    let take = async {
        let mut sink = [0; 4096];
        let mut taken = 0;
        while let Ok(read @ 1..) = stream.read(&mut sink).await {
            taken += read;
            if taken > MOST_BYTES {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(GOODBYE, take).await;
}
