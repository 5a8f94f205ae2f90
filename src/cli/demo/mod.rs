//! `backout demo`: the real service on loopback, in a small simulated world. Two stories, told as they happen.

mod teller;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::exit::{Exit, Failure};
use super::output::Output;
use crate::app::Assembly;
use crate::clock::SystemClock;
use crate::decide::limits::Limits;
use crate::engine::{EngineHandle, Hands, PolicySource};
use crate::http::HttpSettings;
use crate::http::auth::{TokenFiles, Tokens};
use crate::lifecycle::{Stages, Supervisor};
use crate::metrics::Metrics;
use crate::policy::{self, SourceFile, types::Policies};
use crate::ports::{Clock, Store};
use crate::simulate::{Hands as SimulatedHands, Mouths, SpeedClock};
use crate::store::{SqliteOptions, SqliteStore};
use teller::Teller;

/// The demo's clock runs this many times as fast as the wall clock.
const SPEED: u32 = 60;
/// Watch events, webhooks and lines that may wait.
const QUEUE: usize = 256;
/// How long the end may take.
const GRACE: Duration = Duration::from_secs(5);
/// The policy, as a file of a rules folder.
const RULES: &str = include_str!("rules.yaml");

/// Arguments of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Where metrics and API can be looked at while it runs; another port is taken if this one is in use
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9095")]
    listen: SocketAddr,
    /// Go on running after the stories, until Ctrl-C
    #[arg(long)]
    stay: bool,
}

/// Tells both stories.
pub(super) fn run(args: DemoArgs, output: Output) -> Result<Exit, Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::usage(format!("`{}` is no loopback address; the demo has no tokens", args.listen)));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal(format!("cannot start: {error}")))?;
    runtime.block_on(tell(args, output))
}

async fn tell(args: DemoArgs, output: Output) -> Result<Exit, Failure> {
    let folder = Folder::make()?;
    let stages = Stages::on_signals(GRACE).map_err(|error| Failure::internal(error.to_string()))?;
    let mut supervisor = Supervisor::new(stages.clone(), GRACE);
    let listener = listen(args.listen).await?;
    let address = listener.local_addr().map_err(|error| Failure::internal(error.to_string()))?;
    let clock: Arc<dyn Clock> = Arc::new(SpeedClock::new(SystemClock.now(), SPEED));
    let world = SimulatedHands::new(world::new(clock.now()), Arc::clone(&clock));

    let (watch_sender, watch) = mpsc::channel(QUEUE);
    let (webhooks, bodies) = mpsc::channel(QUEUE);
    let (log, happened) = mpsc::channel(QUEUE);
    let store = SqliteStore::open(&folder.0, SqliteOptions::default());
    let store: Arc<dyn Store> = Arc::new(store.map_err(|error| Failure::usage(error.to_string()))?);
    let handle = assemble(&world, &clock, store, watch, listener, (&mut supervisor, &stages)).await?;
    let (moving, mouths) = (world.clone(), Mouths { watch: watch_sender, webhooks, log });
    let (drain, poster) = (stages.drain.clone(), stages.drain.clone());
    supervisor.spawn("world", async move {
        drain.run_until_cancelled(moving.run(mouths)).await;
        Ok::<(), Failure>(())
    });
    supervisor.spawn("alertmanager", async move { poster.run_until_cancelled(post(bodies, address)).await.unwrap_or(Ok(())) });

    let teller = Teller::new(output, handle, Arc::clone(&clock));
    let (drain, stay) = (stages.drain.clone(), args.stay);
    let (told, telling) = tokio::sync::oneshot::channel();
    supervisor.spawn("stories", async move {
        let all = drain.run_until_cancelled(teller.tell(world, happened, address, SPEED, stay)).await;
        let _ = told.send(all.unwrap_or(false));
        drain.cancel();
        Ok::<(), Failure>(())
    });
    supervisor.run().await.map_err(|died| Failure::internal(died.to_string()))?;
    match telling.await {
        Ok(true) => Ok(Exit::Done),
        _ => Ok(Exit::Negative),
    }
}

/// The same assembly as `serve`'s, with a simulated outside.
async fn assemble(
    world: &SimulatedHands,
    clock: &Arc<dyn Clock>,
    store: Arc<dyn Store>,
    watch: mpsc::Receiver<crate::model::WatchEvent>,
    listener: TcpListener,
    (supervisor, stages): (&mut Supervisor, &Stages),
) -> Result<EngineHandle, Failure> {
    let hand = Arc::new(world.clone());
    let tokens = Tokens::load(TokenFiles::default(), true).map_err(|_| Failure::internal("no tokens, and they are wrong"))?;
    let assembly = Assembly {
        store,
        hands: Hands {
            cluster: Some(hand.clone()),
            prometheus: Some(hand.clone()),
            alertmanagers: hand.clone(),
            probe: hand.clone(),
            notifier: hand,
            clock: Arc::clone(clock),
        },
        metrics: Metrics::new().map_err(|error| Failure::internal(error.to_string()))?,
        limits: Limits::default(),
        cluster_name: Some("demo".to_owned()),
        policies: policies().map_err(Failure::internal)?,
        policy_source: Arc::new(policies) as PolicySource,
        watch,
        also_ready: Arc::new(|| Ok(())),
        inbox: QUEUE,
        tokens: Arc::new(tokens),
        http: HttpSettings { cluster: Some("demo".to_owned()), ..HttpSettings::default() },
        listener,
        log_level: None,
        spans: None,
    };
    assembly.start(supervisor, stages).await.map_err(|error| Failure::internal(error.to_string()))
}

fn policies() -> Result<Policies, String> {
    let file = SourceFile { path: "demo.yaml".to_owned(), bytes: RULES.as_bytes().to_vec() };
    match policy::load(&[file], true) {
        Ok(loaded) => Ok(loaded.policies),
        Err(problems) => Err(policy::diagnostic::to_text(&problems)),
    }
}

async fn listen(wanted: SocketAddr) -> Result<TcpListener, Failure> {
    if let Ok(listener) = TcpListener::bind(wanted).await {
        return Ok(listener);
    }
    let free = TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await;
    free.map_err(|error| Failure::usage(format!("cannot listen on `{}`: {error}", wanted.ip())))
}

/// What the simulated Alertmanager does with its bodies: it posts them, as the real one would.
async fn post(mut bodies: mpsc::Receiver<Bytes>, address: SocketAddr) -> Result<(), Failure> {
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| Failure::internal(error.to_string()))?;
    let url = format!("http://{address}/v1/webhook/alertmanager");
    while let Some(body) = bodies.recv().await {
        let posted = client.post(&url).header("content-type", "application/json").body(body).send().await;
        if let Err(error) = posted {
            tracing::warn!(%error, "the webhook was not taken");
        }
    }
    Ok(())
}

/// A folder for the journal, gone with the demo.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("backout-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|error| Failure::usage(format!("cannot make the folder `{}`: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it is a small folder among temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
