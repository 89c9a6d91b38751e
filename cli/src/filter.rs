//! Which calls of a tape are meant.

use anyhow::{Result, bail};
use clap::Args;
use cri::methods;
use critape_calls::{Call, Code, ObjectIndex, ObjectName, Stamp, identities};
use wildmatch::WildMatch;

use crate::values;

/// Which calls are meant.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct FilterArgs {
    /// Only calls of these methods, as 'List*'
    #[arg(long, value_name = "GLOB")]
    pub(crate) method: Option<String>,
    /// Only calls about this pod
    #[arg(long, value_name = "NAME")]
    pub(crate) pod: Option<String>,
    /// Only calls about containers of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Only calls that ended with this status, as `NOT_FOUND`
    #[arg(long, value_name = "CODE")]
    pub(crate) status: Option<String>,
    /// Only calls that began at this time or later; 10m is ten minutes ago
    #[arg(long, value_parser = values::moment, value_name = "TIME")]
    pub(crate) since: Option<Stamp>,
    /// Only calls that began before this time
    #[arg(long, value_parser = values::moment, value_name = "TIME")]
    pub(crate) until: Option<Stamp>,
    /// Only calls on this connection
    #[arg(long, value_name = "N")]
    pub(crate) connection: Option<u64>,
}

impl FilterArgs {
    /// Whether all calls are meant.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A filter that was checked.
#[derive(Debug)]
pub(crate) struct Filter {
    args: FilterArgs,
    method: Option<WildMatch>,
    status: Option<Code>,
}

impl Filter {
    /// Refuses what can match nothing.
    pub(crate) fn new(args: FilterArgs) -> Result<Self> {
        let method = args.method.as_deref().map(WildMatch::new);
        if let (Some(glob), Some(matcher)) = (&args.method, &method)
            && !methods().iter().any(|method| matcher.matches(&method.name) || matcher.matches(&method.path))
        {
            bail!(
                "no method of CRI matches {glob:?}: methods are named as RunPodSandbox or /runtime.v1.ImageService/PullImage"
            );
        }
        let status = match &args.status {
            Some(name) => match Code::by_name(name) {
                Some(code) => Some(code),
                None => bail!("{name:?} is not a gRPC status: write it as NOT_FOUND or OK"),
            },
            None => None,
        };
        Ok(Self { args, method, status })
    }

    /// Whether this call is meant; `objects` knows what its ids name.
    pub(crate) fn matches(&self, call: &Call, objects: &ObjectIndex) -> bool {
        let args = &self.args;
        self.method.as_ref().is_none_or(|glob| {
            let path = call.sent_path();
            glob.matches(path.rsplit('/').next().unwrap_or_default()) || glob.matches(path)
        }) && self.status.is_none_or(|code| call.outcome.code == code)
            && args.since.is_none_or(|since| call.started >= since)
            && args.until.is_none_or(|until| call.started < until)
            && args.connection.is_none_or(|connection| call.connection.0 == connection)
            && self.matches_object(call, objects)
    }

    fn matches_object(&self, call: &Call, objects: &ObjectIndex) -> bool {
        if self.args.pod.is_none() && self.args.container.is_none() {
            return true;
        }
        subjects(call, objects).iter().any(|name| {
            self.args.pod.as_ref().is_none_or(|pod| name.sandbox().name == *pod)
                && self.args.container.as_ref().is_none_or(|container| name.container() == Some(container))
        })
    }
}

/// The things that a call is about: those it names, and the one it makes.
pub(crate) fn subjects(call: &Call, objects: &ObjectIndex) -> Vec<ObjectName> {
    let Some(method) = call.method() else { return Vec::new() };
    let request = call.request().and_then(|bytes| critape_calls::decode(method.input(), bytes));
    let answer = critape_calls::merged(call).and_then(|bytes| critape_calls::decode(method.output(), &bytes));
    let named = request.iter().flat_map(|message| identities(message, &method.request_ids));
    let made =
        answer.iter().flat_map(|message| identities(message, &method.response_ids)).filter(|id| id.produced);
    let mut names: Vec<ObjectName> =
        made.chain(named).filter_map(|id| objects.name(&id.value).cloned()).collect();
    if names.is_empty()
        && let Some(message) = &request
        && let Some(name) = asked_for(message)
    {
        names.push(name);
    }
    names
}

/// The sandbox that a `RunPodSandbox` asked for, where it was not made.
fn asked_for(request: &prost_reflect::DynamicMessage) -> Option<ObjectName> {
    let config = request.get_field_by_name("config")?.into_owned();
    let metadata = config.as_message()?.get_field_by_name("metadata")?.into_owned();
    let metadata = metadata.as_message()?;
    let text = |field: &str| Some(metadata.get_field_by_name(field)?.as_str()?.to_owned());
    Some(ObjectName::Sandbox(critape_calls::SandboxKey {
        namespace: text("namespace")?,
        name: text("name")?,
        uid: text("uid")?,
        attempt: metadata.get_field_by_name("attempt")?.as_u32()?,
    }))
}
