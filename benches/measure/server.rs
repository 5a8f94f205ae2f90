//! The servers that are measured, as processes of their own: started on a free port, looked at through `/proc`, ended with the
//! measurement.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use crate::load;

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// The service, with these files in its rules and these further settings.
    Backout { rules: Vec<(String, String)>, config: String, args: Vec<String> },
    /// A floor; see `floor.rs`.
    Floor(&'static str),
    /// adnanh/webhook, running `/bin/true` for each notification.
    Webhook(PathBuf),
    /// FastAPI under uvicorn, which matches and does nothing.
    FastApi(PathBuf),
}

impl What {
    pub(crate) fn backout(rules: &[(String, String)]) -> Self {
        Self::Backout { rules: rules.to_vec(), config: String::new(), args: Vec::new() }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Backout { .. } => "backout",
            Self::Floor(mode) => mode,
            Self::Webhook(_) => "webhook",
            Self::FastApi(_) => "fastapi",
        }
    }

    /// Where notifications are posted to.
    pub(crate) fn path(&self) -> &'static str {
        match self {
            Self::Backout { .. } => "/v1/webhook/alertmanager",
            Self::Webhook(_) => "/hooks/hook",
            Self::Floor(_) | Self::FastApi(_) => "/hook",
        }
    }
}

/// How it is run.
#[derive(Clone, Debug, Default)]
pub(crate) struct How {
    /// On the first processor only; the load generator has the second.
    pub(crate) pinned: bool,
    /// Every sync of a file takes so much longer, and is counted.
    pub(crate) slow_sync: Option<Duration>,
    /// A folder that is there already, instead of a fresh one.
    pub(crate) dir: Option<PathBuf>,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From the start of the process to the first 200.
    pub(crate) started_in: Duration,
    dir: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

/// Figures of a process and its children.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time, in seconds.
    pub(crate) cpu: f64,
    /// Resident, in MB (10^6).
    pub(crate) rss: f64,
    /// The anonymous part of it.
    pub(crate) anonymous: f64,
    /// The greatest resident size so far.
    pub(crate) peak: f64,
}

