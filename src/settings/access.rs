//! Who may reach us and how he shows who he is: the address, tokens, certificates. Reads the files, so that what is wrong with them
//! is said with everything else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Check, DEFAULT_LISTEN, file};
use crate::http::auth::{ClientNames, TokenFiles, Tokens};
use crate::http::tls::{Tls, TlsFiles};

impl Check {
    /// Where to listen. `guarded`: who posts alerts has to show who he is.
    pub(super) fn listen(&mut self, text: &str, guarded: bool) -> Option<SocketAddr> {
        let Ok(listen) = text.parse::<SocketAddr>() else {
            self.problem(
                "http.listen",
                format!("`{text}` is no address with a port; expected something like `{DEFAULT_LISTEN}`"),
            );
            return None;
        };
        if !listen.ip().is_loopback() && !guarded {
            self.problem(
                "http.listen",
                format!(
                    "`{text}` can be reached from other machines, and anybody could post alerts there; set `tokens.ingest` (or \
                     `clients.ingest`), or listen on `127.0.0.1:{}`",
                    listen.port()
                ),
            );
        }
        Some(listen)
    }

    pub(super) fn tokens(&mut self, files: file::Tokens, loopback: bool) -> Option<Tokens> {
        let rebase = |files: Vec<PathBuf>| files.into_iter().map(|file| self.base.join(file)).collect();
        let files = TokenFiles {
            ingest: rebase(files.ingest),
            read: rebase(files.read),
            operate: rebase(files.operate),
            changes: rebase(files.changes),
        };
        let problems = match Tokens::load(files, loopback) {
            Ok(tokens) => return Some(tokens),
            Err(problems) => problems,
        };
        for problem in problems {
            self.problem(format!("tokens.{}", problem.scope.as_str()), problem.to_string());
        }
        None
    }

    /// Whose certificates allow what.
    pub(super) fn clients(&mut self, names: file::Clients, tls: &file::Tls) -> ClientNames {
        let file::Clients { ingest, read, operate, changes } = names;
        for (scope, names) in [("ingest", &ingest), ("read", &read), ("operate", &operate), ("changes", &changes)] {
            if names.iter().any(|name| name.trim().is_empty() || name.contains(char::is_control)) {
                self.problem(format!("clients.{scope}"), "holds an empty name; expected names as they stand in certificates");
            }
        }
        let clients = ClientNames { ingest, read, operate, changes };
        if !clients.is_empty() && tls.client_ca.is_none() {
            self.problem("clients", "no client certificate is believed; set `tls.client_ca`, the file with their authority");
        }
        clients
    }

    pub(super) fn tls(&mut self, tls: file::Tls) -> Option<Arc<Tls>> {
        let file::Tls { certificate, key, client_ca, client_certificates } = tls;
        if client_certificates.is_some() && client_ca.is_none() {
            self.problem("tls.client_certificates", "says nothing without `tls.client_ca`, the file with their authority");
        }
        match (self.path(certificate), self.path(key)) {
            (Some(certificate), Some(key)) => {
                let client_required = client_certificates == Some(file::ClientCertificates::Required);
                let files = TlsFiles { certificate, key, client_ca: self.path(client_ca), client_required };
                self.noted("tls", Tls::load(files)).map(Arc::new)
            }
            (None, None) if client_ca.is_none() => None,
            _ => {
                self.problem("tls", "`certificate` and `key` need each other, and `client_ca` needs both");
                None
            }
        }
    }
}
