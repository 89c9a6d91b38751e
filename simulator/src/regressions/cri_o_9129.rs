//! CRI-O from 1.33: asked to be verbose, it tells its whole configuration.

use serde_json::{Value, json};

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-9129",
    summary: "Status with verbose has the whole configuration of the runtime in info",
    source: "cri-o#9129",
    shows: &[("Status", "info.config.runtime"), ("Status", "info.config")],
    behaviour: || Box::new(TellsAll),
};

struct TellsAll;

impl Behaviour for TellsAll {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        let Reply::Status(_, Ok(response)) = reply else { return };
        let Some(text) = response.info.get_mut("config") else { return };
        let Ok(Value::Object(mut config)) = serde_json::from_str::<Value>(text) else { return };
        config.insert(
            "runtime".to_owned(),
            json!({ "default_runtime": "crun", "pids_limit": -1, "log_level": "info", "enable_pod_events": true }),
        );
        *text = Value::Object(config).to_string();
    }
}
