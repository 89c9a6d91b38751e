//! Devices of the host in what a runtime tells of a container.

use serde_json::{Value, json};

use super::{found, with_info};

/// What containerd tells of a container that asks for `/dev/fuse` and a folder of devices, on a host with these devices.
fn told(privileged: bool, devices: &Value) -> String {
    json!({
        "config": {
            "devices": [
                {"container_path": "/dev/fuse", "host_path": "/dev/fuse", "permissions": "rwm"},
                {"container_path": "/dev/bus", "host_path": "/dev/bus", "permissions": "rwm"},
            ],
            "linux": {"security_context": if privileged { json!({"privileged": true}) } else { json!({}) }},
        },
        "runtimeSpec": {"linux": {"devices": devices}},
    })
    .to_string()
}

fn device(path: &str, mode: u32) -> Value {
    json!({"path": path, "type": "c", "major": 10, "minor": mode, "fileMode": mode, "uid": 0, "gid": mode})
}

fn on(paths: &[&str]) -> Value {
    paths.iter().map(|path| device(path, 0o600)).collect()
}

const HERE: [&str; 4] = ["/dev/bus/1", "/dev/fuse", "/dev/null", "/dev/sda"];
const AT: &str = "info.info.runtimeSpec.linux.devices[]";

#[test]
fn which_devices_a_host_has_is_no_difference() {
    let elsewhere = on(&["/dev/vda", "/dev/bus/1", "/dev/null", "/dev/vdb", "/dev/fuse"]);
    let compared = with_info(&told(true, &on(&HERE)), &told(true, &elsewhere));
    assert_eq!(found(&compared), []);
    assert_eq!(compared.passed["host-device"], 3);
    let shown = compared.examples.iter().find(|it| it.rule == "host-device").unwrap();
    assert_eq!((shown.path.to_string().as_str(), &shown.recorded["path"]), (AT, &json!("/dev/sda")));
    // One that is not privileged has what it asked for, and nothing more.
    let compared = with_info(&told(false, &on(&HERE)), &told(false, &elsewhere));
    let more = |transition| (AT.to_owned(), Some(transition));
    let lost = more("present→absent");
    assert_eq!(found(&compared), [lost, more("absent→present"), more("absent→present")]);
}

#[test]
fn what_was_asked_for_and_what_every_host_has_must_be_there() {
    for missing in &HERE[..3] {
        let left: Vec<&str> = HERE.into_iter().filter(|path| path != missing).collect();
        let compared = with_info(&told(true, &on(&HERE)), &told(true, &on(&left)));
        assert_eq!(found(&compared), [(AT.to_owned(), Some("present→absent"))], "{missing}");
        let compared = with_info(&told(true, &on(&left)), &told(true, &on(&HERE)));
        assert_eq!(found(&compared), [(AT.to_owned(), Some("absent→present"))], "{missing}");
    }
    let none = with_info(&told(true, &on(&HERE)), &told(true, &Value::Null));
    assert_eq!(found(&none), [(AT.trim_end_matches("[]").to_owned(), Some("present→absent"))]);
}

#[test]
fn numbers_and_modes_of_devices_are_the_hosts() {
    for privileged in [true, false] {
        let recorded = told(privileged, &json!([device("/dev/fuse", 0o600)]));
        let compared = with_info(&recorded, &told(privileged, &json!([device("/dev/fuse", 0o666)])));
        assert_eq!(found(&compared), []);
        assert_eq!(compared.passed["number-of-device"], 3);
        let mut other = device("/dev/fuse", 0o600);
        other["type"] = json!("b");
        other.as_object_mut().unwrap().remove("fileMode");
        let compared = with_info(&recorded, &told(privileged, &json!([other])));
        let of = |field: &str| format!("{AT}.{field}");
        assert_eq!(found(&compared), [(of("fileMode"), Some("present→absent")), (of("type"), None)]);
    }
}
