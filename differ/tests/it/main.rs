//! What keeps the differ honest: change any one thing of any response, and it says where, or names the rule that let it pass.

#![allow(clippy::unwrap_used, clippy::panic)]

mod devices;
mod events;
mod images;
mod left_behind;
mod remembered;
mod snapshots;
mod under_way;

use std::sync::LazyLock;

use cri::{Generation, IdentityKind, Method, methods, v1};
use critape_calls::{IdentityMap, Live, Recorded};
use critape_differ::mutation::{Change, Mutant, Verdict, mutants};
use critape_differ::{
    Compared, Comparer, Kind, Memory, NoTrajectories, OWNED_LABEL, Rules, Severity, Trajectories,
};
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind as FieldKind, MapKey, MessageDescriptor, Value};

/// A message with every field set, lists and maps with two entries; `seed` makes it differ from others.
fn filled(descriptor: &MessageDescriptor, seed: &mut u64, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if depth == 0 {
        return message;
    }
    for field in descriptor.fields() {
        let value = if field.is_map() {
            let kind = field.kind();
            let value_field = kind.as_message().unwrap().map_entry_value_field();
            let entries =
                ["a", "b"].map(|key| (MapKey::String(key.to_owned()), single(&value_field, seed, depth)));
            Value::Map(entries.into_iter().collect())
        } else if field.is_list() {
            Value::List(vec![single(&field, seed, depth), single(&field, seed, depth)])
        } else {
            single(&field, seed, depth)
        };
        message.set_field(&field, value);
    }
    message
}

fn single(field: &FieldDescriptor, seed: &mut u64, depth: usize) -> Value {
    *seed += 1;
    match field.kind() {
        FieldKind::Message(inner) => Value::Message(filled(&inner, seed, depth - 1)),
        FieldKind::String => Value::String(format!("{:064x}", *seed)),
        FieldKind::Bytes => Value::Bytes(format!("text {seed}").into_bytes().into()),
        FieldKind::Bool => Value::Bool(true),
        FieldKind::Enum(_) => Value::EnumNumber(1),
        FieldKind::Double => Value::F64(*seed as f64),
        FieldKind::Int32 => Value::I32(*seed as i32),
        FieldKind::Int64 => Value::I64(1_790_000_000_000_000_000 + *seed as i64),
        FieldKind::Uint32 => Value::U32(*seed as u32),
        FieldKind::Uint64 => Value::U64(*seed),
        other => panic!("CRI has no {other:?}"),
    }
}

fn compare(method: &Method, ids: &IdentityMap, recorded: &DynamicMessage, live: &DynamicMessage) -> Compared {
    static RULES: LazyLock<Rules> = LazyLock::new(Rules::standard);
    let memory = Memory::default();
    let comparer = Comparer::new(&RULES, ids, &memory);
    comparer.messages(method, Recorded(recorded), Live(live), &NoTrajectories)
}

/// Binds every id of the message to itself, as a run on the same runtime has it once it has seen the objects.
fn met(method: &Method, message: &DynamicMessage) -> IdentityMap {
    let mut ids = IdentityMap::default();
    for identity in critape_calls::identities(message, &method.response_ids) {
        ids.bind(identity.kind, &identity.value, &identity.value);
    }
    ids
}

/// Methods whose messages are no other's: those of v1alpha2 are v1's.
fn own_messages() -> impl Iterator<Item = &'static Method> {
    methods().iter().filter(|method| method.generation != Generation::V1Alpha2)
}

#[test]
fn every_change_is_found_or_a_rule_is_named() {
    let mut changes = 0;
    for method in own_messages() {
        let message = filled(&method.output(), &mut 0, 7);
        let ids = met(method, &message);
        assert_eq!(compare(method, &ids, &message, &message), Compared::default(), "{}", method.path);
        mutants(&message, &mut |Mutant { value, path, change, .. }| {
            changes += 1;
            let compared = compare(method, &ids, &message, &value);
            let verdict = Verdict::of(&compared, &Compared::default(), &path);
            assert!(
                matches!(verdict, Verdict::Found | Verdict::Passed(_)),
                "{}: {path} {change}: {verdict:?}: {compared:?}",
                method.path
            );
        });
    }
    assert!(changes > 10_000, "{changes}");
}

