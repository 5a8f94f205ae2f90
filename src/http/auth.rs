//! Who may do what: credentials from files and client certificates, by scope. Says who somebody is; must not know what he asks for.
//!
//! A file holds one credential a line: a token, or `NAME: TOKEN`; blank lines and lines that begin with `#` do not count. What has
//! no name of its own is named by its file. Each is shown as a bearer token, or as the password of its name by basic
//! authentication. All of all files of a scope are valid at once, so that one can be changed without a gap: add the new one,
//! change the sender, remove the old one.
//!
//! Only SHA-256 hashes are kept, and they are compared in constant time. A slow, salted hash is for what people think up; these
//! are long and made by machines (a short one is refused), and a slow hash in front of the webhook would be a way to stop it.

mod caller;
mod file;
mod throttle;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use caller::{Changer, Operator, Reader};
use file::{Entry, Hash};
pub(super) use file::{Look, look};
use throttle::Throttle;

use crate::model::{Credential, Identity};

/// How often files are looked at.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// What a credential allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Posting webhooks.
    Ingest,
    /// Reading the API.
    Read,
    /// Reading the API, and telling the service what to do.
    Operate,
    /// Telling of changes.
    Changes,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Read, Self::Operate, Self::Changes];

    /// The name in settings and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Changes => "changes",
        }
    }

    /// Whether it allows what needs the other one.
    fn covers(self, other: Self) -> bool {
        self == other || (self, other) == (Self::Operate, Self::Read)
    }
}

/// Where credentials are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFiles {
    /// For [`Scope::Ingest`].
    pub ingest: Vec<PathBuf>,
    /// For [`Scope::Read`].
    pub read: Vec<PathBuf>,
    /// For [`Scope::Operate`].
    pub operate: Vec<PathBuf>,
    /// For [`Scope::Changes`].
    pub changes: Vec<PathBuf>,
}

/// Whose client certificates allow what: common names and alternative names, exactly as they stand in the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientNames {
    /// For [`Scope::Ingest`].
    pub ingest: Vec<String>,
    /// For [`Scope::Read`].
    pub read: Vec<String>,
    /// For [`Scope::Operate`].
    pub operate: Vec<String>,
    /// For [`Scope::Changes`].
    pub changes: Vec<String>,
}

impl ClientNames {
    fn of(&self, scope: Scope) -> &[String] {
        match scope {
            Scope::Ingest => &self.ingest,
            Scope::Read => &self.read,
            Scope::Operate => &self.operate,
            Scope::Changes => &self.changes,
        }
    }

    /// Whether no certificate allows anything.
    pub fn is_empty(&self) -> bool {
        Scope::ALL.iter().all(|scope| self.of(*scope).is_empty())
    }
}

/// What is wrong with a file of credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file `{}` of {} tokens {why}", file.display(), scope.as_str())]
pub struct TokenProblem {
    /// The file.
    pub file: PathBuf,
    /// What it is for.
    pub scope: Scope,
    /// What is wrong, and what to do.
    pub why: String,
}

/// Why a request is denied. Says nothing about any credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No credential, or one that nobody has.
    Unknown,
    /// A credential, and not for this.
    Scope(Scope),
    /// Without credentials only a local address may be asked, not a name that happens to lead to us.
    Host,
    /// Too many failed from there: none is looked at for this long. Never said to who posts webhooks.
    Limited(Duration),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str(
                "expected a valid credential: send `Authorization: Bearer TOKEN`, or a name with its token by basic authentication",
            ),
            Self::Scope(scope) => {
                write!(f, "the credential is not for this: expected one of the scope `{}`", scope.as_str())
            }
            Self::Host => f.write_str("without tokens only `localhost` or an address may be asked"),
            Self::Limited(wait) => {
                let seconds = wait.as_secs().saturating_add(1);
                write!(f, "too many wrong credentials came from your address; try again in {seconds} s")
            }
        }
    }
}

