//! `critape check`.

use anyhow::{Result, bail};
use critape_replayer::{CheckConfig, check, without_user};

use super::{one_thread, report, told};
use crate::args::CheckArgs;
use crate::exit::Exit;
use crate::signals;

pub(crate) fn run(args: &CheckArgs) -> Result<Exit> {
    if let Some(image) = &args.image
        && without_user(image) != *image
    {
        bail!(
            "--image: leave user and password out of it: the runtime pulls with the credentials that it has"
        );
    }
    report::check_files(&args.report)?;
    let config = CheckConfig {
        endpoints: args.endpoints.asked().resolve()?,
        rules: report::rules(&args.report.rules)?,
        active: args.active,
        image: args.image.clone(),
    };
    let mut found =
        one_thread()?.block_on(async { anyhow::Ok(check(&config, signals::shutdown()?).await?) })?;
    found.options = told::of_check(args, &config.endpoints);
    report::give(&found, &args.report)
}