#[test]
fn no_rule_lets_a_whole_message_vanish_or_appear() {
    for method in own_messages() {
        let full = filled(&method.output(), &mut 0, 7);
        mutants(&full, &mut |Mutant { value, path, change, message }| {
            if change == Change::Removed && message.as_ref() == Some(&path) {
                for (before, now) in [(&full, &value), (&value, &full)] {
                    let compared = compare(method, &met(method, &full), before, now);
                    assert_eq!(
                        Verdict::of(&compared, &Compared::default(), &path),
                        Verdict::Found,
                        "{} {path}",
                        method.path
                    );
                }
            }
        });
    }
}

fn list(name: &str, typed: &impl prost::Message) -> (&'static Method, DynamicMessage) {
    let method = methods().by_name(Generation::V1, name).unwrap();
    let bytes = typed.encode_to_vec();
    (method, DynamicMessage::decode(method.output(), bytes.as_slice()).unwrap())
}

fn container(id: &str, name: &str) -> cri::v1::Container {
    cri::v1::Container {
        id: id.into(),
        metadata: Some(cri::v1::ContainerMetadata { name: name.into(), attempt: 0 }),
        ..Default::default()
    }
}

fn containers(of: Vec<cri::v1::Container>) -> (&'static Method, DynamicMessage) {
    list("ListContainers", &cri::v1::ListContainersResponse { containers: of })
}