/// Where a request comes from, as the connection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end's address: a proxy's where one stands in between.
    pub address: IpAddr,
    /// The names in the client certificate that was shown and proven; empty without one.
    pub certificate: Vec<String>,
}

/// All credentials, kept up to date.
#[derive(Debug)]
pub struct Tokens {
    files: Vec<(Scope, PathBuf)>,
    clients: ClientNames,
    /// Whether the address that we listen on is a loopback one.
    loopback: bool,
    /// Held only to clone or replace the pointer.
    known: RwLock<Arc<Known>>,
    throttle: Throttle,
}

#[derive(Debug, Default)]
struct Known {
    /// Beside `files`: what each looked like, and what stands in it.
    files: Vec<(Look, Vec<Entry>)>,
}

/// What a request shows.
struct Shown {
    hash: Hash,
    /// The name that goes with it; a bearer token has none.
    name: Option<String>,
}

/// What a shown credential turns out to be.
enum Found {
    Fits(Identity),
    Other,
    Nobodys,
}

impl Tokens {
    /// Reads all files.
    ///
    /// # Errors
    /// Every file that cannot be read or holds no proper credential.
    pub fn load(files: TokenFiles, loopback: bool) -> Result<Self, Vec<TokenProblem>> {
        let scoped = |scope: Scope, files: Vec<PathBuf>| files.into_iter().map(move |file| (scope, file));
        let files: Vec<_> = scoped(Scope::Ingest, files.ingest)
            .chain(scoped(Scope::Read, files.read))
            .chain(scoped(Scope::Operate, files.operate))
            .chain(scoped(Scope::Changes, files.changes))
            .collect();
        let mut known = Known::default();
        let mut problems = Vec::new();
        for (scope, file) in &files {
            match file::read(file) {
                Ok(read) => known.files.push(read),
                Err(why) => problems.push(TokenProblem { file: file.clone(), scope: *scope, why }),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let known = RwLock::new(Arc::new(known));
        Ok(Self { files, clients: ClientNames::default(), loopback, known, throttle: Throttle::default() })
    }

    /// Lets client certificates in by their names, too.
    #[must_use]
    pub fn with_clients(self, clients: ClientNames) -> Self {
        Self { clients, ..self }
    }

    /// Reads changed files again. A file that is gone, unreadable or without credentials (being written, perhaps) keeps what it
    /// had; to revoke a token, leave another one in the file.
    pub fn refresh(&self) -> Vec<TokenProblem> {
        let old = self.known();
        let mut problems = Vec::new();
        let mut changed = false;
        let mut files = old.files.clone();
        for ((scope, file), slot) in self.files.iter().zip(&mut files) {
            if look(file).is_ok_and(|look| look == slot.0) {
                continue;
            }
            match file::read(file) {
                Ok(read) => {
                    *slot = read;
                    changed = true;
                }
                Err(why) => problems.push(TokenProblem { file: file.clone(), scope: *scope, why }),
            }
        }
        if changed {
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Known { files });
        }
        problems
    }

    /// Keeps credentials up to date until `stop`. A problem is said once, not each second.
    pub async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        let mut said = Vec::new();
        while stop.run_until_cancelled(tokio::time::sleep(REFRESH_EVERY)).await.is_some() {
            let tokens = Arc::clone(&self);
            let Ok(problems) = tokio::task::spawn_blocking(move || tokens.refresh()).await else { continue };
            for problem in problems.iter().filter(|problem| !said.contains(*problem)) {
                tracing::error!(%problem, "tokens were not read again; the old ones stay valid");
            }
            said = problems;
        }
    }

