//! Calls in the terms in which they are compared.
//!
//! What v1alpha1 said is put into the messages of v1 ([`cri::alpha`]), what v1alpha2 said is read with these, which know more fields, and
//! a list that was streamed is the list: its messages, one after the other, are the one of the RPC that gives it whole. So rules, ids and
//! states know one form of each.

use cri::{Generation, Method, alpha};

use crate::{Body, Call, Code, RecordedMessage};

impl Call {
    /// This call in the terms of v1 and of whole lists. [`Self::sent_path`] tells how it went over the wire.
    ///
    /// A stream that was not served is no list: it stays what it is.
    #[must_use]
    pub fn in_common_terms(mut self) -> Self {
        let Some(sent) = self.method() else { return self };
        let Some(common) = common(sent, self.outcome.code) else { return self };
        if sent.generation == Generation::V1Alpha1 {
            each(&mut self.requests, |body| alpha::lift(common.input(), body));
            each(&mut self.responses, |body| alpha::lift(common.output(), body));
        }
        self.sent_as = Some(std::mem::replace(&mut self.path, common.path.clone()));
        self
    }

    /// The request path as it went over the wire.
    pub fn sent_path(&self) -> &str {
        self.sent_as.as_deref().unwrap_or(&self.path)
    }

    /// The RPC as it went over the wire, where the schema has it.
    pub fn sent_method(&self) -> Option<&'static Method> {
        cri::methods().by_path(self.sent_path())
    }
}

/// The RPC that stands for one that ended like this, where it is another.
fn common(sent: &'static Method, code: Code) -> Option<&'static Method> {
    match sent.generation {
        Generation::V1Alpha1 | Generation::V1Alpha2 => sent.in_generation(Generation::V1),
        Generation::V1 if code == Code::UNIMPLEMENTED => None,
        Generation::V1 => sent.list(),
    }
}

fn each(messages: &mut [RecordedMessage], convert: impl Fn(&bytes::Bytes) -> bytes::Bytes) {
    for message in messages.iter_mut().filter(|message| !message.compressed) {
        if let Body::Kept(body) = &mut message.body {
            *body = convert(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{merged, sample};
    use cri::v1;
    use prost::Message;

    fn call(path: &str, code: Code, responses: &[Vec<u8>]) -> Call {
        sample::call(1, path, code, Vec::new(), responses)
    }

    #[test]
    fn a_streamed_list_is_the_list_however_it_was_cut() {
        let sandbox = |id: &str| v1::PodSandbox { id: id.into(), ..Default::default() };
        let part = |ids: &[&str]| {
            let pod_sandboxes = ids.iter().map(|id| sandbox(id)).collect();
            v1::StreamPodSandboxesResponse { pod_sandboxes }.encode_to_vec()
        };
        let path = "/runtime.v1.RuntimeService/StreamPodSandboxes";
        for parts in [&[part(&["a", "b", "c"])][..], &[part(&["a"]), part(&["b", "c"])], &[]] {
            let call = call(path, Code::OK, parts).in_common_terms();
            assert_eq!(call.path, "/runtime.v1.RuntimeService/ListPodSandbox");
            assert_eq!((call.sent_path(), call.responses.len()), (path, parts.len()));
            let list = v1::ListPodSandboxResponse::decode(merged(&call).unwrap()).unwrap();
            let ids: Vec<_> = list.items.iter().map(|item| item.id.as_str()).collect();
            assert_eq!(ids, ["a", "b", "c"][..if parts.is_empty() { 0 } else { 3 }]);
        }
    }

    #[test]
    fn a_stream_that_is_not_served_stays_one() {
        let path = "/runtime.v1.ImageService/StreamImages";
        let refused = call(path, Code::UNIMPLEMENTED, &[]);
        assert_eq!(refused.clone().in_common_terms(), refused);
    }

    #[test]
    fn v1alpha1_is_put_into_the_terms_of_v1() {
        // Of a pod in the node's network: status.linux.namespaces.options.host_network.
        let status = [0x0a, 0x08, 0x32, 0x06, 0x0a, 0x04, 0x12, 0x02, 0x08, 0x01].to_vec();
        let call = call("/runtime.RuntimeService/PodSandboxStatus", Code::OK, &[status]).in_common_terms();
        assert_eq!(call.path, "/runtime.v1.RuntimeService/PodSandboxStatus");
        assert_eq!(call.sent_method().unwrap().generation, Generation::V1Alpha1);
        let answer = v1::PodSandboxStatusResponse::decode(merged(&call).unwrap()).unwrap();
        let options = answer.status.unwrap().linux.unwrap().namespaces.unwrap().options.unwrap();
        assert_eq!(options.network(), v1::NamespaceMode::Node);
        assert_eq!(options.pid(), v1::NamespaceMode::Container);
    }

    #[test]
    fn v1alpha2_is_read_as_v1() {
        let sent = "/runtime.v1alpha2.RuntimeService/Version";
        let before = call(sent, Code::OK, &[vec![0x0a, 0x01, 0x61]]);
        let call = before.clone().in_common_terms();
        assert_eq!((call.path.as_str(), call.sent_path()), ("/runtime.v1.RuntimeService/Version", sent));
        assert_eq!(call.responses, before.responses);
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for path in ["/runtime.v1.RuntimeService/Version", "/x.Y/Z"] {
            let call = call(path, Code::OK, &[Vec::new()]);
            assert_eq!(call.clone().in_common_terms(), call);
        }
    }
}