#[test]
fn a_condition_that_a_kubelet_passes_over_breaks_no_node() {
    let status = |name: &str, holds: bool| {
        let condition = v1::RuntimeCondition { r#type: name.to_owned(), status: holds, ..Default::default() };
        let status = v1::RuntimeStatus { conditions: vec![condition] };
        list("Status", &v1::StatusResponse { status: Some(status), ..Default::default() })
    };
    for (name, severity) in [
        ("RuntimeReady", Severity::Breaking),
        ("NetworkReady", Severity::Breaking),
        ("ContainerdHasNoDeprecationWarnings", Severity::Behaviour),
    ] {
        let ((method, recorded), (_, live)) = (status(name, true), status(name, false));
        let compared = compare(method, &IdentityMap::default(), &recorded, &live);
        let [found] = compared.divergences.try_into().unwrap();
        assert_eq!(
            (found.path.to_string().as_str(), found.severity),
            ("status.conditions[].status", severity)
        );
        assert_eq!(found.about.unwrap().id, name);
    }
}

/// Calls on everything are under way.
struct Changing;

impl Trajectories for Changing {
    fn later(&self, _id: &str, _message_type: &str) -> Vec<DynamicMessage> {
        Vec::new()
    }

    fn is_changing(&self, _id: &str) -> bool {
        true
    }
}

#[test]
fn what_is_listed_twice_does_not_pass_by_waiting() {
    let (a, x, mut ids) = ("a".repeat(64), "1".repeat(64), IdentityMap::default());
    ids.bind(IdentityKind::Container, &a, &x);
    let ((method, once), (_, none)) = (containers(vec![container(&a, "one")]), containers(Vec::new()));
    let (rules, memory) = (Rules::standard(), Memory::default());
    let found = |recorded: &DynamicMessage, live: &[&str]| {
        let live = containers(live.iter().map(|id| container(id, "one")).collect()).1;
        let comparer = Comparer::new(&rules, &ids, &memory);
        let compared = comparer.messages(method, Recorded(recorded), Live(&live), &Changing);
        compared.divergences.iter().map(|it| it.settles).collect::<Vec<_>>()
    };
    assert_eq!(found(&once, &[&x, &x]), [false]);
    assert_eq!(found(&none, &[&x, &x]), [false, false]);
    assert_eq!(found(&none, &[&x]), [false; 0], "it is being made");
    assert_eq!(found(&once, &[&x, "other", "other"]), [false; 0], "of somebody else");
}

#[test]
fn lists_are_aligned_by_id_and_never_by_place() {
    let (a, b, x, y) = ("a".repeat(64), "b".repeat(64), "1".repeat(64), "2".repeat(64));
    let mut ids = IdentityMap::default();
    ids.bind(IdentityKind::Container, &a, &x);
    ids.bind(IdentityKind::Container, &b, &y);
    let (method, recorded) = containers(vec![container(&a, "one"), container(&b, "two")]);
    let (_, live) = containers(vec![container(&y, "two"), container(&x, "one")]);
    let compared = compare(method, &ids, &recorded, &live);
    assert!(compared.divergences.is_empty(), "{compared:?}");
    let (_, live) = containers(vec![container(&y, "two")]);
    let compared = compare(method, &ids, &recorded, &live);
    let found: Vec<_> =
        compared.divergences.iter().map(|it| (it.path.to_string(), it.transition.clone())).collect();
    assert_eq!(found, [("containers[]".to_owned(), Some("present→absent".to_owned()))]);
}

#[test]
fn elements_that_are_nobodys_business_are_left_out_and_counted() {
    let (method, recorded) = containers(vec![container("older", "x")]);
    let (_, live) = containers(vec![container("foreign", "y")]);
    let compared = compare(method, &IdentityMap::default(), &recorded, &live);
    assert!(compared.divergences.is_empty());
    assert_eq!(compared.left_out, 2);
}

/// Mounts of two containers, which have the same in another order, and repository digests of two images.
#[test]
fn an_order_that_is_anothers_is_found() {
    let mount = |path: &&str| v1::Mount { container_path: (*path).to_owned(), ..Default::default() };
    let container = |id: &str, paths: &[&str]| {
        let mounts = paths.iter().map(mount).collect();
        let status = v1::ContainerStatus { id: id.to_owned(), mounts, ..Default::default() };
        v1::ContainerStatusResponse { status: Some(status), ..Default::default() }.encode_to_vec()
    };
    let image = |id: &str, names: &[&str]| {
        let repo_digests = names.iter().map(|name| (*name).to_owned()).collect();
        let image = v1::Image { id: id.to_owned(), repo_digests, ..Default::default() };
        v1::ImageStatusResponse { image: Some(image), ..Default::default() }.encode_to_vec()
    };
    let (rules, ids, memory) = (Rules::standard(), IdentityMap::default(), Memory::default());
    let comparer = Comparer::new(&rules, &ids, &memory);
    let found = |rpc: &str, recorded: &[u8], live: &[u8]| {
        let method = methods().by_name(Generation::V1, rpc).unwrap();
        let read = |bytes: &[u8]| DynamicMessage::decode(method.output(), bytes).unwrap();
        let (recorded, live) = (read(recorded), read(live));
        let compared = comparer.messages(method, Recorded(&recorded), Live(&live), &NoTrajectories);
        compared.divergences.into_iter().map(|it| (it.path.to_string(), it.kind)).collect::<Vec<_>>()
    };
    let (one, other) = (["/a", "/b"], ["/b", "/a"]);
    assert_eq!(found("ContainerStatus", &container("c", &one), &container("c", &one)), []);
    assert_eq!(found("ContainerStatus", &container("d", &other), &container("d", &other)), []);
    let mounts = [("status.mounts[]".to_owned(), Kind::Order)];
    assert_eq!(found("ContainerStatus", &container("e", &one), &container("e", &other)), mounts);
    assert_eq!(found("ImageStatus", &image("i", &one), &image("i", &one)), []);
    assert_eq!(found("ImageStatus", &image("j", &other), &image("j", &other)), []);
    let digests = [("image.repo_digests[]".to_owned(), Kind::Order)];
    assert_eq!(found("ImageStatus", &image("k", &one), &image("k", &other)), digests);
    // Of one that changes in the recording itself, the order means nothing.
    assert_eq!(found("ImageStatus", &image("i", &other), &image("i", &one)), []);
}

#[test]
fn an_order_that_changes_from_call_to_call_is_found() {
    let handlers = |names: &[&str]| {
        let handler = |name: &&str| cri::v1::RuntimeHandler { name: (*name).into(), ..Default::default() };
        let status = cri::v1::StatusResponse {
            runtime_handlers: names.iter().map(handler).collect(),
            ..Default::default()
        };
        list("Status", &status)
    };
    let (rules, ids, memory) = (Rules::standard(), IdentityMap::default(), Memory::default());
    let comparer = Comparer::new(&rules, &ids, &memory);
    let (method, recorded) = handlers(&["", "runc"]);
    let mut found = Vec::new();
    for order in [["runc", ""], ["", "runc"]] {
        let (_, live) = handlers(&order);
        let compared = comparer.messages(method, Recorded(&recorded), Live(&live), &NoTrajectories);
        found.push(compared.divergences.iter().map(|it| it.kind).collect::<Vec<_>>());
    }
    assert_eq!(found, [vec![], vec![Kind::Oracle]], "another order is fine, a changing one is not");
}

#[test]
fn the_label_of_a_replay_is_no_difference() {
    let with = |labels: &[&str]| {
        let labels = labels.iter().map(|label| ((*label).to_owned(), "1".to_owned())).collect();
        let status = cri::v1::PodSandboxStatus { id: "p".into(), labels, ..Default::default() };
        list(
            "PodSandboxStatus",
            &cri::v1::PodSandboxStatusResponse { status: Some(status), ..Default::default() },
        )
    };
    let (method, recorded) = with(&["app"]);
    let (_, live) = with(&["app", OWNED_LABEL]);
    assert!(compare(method, &IdentityMap::default(), &recorded, &live).divergences.is_empty());
    let (_, live) = with(&["app", "other"]);
    let compared = compare(method, &IdentityMap::default(), &recorded, &live);
    assert_eq!(compared.divergences[0].path.to_string(), "status.labels.other");
}

#[test]
fn a_field_that_nobody_knows_is_compared() {
    let (method, recorded) = list("Version", &cri::v1::VersionResponse::default());
    // Field 77, a varint.
    let live = DynamicMessage::decode(method.output(), [0xe8, 0x04, 0x01].as_slice()).unwrap();
    let compared = compare(method, &IdentityMap::default(), &recorded, &live);
    assert_eq!(compared.divergences[0].path.to_string(), "77");
}

#[test]
fn another_spelling_of_an_image_is_found() {
    let hex = "c".repeat(64);
    let pull = |reference: String| list("PullImage", &cri::v1::PullImageResponse { image_ref: reference });
    let (method, recorded) = pull(format!("sha256:{hex}"));
    let (_, live) = pull(format!("docker.io/library/x@sha256:{hex}"));
    let mut ids = IdentityMap::default();
    ids.bind(IdentityKind::Image, &format!("sha256:{hex}"), &format!("docker.io/library/x@sha256:{hex}"));
    assert_eq!(compare(method, &ids, &recorded, &live).divergences[0].path.to_string(), "image_ref");
}

#[test]
fn what_is_sealed_with_another_key_is_counted_and_no_finding() {
    let method = methods().by_name(Generation::V1, "ExecSync").unwrap();
    let output = |stdout: &'static str| {
        let mut message = DynamicMessage::new(method.output());
        message.set_field_by_name("stdout", Value::Bytes(stdout.as_bytes().into()));
        message
    };
    let compare = |recorded: &DynamicMessage, live: &DynamicMessage| {
        let (rules, ids, memory) = (Rules::standard(), IdentityMap::default(), Memory::default());
        Comparer::new(&rules, &ids, &memory).messages(method, Recorded(recorded), Live(live), &NoTrajectories)
    };
    let [ours, same_key, other_key, plain] =
        ["sealed:v1:AAAAx.", "sealed:v1:AAAAy.", "sealed:v1:BBBBx.", "x"].map(output);
    for other in [&other_key, &plain] {
        for (recorded, live) in [(&ours, other), (other, &ours)] {
            let compared = compare(recorded, live);
            assert!(compared.divergences.is_empty(), "{compared:?}");
            assert_eq!(compared.passed["sealed"], 1);
        }
    }
    assert_eq!(compare(&ours, &same_key).divergences.len(), 1, "under one key tokens say what differs");
}