    /// Whether a request with these headers, from there, may do what needs `scope`; and who that is, unless nobody had to say.
    ///
    /// Who posts webhooks is never told to wait: Alertmanager takes any 4xx for final, and a guesser behind the same address must
    /// not be able to silence it. So a fitting credential always gets in there; a wrong one costs a hash, and is answered as ever.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, scope: Scope, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Option<Identity>, Denied> {
        match scope {
            // The settings see to it that we listen on loopback only, then.
            Scope::Ingest if !self.is_configured(Scope::Ingest) => return Ok(None),
            Scope::Read if self.loopback && !self.is_configured(Scope::Read) && !self.is_configured(Scope::Operate) => {
                return if asks_locally(headers) { Ok(None) } else { Err(Denied::Host) };
            }
            Scope::Ingest | Scope::Read | Scope::Operate | Scope::Changes => {}
        }
        let certificate = peer.map_or(&[][..], |peer| &peer.certificate);
        if let Some(name) = self.certified(scope, certificate) {
            return Ok(Some(Identity { name, by: Credential::Certificate }));
        }
        let Some(shown) = Shown::read(headers) else {
            return Err(if certificate.is_empty() { Denied::Unknown } else { Denied::Scope(scope) });
        };
        let is_ingest = scope == Scope::Ingest;
        let now = Instant::now();
        let wait = peer.and_then(|peer| self.throttle.wait(peer.address, is_ingest, now));
        if let Some(wait) = wait.filter(|_| !is_ingest) {
            return Err(Denied::Limited(wait));
        }
        match self.find(scope, &shown) {
            Found::Fits(identity) => Ok(Some(identity)),
            // "That is somebody's" is more than a guesser should hear.
            Found::Other if wait.is_none() => Err(Denied::Scope(scope)),
            Found::Other | Found::Nobodys => {
                if let Some(address) = peer.map(|peer| peer.address)
                    && self.throttle.failed(address, is_ingest, now)
                {
                    tracing::warn!(%address, scope = scope.as_str(), "many wrong credentials come from there");
                }
                Err(Denied::Unknown)
            }
        }
    }

    fn is_configured(&self, scope: Scope) -> bool {
        self.files.iter().any(|(of, _)| *of == scope) || !self.clients.of(scope).is_empty()
    }

    /// The name by which a certificate allows what needs the scope.
    fn certified(&self, scope: Scope, names: &[String]) -> Option<String> {
        let allowing = Scope::ALL.iter().filter(|of| of.covers(scope));
        let allowed: Vec<&String> = allowing.flat_map(|of| self.clients.of(*of)).collect();
        names.iter().find(|name| allowed.contains(name)).cloned()
    }

    fn find(&self, scope: Scope, shown: &Shown) -> Found {
        let known = self.known();
        let mut any = Choice::from(0);
        let mut fitting = None;
        for ((of, _), (_, entries)) in self.files.iter().zip(&known.files) {
            for entry in entries {
                let named = shown.name.as_ref().is_none_or(|name| *name == *entry.name);
                let same = shown.hash.ct_eq(&entry.hash) & Choice::from(u8::from(named));
                any |= same;
                // Only who has a fitting one can see how long this takes.
                if bool::from(same & Choice::from(u8::from(of.covers(scope)))) {
                    fitting = Some(entry);
                }
            }
        }
        match fitting {
            Some(entry) => {
                let by = if shown.name.is_some() { Credential::Password } else { Credential::Token };
                Found::Fits(Identity { name: entry.name.clone(), by })
            }
            None if bool::from(any) => Found::Other,
            None => Found::Nobodys,
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shown {
    /// Reads `Authorization: Bearer TOKEN` or `Authorization: Basic …`.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::AUTHORIZATION)?.as_bytes();
        let space = value.iter().position(|byte| *byte == b' ')?;
        let (scheme, rest) = (&value[..space], value[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return Some(Self { hash: Sha256::digest(rest).into(), name: None });
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let pair = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&pair[..colon]).ok()?.to_owned();
        Some(Self { hash: Sha256::digest(&pair[colon + 1..]).into(), name: Some(name) })
    }
}

/// Whether the request was addressed to `localhost` or to a bare address. A page in a browser of the same machine can send
/// requests to a name of its own that leads here; its browser then puts that name into `Host`.
fn asks_locally(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name == "localhost" || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

#[cfg(test)]
#[path = "auth/tests.rs"]
mod tests;
