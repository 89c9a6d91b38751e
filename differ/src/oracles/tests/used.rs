//! What is used is a number that can be.

use super::*;
use crate::oracles::usage::MEASURED;

#[test]
fn usage_is_possible_and_does_not_go_back() {
    let number = |value| Some(v1::UInt64Value { value });
    // Looks at one container, each a second after the last: processor time, rate, memory.
    let seen = |looks: &[[u64; 3]]| {
        let mut talk = Talk::default();
        let start = v1::StartContainerRequest { container_id: "c".into() };
        talk.ok("StartContainer", &start, &v1::StartContainerResponse {});
        for ([used, rate, memory], second) in looks.iter().zip(0..) {
            let stats = v1::ContainerStats {
                attributes: Some(v1::ContainerAttributes { id: "c".into(), ..Default::default() }),
                cpu: Some(v1::CpuUsage {
                    timestamp: NOW + second * 1_000_000_000,
                    usage_core_nano_seconds: number(*used),
                    usage_nano_cores: number(*rate),
                    psi: None,
                }),
                memory: Some(v1::MemoryUsage { working_set_bytes: number(*memory), ..Default::default() }),
                ..Default::default()
            };
            let answer = v1::ListContainerStatsResponse { stats: vec![stats] };
            talk.at += Duration::from_secs(1);
            talk.ok("ListContainerStats", &v1::ListContainerStatsRequest::default(), &answer);
        }
        assert!(talk.is_checked(usage::ORACLE));
        talk.broken().into_iter().map(|(_, _, path)| path).collect::<Vec<_>>()
    };
    let nothing: [&str; 0] = [];
    assert_eq!(seen(&[[5, 0, 1], [5, 0, 0], [9, 7, 0], [9, 0, 0]]), nothing);
    assert_eq!(seen(&[[0, 0, 0], [0, 0, 0]]), nothing, "too early to tell");
    assert_eq!(seen(&[[5, 0, 1], [0, 0, 0]]), nothing, "it has ended");
    let cpu = "stats[].cpu.usage_core_nano_seconds.value";
    let memory = "stats[].memory.working_set_bytes.value";
    assert_eq!(seen(&[[5, 0, 1], [4, 0, 1]]), [cpu]);
    assert_eq!(seen(&[[0, 0, 1]; 3]), [cpu]);
    assert_eq!(seen(&[[1, 0, 0]; 3]), [memory]);
    assert_eq!(seen(&[[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 1]]), nothing, "it uses some after all");
    assert_eq!(seen(&[[u64::MAX - 9, 0, 1]]), [cpu]);
    assert_eq!(seen(&[[5, u64::MAX - 9, 1]]), ["stats[].cpu.usage_nano_cores.value"]);
    assert_eq!(seen(&[[5, 0, u64::MAX - 9]]), [memory]);
}

