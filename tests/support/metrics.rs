//! Reads what Prometheus would read: the text of `/metrics`.

/// The sum over the series of one metric in a text of `/metrics` that have all these `name="value"` pairs; 0 when there is none.
pub(crate) fn sum(metrics: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let series = metrics.lines().filter_map(|line| line.strip_prefix(name));
    series
        .filter(|rest| rest.starts_with(['{', ' ']) && wanted.iter().all(|pair| rest.contains(pair)))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
