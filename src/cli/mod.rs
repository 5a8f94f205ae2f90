//! L4: the command line. One file for each command; each reads its arguments, asks or does, and prints. Decides nothing itself.

mod acknowledge;
mod approve;
pub mod channels;
mod check;
mod client;
mod demo;
pub mod exit;
mod explain;
mod incidents;
mod mark;
mod operate;
pub mod output;
mod pause;
mod pauses;
mod report;
mod resume;
mod serve;
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
  backout explain --alert alert.json --rules rules/  what would happen to this alert, and why?
  backout incidents                                  what is going on?
  backout report i0123456789ab                       what happened there, and why?
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
    Serve(Box<crate::settings::ServeArgs>),
    /// See it work: the real service in a simulated world, under a minute, nothing to install
    Demo(demo::DemoArgs),
    /// Check the policies: every mistake of every file at once
    Check(check::CheckArgs),
    /// Explain what would happen to an alert now, and why: nothing is written, nobody is told
    Explain(explain::ExplainArgs),
    /// List incidents
    Incidents(incidents::IncidentsArgs),
    /// Show what happened in an incident
    Report(report::ReportArgs),
    /// Say no to what an incident wants to do
    Veto(veto::VetoArgs),
    /// Say yes to exactly one plan
    Approve(approve::ApproveArgs),
    /// Take an incident over: suspends its countdown, ends its reminders
    Acknowledge(acknowledge::AcknowledgeArgs),
    /// Say of a rollback that it was right or wrong
    Mark(mark::MarkArgs),
    /// Stand down for a while
    Pause(pause::PauseArgs),
    /// End a pause early
    Resume(resume::ResumeArgs),
    /// List the pauses that hold
    Pauses(pauses::PausesArgs),
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
        Command::Explain(args) => wait(explain::run(&args, output)),
        Command::Incidents(args) => wait(incidents::run(&args, output)).map(done),
        Command::Report(args) => wait(report::run(&args, output)).map(done),
        Command::Veto(args) => wait(veto::run(&args, output)).map(done),
        Command::Approve(args) => wait(approve::run(&args, output)).map(done),
        Command::Acknowledge(args) => wait(acknowledge::run(&args, output)).map(done),
        Command::Mark(args) => wait(mark::run(&args, output)).map(done),
        Command::Pause(args) => wait(pause::run(&args, output)).map(done),
        Command::Resume(args) => wait(resume::run(&args, output)).map(done),
        Command::Pauses(args) => wait(pauses::run(&args, output)).map(done),
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
