//! `backout serve`: settings, telemetry, and then the service.

use super::exit::{Exit, Failure};
use crate::serve::{self, ServeError};
use crate::settings::{ServeArgs, Settings};
use crate::telemetry;

/// Runs the service until it is told to end.
pub(super) fn run(args: ServeArgs) -> Result<Exit, Failure> {
    let settings = Settings::load(args).map_err(|errors| Failure::usage(errors.to_string()))?;
    let log_level = telemetry::init(settings.log_format).map_err(|error| Failure::usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal(format!("cannot start: {error}")))?;
    match runtime.block_on(serve::serve(settings, log_level)) {
        Ok(()) => Ok(Exit::Done),
        Err(ServeError::Start(why)) => Err(Failure::usage(why)),
        Err(ServeError::Died(task)) => Err(Failure::internal(task.to_string())),
    }
}
