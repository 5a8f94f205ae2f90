//! L4: log lines: one event a line to standard error, as JSON or as `key=value`. What is logged is said where it happens.

use std::fmt;

use serde::Deserialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object.
    #[default]
    Json,
    /// `key=value` pairs.
    Logfmt,
}

/// Why logging was not set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` cannot be read.
    #[error("`RUST_LOG` is wrong: {0}; expected something like `info` or `backout=debug,warn`")]
    Filter(String),
    /// Somebody did it before.
    #[error("logging is set up already")]
    Twice,
}

/// Begins to log to standard error, from level info up unless `RUST_LOG` says otherwise.
///
/// # Errors
/// When `RUST_LOG` cannot be read, or on the second call.
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()
        .map_err(|error| TelemetryError::Filter(error.to_string()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let begun = match format {
        LogFormat::Json => tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish()),
        LogFormat::Logfmt => tracing::subscriber::set_global_default(lines.event_format(Logfmt).finish()),
    };
    begun.map_err(|_| TelemetryError::Twice)
}

/// `key=value` pairs, in the order time, level, target, message, fields.
#[derive(Clone, Copy, Debug)]
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        line.write_str("time=")?;
        SystemTime.format_time(&mut line)?;
        write!(line, " level={} target={}", metadata.level().as_str().to_ascii_lowercase(), metadata.target())?;
        let mut pairs = Pairs { line: line.by_ref(), result: Ok(()) };
        event.record(&mut pairs);
        pairs.result?;
        writeln!(line)
    }
}

struct Pairs<'w> {
    line: Writer<'w>,
    result: fmt::Result,
}

impl Pairs<'_> {
    fn put(&mut self, field: &Field, text: &str) {
        // Text comes from outside, too: whatever could end the value or the line is quoted.
        let plain =
            !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\'));
        let name = if field.name() == "message" { "msg" } else { field.name() };
        let written = if plain { write!(self.line, " {name}={text}") } else { write!(self.line, " {name}={text:?}") };
        self.result = self.result.and(written);
    }
}

impl Visit for Pairs<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, &value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("lines").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_comes_from_outside_cannot_end_a_line() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).event_format(Logfmt).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(label = "a\nlevel=error", count = 3, empty = "", plain = %"x/y", "two words");
        });
        let text = String::from_utf8(lines.0.lock().expect("lines").clone()).expect("text");
        let (_, rest) = text.split_once(" level=").expect("a level");
        assert_eq!(
            rest,
            "warn target=backout::telemetry::tests msg=\"two words\" label=\"a\\nlevel=error\" count=3 empty=\"\" plain=x/y\n"
        );
        assert!(text.starts_with("time=2"), "{text}");
    }
}
