//! L4: the command line. One file for each command; each reads its arguments, asks or does, and prints. Decides nothing itself.

mod acknowledge;
mod approve;
mod backtest;
mod bad;
pub mod channels;
mod check;
mod clear;
mod client;
mod decisions;
mod demo;
mod doctor;
mod drill;
pub mod exit;
mod explain;
mod generate;
mod incidents;
mod journal;
mod latches;
mod log_level;
mod mark;
mod memory;
mod operate;
pub mod output;
mod pause;
mod pauses;
mod rearm;
mod report;
mod resume;
mod revisions;
mod serve;
mod test;
mod veto;

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::{Exit, Failure};
use output::{Format, Output};

/// Examples for `--help`.
const EXAMPLES: &str = "\
Examples:
  backout demo                                       see it work, in a simulated world
  backout serve --config backout.yaml                take webhooks and decide
  backout check --rules rules/                       are the policies right?
  backout test rules/                                do they decide as is expected?
  backout backtest --prometheus http://prom:9090     what would they have done in the last 30 days?
  backout explain --alert alert.json --rules rules/  what would happen to this alert, and why?
  backout incidents                                  what is going on?
  backout report i0123456789ab                       what happened there, and why?
  backout doctor --config backout.yaml               is the installation sound?
  backout drill --config backout.yaml --all          could we roll back right now?
  backout bad registry/shop:1.2.3                    was this rolled back from? (for pipelines)
  backout veto i0123456789ab --reason 'known, fix is out'
  backout pause --scope namespace --name shop --for 2h --reason 'database migration'
";

