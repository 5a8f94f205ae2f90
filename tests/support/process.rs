//! A child process that ends with the test, one way or the other.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::wait::eventually;

/// What a caller's environment may say about proxies and certificates is not meant for loopback.
const NOT_INHERITED: &[&str] = &[
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "all_proxy",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "KUBECONFIG",
];

#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub(crate) fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).expect("a log file");
        for key in NOT_INHERITED {
            command.env_remove(key);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {command:?}: {error}"));
        reaper("+", child.id());
        Self { name: name.to_owned(), child, log: log.to_owned(), ended: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it printed so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours");
            if self.ended.is_some() {
                reaper("-", self.child.id());
            }
        }
        self.ended
    }

    /// For `eventually`: an error as soon as it has ended, with the end of its log.
    pub(crate) fn must_run(&mut self) {
        if let Some(status) = self.ended() {
            panic!("{} ended ({status}); the end of its log:\n{}", self.name, tail(&self.log(), 4000));
        }
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) fn kill9(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            self.ended = Some(self.child.wait().expect("a child of ours"));
            reaper("-", self.child.id());
        }
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(limit).await
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("sh")
            .args(["-c", "kill -\"$0\" \"$1\"", signal, &self.pid().to_string()])
            .stderr(Stdio::null())
            .status();
        assert!(sent.is_ok(), "sh sends a signal");
    }

    pub(crate) async fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        eventually(&what, limit, async || self.ended().ok_or("still running")).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            note(&format!("--- the end of the log of {}:\n{}", self.name, tail(&self.log(), 6000)));
        }
    }
}

/// Shown with the failure it belongs to: libtest captures it for each test.
#[expect(clippy::print_stderr, reason = "what a failed test shows")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

fn tail(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

/// A shell that reads which processes are ours and kills the rest of them when its input ends, which
/// it does however the test process ends.
const REAPER: &str = r#"
trap '' INT TERM HUP
pids=' '
while read -r op pid; do
  case $op in
    +) pids="$pids$pid " ;;
    -) pids="${pids%% $pid *} ${pids#* $pid }" ;;
  esac
done
[ "$pids" = ' ' ] || kill -9 $pids 2>/dev/null
"#;

#[expect(clippy::zombie_processes, reason = "it outlives this process, which is its purpose")]
fn reaper(op: &str, pid: u32) {
    static INPUT: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let input = INPUT.get_or_init(|| {
        let shell = Command::new("sh")
            .args(["-c", REAPER])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        Mutex::new(shell.stdin.expect("piped"))
    });
    let mut input = input.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let _ = writeln!(input, "{op} {pid}");
}
