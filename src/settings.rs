//! L4: settings: flags over environment over the settings file, checked as a whole. Secrets come from files only. Must not open
//! anything but the settings file and the files of tokens and certificates.

mod access;
mod file;
mod size;
mod timing;

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::decide::limits::Limits;
use crate::http::HttpSettings;
use crate::http::auth::Tokens;
use crate::http::tls::Tls;
use crate::model::TargetRef;
use crate::notify::{AlertmanagerChannel, ChannelSettings, Origin};
use crate::observe::WATCHDOG;
use crate::outgoing::{self, EndpointSettings};
use crate::policy::duration;
use crate::policy::matcher::{Matcher, parse_item};
use crate::telemetry::LogFormat;

use file::{File, Scalar};

/// Where we listen unless told otherwise: what reaches it runs on this machine.
const DEFAULT_LISTEN: &str = "127.0.0.1:9095";

/// A settings file greater than this is something else.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// Younger rows are needed: budgets and penalties look back half a day, incidents last a day.
const LEAST_RETENTION: Duration = Duration::from_secs(2 * 24 * 3600);

/// The flags of `serve`. Each has an environment variable; each goes before what the settings file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct ServeArgs {
    /// Settings file (YAML).
    #[arg(long, value_name = "FILE", env = "BACKOUT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder with policies [default: rules].
    #[arg(long, value_name = "DIR", env = "BACKOUT_RULES")]
    pub rules: Option<PathBuf>,
    /// Folder for the journal [default: data].
    #[arg(long, value_name = "DIR", env = "BACKOUT_DATA")]
    pub data: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:9095].
    #[arg(long, value_name = "ADDR", env = "BACKOUT_LISTEN")]
    pub listen: Option<String>,
    /// How to reach the cluster [default: as a pod does, else no cluster].
    #[arg(long, value_name = "FILE", env = "BACKOUT_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The cluster's name, as alerts carry it in the label `cluster`.
    #[arg(long, value_name = "NAME", env = "BACKOUT_CLUSTER_NAME")]
    pub cluster_name: Option<String>,
    /// A namespace to watch; repeatable [default: all].
    #[arg(long, value_name = "NAME", env = "BACKOUT_NAMESPACE", value_delimiter = ',')]
    pub namespace: Vec<String>,
    /// A Prometheus to ask; repeatable, the first that answers counts.
    #[arg(long, value_name = "URL", env = "BACKOUT_PROMETHEUS", value_delimiter = ',')]
    pub prometheus: Vec<String>,
    /// An Alertmanager peer; repeatable: name every peer.
    #[arg(long, value_name = "URL", env = "BACKOUT_ALERTMANAGER", value_delimiter = ',')]
    pub alertmanager: Vec<String>,
    /// Where people reach this service, for links in messages.
    #[arg(long, value_name = "URL", env = "BACKOUT_EXTERNAL_URL")]
    pub external_url: Option<String>,
    /// How log lines are written [default: json].
    #[arg(long, value_name = "FORMAT", env = "BACKOUT_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How much of the journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rows older than this may be dropped.
    pub age: Duration,
    /// Above this many bytes the oldest rows are dropped.
    pub bytes: u64,
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder with policies.
    pub rules: PathBuf,
    /// The folder of the journal.
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How to reach the cluster; `None`: as a pod does, else there is none.
    pub kubeconfig: Option<PathBuf>,
    /// The cluster's name.
    pub cluster_name: Option<String>,
    /// The namespaces to watch; empty: all.
    pub namespaces: Vec<String>,
    /// Whom to ask for facts, in this order.
    pub prometheus: Vec<EndpointSettings>,
    /// Every Alertmanager peer.
    pub alertmanagers: Vec<EndpointSettings>,
    /// What matches the alert that always fires: the witness, besides Prometheus, that rules are evaluated. Empty: there is none.
    pub watchdog: Vec<Matcher>,
    /// How people are told. Without a list of their own: through the Alertmanager peers, as `alertmanager`.
    pub channels: Vec<ChannelSettings>,
    /// Who may do what. Read already, so that what is wrong with a file is said with everything else.
    pub tokens: Arc<Tokens>,
    /// Our certificates, read already, too; without them we speak plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Limits of the HTTP side.
    pub http: HttpSettings,
    /// How many receipts may wait for the engine.
    pub inbox: usize,
    /// How much of the journal is kept.
    pub retention: Retention,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// The product's times.
    pub limits: Limits,
    /// The collector that traces go to.
    pub otlp: Option<EndpointSettings>,
    /// Where people reach this service.
    pub external_url: Option<Url>,
    /// Where people reach Alertmanager's pages.
    pub silence_url: Option<Url>,
    /// How long draining may take. Shorter than what the platform allows before it kills.
    pub shutdown_grace: Duration,
    /// How often a drill is carried out beside the service, if ever.
    pub drill_every: Option<Duration>,
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Which setting, by its place in the file; empty when it is the file itself.
    pub key: String,
    /// What is wrong, what was expected, what to do.
    pub why: String,
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() { f.write_str(&self.why) } else { write!(f, "`{}`: {}", self.key, self.why) }
    }
}

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsErrors(pub Vec<SettingsProblem>);

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsErrors {}

