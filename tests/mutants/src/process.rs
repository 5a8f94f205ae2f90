//! One test process: in a group of its own, with an end to its time and its memory.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// A mutant may ask for memory without an end: 10 GiB of addresses, of which a test needs a tenth. No system lets it be less than
/// what threads reserve, and where there is no such limit it is left out.
const LIMITS: &str = "ulimit -v 10485760 2>/dev/null; ulimit -c 0; exec \"$0\" \"$@\"";

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Passed,
    Failed,
    TooLong,
}

/// A program under the limits; the caller adds its arguments.
pub fn limited(program: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", LIMITS, program]).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs it to its end, and how long it took.
#[expect(clippy::disallowed_methods, reason = "how long a test takes is what is asked")]
pub fn run(mut command: Command, limit: Duration) -> Result<(End, Duration)> {
    let begin = Instant::now();
    let mut child = command.spawn().context("a test cannot be started")?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((if status.success() { End::Passed } else { End::Failed }, begin.elapsed()));
        }
        if begin.elapsed() > limit {
            kill(&mut child)?;
            return Ok((End::TooLong, begin.elapsed()));
        }
        // Most take some milliseconds, a few take long.
        thread::sleep((begin.elapsed() / 8).clamp(Duration::from_millis(1), Duration::from_millis(100)));
    }
}

/// Kills it with all that it started. It has not been waited for, so its number is its own.
fn kill(child: &mut Child) -> Result<()> {
    let group = format!("kill -s KILL -- -{}", child.id());
    Command::new("sh").args(["-c", &group]).status().context("`sh` cannot be started")?;
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (End, Duration) {
        let mut command = limited("sh");
        command.args(["-c", script]);
        run(command, limit).expect("it can be run")
    }

    #[test]
    fn a_process_that_does_not_end_is_killed_with_what_it_started() {
        assert_eq!(shell("exit 0", Duration::from_secs(60)).0, End::Passed);
        assert_eq!(shell("exit 3", Duration::from_secs(60)).0, End::Failed);
        let folder = std::env::temp_dir().join(format!("backout-mutants-{}", std::process::id()));
        let (end, took) = shell(&format!("sleep 600 & echo $! >{}; wait", folder.display()), Duration::from_secs(1));
        let child = std::fs::read_to_string(&folder).expect("its number");
        std::fs::remove_file(&folder).expect("it can be removed");
        assert!(end == End::TooLong && took < Duration::from_secs(60));
        let lives = || {
            let state = std::fs::read_to_string(format!("/proc/{}/status", child.trim())).unwrap_or_default();
            state.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
        };
        let killed = (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            !lives()
        });
        assert!(killed, "what it started lives");
    }
}
