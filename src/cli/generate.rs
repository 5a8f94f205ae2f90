//! `backout completions`, `man` and `schema`: what is made from the same definitions as the program itself, so that it cannot
//! disagree with it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::Cli;
use super::exit::Failure;
use super::output::Output;
use crate::{policy, settings};

/// Arguments of `completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints a completion script.
///
/// # Errors
/// It cannot be printed.
pub(super) fn completions(args: &CompletionsArgs, output: Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "backout", &mut script);
    output.print_raw(&script)
}

/// Arguments of `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// The folder to write the pages to; made if it is not there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Writes a manual page for every command.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn man(args: &ManArgs, output: Output) -> Result<(), Failure> {
    let ManArgs { dir } = args;
    let cannot = |path: &Path, error: std::io::Error| Failure::usage(format!("cannot write `{}`: {error}", path.display()));
    fs::create_dir_all(dir).map_err(|error| cannot(dir, error))?;
    let mut root = Cli::command();
    root.build();
    let mut pages = 0;
    let mut left = vec![root];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned());
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let path = dir.join(format!("{name}.1"));
        let mut page = Vec::new();
        let command = command.name(name.clone().leak() as &'static str);
        clap_mangen::Man::new(command).render(&mut page).map_err(|error| cannot(&path, error))?;
        fs::write(&path, page).map_err(|error| cannot(&path, error))?;
        pages += 1;
    }
    let mut text = output.text();
    text.line(format_args!("{pages} pages in `{}`; try `man -l {}`", dir.display(), dir.join("backout.1").display()));
    output.print(&text)
}

/// Arguments of `schema`.
#[derive(Clone, Debug, Args)]
pub struct SchemaArgs {
    /// Of which kind of file
    #[arg(value_enum, default_value_t = SchemaOf::Policies)]
    pub of: SchemaOf,
}

/// Files that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Files in the folder of policies
    Policies,
    /// Files of tests of policies
    Tests,
    /// The settings file
    Settings,
}

/// Prints a JSON Schema (draft 2020-12).
///
/// # Errors
/// It cannot be printed.
pub(super) fn schema(args: &SchemaArgs, output: Output) -> Result<(), Failure> {
    output.print_json(&match args.of {
        SchemaOf::Policies => policy::schema(),
        SchemaOf::Tests => policy::test_file::schema(),
        SchemaOf::Settings => settings::schema(),
    })
}