/// Decides from Prometheus alerts, by reviewed policies, whether to roll a release back, page a human, or fix forward
#[derive(Debug, Parser)]
#[command(name = "backout", version, propagate_version = true, after_help = after_help(), max_term_width = 120)]
pub struct Cli {
    /// For people or for scripts
    #[arg(long, value_enum, global = true, value_name = "FORMAT", default_value_t = Format::Text)]
    pub output: Format,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service
    #[command(after_help = r#"Examples:
  backout serve --config backout.yaml
  backout serve --rules rules/ --prometheus http://prometheus:9090 --alertmanager http://am-0:9093 --alertmanager http://am-1:9093"#)]
    Serve(Box<crate::settings::ServeArgs>),
    /// See it work: the real service in a simulated world, under a minute, nothing to install
    #[command(after_help = r#"Examples:
  backout demo
  backout demo --stay  go on afterwards, to look at /metrics and the API"#)]
    Demo(demo::DemoArgs),
    /// Check the policies: every mistake of every file at once
    #[command(after_help = r#"Examples:
  backout check --rules rules/
  backout check --config backout.yaml  with the channels that the settings have
  backout check --format github        mistakes beside their lines in a pull request"#)]
    Check(check::CheckArgs),
    /// Test the policies: stories in simulated worlds, in virtual time, with the service's own engine
    #[command(after_help = r#"Examples:
  backout test rules/                     every *_test.yaml in there
  backout test rules/shop_test.yaml --run 'bad release' --diff
  backout test rules/ --coverage          with what no test exercises
  backout test rules/ --junit report.xml  for pipelines
  backout test rules/ --compare main      what is decided differently than there
  backout test rules/ --bound             does any sequence of alerts break a budget?"#)]
    Test(Box<test::TestArgs>),
    /// See what the policies would have done in the past: a Prometheus' history, lived through by the service's own engine
    #[command(after_help = r#"Examples:
  backout backtest --prometheus http://prometheus:9090 --rules rules/ --since 30d
  backout backtest --prometheus http://prometheus:9090 --from 2026-03-01T00:00:00Z --to 2026-03-08T00:00:00Z --html march.html
  backout backtest --prometheus http://prometheus:9090 --compare main                 what is decided otherwise than there
  backout backtest --journal /var/lib/backout --rules rules/                           the service's own journal instead
  backout backtest --prometheus http://prometheus:9090 --format json | jq .totals"#)]
    Backtest(Box<backtest::BacktestArgs>),
    /// Explain what would happen to an alert now, and why: nothing is written, nobody is told
    #[command(after_help = r#"Examples:
  backout explain --matcher 'alertname="HighErrorRate"' --alertmanager http://am:9093 --prometheus http://prometheus:9090 --kubeconfig ~/.kube/config --cluster-name prod
  backout explain --alert alert.json --url https://backout.example.com --token-file read.token                                                                             with what that service remembers
  backout explain --incident i0123456789ab --journal /var/lib/backout                                                                                                      what was decided then, derived again
  backout explain --matcher 'team="shop"' --alertmanager http://am:9093 --format markdown                                                                                  for a ticket
  backout explain --alert - --data /var/lib/backout < alert.json                                                                                                           with what the journal remembers"#)]
    Explain(Box<explain::ExplainArgs>),
    /// Is the installation sound? Cluster, Prometheus, Alertmanager, channels, journal, clocks; each finding with what to do
    #[command(after_help = r#"Examples:
  backout doctor --config backout.yaml                the same file and flags as `serve`; also while it runs
  backout doctor --config backout.yaml --output json"#)]
    Doctor(Box<doctor::DoctorArgs>),
    /// Could we roll back right now? Everything but the write, for every target that a policy can reach
    #[command(after_help = r#"Examples:
  backout drill --config backout.yaml --all                the same file and flags as `serve`; also while it runs
  backout drill --config backout.yaml --namespace shop     the targets of one namespace
  backout drill --config backout.yaml --target shop/web --output json

Exit codes: 0 a rollback could be made of every target, 1 not of all of them. Nothing is written: the API server tries the patch
(`dryRun=All`). `drills: {every: 24h}` in the settings has the service do the same, and announce what fails."#)]
    Drill(Box<drill::DrillArgs>),
    /// List incidents
    #[command(after_help = r#"Examples:
  backout incidents
  backout incidents --state all --limit 20 --output json"#)]
    Incidents(incidents::IncidentsArgs),
    /// Show what happened in an incident
    #[command(after_help = r#"Examples:
  backout report i0123456789ab
  backout report i0123456789ab --format html > report.html  one page, for a browser or an e-mail"#)]
    Report(report::ReportArgs),
    /// Say no to what an incident wants to do
    #[command(after_help = r#"Examples:
  backout veto i0123456789ab --reason 'known, a fix is out'"#)]
    Veto(veto::VetoArgs),
    /// Say yes to exactly one plan
    #[command(after_help = r#"Examples:
  backout approve i0123456789ab --plan 0123456789abcdef
  backout approve i0123456789ab --plan 0123456789abcdef --override cooldown  although that brake holds"#)]
    Approve(approve::ApproveArgs),
    /// Take an incident over: suspends its countdown, ends its reminders
    #[command(after_help = r#"Examples:
  backout acknowledge i0123456789ab"#)]
    Acknowledge(acknowledge::AcknowledgeArgs),
    /// Say of a rollback that it was right or wrong
    #[command(after_help = r#"Examples:
  backout mark i0123456789ab wrong --reason 'the database was slow, not the release'"#)]
    Mark(mark::MarkArgs),
    /// Trust a policy again whose rollbacks were marked wrong
    #[command(after_help = r#"Examples:
  backout rearm shop --reason 'it looks at errors of the release alone now'"#)]
    Rearm(rearm::RearmArgs),
    /// List the latches: what is not rolled back until somebody looked at the data
    #[command(after_help = r#"Examples:
  backout latches
  backout latches --all   those that were cleared as well"#)]
    Latches(latches::LatchesArgs),
    /// Say that the data was looked at, so that a latch lets go
    #[command(after_help = r#"Examples:
  backout clear 3 --reason 'rows compared with the backup of 02:00: nothing is missing'  as `backout latches` numbers them"#)]
    Clear(clear::ClearArgs),
    /// Stand down for a while
    #[command(after_help = r#"Examples:
  backout pause --scope namespace --name shop --for 2h --reason 'database migration'
  backout pause --scope global --for 30m --reason 'cluster upgrade'"#)]
    Pause(pause::PauseArgs),
    /// End a pause early
    #[command(after_help = r#"Examples:
  backout resume 7  as `backout pauses` numbers them"#)]
    Resume(resume::ResumeArgs),
    /// List the pauses that hold
    #[command(after_help = r#"Examples:
  backout pauses"#)]
    Pauses(pauses::PausesArgs),
    /// Was this image or release rolled back from? For pipelines: fails if so
    #[command(after_help = bad::HELP)]
    Bad(bad::BadArgs),
    /// List the releases of a target, and whether a rollback would go to them
    #[command(after_help = r#"Examples:
  backout revisions shop/web
  backout revisions shop/web --data /var/lib/backout  from the journal"#)]
    Revisions(revisions::RevisionsArgs),
    /// Verify, export or back up the journal
    #[command(after_help = r#"Examples:
  backout journal verify --data /var/lib/backout
  backout journal export | jq .
  backout journal backup /backup/journal.db"#)]
    Journal(journal::JournalArgs),
    /// Show or change what a running service logs
    #[command(after_help = r#"Examples:
  backout log-level
  backout log-level debug
  backout log-level backout::decide=trace,info"#)]
    LogLevel(log_level::LogLevelArgs),
    /// Print a JSON Schema, for editors
    #[command(after_help = r#"Examples:
  backout schema > policies.schema.json
  backout schema tests > tests.schema.json
  backout schema settings > settings.schema.json"#)]
    Schema(generate::SchemaArgs),
    /// Print a completion script for a shell
    #[command(after_help = r#"Examples:
  backout completions bash > /etc/bash_completion.d/backout
  backout completions zsh > "${fpath[1]}/_backout""#)]
    Completions(generate::CompletionsArgs),
    /// Write manual pages
    #[command(after_help = r#"Examples:
  backout man /usr/local/share/man/man1"#)]
    Man(generate::ManArgs),
}