impl Server {
    /// Starts one and waits for its first 200.
    pub(crate) async fn start(what: &What, how: &How) -> Self {
        let (dir, temporary) = match &how.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let fresh = tempfile::Builder::new().prefix("backout-measure-").tempdir().expect("a folder");
                (fresh.path().to_owned(), Some(fresh))
            }
        };
        let port = free_port();
        let mut command = command(what, &dir, port, how.pinned);
        if let Some(longer) = how.slow_sync {
            let library = slow_sync(&dir);
            command.env("LD_PRELOAD", library).env("SLOWSYNC_US", longer.as_micros().to_string());
            command.env("SLOWSYNC_COUNT", dir.join("syncs"));
        }
        let log = std::fs::File::create(dir.join("log")).expect("a log");
        command.current_dir(&dir).stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
        let begin = Instant::now();
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", what.name()));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Self { child, address, started_in: Duration::ZERO, dir, temporary };
        let probe = probe(what);
        loop {
            if load::get(address, probe).await.is_some_and(|(status, _)| status < 300) {
                break;
            }
            if let Ok(Some(status)) = server.child.try_wait() {
                panic!("{} ended ({status}):\n{}", what.name(), server.log());
            }
            assert!(begin.elapsed() < Duration::from_secs(120), "{} does not start:\n{}", what.name(), server.log());
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        server.started_in = begin.elapsed();
        server
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub(crate) fn usage(&self) -> Usage {
        usage(self.child.id())
    }

    /// How many times it synced a file.
    pub(crate) fn syncs(&self) -> u64 {
        let bytes = std::fs::read(self.dir.join("syncs")).unwrap_or_default();
        bytes.get(..8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_ne_bytes)
    }

    /// A metric of it, summed over its labels; `None` where it has no metrics.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let (status, text) = load::get(self.address, "/metrics").await?;
        let lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        let values: Vec<f64> = lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        (status == 200 && !values.is_empty()).then(|| values.iter().sum())
    }

    /// Waits until nothing that was acknowledged waits to be looked at; for how long it did.
    pub(crate) async fn drained(&self) -> Duration {
        let begin = Instant::now();
        while self.metric("backout_inbox_depth").await.unwrap_or(0.0) > 0.0 && begin.elapsed() < Duration::from_secs(120) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        begin.elapsed()
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(mut self) -> Option<tempfile::TempDir> {
        self.end();
        self.temporary.take()
    }

    fn end(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status();
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begin.elapsed() > Duration::from_secs(20) {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn probe(what: &What) -> &'static str {
    match what {
        What::Backout { .. } => "/-/ready",
        What::Floor(_) | What::FastApi(_) => "/stats",
        What::Webhook(_) => "/",
    }
}

fn command(what: &What, dir: &Path, port: u16, pinned: bool) -> Command {
    let (program, args) = match what {
        What::Backout { rules, config, args } => {
            (PathBuf::from(env!("CARGO_BIN_EXE_backout")), backout(rules, config, args, dir, port))
        }
        What::Floor(mode) => (
            std::env::current_exe().expect("this program"),
            vec!["floor".into(), (*mode).into(), port.to_string(), dir.display().to_string()],
        ),
        What::Webhook(program) => {
            let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/webhook.json");
            let args = ["-hooks", hooks, "-ip", "127.0.0.1", "-port"].map(str::to_owned);
            (program.clone(), args.into_iter().chain([port.to_string()]).collect())
        }
        What::FastApi(program) => {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
            let args =
                ["--app-dir", folder, "fastapi_app:app", "--host", "127.0.0.1", "--no-access-log", "--port"].map(str::to_owned);
            (program.clone(), args.into_iter().chain([port.to_string()]).collect())
        }
    };
    let mut command = if pinned { Command::new("taskset") } else { Command::new(&program) };
    if pinned {
        command.args(["-c", "0"]).arg(&program);
    }
    command.args(args).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn backout(rules: &[(String, String)], config: &str, more: &[String], dir: &Path, port: u16) -> Vec<String> {
    let folder = dir.join("rules");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, text) in rules {
        std::fs::write(folder.join(name), text).expect("written");
    }
    std::fs::write(dir.join("config.yaml"), config).expect("written");
    let listen = format!("127.0.0.1:{port}");
    let args = ["serve", "--config", "config.yaml", "--rules", "rules", "--data", "data", "--listen", &listen];
    args.into_iter().map(str::to_owned).chain(more.iter().cloned()).collect()
}

/// A port that nobody listened on a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn slow_sync(dir: &Path) -> PathBuf {
    let library = dir.join("slowsync.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/slowsync.c");
    let built = Command::new("cc").args(["-O2", "-shared", "-fPIC", source, "-ldl", "-o"]).arg(&library).status();
    assert!(built.is_ok_and(|status| status.success()), "`cc` builds {source}");
    library
}

fn usage(pid: u32) -> Usage {
    let mut all = Usage::default();
    let mut pids = vec![pid];
    while let Some(pid) = pids.pop() {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let stat = read("stat");
        let fields: Vec<f64> =
            stat.rsplit(')').next().unwrap_or("").split_whitespace().map(|text| text.parse().unwrap_or(0.0)).collect();
        // User and system time, of it and of the children that it has waited for; in hundredths of a second.
        all.cpu += fields.iter().skip(11).take(4).sum::<f64>() / 100.0;
        let status = read("status");
        let kb = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
            line.split_whitespace().find_map(|text| text.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0 / 1e6
        };
        all.rss += kb("VmRSS:");
        all.anonymous += kb("RssAnon:");
        all.peak += kb("VmHWM:");
        pids.extend(read(&format!("task/{pid}/children")).split_whitespace().filter_map(|text| text.parse::<u32>().ok()));
    }
    all
}
