//! Waiting for something to be so, with a deadline. The only sleep of the bed is in here.

use std::time::Duration;
use tokio::time::Instant;

const STEP: Duration = Duration::from_millis(50);

/// Asks until there is an answer; panics with `what` and the last refusal at the deadline.
pub(crate) async fn eventually<T, E: std::fmt::Display>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + limit;
    let mut last = "no answer at all".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, ask()).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(refusal)) => last = refusal.to_string(),
            Err(_) => {}
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}; last: {last}");
        tokio::time::sleep(STEP).await;
    }
}

/// Asks for the whole of `time` and panics as soon as it is not so: for what must not happen.
pub(crate) async fn holds<E: std::fmt::Display>(what: &str, time: Duration, mut ask: impl AsyncFnMut() -> Result<(), E>) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Err(refusal) = ask().await {
            panic!("no longer so: {what}; {refusal}");
        }
        tokio::time::sleep(STEP).await;
    }
}
