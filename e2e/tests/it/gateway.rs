//! The gateway beside crictl on the same runtime.

use critape_e2e::critape::endpoint;
use critape_e2e::parts::require;
use critape_e2e::session::{BUSYBOX, USER};
use critape_e2e::{Crictl, Critape, Part, Version, http};
use serde_json::Value;

use crate::place::Place;

#[test]
fn lists_what_crictl_lists() {
    let Some(parts) = require(&[Part::Containerd(Version::V2_1), Part::Crictl]) else { return };
    let place = Place::new();
    let runtime = place.runtime(Version::V2_1);
    let crictl = Crictl::new(&parts, place.path(), &runtime.socket());
    populate(&crictl, &place);

    let gateway =
        Critape::get().serve(&["gateway", "-r", &endpoint(&runtime.socket()), "--listen", "127.0.0.1:0"]);
    let (base, token) = (gateway.said("listening on "), gateway.said("token "));
    for (path, command) in [
        ("/cri/v1/pods", ["pods", "-o", "json"].as_slice()),
        ("/cri/v1/containers", &["ps", "-a", "-o", "json"]),
        ("/cri/v1/images", &["images", "-o", "json"]),
    ] {
        let (status, body) = http::get(&base, path, Some(&token));
        assert_eq!(status, 200, "{path}: {body}");
        let offered = sorted(serde_json::from_str(&body).unwrap());
        assert_eq!(offered, sorted(crictl.json(command)), "{path}");
        let (status, body) = http::get(&base, path, None);
        assert_eq!(status, 401, "{path} without the token: {body}");
    }
    gateway.end();
}

/// Two pods; a container that runs and one that has ended; two images beside that of the sandboxes.
fn populate(crictl: &Crictl, place: &Place) {
    for image in [BUSYBOX, USER] {
        crictl.run(&["pull", image]).well();
    }
    place.run_pod(crictl, "web");
    let ended = place.run_pod(crictl, "db");
    crictl.run(&["stop", &ended]).well();
}

/// Runtimes list in any order: sorted by what is listed.
fn sorted(mut lists: Value) -> Value {
    for list in lists.as_object_mut().unwrap().values_mut().filter_map(Value::as_array_mut) {
        assert!(list.len() > 1, "a list that tells nothing: {list:?}");
        list.sort_by_key(Value::to_string);
    }
    lists
}
