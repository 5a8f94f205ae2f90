//! Where the history comes from: a Prometheus that is asked, or a journal that is read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::super::decisions;
use super::super::exit::{Exit, Failure};
use super::BacktestArgs;
use super::progress::Progress;
use crate::backtest::{self, Broken, Facts, History, Journal, Kept, Ledger, Said, Settings, Source, Span};
use crate::clock::SystemClock;
use crate::model::{Labels, Time};
use crate::outgoing::{Clients, EndpointSettings};
use crate::policy::types::{Policies, Setting};
use crate::ports::{Clock as _, Row};
use crate::simulate::Recorded;

/// A history, and what facts were then.
pub(super) struct Past {
    pub(super) history: Arc<History>,
    /// Where it is from, for people.
    pub(super) name: String,
    numbers: Numbers,
}

/// Who knows what facts were.
enum Numbers {
    /// It is asked when the engine asks.
    Prometheus(Arc<Source>),
    Journal(Arc<Said>),
}

impl Past {
    /// The history that the arguments name.
    pub(super) async fn read(args: &BacktestArgs, policies: &Policies, progress: &Progress) -> Result<Self, Failure> {
        let span = times(args, policies)?;
        if let Some(data) = &args.journal {
            let (history, said) = journal(data, span).await?;
            return Ok(Self {
                history: Arc::new(history),
                name: data.display().to_string(),
                numbers: Numbers::Journal(Arc::new(said)),
            });
        }
        let source = source(args)?;
        let history = download(&source, span, progress).await?;
        let name = source.name().to_owned();
        Ok(Self { history: Arc::new(history), name, numbers: Numbers::Prometheus(Arc::new(source)) })
    }

    /// The same, with the alerts that somebody wants only.
    pub(super) fn about(mut self, concerns: impl Fn(&Labels) -> bool) -> Self {
        self.history = Arc::new(Arc::unwrap_or_clone(self.history).about(concerns));
        self
    }

    /// Lives through it on a thread of its own, which waits for facts while this one asks for them.
    pub(super) async fn live(&self, policies: Policies, settings: Settings, progress: &Progress) -> Result<Ledger, Failure> {
        let policies = Arc::new(backtest::as_of_then(&policies));
        let (asked, recorded) = self.numbers(tokio::runtime::Handle::current());
        let (lived, clock) = (Arc::clone(&self.history), progress.clone());
        let ledger = tokio::task::spawn_blocking(move || {
            let tick = |at| clock.lived(lived.begin, lived.to, at);
            backtest::live(&lived, &policies, &recorded, &settings, &tick)
        });
        let ledger = ledger.await.map_err(|error| Failure::internal(format!("defect: {error}")))?;
        if let Some(why) = asked.and_then(|facts| facts.broken()) {
            let failure = Failure::new(Exit::Unreachable, why);
            return Err(failure.help("run the same command again: what was downloaded is kept, and it goes on from there"));
        }
        Ok(ledger)
    }

    fn numbers(&self, handle: tokio::runtime::Handle) -> (Option<Arc<Facts>>, Arc<dyn Recorded>) {
        match &self.numbers {
            Numbers::Journal(said) => (None, Arc::clone(said) as Arc<dyn Recorded>),
            Numbers::Prometheus(source) => {
                let asked = Arc::clone(source);
                let ask = move |promql: &str, from: Time, to: Time| handle.block_on(asked.range(promql, from, to));
                let facts = Arc::new(Facts::new(&self.history, source.step, Box::new(ask)));
                (Some(Arc::clone(&facts)), facts)
            }
        }
    }
}

/// Reads the whole journal.
async fn journal(data: &Path, span: Span) -> Result<(History, Said), Failure> {
    let look = decisions::open(data)?;
    let (seq, book) = decisions::begin(&look)?;
    let mut journal = Journal::new(&book, book.alive_at);
    let read = |row: &Row| journal.row(row).map_err(|error| decisions::broken(error.row, &error.why));
    decisions::rows(&look, seq, read).await?;
    journal.finish(span.from, span.to, span.lead).map_err(|why| {
        Failure::new(Exit::NotFound, why).help("name a time that it covers with `--from` and `--to`, or leave both away")
    })
}

fn source(args: &BacktestArgs) -> Result<Source, Failure> {
    let usage = |error: crate::outgoing::EndpointError| Failure::usage(error.to_string());
    let token_file = args.prometheus_token_file.clone();
    let settings = EndpointSettings { token_file, ..EndpointSettings::plain(args.prometheus.as_deref().unwrap_or_default()) };
    let endpoint = Clients::new().and_then(|clients| clients.endpoint(&settings)).map_err(usage)?;
    let folder = args.cache.clone().or_else(usual_cache);
    let kept = folder.map(|folder| Kept::open(&folder).map_err(Failure::usage)).transpose()?;
    if args.step < Duration::from_secs(1) || args.step > Duration::from_secs(300) {
        return Err(Failure::usage("`--step` must be from 1s to 5m").help("take the interval of your rule groups, or half of it"));
    }
    // A sample may come late, and a rule may still write for now.
    Ok(Source::new(endpoint, kept, args.step, SystemClock.now() - Duration::from_secs(15 * 60)))
}

/// Below the user's cache folder.
fn usual_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("backout").join("backtest"))
}

fn times(args: &BacktestArgs, policies: &Policies) -> Result<Span, Failure> {
    let to = args.to.unwrap_or_else(|| SystemClock.now());
    let from = args.from.unwrap_or_else(|| to - args.since);
    if from >= to {
        return Err(Failure::usage("nothing lies between `--from` and `--to`"));
    }
    let forever = Duration::from_secs(366 * 24 * 60 * 60);
    let within = policies.policies.iter().map(|policy| match &policy.brakes.recent_change {
        Setting::On(brake) => brake.within,
        Setting::Disabled(_) => forever,
    });
    Ok(Span { from, to, lead: args.lead, doubt: within.max().unwrap_or_default() })
}

async fn download(source: &Source, span: Span, progress: &Progress) -> Result<History, Failure> {
    let tick = |done, all| progress.downloaded(done, all);
    backtest::download(source, span, &tick).await.map_err(|broken| match broken {
        Broken::Unanswered(why) => {
            let failure = Failure::new(Exit::Unreachable, why.to_string());
            failure.help("run the same command again: what was downloaded is kept, and it goes on from there")
        }
        Broken::Nothing(why) => Failure::new(Exit::NotFound, why).help("see docs/backtest.md for the series that are asked for"),
    })
}