#[test]
fn images_take_room_and_pods_have_processes() {
    let number = |value| Some(v1::UInt64Value { value });
    let nothing: [&str; 0] = [];
    let room = |size: u64, used: &[u64]| {
        let mut talk = Talk::default();
        let images = vec![v1::Image { id: "i".into(), size, ..Default::default() }];
        talk.ok("ListImages", &v1::ListImagesRequest::default(), &v1::ListImagesResponse { images });
        talk.at += MEASURED;
        for used in used {
            let fs = v1::FilesystemUsage { timestamp: NOW, used_bytes: number(*used), ..Default::default() };
            let answer = v1::ImageFsInfoResponse { image_filesystems: vec![fs], ..Default::default() };
            talk.ok("ImageFsInfo", &v1::ImageFsInfoRequest {}, &answer);
        }
        talk.broken().into_iter().map(|(_, _, path)| path).collect::<Vec<_>>()
    };
    assert_eq!(room(2_000_000, &[0; 3]), ["image_filesystems[].used_bytes.value"]);
    assert_eq!(room(2_000_000, &[2000; 3]), ["image_filesystems[].used_bytes.value"], "in KiB");
    assert_eq!(room(2_000_000, &[0, 0, 3_000_000]), nothing, "it was measured later");
    assert_eq!(room(2_000_000, &[0, 0, 0, 3_000_000]), nothing, "it was measured later");
    assert_eq!(room(0, &[0; 3]), ["images[].size"], "there are none that have a size");

    let processes = |started: bool, memory: u64, counts: &[u64]| {
        let mut talk = Talk::default();
        if started {
            let start = v1::StartContainerRequest { container_id: "c".into() };
            talk.ok("StartContainer", &start, &v1::StartContainerResponse {});
        }
        for count in counts {
            let process = Some(v1::ProcessUsage { process_count: number(*count), ..Default::default() });
            let attributes = Some(v1::ContainerAttributes { id: "c".into(), ..Default::default() });
            let memory = Some(v1::MemoryUsage {
                timestamp: NOW,
                working_set_bytes: number(memory),
                ..Default::default()
            });
            let containers = vec![v1::ContainerStats { attributes, memory, ..Default::default() }];
            let linux = Some(v1::LinuxPodSandboxStats { process, containers, ..Default::default() });
            let stats = vec![v1::PodSandboxStats { linux, ..Default::default() }];
            let asked = v1::ListPodSandboxStatsRequest::default();
            talk.ok("ListPodSandboxStats", &asked, &v1::ListPodSandboxStatsResponse { stats });
        }
        talk.broken().into_iter().map(|(_, _, path)| path).collect::<Vec<_>>()
    };
    assert_eq!(processes(true, 9, &[0; 3]), ["stats[].linux.process.process_count.value"]);
    assert_eq!(processes(true, 9, &[0, 0, 2]), nothing);
    assert_eq!(processes(false, 9, &[0; 3]), nothing, "nobody started it");
    assert_eq!(processes(true, 0, &[0, 0]), nothing, "it has ended");
}

#[test]
fn a_working_set_is_a_part_of_what_is_used() {
    let seen = |set: u64, used: Option<u64>| {
        let mut talk = Talk::default();
        let number = |value| v1::UInt64Value { value };
        let memory = v1::MemoryUsage {
            timestamp: NOW,
            working_set_bytes: Some(number(set)),
            usage_bytes: used.map(number),
            ..Default::default()
        };
        let stats = vec![v1::ContainerStats { memory: Some(memory), ..Default::default() }];
        let answer = v1::ListContainerStatsResponse { stats };
        talk.ok("ListContainerStats", &v1::ListContainerStatsRequest::default(), &answer);
        talk.broken().into_iter().map(|(.., path)| path).collect::<Vec<_>>()
    };
    let nothing: [&str; 0] = [];
    assert_eq!(seen(5, Some(5)), nothing);
    assert_eq!(seen(5, None), nothing);
    assert_eq!(seen(5, Some(0)), nothing, "it was not measured");
    assert_eq!(seen(6, Some(5)), ["stats[].memory.working_set_bytes.value"]);
}

