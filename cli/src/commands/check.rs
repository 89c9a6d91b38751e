//! `critape check`.

use anyhow::Result;
use critape_replayer::{CheckConfig, check};

use super::{one_thread, report};
use crate::args::CheckArgs;
use crate::exit::Exit;
use crate::signals;

pub(crate) fn run(args: &CheckArgs) -> Result<Exit> {
    report::check_files(&args.report)?;
    let config = CheckConfig {
        endpoints: args.endpoints.asked().resolve()?,
        rules: report::rules(&args.report.rules)?,
        active: args.active,
        image: args.image.clone(),
    };
    let found = one_thread()?.block_on(async { anyhow::Ok(check(&config, signals::shutdown()?).await?) })?;
    report::give(&found, &args.report)
}
