//! Who is let in by what.

use std::fs;

use super::*;

const OLD: &str = "old-token-0123456789";
const NEW: &str = "new-token-0123456789";
const OPERATE: &str = "operate-token-0123456789";

fn headers(token: &str) -> HeaderMap {
    authorized(&format!("Bearer {token}"))
}

fn basic(name: &str, password: &str) -> HeaderMap {
    authorized(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"))))
}

fn authorized(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
    headers
}

fn peer(names: &[&str]) -> Peer {
    Peer { address: "192.0.2.7".parse().expect("an address"), certificate: names.iter().map(|name| (*name).to_owned()).collect() }
}

fn who(name: &str, by: Credential) -> Result<Option<Identity>, Denied> {
    Ok(Some(Identity { name: name.to_owned(), by }))
}

/// A folder of files, and how they are named.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }
}

#[test]
fn scopes_and_rotation() {
    let folder = Folder::new();
    let ingest = folder.write("ingest", &format!("# for alertmanager\n{OLD}\n"));
    let operate = folder.write("operate", OPERATE);
    let files = TokenFiles { ingest: vec![ingest.clone()], operate: vec![operate], ..TokenFiles::default() };
    let tokens = Tokens::load(files, true).expect("loaded");
    let allow = |scope, headers: &HeaderMap| tokens.admit(scope, headers, None).map(|_| ());

    assert_eq!(allow(Scope::Ingest, &headers(OLD)), Ok(()));
    assert_eq!(allow(Scope::Ingest, &headers(NEW)), Err(Denied::Unknown));
    assert_eq!(allow(Scope::Ingest, &HeaderMap::new()), Err(Denied::Unknown));
    assert_eq!(allow(Scope::Operate, &headers(OLD)), Err(Denied::Scope(Scope::Operate)));
    assert_eq!(allow(Scope::Ingest, &headers(OPERATE)), Err(Denied::Scope(Scope::Ingest)));
    assert_eq!(allow(Scope::Read, &headers(OPERATE)), Ok(()), "who operates may read");
    assert_eq!(allow(Scope::Changes, &headers(OPERATE)), Err(Denied::Scope(Scope::Changes)), "and no more than that");
    assert_eq!(allow(Scope::Read, &HeaderMap::new()), Err(Denied::Unknown), "tokens are configured");

    fs::write(&ingest, format!("{OLD}\n{NEW}\n")).expect("written");
    assert_eq!(tokens.refresh(), []);
    assert_eq!(allow(Scope::Ingest, &headers(OLD)), Ok(()));
    assert_eq!(allow(Scope::Ingest, &headers(NEW)), Ok(()), "two are valid at once");

    fs::write(&ingest, "").expect("written");
    assert_eq!(tokens.refresh().len(), 1);
    assert_eq!(allow(Scope::Ingest, &headers(OLD)), Ok(()), "a file that is being written takes nothing away");

    fs::write(&ingest, NEW).expect("written");
    assert_eq!(tokens.refresh(), []);
    assert_eq!(allow(Scope::Ingest, &headers(OLD)), Err(Denied::Unknown), "revoked");
}

#[test]
fn everybody_has_a_name() {
    let folder = Folder::new();
    let operate = folder.write("on call.token", &format!("ada: {OLD}\n{NEW}\nbob@example.com:   {OPERATE}\nnot a name: {OLD}\n"));
    let tokens = Tokens::load(TokenFiles { operate: vec![operate], ..TokenFiles::default() }, true).expect("loaded");
    let admit = |headers: &HeaderMap| tokens.admit(Scope::Operate, headers, None);
    assert_eq!(admit(&headers(OLD)), who("ada", Credential::Token));
    assert_eq!(admit(&headers(NEW)), who("on_call", Credential::Token), "by its file, without what is odd");
    assert_eq!(admit(&basic("ada", OLD)), who("ada", Credential::Password));
    assert_eq!(admit(&basic("bob@example.com", OPERATE)), who("bob@example.com", Credential::Password));
    assert_eq!(admit(&basic("bob@example.com", OLD)), Err(Denied::Unknown), "another one's");
    assert_eq!(admit(&basic("", OLD)), Err(Denied::Unknown));
    assert_eq!(admit(&headers(&format!("not a name: {OLD}"))), who("on_call", Credential::Token), "a token, as ever");
    for bad in ["Basic", "Basic !!!", "Basic YWRh", "Digest x", "Bearer", "Bearer "] {
        assert_eq!(admit(&authorized(bad)), Err(Denied::Unknown), "{bad}");
    }
}

