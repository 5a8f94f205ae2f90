//! Who may do what: bearer tokens from files, by scope. Tokens are kept as hashes only and are compared in constant time.
//!
//! A file holds one token a line; blank lines and lines that begin with `#` do not count. All tokens of all files of a scope
//! are valid at once, so that a token can be changed without a gap: add the new one, change the sender, remove the old one.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use tokio_util::sync::CancellationToken;

/// How often files are looked at.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Shorter tokens can be guessed.
const LEAST_TOKEN_BYTES: usize = 16;

/// A file greater than this holds no tokens.
const FILE_LIMIT_BYTES: u64 = 64 << 10;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Posting webhooks.
    Ingest,
    /// Reading the API.
    Read,
    /// Reading the API, and telling the service what to do.
    Operate,
}

impl Scope {
    /// The name in settings and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

/// Where tokens are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFiles {
    /// For [`Scope::Ingest`].
    pub ingest: Vec<PathBuf>,
    /// For [`Scope::Read`].
    pub read: Vec<PathBuf>,
    /// For [`Scope::Operate`].
    pub operate: Vec<PathBuf>,
}

/// What is wrong with a file of tokens.
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

/// Why a request is denied. Says nothing about any token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No token, or one that nobody has.
    Unknown,
    /// A token, and not for this.
    Scope(Scope),
    /// Without tokens only a local address may be asked, not a name that happens to lead to us.
    Host,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("expected a valid token: send `Authorization: Bearer TOKEN`"),
            Self::Scope(scope) => write!(f, "the token is not for this: expected one of the scope `{}`", scope.as_str()),
            Self::Host => f.write_str("without tokens only `localhost` or an address may be asked"),
        }
    }
}

/// All tokens, kept up to date.
#[derive(Debug)]
pub struct Tokens {
    files: Vec<(Scope, PathBuf)>,
    /// Whether the address that we listen on is a loopback one.
    loopback: bool,
    /// Held only to clone or replace the pointer.
    known: RwLock<Arc<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Beside `files`: what each looked like, and its tokens' hashes.
    files: Vec<(Look, Vec<Hash>)>,
}

type Hash = [u8; 32];

