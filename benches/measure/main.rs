//! Measures the service against floors that do less, and against what people would use instead; all in one run on one machine, by
//! turns, and only ratios count. `benches/run` builds and starts it.

mod backtest;
mod bodies;
mod check;
mod floor;
mod load;
mod matching;
mod memory;
mod rules;
mod server;
mod start;
mod table;
mod webhook;
mod worlds;

use std::path::{Path, PathBuf};

/// As in the service: what allocates the memory must not make the difference.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "\
benches/run NAME [--quick] [--webhook PROGRAM] [--uvicorn PROGRAM]

  webhook    requests a second, each durable, against the floors; processor time; latency
  repeat     the same for notifications that repeat what is known
  slowdisk   with every sync 1 ms longer: requests for each sync
  peers      against adnanh/webhook (--webhook) and FastAPI (--uvicorn)
  overload   at twice what it can do: what is refused, and how fast
  matching   what finding the policies of an alert costs, for 100 and for 10,000
  check      `backout check` of a thousand files
  memory     idle, 100,000 firing alerts, 256 connections with 1.27 MB each
  start      until the first 200: an empty journal, and a million records
  worlds     thirty days of virtual time in a test of policies
  backtest   thirty days with two hundred incidents a day, looked back at
  all        all of them
";

/// What a measurement is told.
pub(crate) struct Options {
    /// One short round of everything: whether it works.
    pub(crate) quick: bool,
    /// The program `webhook`.
    pub(crate) webhook: Option<PathBuf>,
    /// The program `uvicorn` of an environment with FastAPI.
    pub(crate) uvicorn: Option<PathBuf>,
}

impl Options {
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    pub(crate) fn secs(&self) -> std::time::Duration {
        std::time::Duration::from_millis(if self.quick { 500 } else { 1200 })
    }
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [floor, mode, port, dir] = args.as_slice()
        && floor == "floor"
    {
        return floor::serve(mode, port.parse().expect("a port"), Path::new(dir));
    }
    let mut take = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.remove(at);
        (at < args.len()).then(|| PathBuf::from(args.remove(at)))
    };
    let (webhook, uvicorn) = (take("--webhook"), take("--uvicorn"));
    let quick = args.iter().any(|arg| arg == "--quick");
    args.retain(|arg| arg != "--quick");
    let options = Options { quick, webhook, uvicorn };
    let [name] = args.as_slice() else { return table::say(USAGE) };
    // One thread: the load generator has one processor, the server the other.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let all = name == "all";
    let is = |row: &str| all || name == row;
    let known =
        ["webhook", "repeat", "slowdisk", "peers", "overload", "matching", "check", "memory", "start", "worlds", "backtest"];
    if !all && !known.contains(&name.as_str()) {
        return table::say(USAGE);
    }
    if is("matching") {
        matching::run(&options);
    }
    if is("check") {
        check::run(&options);
    }
    if is("worlds") {
        worlds::run(&options);
    }
    if is("backtest") {
        backtest::run(&options);
    }
    runtime.block_on(async {
        if is("webhook") {
            webhook::rates(&options).await;
        }
        if is("repeat") {
            webhook::repeats(&options).await;
        }
        if is("slowdisk") {
            webhook::slow_disk(&options).await;
        }
        if is("peers") {
            webhook::peers(&options).await;
        }
        if is("overload") {
            webhook::overload(&options).await;
        }
        if is("memory") {
            memory::run(&options).await;
        }
        if is("start") {
            start::run(&options).await;
        }
    });
}
