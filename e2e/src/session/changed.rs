//! What is known to have changed between releases, in the calls that show it.

use cri::v1;

use super::containers::{Pod, STAYS, create, exec, remove, start, status, stop};
use super::{BUSYBOX, Place, container, image, pod, pods};
use crate::driver::Driver;

pub(super) async fn run(driver: &mut Driver, place: &Place) {
    let config = with_options(pod(place, "options", 0));
    let id = pods::start(driver, "pod with options", config.clone()).await;
    pods::status(driver, "status of a pod with options", &id, true).await;
    let pod = Pod { id: &id, config: &config };
    let runs = created(driver, &pod, "a container to look into", container("inside", STAYS)).await;
    if let Some(runs) = &runs {
        // Empty where a pod that asks for no name servers gets none.
        exec(driver, "name servers of the host", runs, &["test", "-s", "/etc/resolv.conf"], 5).await;
    }
    for (what, config) in variants(driver, place, runs.as_deref()).await {
        if let Some(id) = created(driver, &pod, what, config).await {
            status(driver, what, &id, true).await;
            stop(driver, what, &id, 0).await;
            status(driver, what, &id, false).await;
            remove(driver, what, &id).await;
        }
    }
    pods::stop(driver, "stop of a pod with options", &id).await;
    pods::remove(driver, "removal of a pod with options", &id).await;
    user_namespace(driver, place).await;
}

/// Namespace options, and a DNS configuration with nothing in it.
fn with_options(mut config: v1::PodSandboxConfig) -> v1::PodSandboxConfig {
    config.dns_config = Some(v1::DnsConfig::default());
    config.linux.get_or_insert_default().security_context = Some(v1::LinuxSandboxSecurityContext {
        namespace_options: Some(v1::NamespaceOption {
            pid: v1::NamespaceMode::Container.into(),
            ..Default::default()
        }),
        supplemental_groups: vec![1001],
        privileged: true,
        ..Default::default()
    });
    config
}

/// Containers, each with one thing that some releases know and others pass over or refuse.
async fn variants(
    driver: &mut Driver,
    place: &Place,
    target: Option<&str>,
) -> Vec<(&'static str, v1::ContainerConfig)> {
    let pull = v1::PullImageRequest { image: Some(image(BUSYBOX)), ..Default::default() };
    let pulled = driver.call::<_, v1::PullImageResponse>("pull once more", "PullImage", &pull).await;
    let volume = v1::Mount {
        container_path: "/image".to_owned(),
        image: Some(image(&pulled.map(|answer| answer.image_ref).unwrap_or_default())),
        readonly: true,
        ..Default::default()
    };
    // Each with a name of its own: one that is made on a later release only is not removed in a replay.
    let changed = |name: &str, change: &dyn Fn(&mut v1::ContainerConfig)| {
        let mut config = container(name, STAYS);
        change(&mut config);
        config
    };
    let secured = |name: &str, change: &dyn Fn(&mut v1::LinuxContainerSecurityContext)| {
        changed(name, &|config| {
            change(config.linux.get_or_insert_default().security_context.get_or_insert_default());
        })
    };
    vec![
        (
            "container in another's process namespace",
            secured("target", &|context| {
                context.namespace_options = Some(v1::NamespaceOption {
                    pid: v1::NamespaceMode::Target.into(),
                    target_id: target.unwrap_or_default().to_owned(),
                    ..Default::default()
                });
            }),
        ),
        (
            "container with no groups but its own",
            secured("groups", &|context| {
                context.run_as_user = Some(v1::Int64Value { value: 1000 });
                context.run_as_group = Some(v1::Int64Value { value: 1000 });
                context.supplemental_groups = vec![2000];
                context.supplemental_groups_policy = v1::SupplementalGroupsPolicy::Strict.into();
            }),
        ),
        ("privileged container", secured("privileged", &|context| context.privileged = true)),
        (
            "container with an image as a volume",
            changed("image", &|config| config.mounts.push(volume.clone())),
        ),
        (
            "container with a CDI device of none",
            changed("device", &|config| {
                config.cdi_devices.push(v1::CdiDevice { name: "example.com/none=0".to_owned() });
            }),
        ),
        (
            "container with a signal of its own",
            changed("signal", &|config| config.stop_signal = v1::Signal::Sigusr1.into()),
        ),
        (
            "container with text that is none",
            changed("latin", &|config| {
                let value = bytes::Bytes::from_static(b"\xff\xfe");
                config.envs.push(v1::KeyValue { key: "LATIN".to_owned(), value });
            }),
        ),
        ("container with mounts below mounts", changed("nested", &|config| config.mounts = nested(place))),
        (
            "container with a volume read-only all the way",
            changed("readonly", &|config| {
                let all = v1::Mount { readonly: true, recursive_read_only: true, ..mount(place, "/volume") };
                config.mounts.push(all);
            }),
        ),
    ]
}

/// The deepest first; more than a sort leaves in place by chance.
fn nested(place: &Place) -> Vec<v1::Mount> {
    let below =
        (0..14).rev().map(|depth| format!("/nested{}", "/below".repeat(depth % 3)) + &format!("/{depth}"));
    below.chain(["/nested".to_owned()]).map(|path| mount(place, &path)).collect()
}

fn mount(place: &Place, container_path: &str) -> v1::Mount {
    v1::Mount {
        container_path: container_path.to_owned(),
        host_path: place.folder.join("volume").display().to_string(),
        ..Default::default()
    }
}

/// Makes and starts it; gives its id where there is one.
async fn created(
    driver: &mut Driver,
    pod: &Pod<'_>,
    what: &str,
    config: v1::ContainerConfig,
) -> Option<String> {
    let id = create(driver, what, pod, config).await.ok()?.container_id;
    driver.learn(&id, what);
    let _ = start(driver, what, &id).await;
    Some(id)
}

/// A pod with users of its own, which old releases pass over.
async fn user_namespace(driver: &mut Driver, place: &Place) {
    let mapping = v1::IdMapping { host_id: 100_000, container_id: 0, length: 65_536 };
    let mut config = pod(place, "users", 0);
    config.linux.get_or_insert_default().security_context = Some(v1::LinuxSandboxSecurityContext {
        namespace_options: Some(v1::NamespaceOption {
            userns_options: Some(v1::UserNamespace {
                mode: v1::NamespaceMode::Pod.into(),
                uids: vec![mapping],
                gids: vec![mapping],
            }),
            ..Default::default()
        }),
        ..Default::default()
    });
    let what = "pod with users of its own";
    if let Ok(answer) = pods::create(driver, what, Some(config), "").await {
        driver.learn(&answer.pod_sandbox_id, what);
        pods::status(driver, what, &answer.pod_sandbox_id, true).await;
        pods::stop(driver, what, &answer.pod_sandbox_id).await;
        pods::remove(driver, what, &answer.pod_sandbox_id).await;
    }
}