fn after_help() -> String {
    format!("{EXAMPLES}\n{}", exit::HELP)
}

/// Reads the process' arguments, runs the command, and says how it ended.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => ExitCode::from(run(cli).code()),
        Err(error) => {
            // Nobody is left to be told that this failed. Help and version are no errors.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() })
        }
    }
}

/// Runs a command.
pub fn run(cli: Cli) -> Exit {
    let Cli { output, command } = cli;
    let output = Output::new(output);
    let done = match command {
        Command::Serve(args) => serve::run(*args),
        Command::Demo(args) => demo::run(args, output),
        Command::Check(args) => check::run(&args, output),
        Command::Test(args) => wait(test::run(&args, output)),
        Command::Backtest(args) => wait(backtest::run(&args, output)),
        Command::Explain(args) => wait(explain::run(&args, output)),
        Command::Doctor(args) => wait(doctor::run(*args, output)),
        Command::Drill(args) => wait(drill::run(*args, output)),
        Command::Incidents(args) => wait(incidents::run(&args, output)).map(done),
        Command::Report(args) => wait(report::run(&args, output)).map(done),
        Command::Veto(args) => wait(veto::run(&args, output)).map(done),
        Command::Approve(args) => wait(approve::run(&args, output)).map(done),
        Command::Acknowledge(args) => wait(acknowledge::run(&args, output)).map(done),
        Command::Mark(args) => wait(mark::run(&args, output)).map(done),
        Command::Rearm(args) => wait(rearm::run(&args, output)).map(done),
        Command::Latches(args) => wait(latches::run(&args, output)).map(done),
        Command::Clear(args) => wait(clear::run(&args, output)).map(done),
        Command::Pause(args) => wait(pause::run(&args, output)).map(done),
        Command::Resume(args) => wait(resume::run(&args, output)).map(done),
        Command::Pauses(args) => wait(pauses::run(&args, output)).map(done),
        Command::Bad(args) => wait(bad::run(&args, output)),
        Command::Revisions(args) => wait(revisions::run(&args, output)).map(done),
        Command::Journal(args) => wait(journal::run(&args, output)),
        Command::LogLevel(args) => wait(log_level::run(&args, output)).map(done),
        Command::Schema(args) => generate::schema(&args, output).map(done),
        Command::Completions(args) => generate::completions(&args, output).map(done),
        Command::Man(args) => generate::man(&args, output).map(done),
    };
    done.unwrap_or_else(|failure| {
        output::complain(&failure);
        failure.exit
    })
}

fn done((): ()) -> Exit {
    Exit::Done
}

/// Runs a command that asks somebody. One thread is enough for that.
fn wait<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::internal(format!("cannot start: {error}")))?.block_on(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