/// Two verbose statuses of a container with this in their `info`.
fn with_info(recorded: &str, live: &str) -> Compared {
    let status = |text: &str| {
        let info = [("info".to_owned(), text.to_owned())].into();
        list("ContainerStatus", &cri::v1::ContainerStatusResponse { info, ..Default::default() })
    };
    let (method, recorded) = status(recorded);
    let (_, live) = status(live);
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let mut ids = IdentityMap::default();
    ids.bind(IdentityKind::Container, &a, &b);
    ids.bind_folder("/var/log/pods", "/tmp/scratch/0");
    compare(method, &ids, &recorded, &live)
}

fn found(compared: &Compared) -> Vec<(String, Option<&str>)> {
    compared.divergences.iter().map(|it| (it.path.to_string(), it.transition.as_deref())).collect()
}

#[test]
fn json_in_info_is_compared_part_by_part() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let recorded = format!(
        r#"{{"pid":17,"snapshotKey":"{a}","config":{{"log":"/var/log/pods/x","labels":{{"app":"x"}}}},"runtimeSpec":{{"hostname":"h"}}}}"#
    );
    let live = format!(
        r#"{{"pid":4711,"snapshotKey":"{b}","config":{{"log":"/tmp/scratch/0/x","labels":{{"app":"x","{OWNED_LABEL}":"1"}}}},"runtimeSpec":{{"hostname":"h"}}}}"#
    );
    let compared = with_info(&recorded, &live);
    assert_eq!(found(&compared), []);
    let names: Vec<_> = compared.passed.keys().map(String::as_str).collect();
    assert_eq!(names, ["id-in-text", "owned-label", "process-id"]);
    assert!(compared.examples.iter().any(|it| it.path.to_string() == "info.info.pid" && it.live == "4711"));

    // A pod without labels gets the replay's.
    let recorded_bare = recorded.replace(r#","labels":{"app":"x"}"#, "");
    let labels = format!(r#"{{"app":"x","{OWNED_LABEL}":"1"}}"#);
    let live_bare = live.replace(&labels, &format!(r#"{{"{OWNED_LABEL}":"1"}}"#));
    assert_eq!(found(&with_info(&recorded_bare, &live_bare)), []);
    assert_eq!(found(&with_info(&recorded_bare, &live)).len(), 1);

    let broken = live.replace("4711", "0").replace(&b, &"c".repeat(64)).replace(r#""app":"x","#, "");
    let broken = broken.replace(r#"{"hostname":"h"}"#, r#"{"hostname":"h","mounts":[]}"#);
    assert_eq!(
        found(&with_info(&recorded, &broken)),
        [
            ("info.info.config.labels.app".to_owned(), Some("present→absent")),
            ("info.info.pid".to_owned(), None),
            ("info.info.runtimeSpec.mounts".to_owned(), Some("absent→present")),
            ("info.info.snapshotKey".to_owned(), None),
        ]
    );
    assert_eq!(found(&with_info("OK", "no longer OK")), [("info.info".to_owned(), None)]);
}

#[test]
fn order_is_compared_where_it_means_something() {
    let spec = |mounts: &str| format!(r#"{{"runtimeSpec":{{"mounts":[{mounts}]}}}}"#);
    let (a, b) = (r#"{"destination":"/a"}"#, r#"{"destination":"/a/b"}"#);
    let compared = with_info(&spec(&format!("{a},{b}")), &spec(&format!("{b},{a}")));
    assert_eq!(found(&compared), [("info.info.runtimeSpec.mounts[]".to_owned(), None)]);
    assert_eq!(compared.divergences[0].kind, Kind::Order);

    let image = |tags: [&str; 2], digests: [&str; 2]| {
        let texts = |all: [&str; 2]| all.map(str::to_owned).to_vec();
        let image = cri::v1::Image {
            id: "i".into(),
            repo_tags: texts(tags),
            repo_digests: texts(digests),
            ..Default::default()
        };
        list("ImageStatus", &cri::v1::ImageStatusResponse { image: Some(image), ..Default::default() })
    };
    let (method, recorded) = image(["a", "b"], ["x", "y"]);
    let (_, live) = image(["b", "a"], ["y", "x"]);
    let (rules, ids, memory) = (Rules::standard(), IdentityMap::default(), Memory::default());
    let comparer = Comparer::new(&rules, &ids, &memory);
    let compare = |recorded, live| comparer.messages(method, Recorded(recorded), Live(live), &NoTrajectories);
    let compared = compare(&recorded, &live);
    assert_eq!(found(&compared), [("image.repo_digests[]".to_owned(), None)]);
    assert_eq!(compared.passed["image-tags"], 1);
    assert_eq!(found(&compare(&live, &recorded)), [], "the recording itself has it in two orders");
}
