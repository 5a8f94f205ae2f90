//! L4: log lines: one event a line to standard error, as JSON, as `key=value` or as plain text. What is logged is said where it
//! happens; how much of it, by `RUST_LOG` and by an operator.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, reload};

use crate::ports::LogLevel;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object.
    #[default]
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// For people who read along.
    Text,
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

/// Begins to log to standard error, from level info up unless `RUST_LOG` says otherwise. What is logged can be changed later.
///
/// # Errors
/// When `RUST_LOG` cannot be read, or on the second call.
pub fn init(format: LogFormat) -> Result<Arc<dyn LogLevel>, TelemetryError> {
    #[expect(clippy::disallowed_methods, reason = "not a setting of ours: whoever knows tracing expects it")]
    let written = std::env::var("RUST_LOG").unwrap_or_default();
    let (layer, level) = Level::new(&written).map_err(TelemetryError::Filter)?;
    let registry = Registry::default().with(layer);
    let lines = || tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let begun = match format {
        LogFormat::Json => tracing::subscriber::set_global_default(registry.with(lines().json().flatten_event(true))),
        LogFormat::Logfmt => tracing::subscriber::set_global_default(registry.with(lines().event_format(Logfmt))),
        LogFormat::Text => tracing::subscriber::set_global_default(registry.with(lines().event_format(Plain))),
    };
    begun.map_err(|_| TelemetryError::Twice)?;
    Ok(Arc::new(level))
}

/// What is logged, behind a filter that can be exchanged.
struct Level {
    filter: reload::Handle<EnvFilter, Registry>,
    written: Mutex<String>,
}

impl Level {
    fn new(directives: &str) -> Result<(reload::Layer<EnvFilter, Registry>, Self), String> {
        let directives = if directives.trim().is_empty() { "info" } else { directives };
        let (layer, filter) = reload::Layer::new(filter(directives)?);
        Ok((layer, Self { filter, written: Mutex::new(directives.to_owned()) }))
    }
}

impl LogLevel for Level {
    fn get(&self) -> String {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, directives: &str) -> Result<(), String> {
        let filter = filter(directives)?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        self.filter.reload(filter).map_err(|error| error.to_string())?;
        directives.clone_into(&mut written);
        Ok(())
    }
}

/// Reads directives. Stricter than the library: to it a misspelt level is the name of a part of the program.
fn filter(directives: &str) -> Result<EnvFilter, String> {
    for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let level = directive.rsplit('=').next().unwrap_or_default();
        if level.parse::<LevelFilter>().is_err() {
            return Err(format!("`{level}` is no level; expected `error`, `warn`, `info`, `debug`, `trace` or `off`"));
        }
    }
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    builder.parse(directives).map_err(|error| error.to_string())
}

/// For people who read along: time of day, level, message, fields.
#[derive(Clone, Copy, Debug)]
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        SystemTime.format_time(&mut line)?;
        write!(line, " {:<5}", event.metadata().level().as_str())?;
        let mut message = Words { line: line.by_ref(), result: Ok(()), rest: false };
        event.record(&mut message);
        message.result?;
        let mut pairs = Words { line: line.by_ref(), result: Ok(()), rest: true };
        event.record(&mut pairs);
        pairs.result?;
        writeln!(line)
    }
}

/// The message first, then the fields.
struct Words<'w> {
    line: Writer<'w>,
    result: fmt::Result,
    rest: bool,
}

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let is_message = field.name() == "message";
        if is_message == self.rest {
            return;
        }
        // Text from outside must neither end the line nor move a terminal's cursor.
        let clean: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let written = if is_message { write!(self.line, " {clean}") } else { write!(self.line, " {}={clean}", field.name()) };
        self.result = self.result.and(written);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &value.to_string());
    }
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

    #[test]
    fn plain_lines_begin_with_the_message_and_stay_one_line() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).event_format(Plain).finish();
        tracing::subscriber::with_default(subscriber, || tracing::warn!(label = "a\n\u{1b}[2Jb", count = 3, "two words"));
        let text = String::from_utf8(lines.0.lock().expect("lines").clone()).expect("text");
        assert!(text.ends_with(" WARN  two words label=a  [2Jb count=3\n"), "{text:?}");
    }

    #[test]
    fn the_level_changes_at_run_time_and_what_is_wrong_changes_nothing() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (layer, level) = Level::new("").expect("a filter");
        let out = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let subscriber = Registry::default().with(layer).with(out);
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(level.get(), "info");
            tracing::debug!("one");
            level.set("backout=debug,warn").expect("taken");
            tracing::debug!("two");
            for wrong in ["dbug", "backout=loud", "info,verbose"] {
                assert!(level.set(wrong).expect_err("refused").contains("is no level"), "{wrong}");
            }
            tracing::debug!("three");
            level.set("off").expect("taken");
            tracing::error!("four");
        });
        let text = String::from_utf8(lines.0.lock().expect("lines").clone()).expect("text");
        let said: Vec<bool> = ["one", "two", "three", "four"].iter().map(|word| text.contains(word)).collect();
        assert_eq!(said, [false, true, true, false], "{text}");
        assert_eq!(level.get(), "off");
    }
}