#[test]
fn certificates_are_somebody_by_their_names() {
    let clients = ClientNames {
        ingest: vec!["alertmanager.monitoring".to_owned()],
        operate: vec!["spiffe://prod/ada".to_owned()],
        ..ClientNames::default()
    };
    let tokens = Tokens::load(TokenFiles::default(), false).expect("loaded").with_clients(clients);
    let admit = |scope, names: &[&str]| tokens.admit(scope, &HeaderMap::new(), Some(&peer(names)));
    assert_eq!(
        admit(Scope::Ingest, &["anything", "alertmanager.monitoring"]),
        who("alertmanager.monitoring", Credential::Certificate)
    );
    assert_eq!(admit(Scope::Read, &["spiffe://prod/ada"]), who("spiffe://prod/ada", Credential::Certificate));
    assert_eq!(admit(Scope::Operate, &["alertmanager.monitoring"]), Err(Denied::Scope(Scope::Operate)));
    assert_eq!(admit(Scope::Ingest, &["Alertmanager.monitoring"]), Err(Denied::Scope(Scope::Ingest)), "exactly");
    assert_eq!(admit(Scope::Ingest, &[]), Err(Denied::Unknown));
}

#[test]
fn a_guesser_has_to_wait_and_a_sender_of_webhooks_never() {
    let folder = Folder::new();
    let files = TokenFiles {
        ingest: vec![folder.write("ingest", OLD)],
        operate: vec![folder.write("operate", OPERATE)],
        ..TokenFiles::default()
    };
    let tokens = Tokens::load(files, false).expect("loaded");
    let admit = |scope, token: &str| tokens.admit(scope, &headers(token), Some(&peer(&[])));
    let refused = (0..20).map(|_| admit(Scope::Operate, NEW)).collect::<Vec<_>>();
    assert_eq!(refused[9], Err(Denied::Unknown));
    assert!(matches!(refused[10], Err(Denied::Limited(_))), "{refused:?}");
    assert!(matches!(admit(Scope::Operate, OPERATE), Err(Denied::Limited(_))), "a right guess would not be heard");
    let elsewhere = Peer { address: "192.0.2.8".parse().expect("an address"), ..peer(&[]) };
    assert!(tokens.admit(Scope::Operate, &headers(OPERATE), Some(&elsewhere)).is_ok());
    assert_eq!(tokens.admit(Scope::Operate, &HeaderMap::new(), Some(&peer(&[]))), Err(Denied::Unknown), "nothing was guessed");

    assert_eq!(admit(Scope::Ingest, OPERATE), Err(Denied::Scope(Scope::Ingest)));
    for _ in 0..20 {
        assert_eq!(admit(Scope::Ingest, NEW), Err(Denied::Unknown), "never 429: Alertmanager would not try again");
    }
    assert_eq!(admit(Scope::Ingest, OPERATE), Err(Denied::Unknown), "the webhook is no place to find out other tokens");
    assert!(admit(Scope::Ingest, OLD).is_ok(), "and the right one always gets in");
}

#[test]
fn without_tokens_only_local_readers_are_let_in() {
    let local = Tokens::load(TokenFiles::default(), true).expect("loaded");
    let open = Tokens::load(TokenFiles::default(), false).expect("loaded");
    for (host, wanted) in [
        ("localhost:9095", Ok(None)),
        ("127.0.0.1:9095", Ok(None)),
        ("[::1]:9095", Ok(None)),
        ("[::1]", Ok(None)),
        ("evil.example:9095", Err(Denied::Host)),
        ("localhost.evil.example", Err(Denied::Host)),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header"));
        assert_eq!(local.admit(Scope::Read, &headers, None), wanted, "{host}");
        assert_eq!(open.admit(Scope::Read, &headers, None), Err(Denied::Unknown), "{host}");
        for scope in [Scope::Operate, Scope::Changes] {
            assert_eq!(local.admit(scope, &headers, None), Err(Denied::Unknown), "that needs a credential always");
        }
    }
}

#[test]
fn all_bad_files_are_named() {
    let folder = Folder::new();
    let short = folder.write("short", &format!("{OLD}\nada: secret\n"));
    let gone = folder.0.path().join("gone");
    let files = TokenFiles { ingest: vec![short], read: vec![gone], ..TokenFiles::default() };
    let problems = Tokens::load(files, true).expect_err("refused");
    assert_eq!(problems.len(), 2);
    let text = problems[0].to_string();
    assert!(text.contains("(number 2) that can be guessed") && !text.contains("secret"), "{text}");
}
