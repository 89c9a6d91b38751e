//! The pods that a kubelet is given.

use critape_e2e::kubelet::Pod;
use critape_e2e::session::BUSYBOX;
use serde_json::{Value, json};

/// Three pods: `probed` every two seconds, and with a secret in its environment; `crashing` again and again; `finishing`
/// well.
pub fn manifests(secret: &str) -> Vec<Value> {
    let mut probed = pod("probed", "Always", "trap 'exit 0' TERM; while :; do sleep 0.2; done");
    let container = &mut probed["spec"]["containers"][0];
    container["env"] = json!([{ "name": "DB_PASSWORD", "value": secret }]);
    container["readinessProbe"] = json!({ "exec": { "command": ["true"] }, "periodSeconds": 2 });
    vec![probed, pod("crashing", "Always", "exit 3"), pod("finishing", "Never", "exit 0")]
}

/// Whether the three pods are what they are to be.
pub fn as_destined(pods: &[Pod]) -> bool {
    let [crashing, finishing, probed] = pods else { return false };
    let ended = |pod: &Pod, code, reason: &str| pod.ended == Some((code, reason.to_owned()));
    let is = |pod: &Pod, phase: &str, ready| pod.phase == phase && pod.ready == ready;
    is(crashing, "Running", false)
        && crashing.restarts >= 2
        && ended(crashing, 3, "Error")
        && is(finishing, "Succeeded", false)
        && finishing.restarts == 0
        && ended(finishing, 0, "Completed")
        && is(probed, "Running", true)
        && (probed.restarts, &probed.ended) == (0, &None)
}

/// How often the crashing one was started again.
pub fn restarts(pods: &[Pod]) -> u64 {
    pods.iter().find(|pod| pod.name == "crashing").map(|pod| pod.restarts).unwrap_or_default()
}

/// A pod whose container runs this in a shell, and is started again as `restarts` says.
pub fn pod(name: &str, restarts: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "restartPolicy": restarts,
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "main",
                "image": BUSYBOX,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", script],
            }],
        },
    })
}
