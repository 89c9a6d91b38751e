//! Free ports of this host in place of those that were recorded.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

use cri::Method;
use critape_calls::IdentityMap;
use prost_reflect::{DynamicMessage, Value};

use crate::sending::rewrite::sandbox_config;

/// Tries for a port that was not given out yet.
const TRIES: usize = 64;
/// `NamespaceMode.NODE`: the pod uses the host's network, and the runtime binds nothing.
const NODE: i32 = 2;

/// The transport of a port, as `runtime.v1.Protocol` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Transport {
    Tcp,
    Udp,
}

/// Which port stands for which, the same one for as long as the run lasts.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    live: BTreeMap<(Transport, u16), u16>,
}

impl Ports {
    /// Puts free ports in place of those of the host that the sandbox of this request asks for. A port that can't be replaced stays:
    /// SCTP, and where none is free.
    pub(crate) fn replace(&mut self, message: &mut DynamicMessage, method: &Method, ids: &mut IdentityMap) {
        let Some(config) = sandbox_config(message, method) else { return };
        if uses_host_network(config) {
            return;
        }
        let Some(Value::List(mappings)) = config.get_field_by_name_mut("port_mappings") else { return };
        for mapping in mappings {
            let Value::Message(mapping) = mapping else { continue };
            let port = mapping.get_field_by_name("host_port").and_then(|port| port.as_i32());
            let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
            let Some((port, transport)) = port.zip(transport(mapping)) else { continue };
            if let Some(live) = self.stand_in(transport, port) {
                ids.map_port(port, live);
                mapping.set_field_by_name("host_port", Value::I32(live.into()));
            }
        }
    }

    /// The port that stands for this one.
    fn stand_in(&mut self, transport: Transport, port: u16) -> Option<u16> {
        if let Some(live) = self.live.get(&(transport, port)) {
            return Some(*live);
        }
        let taken = |port: u16| self.live.iter().any(|((of, _), live)| *of == transport && *live == port);
        let live = (0..TRIES).filter_map(|_| free(transport)).find(|live| !taken(*live))?;
        self.live.insert((transport, port), live);
        Some(live)
    }
}

fn transport(mapping: &DynamicMessage) -> Option<Transport> {
    match mapping.get_field_by_name("protocol")?.as_enum_number()? {
        0 => Some(Transport::Tcp),
        1 => Some(Transport::Udp),
        _ => None,
    }
}

/// Whether the runtime makes no network for the pod.
fn uses_host_network(config: &DynamicMessage) -> bool {
    let network = ["linux", "security_context", "namespace_options"].iter().try_fold(
        config.clone(),
        |message: DynamicMessage, name| {
            let field = message.get_field_by_name(name)?.into_owned();
            field.as_message().filter(|_| message.has_field_by_name(name)).cloned()
        },
    );
    let network = network.and_then(|options| options.get_field_by_name("network")?.as_enum_number());
    network == Some(NODE)
}

/// A port that nobody has on any address, given back at once: whoever asks for it next is the runtime.
fn free(transport: Transport) -> Option<u16> {
    let any = [(Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::UNSPECIFIED, 0).into()];
    let any: &[std::net::SocketAddr] = &any;
    match transport {
        Transport::Tcp => TcpListener::bind(any).and_then(|socket| socket.local_addr()),
        Transport::Udp => UdpSocket::bind(any).and_then(|socket| socket.local_addr()),
    }
    .ok()
    .map(|address| address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cri::{Generation, methods, v1};
    use critape_calls::decode;
    use prost::Message as _;

    fn mapping(protocol: v1::Protocol, host_port: i32) -> v1::PortMapping {
        v1::PortMapping { protocol: protocol.into(), container_port: 80, host_port, ..Default::default() }
    }

    fn config(network: v1::NamespaceMode) -> v1::PodSandboxConfig {
        let options = v1::NamespaceOption { network: network.into(), ..Default::default() };
        let context =
            v1::LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
        let linux = v1::LinuxPodSandboxConfig { security_context: Some(context), ..Default::default() };
        v1::PodSandboxConfig {
            port_mappings: [
                mapping(v1::Protocol::Tcp, 8080),
                mapping(v1::Protocol::Udp, 8080),
                mapping(v1::Protocol::Sctp, 8080),
                mapping(v1::Protocol::Tcp, 0),
                mapping(v1::Protocol::Tcp, 8081),
            ]
            .to_vec(),
            linux: Some(linux),
            ..Default::default()
        }
    }

    fn replaced(ports: &mut Ports, network: v1::NamespaceMode, ids: &mut IdentityMap) -> Vec<i32> {
        let method = methods().by_name(Generation::V1, "RunPodSandbox").unwrap();
        let request = v1::RunPodSandboxRequest { config: Some(config(network)), ..Default::default() };
        let mut message = decode(method.input(), &request.encode_to_vec().into()).unwrap();
        ports.replace(&mut message, method, ids);
        let request = v1::RunPodSandboxRequest::decode(message.encode_to_vec().as_slice()).unwrap();
        request.config.unwrap().port_mappings.iter().map(|mapping| mapping.host_port).collect()
    }

    #[test]
    fn ports_are_replaced_by_free_ones_and_stay_what_they_became() {
        let (mut ports, mut ids) = (Ports::default(), IdentityMap::default());
        let live = replaced(&mut ports, v1::NamespaceMode::Pod, &mut ids);
        assert_eq!(live, replaced(&mut ports, v1::NamespaceMode::Pod, &mut ids));
        assert_eq!((live[2], live[3]), (8080, 0));
        assert!(live[0] != 8080 && live[1] != 8080 && live[4] != 8081);
        assert_ne!(live[0], live[4]);
        let live = |index: usize| u16::try_from(live[index]).unwrap();
        assert!(ids.is_same_port(8080, live(0)) && ids.is_same_port(8080, live(1)));
        assert!(!ids.is_same_port(8081, live(0)) && ids.is_same_port(8081, 8081));
    }

    #[test]
    fn a_pod_on_the_hosts_network_keeps_its_ports() {
        let (mut ports, mut ids) = (Ports::default(), IdentityMap::default());
        assert_eq!(replaced(&mut ports, v1::NamespaceMode::Node, &mut ids), [8080, 8080, 8080, 0, 8081]);
    }
}
