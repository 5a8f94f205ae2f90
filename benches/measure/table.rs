//! How figures are printed: Markdown rows with medians, ratios, the machine and the date.

/// The middle of some figures.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A number with about three digits that count.
pub(crate) fn short(figure: f64) -> String {
    match figure.abs() {
        large if large >= 10_000.0 => format!("{:.1}k", figure / 1000.0),
        large if large >= 100.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// What was measured, on what, when; then the head of a table.
pub(crate) fn head(title: &str, columns: &[&str]) {
    say(&format!("\n### {title}\n\n{}\n", machine()));
    row(columns);
    say(&format!("|{}", "---|".repeat(columns.len())));
}

/// A row of it.
pub(crate) fn row<T: AsRef<str>>(cells: &[T]) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    say(&format!("| {} |", cells.join(" | ")));
}

/// A line.
#[expect(clippy::print_stdout, reason = "the figures are the result")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1)).unwrap_or("?");
    let processors = info.lines().filter(|line| line.starts_with("processor")).count();
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    let date = std::process::Command::new("date").args(["-u", "+%F %R UTC"]).output().map(|done| done.stdout).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{processors} × {model}, Linux {}, {}; load before it {load}.", kernel.trim(), String::from_utf8_lossy(&date).trim())
}