impl Settings {
    /// Reads and checks everything. Paths in the settings file count from its folder.
    ///
    /// # Errors
    /// All that is wrong, at once; of a file that is not well-formed only the first place.
    pub fn load(args: ServeArgs) -> Result<Self, SettingsErrors> {
        let (mut check, file) = Check::begin(args.config.as_deref());
        let settings = check.settings(args, file);
        match settings {
            Some(settings) if check.problems.is_empty() => Ok(settings),
            _ => Err(SettingsErrors(check.problems)),
        }
    }
}

/// The JSON Schema of the settings file (draft 2020-12), made from the types that read it.
pub fn schema() -> serde_json::Value {
    schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>().to_value()
}

impl Settings {
    /// Who speaks in messages.
    pub fn origin(&self) -> Origin {
        Origin {
            instance: self.cluster_name.clone().unwrap_or_else(|| "backout".to_owned()),
            external_url: self.external_url.clone(),
            silence_url: self.silence_url.clone(),
        }
    }
}

/// What policies are checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForPolicies {
    /// The cluster's name.
    pub cluster_name: Option<String>,
    /// How people are told.
    pub channels: Vec<ChannelSettings>,
}

impl ForPolicies {
    /// Reads the settings file and checks that part of it. Tokens and folders of the machine that runs the service need not be
    /// here: policies are checked elsewhere, too.
    ///
    /// # Errors
    /// All that is wrong with that part, or the place where the file is not well-formed.
    pub fn load(config: &Path) -> Result<Self, SettingsErrors> {
        let (mut check, file) = Check::begin(Some(config));
        check.cluster_name(file.cluster.name.as_deref());
        let peers = check.endpoints("alertmanager", Vec::new(), file.alertmanager);
        let channels = check.channels(file.channels, &peers);
        if check.problems.is_empty() {
            Ok(Self { cluster_name: file.cluster.name, channels })
        } else {
            Err(SettingsErrors(check.problems))
        }
    }
}

fn read(path: &Path) -> Result<File, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("cannot read the settings file `{shown}`: {error}");
    if fs::metadata(path).map_err(cannot)?.len() > FILE_LIMIT_BYTES {
        return Err(format!("the settings file `{shown}` is greater than {FILE_LIMIT_BYTES} bytes; is it the right one?"));
    }
    let text = fs::read_to_string(path).map_err(cannot)?;
    let empty = text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---");
    if empty {
        return Ok(File::default());
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        let plain = error.without_snippet();
        let place = plain.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        format!("{shown}{place}: {}", in_our_words(&plain.to_string()))
    })
}

/// The parser's message in our words: a fragment, without the place at its end (it stands in front) and without its own options.
fn in_our_words(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or(message);
    let message = [("sequence start", "a list"), ("mapping start", "keys with values"), ("string scalar", "a text")]
        .iter()
        .fold(message.to_owned(), |message, (theirs, ours)| message.replace(theirs, ours));
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + chars.as_str())
}

/// Turns what was written into what is meant, and notes what makes no sense.
struct Check {
    /// Paths of the file count from here.
    base: PathBuf,
    problems: Vec<SettingsProblem>,
}

impl Check {
    /// With what the settings file says; with nothing, and a problem, where it cannot be read.
    fn begin(config: Option<&Path>) -> (Self, File) {
        let base = config.and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
        let mut check = Self { base, problems: Vec::new() };
        let file = config.map_or_else(|| Ok(File::default()), read).unwrap_or_else(|why| {
            check.problem("", why);
            File::default()
        });
        (check, file)
    }

