//! Measurements with real parts: a control plane, Alertmanager, Prometheus. They are no tests: `tests/load/run` runs them one by one
//! in a release build, and what they print is the result.

#[path = "../support/mod.rs"]
mod support;

mod patch;
mod sender;
mod soak;
mod watched;

/// A line of the result.
#[expect(clippy::print_stderr, reason = "the figures are the result")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// The figure below which so much of them lies.
fn share(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Processor time so far, in seconds.
fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap_or("").split_whitespace().map(|text| text.parse().unwrap_or(0.0)).collect();
    fields.iter().skip(11).take(2).sum::<f64>() / 100.0
}

/// A figure of `/proc/PID/status`, in MB.
fn megabytes(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
    line.split_whitespace().find_map(|text| text.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0 / 1e6
}
