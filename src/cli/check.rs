//! `backout check`: are the policies right? Every mistake of every file at once, before anything is applied.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use super::channels;
use super::exit::{Exit, Failure};
use super::output::{Output, Style, Text};
use crate::clock::SystemClock;
use crate::model::Mode;
use crate::policy::diagnostic::{Diagnostic, Severity, to_github, to_text};
use crate::policy::types::Policies;
use crate::policy::{self, SourceFile, channels_named};
use crate::ports::Clock as _;
use crate::rules_dir;
use crate::settings::ForPolicies;

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The folder of policy files
    #[arg(long, env = "BACKOUT_RULES", value_name = "DIR", default_value = "rules")]
    pub rules: PathBuf,
    /// The service's settings: with them, the channels that policies name are looked up, too
    #[arg(long, env = "BACKOUT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The cluster's name, where the settings do not say it; acting needs one
    #[arg(long, env = "BACKOUT_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Take warnings for errors: exit code 1 when there is one
    #[arg(long)]
    pub strict: bool,
    /// How to print; `github` puts each problem beside its line in a pull request
    #[arg(long, value_enum)]
    pub format: Option<CheckFormat>,
}

/// How problems are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people
    Text,
    /// For scripts
    Json,
    /// Workflow commands
    Github,
}

/// Checks the policies.
///
/// # Errors
/// The folder or the settings cannot be read. Mistakes in the policies are the answer, not an error.
pub(super) fn run(args: &CheckArgs, output: Output) -> Result<Exit, Failure> {
    let CheckArgs { rules, config, cluster_name, strict, format } = args;
    let files = rules_dir::read(rules).map_err(|error| {
        Failure::usage(error.to_string()).help("name the folder of policy files with `--rules` or BACKOUT_RULES")
    })?;
    let known = config.as_deref().map(ForPolicies::load).transpose().map_err(|errors| Failure::usage(errors.to_string()))?;
    // Without the settings nobody can tell whether the cluster has a name.
    let cluster_named = cluster_name.is_some() || known.as_ref().is_none_or(|known| known.cluster_name.is_some());
    let (policies, mut diagnostics) = match policy::load(&files, cluster_named) {
        Ok(loaded) => (Some(loaded.policies), loaded.warnings),
        Err(diagnostics) => (None, diagnostics),
    };
    if let (Some(known), Some(policies)) = (&known, &policies) {
        diagnostics.extend(channels::problems(&files, policies, &known.channels));
    }
    if let Some(policies) = &policies {
        diagnostics.extend(overdue(&files, policies, today()));
    }
    let unchecked = match (&known, &policies) {
        (None, Some(policies)) => channels_named(policies).into_iter().map(|(name, _)| name).collect(),
        _ => std::collections::BTreeSet::new(),
    };
    let unchecked = unchecked.into_iter().collect();
    let found = Found { rules, files: files.len(), policies, diagnostics, unchecked, strict: *strict };
    let usual = if output.is_json() { CheckFormat::Json } else { CheckFormat::Text };
    found.print(format.unwrap_or(usual), output)?;
    Ok(if found.errors() == 0 && !(*strict && found.warnings() > 0) { Exit::Done } else { Exit::Negative })
}

/// What a check found.
struct Found<'a> {
    rules: &'a Path,
    files: usize,
    policies: Option<Policies>,
    diagnostics: Vec<Diagnostic>,
    unchecked: Vec<String>,
    strict: bool,
}

impl Found<'_> {
    fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count()
    }

    fn warnings(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.is_warning()).count()
    }

    fn print(&self, format: CheckFormat, output: Output) -> Result<(), Failure> {
        let mut text = output.text();
        match format {
            CheckFormat::Json => return output.print_json(&self.json()),
            CheckFormat::Github => text.plain(&to_github(&self.diagnostics, &self.rules.to_string_lossy())),
            CheckFormat::Text => {
                text.plain(&to_text(&self.diagnostics));
                self.summary(&mut text);
            }
        }
        output.print(&text)
    }

    fn json(&self) -> serde_json::Value {
        let policies = self.policies.iter().flat_map(|policies| &policies.policies);
        let rows = policies.map(|policy| {
            let place = format!("{}:{}", policy.place.file, policy.place.line);
            json!({ "name": policy.name, "mode": policy.mode, "place": place })
        });
        json!({
            "ok": self.errors() == 0 && !(self.strict && self.warnings() > 0),
            "files": self.files,
            "policies": rows.collect::<Vec<_>>(),
            "hash": self.policies.as_ref().map(|policies| policies.hash.as_str()),
            "errors": self.errors(),
            "warnings": self.warnings(),
            "notes": self.diagnostics.len() - self.errors() - self.warnings(),
            "channels_not_checked": self.unchecked,
            "diagnostics": self.diagnostics,
        })
    }

    fn summary(&self, text: &mut Text) {
        let folder = self.rules.display();
        if !self.unchecked.is_empty() {
            let names = self.unchecked.join(", ");
            text.heading(Style::Yellow, &format!("channels not checked (name the settings with --config): {names}"));
        }
        let warnings = match self.warnings() {
            0 => String::new(),
            number => format!(", {}", counted(number, "warning")),
        };
        match &self.policies {
            Some(policies) if self.errors() == 0 => {
                let is_strict = self.strict && self.warnings() > 0;
                text.styled(
                    if is_strict { Style::Red } else { Style::Green },
                    if is_strict { "not ok (--strict)" } else { "ok" },
                );
                let (policies, files) = (summary(policies), counted(self.files, "file"));
                text.line(format_args!(": {policies} in {files} of `{folder}`{warnings}"));
            }
            _ => {
                text.styled(Style::Red, "not ok");
                let (errors, files) = (counted(self.errors(), "error"), counted(self.files, "file"));
                text.line(format_args!(": {errors}{warnings} in {files} of `{folder}`; nothing of it would be applied"));
            }
        }
    }
}

/// Policies that somebody should have read again by now.
fn overdue(files: &[SourceFile], policies: &Policies, today: Date) -> Vec<Diagnostic> {
    let late = policies.policies.iter().filter_map(|policy| Some((policy, policy.review_by.filter(|by| *by < today)?)));
    late.map(|(policy, by)| Diagnostic {
        severity: Severity::Warning,
        help: Some("read it again, and say by when somebody must the next time".to_owned()),
        ..channels::at(
            files,
            &policy.place,
            Some(&policy.name),
            "review-overdue",
            format!("the policy `{}` was to be read again by {by}", policy.name),
        )
    })
    .collect()
}

/// The day, in UTC.
fn today() -> Date {
    let now = jiff::Timestamp::from_millisecond(SystemClock.now().millis()).unwrap_or_default();
    TimeZone::UTC.to_datetime(now).date()
}

/// `3 policies (2 shadow, 1 enforce)`.
fn summary(policies: &Policies) -> String {
    let number = policies.policies.len();
    let of = |mode: Mode| policies.policies.iter().filter(|policy| policy.mode == mode).count();
    let modes = [Mode::Shadow, Mode::Approve, Mode::Enforce].into_iter().filter(|mode| of(*mode) > 0);
    let modes: Vec<String> = modes.map(|mode| format!("{} {}", of(mode), mode.as_str())).collect();
    let noun = if number == 1 { "policy" } else { "policies" };
    if modes.is_empty() { format!("{number} {noun}") } else { format!("{number} {noun} ({})", modes.join(", ")) }
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