#[test]
fn statistics_are_of_the_time_that_they_tell() {
    const SECOND: i64 = 1_000_000_000;
    // Of processor time, when it was taken and what it was, each a second after the last.
    let seen = |looks: &[(i64, u64)]| {
        let mut talk = Talk::default();
        let start = v1::StartContainerRequest { container_id: "c".into() };
        talk.ok("StartContainer", &start, &v1::StartContainerResponse {});
        for (timestamp, value) in looks {
            talk.at += Duration::from_secs(1);
            let cpu = v1::CpuUsage {
                timestamp: NOW + timestamp,
                usage_core_nano_seconds: Some(v1::UInt64Value { value: *value }),
                ..Default::default()
            };
            let attributes = v1::ContainerAttributes { id: "c".into(), ..Default::default() };
            let stats =
                v1::ContainerStats { attributes: Some(attributes), cpu: Some(cpu), ..Default::default() };
            let answer = v1::ListContainerStatsResponse { stats: vec![stats] };
            talk.ok("ListContainerStats", &v1::ListContainerStatsRequest::default(), &answer);
        }
        talk.broken().into_iter().map(|(.., path)| path).collect::<Vec<_>>()
    };
    let nothing: [&str; 0] = [];
    let timestamp = ["stats[].cpu.timestamp"];
    assert_eq!(seen(&[(SECOND + 1, 5), (2 * SECOND + 1, 6)]), nothing);
    assert_eq!(seen(&[(-3600 * SECOND, 5)]), timestamp);
    assert_eq!(seen(&[(3600 * SECOND, 5)]), timestamp);
    assert_eq!(seen(&[(SECOND + 1, 5), (SECOND + 1, 5)]), nothing, "it was taken once");
    assert_eq!(seen(&[(SECOND + 1, 5), (SECOND + 1, 6)]), timestamp);
    assert_eq!(seen(&[(SECOND, 5), (SECOND, 6)]), nothing, "rounded to seconds");
}

#[test]
fn what_went_over_a_network_counts_on() {
    let seen = |looks: &[(i64, u64, u64)]| {
        let mut talk = Talk::default();
        for (second, received, sent) in looks {
            let number = |value: u64| Some(v1::UInt64Value { value });
            let interface = v1::NetworkInterfaceUsage {
                rx_bytes: number(*received),
                tx_bytes: number(*sent),
                ..Default::default()
            };
            let network = v1::NetworkUsage {
                timestamp: NOW + second,
                default_interface: Some(interface),
                ..Default::default()
            };
            let linux = Some(v1::LinuxPodSandboxStats { network: Some(network), ..Default::default() });
            let attributes = Some(v1::PodSandboxAttributes { id: "s".into(), ..Default::default() });
            let stats = vec![v1::PodSandboxStats { linux, attributes, ..Default::default() }];
            let asked = v1::ListPodSandboxStatsRequest::default();
            talk.ok("ListPodSandboxStats", &asked, &v1::ListPodSandboxStatsResponse { stats });
        }
        talk.broken().into_iter().map(|(.., path)| path).collect::<Vec<_>>()
    };
    let nothing: [&str; 0] = [];
    assert_eq!(seen(&[(1, 5, 5), (2, 5, 6)]), nothing);
    assert_eq!(seen(&[(2, 5, 5), (1, 4, 4)]), nothing, "the later look came first");
    assert_eq!(seen(&[(1, 5, 5), (2, 0, 0)]), nothing, "it is stopped");
    assert_eq!(seen(&[(1, 5, 5), (2, 4, 6)]), ["stats[].linux.network.default_interface.rx_bytes.value"]);
    assert_eq!(seen(&[(1, 5, 5), (2, 6, 4)]), ["stats[].linux.network.default_interface.tx_bytes.value"]);
}

#[test]
fn all_images_together_take_room() {
    let seen = |used: u64| {
        let mut talk = Talk::default();
        let image = |id: &str| v1::Image { id: id.into(), size: 100_000_000, ..Default::default() };
        let images = ["a", "b", "c"].map(image).into();
        talk.ok("ListImages", &v1::ListImagesRequest::default(), &v1::ListImagesResponse { images });
        talk.at += MEASURED;
        for _ in 0..3 {
            let used_bytes = Some(v1::UInt64Value { value: used });
            let fs = v1::FilesystemUsage { timestamp: NOW, used_bytes, ..Default::default() };
            let answer = v1::ImageFsInfoResponse { image_filesystems: vec![fs], ..Default::default() };
            talk.ok("ImageFsInfo", &v1::ImageFsInfoRequest {}, &answer);
        }
        talk.broken().len()
    };
    assert_eq!([seen(400_000_000), seen(2_000_000)], [0, 1]);
}