    fn settings(&mut self, args: ServeArgs, file: File) -> Option<Settings> {
        let rules = args.rules.or_else(|| self.path(file.rules)).unwrap_or_else(|| PathBuf::from("rules"));
        if !rules.is_dir() {
            self.problem("rules", format!("`{}` is no folder; expected the one with the policies", rules.display()));
        }
        let kubeconfig = args.kubeconfig.or_else(|| self.path(file.cluster.kubeconfig));
        if let Some(kubeconfig) = kubeconfig.as_ref().filter(|path| !path.is_file()) {
            self.problem("cluster.kubeconfig", format!("`{}` is no file", kubeconfig.display()));
        }
        let cluster_name = args.cluster_name.or(file.cluster.name);
        self.cluster_name(cluster_name.as_deref());
        let namespaces = given(args.namespace).unwrap_or(file.cluster.namespaces);
        self.namespaces(&namespaces);
        let prometheus = self.endpoints("prometheus", args.prometheus, file.prometheus);
        let alertmanagers = self.endpoints("alertmanager", args.alertmanager, file.alertmanager);
        let watchdog = self.watchdog(file.watchdog);
        let channels = self.channels(file.channels, &alertmanagers);
        let otlp = self.endpoints("otlp", Vec::new(), file.otlp.into_iter().collect()).into_iter().next();
        let external_url = args.external_url.or(file.external_url);
        let external_url = external_url.and_then(|url| self.noted("external_url", outgoing::address(&url)));
        let silence_url = file.silence_url.and_then(|url| self.noted("silence_url", outgoing::address(&url)));
        let first_peer = || outgoing::address(&alertmanagers.first()?.url).ok();
        let silence_url = silence_url.or_else(first_peer);
        let (http, inbox) = self.http(&file.http, cluster_name.clone());
        let retention = self.retention(&file.retention);
        let limits = file.timing.limits(|key, why| self.problem(key, why));
        let shutdown_grace = self.duration("shutdown_grace", file.shutdown_grace.as_ref(), Duration::from_secs(25));
        let drill_every = file.drills.every.as_ref().and_then(|written| self.drill_every(written));
        let listen = args.listen.or(file.http.listen).unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
        let listen = self.listen(&listen, !file.tokens.ingest.is_empty() || !file.clients.ingest.is_empty());
        let clients = self.clients(file.clients, &file.tls);
        let tls = self.tls(file.tls);
        let tokens = self.tokens(file.tokens, listen.is_none_or(|listen| listen.ip().is_loopback()));
        Some(Settings {
            rules,
            data: args.data.or_else(|| self.path(file.data)).unwrap_or_else(|| PathBuf::from("data")),
            listen: listen?,
            kubeconfig,
            cluster_name,
            namespaces,
            prometheus,
            alertmanagers,
            watchdog,
            channels,
            tokens: Arc::new(tokens?.with_clients(clients)),
            tls,
            http,
            inbox,
            retention,
            log_format: args.log_format.or(file.log.format).unwrap_or_default(),
            limits,
            otlp,
            external_url,
            silence_url,
            shutdown_grace,
            drill_every,
        })
    }

    fn problem(&mut self, key: impl Into<String>, why: impl Into<String>) {
        self.problems.push(SettingsProblem { key: key.into(), why: why.into() });
    }

    /// The value, or `None` and a problem.
    fn noted<T>(&mut self, key: &str, read: Result<T, impl fmt::Display>) -> Option<T> {
        read.map_err(|why| self.problem(key, why.to_string())).ok()
    }

    fn path(&self, path: Option<PathBuf>) -> Option<PathBuf> {
        path.map(|path| self.base.join(path))
    }

    fn cluster_name(&mut self, name: Option<&str>) {
        if name
            .is_some_and(|name| name.is_empty() || name.len() > 253 || name.chars().any(|c| c.is_whitespace() || c.is_control()))
        {
            self.problem("cluster.name", "expected the value of the label `cluster` in this cluster's alerts, without blanks");
        }
    }

    fn namespaces(&mut self, namespaces: &[String]) {
        for namespace in namespaces {
            if TargetRef::deployment(namespace, "any").is_err() {
                self.problem("cluster.namespaces", format!("`{namespace}` cannot be the name of a namespace"));
            }
        }
    }

    fn endpoints(&mut self, key: &str, flags: Vec<String>, file: Vec<file::Endpoint>) -> Vec<EndpointSettings> {
        let endpoints: Vec<EndpointSettings> = match given(flags) {
            Some(flags) => flags.into_iter().map(EndpointSettings::plain).collect(),
            None => file.into_iter().map(|file::Endpoint(endpoint)| self.rebased(endpoint)).collect(),
        };
        for endpoint in &endpoints {
            self.noted(key, outgoing::address(&endpoint.url));
            if endpoint.token_file.is_some() && endpoint.username.is_some() {
                self.problem(key, "set either `token_file` or `username`, not both");
            }
            if endpoint.username.is_some() != endpoint.password_file.is_some() {
                self.problem(key, "`username` and `password_file` need each other");
            }
        }
        endpoints
    }

    fn watchdog(&mut self, written: Option<Vec<String>>) -> Vec<Matcher> {
        let items = written.unwrap_or_else(|| vec![WATCHDOG.to_owned()]);
        let read: Vec<Matcher> =
            items.iter().filter_map(|item| self.noted("watchdog", parse_item(item))).flat_map(|read| read.matchers).collect();
        // Matchers that all match what is not there would take any alert for it.
        if !read.is_empty() && read.iter().all(|matcher| matcher.matches_value("")) {
            self.problem("watchdog", format!("it matches every alert; expected something like `{WATCHDOG}`"));
        }
        read
    }