/// What a file looked like; a changed one is read again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl Tokens {
    /// Reads all files.
    ///
    /// # Errors
    /// Every file that cannot be read or holds no proper token.
    pub fn load(files: TokenFiles, loopback: bool) -> Result<Self, Vec<TokenProblem>> {
        let scoped = |scope: Scope, files: Vec<PathBuf>| files.into_iter().map(move |file| (scope, file));
        let files: Vec<_> = scoped(Scope::Ingest, files.ingest)
            .chain(scoped(Scope::Read, files.read))
            .chain(scoped(Scope::Operate, files.operate))
            .collect();
        let mut known = Known::default();
        let mut problems = Vec::new();
        for (scope, file) in &files {
            match read(file) {
                Ok(read) => known.files.push(read),
                Err(why) => problems.push(TokenProblem { file: file.clone(), scope: *scope, why }),
            }
        }
        if problems.is_empty() { Ok(Self { files, loopback, known: RwLock::new(Arc::new(known)) }) } else { Err(problems) }
    }

    /// Reads changed files again. A file that is gone, unreadable or without tokens (being written, perhaps) keeps the tokens
    /// that it had; to revoke a token, leave another one in the file.
    pub fn refresh(&self) -> Vec<TokenProblem> {
        let old = self.known();
        let mut problems = Vec::new();
        let mut changed = false;
        let mut files = old.files.clone();
        for ((scope, file), slot) in self.files.iter().zip(&mut files) {
            if look(file).is_ok_and(|look| look == slot.0) {
                continue;
            }
            match read(file) {
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

    /// Keeps tokens up to date until `stop`. A problem is said once, not each second.
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

    /// Whether a request with these headers may do what needs `scope`.
    ///
    /// # Errors
    /// Why not.
    pub fn allow(&self, scope: Scope, headers: &HeaderMap) -> Result<(), Denied> {
        let configured = |scope: Scope| self.files.iter().any(|(of, _)| *of == scope);
        match scope {
            // The settings see to it that we listen on loopback only, then.
            Scope::Ingest if !configured(Scope::Ingest) => return Ok(()),
            Scope::Read if self.loopback && !configured(Scope::Read) && !configured(Scope::Operate) => {
                return if asks_locally(headers) { Ok(()) } else { Err(Denied::Host) };
            }
            Scope::Ingest | Scope::Read | Scope::Operate => {}
        }
        let hash = bearer(headers).map(|token| Hash::from(Sha256::digest(token))).ok_or(Denied::Unknown)?;
        let known = self.known();
        let mut any = Choice::from(0);
        let mut fitting = Choice::from(0);
        for ((of, _), (_, hashes)) in self.files.iter().zip(&known.files) {
            let fits = Choice::from(u8::from(*of == scope || (*of, scope) == (Scope::Operate, Scope::Read)));
            for known in hashes {
                let same = hash.ct_eq(known);
                any |= same;
                fitting |= same & fits;
            }
        }
        match (bool::from(fitting), bool::from(any)) {
            (true, _) => Ok(()),
            (false, true) => Err(Denied::Scope(scope)),
            (false, false) => Err(Denied::Unknown),
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
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

fn look(file: &Path) -> std::io::Result<Look> {
    let metadata = fs::metadata(file)?;
    Ok(Look { modified: metadata.modified().ok(), bytes: metadata.len() })
}

fn read(file: &Path) -> Result<(Look, Vec<Hash>), String> {
    // The look comes first: a file that changes in between looks changed the next time.
    let look = look(file).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(FILE_LIMIT_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > FILE_LIMIT_BYTES {
        return Err(format!("is greater than {FILE_LIMIT_BYTES} bytes; expected one token a line"));
    }
    let tokens: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if tokens.is_empty() {
        return Err("holds no token; expected one a line, for example from `openssl rand -hex 32`".to_owned());
    }
    if let Some(short) = tokens.iter().position(|token| token.len() < LEAST_TOKEN_BYTES) {
        let number = short + 1;
        return Err(format!(
            "holds a token (number {number}) that can be guessed; expected {LEAST_TOKEN_BYTES} characters or more, for example \
             from `openssl rand -hex 32`"
        ));
    }
    Ok((look, tokens.into_iter().map(|token| Sha256::digest(token).into()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-token-0123456789";
    const NEW: &str = "new-token-0123456789";

    fn headers(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().expect("a header"));
        headers
    }

    #[test]
    fn scopes_and_rotation() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let ingest = file("ingest", &format!("# for alertmanager\n{OLD}\n"));
        let operate = file("operate", "operate-token-0123456789");
        let files = TokenFiles { ingest: vec![ingest.clone()], read: vec![], operate: vec![operate] };
        let tokens = Tokens::load(files, true).expect("loaded");

        assert_eq!(tokens.allow(Scope::Ingest, &headers(OLD)), Ok(()));
        assert_eq!(tokens.allow(Scope::Ingest, &headers(NEW)), Err(Denied::Unknown));
        assert_eq!(tokens.allow(Scope::Ingest, &HeaderMap::new()), Err(Denied::Unknown));
        assert_eq!(tokens.allow(Scope::Operate, &headers(OLD)), Err(Denied::Scope(Scope::Operate)));
        assert_eq!(tokens.allow(Scope::Ingest, &headers("operate-token-0123456789")), Err(Denied::Scope(Scope::Ingest)));
        assert_eq!(tokens.allow(Scope::Read, &headers("operate-token-0123456789")), Ok(()), "who operates may read");
        assert_eq!(tokens.allow(Scope::Read, &HeaderMap::new()), Err(Denied::Unknown), "tokens are configured");

        fs::write(&ingest, format!("{OLD}\n{NEW}\n")).expect("written");
        assert_eq!(tokens.refresh(), []);
        assert_eq!(tokens.allow(Scope::Ingest, &headers(OLD)), Ok(()));
        assert_eq!(tokens.allow(Scope::Ingest, &headers(NEW)), Ok(()), "two are valid at once");

        fs::write(&ingest, "").expect("written");
        assert_eq!(tokens.refresh().len(), 1);
        assert_eq!(tokens.allow(Scope::Ingest, &headers(OLD)), Ok(()), "a file that is being written takes nothing away");

        fs::write(&ingest, NEW).expect("written");
        assert_eq!(tokens.refresh(), []);
        assert_eq!(tokens.allow(Scope::Ingest, &headers(OLD)), Err(Denied::Unknown), "revoked");
    }

    #[test]
    fn without_tokens_only_local_readers_are_let_in() {
        let local = Tokens::load(TokenFiles::default(), true).expect("loaded");
        let open = Tokens::load(TokenFiles::default(), false).expect("loaded");
        for (host, wanted) in [
            ("localhost:9095", Ok(())),
            ("127.0.0.1:9095", Ok(())),
            ("[::1]:9095", Ok(())),
            ("[::1]", Ok(())),
            ("evil.example:9095", Err(Denied::Host)),
            ("localhost.evil.example", Err(Denied::Host)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a header"));
            assert_eq!(local.allow(Scope::Read, &headers), wanted, "{host}");
            assert_eq!(open.allow(Scope::Read, &headers), Err(Denied::Unknown), "{host}");
            assert_eq!(local.allow(Scope::Operate, &headers), Err(Denied::Unknown), "operating needs a token always");
        }
    }

    #[test]
    fn all_bad_files_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let short = folder.path().join("short");
        fs::write(&short, format!("{OLD}\nsecret\n")).expect("written");
        let gone = folder.path().join("gone");
        let files = TokenFiles { ingest: vec![short], read: vec![gone], operate: vec![] };
        let problems = Tokens::load(files, true).expect_err("refused");
        assert_eq!(problems.len(), 2);
        let text = problems[0].to_string();
        assert!(text.contains("(number 2) that can be guessed") && !text.contains("secret"), "{text}");
    }
}
