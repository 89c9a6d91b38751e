//! v1alpha1 at the edge: requests are put into the terms of v1, and answers back.

use std::convert::Infallible;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cri::{Method, alpha};
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

/// Bytes before each message on the wire: whether it is compressed, and its length.
const HEAD: usize = 5;

/// A request of v1alpha1 as one of this RPC of v1.
pub(super) async fn lifted(request: Request<Body>, method: &Method) -> Request<Body> {
    let (parts, body) = request.into_parts();
    Request::from_parts(parts, converted(body, |message| alpha::lift(method.input(), message)).await)
}

/// An answer of this RPC of v1 as one of v1alpha1.
pub(super) async fn lowered(response: Response<Body>, method: &Method) -> Response<Body> {
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, converted(body, |message| alpha::lower(method.output(), message)).await)
}

/// The body with its messages converted, its trailers kept. One that breaks off is left empty, which ends the call.
async fn converted(body: Body, convert: impl Fn(&Bytes) -> Bytes) -> Body {
    let Ok(whole) = body.collect().await else { return Body::empty() };
    let trailers = whole.trailers().cloned();
    let mut rest = whole.to_bytes();
    let mut out = BytesMut::new();
    while rest.len() >= HEAD {
        let compressed = rest.get_u8();
        let length = (rest.get_u32() as usize).min(rest.len());
        let message = convert(&rest.split_to(length));
        out.put_u8(compressed);
        out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        out.put(message);
    }
    let trailers = async move { trailers.map(Ok::<_, Infallible>) };
    Body::new(Full::new(out.freeze()).with_trailers(trailers))
}