    fn rebased(&self, endpoint: EndpointSettings) -> EndpointSettings {
        EndpointSettings {
            token_file: self.path(endpoint.token_file),
            password_file: self.path(endpoint.password_file),
            ca_file: self.path(endpoint.ca_file),
            ..endpoint
        }
    }

    fn channels(&mut self, written: Option<Vec<ChannelSettings>>, peers: &[EndpointSettings]) -> Vec<ChannelSettings> {
        let channels = match written {
            Some(channels) => channels.into_iter().map(|channel| self.rebased_channel(channel)).collect(),
            None => self.peers_as_channel(peers).into_iter().collect::<Vec<_>>(),
        };
        self.noted("channels", ChannelSettings::check(&channels));
        channels
    }

    fn rebased_channel(&self, mut channel: ChannelSettings) -> ChannelSettings {
        channel.rebase(&self.base);
        channel
    }

    /// Pages through the Alertmanagers that we ask anyway, when nothing else is said.
    fn peers_as_channel(&mut self, peers: &[EndpointSettings]) -> Option<ChannelSettings> {
        let first = peers.first()?;
        if peers.iter().any(|peer| EndpointSettings { url: first.url.clone(), ..peer.clone() } != *first) {
            self.problem("channels", "the peers in `alertmanager` differ in more than `url`; list the channels to page through");
            return None;
        }
        let alertmanager = AlertmanagerChannel {
            urls: peers.iter().map(|peer| peer.url.clone()).collect(),
            token_file: first.token_file.clone(),
            username: first.username.clone(),
            password_file: first.password_file.clone(),
            ca_file: first.ca_file.clone(),
            proxy: first.proxy.clone(),
        };
        Some(ChannelSettings { name: "alertmanager".to_owned(), alertmanager: Some(alertmanager), ..ChannelSettings::default() })
    }

    fn http(&mut self, file: &file::Http, cluster: Option<String>) -> (HttpSettings, usize) {
        let default = HttpSettings::default();
        let limits = HttpSettings {
            cluster,
            body_limit: self.bytes("http.body_limit", file.body_limit.as_ref(), default.body_limit),
            bytes_in_flight: self.bytes("http.bytes_in_flight", file.bytes_in_flight.as_ref(), default.bytes_in_flight),
            connections: self.count("http.connections", file.connections.as_ref(), default.connections, 1..=100_000),
            ..default
        };
        if limits.bytes_in_flight < limits.body_limit {
            self.problem(
                "http.bytes_in_flight",
                format!("it is less than `http.body_limit` ({} bytes): the greatest body would never get in", limits.body_limit),
            );
        }
        let inbox = self.count("http.inbox", file.inbox.as_ref(), 4096, 1..=8192);
        (limits, inbox)
    }

    fn retention(&mut self, file: &file::Retention) -> Retention {
        let age = self.duration("retention.age", file.age.as_ref(), Duration::from_secs(90 * 24 * 3600));
        if age < LEAST_RETENTION {
            self.problem("retention.age", "expected `2d` or more: decisions look back");
        }
        let bytes = self.bytes("retention.size", file.size.as_ref(), 2 << 30);
        if bytes < 64 << 20 {
            self.problem("retention.size", "expected `64MiB` or more");
        }
        Retention { age, bytes: bytes as u64 }
    }

    fn duration(&mut self, key: &str, written: Option<&Scalar>, default: Duration) -> Duration {
        written.and_then(|Scalar(text)| self.noted(key, duration::parse(text))).unwrap_or(default)
    }

    fn drill_every(&mut self, Scalar(text): &Scalar) -> Option<Duration> {
        let every = self.noted("drills.every", duration::parse(text))?;
        if every.is_zero() {
            self.problem("drills.every", format!("`{text}` is no time; expected more than 0, such as `24h`"));
        }
        Some(every)
    }

    fn bytes(&mut self, key: &str, written: Option<&Scalar>, default: usize) -> usize {
        written.and_then(|Scalar(text)| self.noted(key, size::parse(text))).unwrap_or(default)
    }

    fn count(&mut self, key: &str, written: Option<&Scalar>, default: usize, allowed: std::ops::RangeInclusive<usize>) -> usize {
        let Some(Scalar(text)) = written else { return default };
        match text.parse() {
            Ok(number) if allowed.contains(&number) => number,
            _ => {
                self.problem(key, format!("`{text}`: expected a number from {} to {}", allowed.start(), allowed.end()));
                default
            }
        }
    }
}

/// A list of flags, if any was given.
fn given(flags: Vec<String>) -> Option<Vec<String>> {
    (!flags.is_empty()).then_some(flags)
}

#[cfg(test)]
#[path = "settings/tests.rs"]
mod tests;
