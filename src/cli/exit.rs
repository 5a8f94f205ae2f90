//! Exit codes, and what a command fails with. The numbers are public: scripts rely on them.

use std::fmt;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was done, or the answer is yes.
    Done,
    /// The answer is no: errors in the policies, a failed test, no decision for this alert, an installation with problems, a bad image.
    Negative,
    /// The command line, a file or a setting cannot be used.
    Usage,
    /// The service does not answer, or not now.
    Unreachable,
    /// The service does not let us.
    NotPermitted,
    /// The service knows nothing of that name.
    NotFound,
    /// The service has it in a state in which this cannot be done.
    Conflict,
    /// A past decision is not what the engine derives from the same inputs.
    Differs,
    /// A defect, of ours or of the service.
    Internal,
}

/// The list for `--help`.
pub(super) const HELP: &str = "\
Exit codes:
   0  done, or the answer is yes
   1  the answer is no: the policies have errors, a test of theirs failed, nothing can be decided about the alert, doctor
      found problems, a drill failed, the image was rolled back from, the journal is broken
   2  the command line, a file or a setting cannot be used
   3  the service cannot be reached, or cannot answer now
   4  the service does not permit it: no token, or one of another scope
   5  there is no such incident, pause, alert or target
   6  it is there, and not in a state in which this can be done
   7  a past decision is not what comes out of the same inputs now
  70  a defect";

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Negative => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotPermitted => 4,
            Self::NotFound => 5,
            Self::Conflict => 6,
            Self::Differs => 7,
            Self::Internal => 70,
        }
    }
}

/// Why a command failed, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What went wrong: a lowercase fragment.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Failure {
    /// A failure.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None }
    }

    /// The caller gave something that cannot be used.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A defect.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Exit::Internal, message)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_in_the_help() {
        use Exit::{Conflict, Differs, Done, Internal, Negative, NotFound, NotPermitted, Unreachable, Usage};
        for exit in [Done, Negative, Usage, Unreachable, NotPermitted, NotFound, Conflict, Differs, Internal] {
            let line = format!("{:>4}  ", exit.code());
            assert!(HELP.lines().any(|have| have.starts_with(&line)), "{exit:?}");
        }
    }
}
