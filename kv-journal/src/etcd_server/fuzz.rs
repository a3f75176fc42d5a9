//! Calls from outside, for the fuzzer.

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};

use super::{EtcdServer, definitions};

/// Makes a call of the method with this number, counted over all services and again from the start
/// when there are no more, with one message, and takes as much of the answer as there is.
#[doc(hidden)]
pub async fn fuzz_call(server: &EtcdServer, method: usize, message: &[u8]) {
    let services = definitions::pool().services();
    let methods: Vec<_> =
        services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    let Some(method) = methods.get(method % methods.len().max(1)) else { return };
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let Ok(len) = u32::try_from(message.len()) else { return };
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(len);
    frame.put_slice(message);
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::<Bytes>::new(frame.freeze()));
    let Ok(request) = request else { return };
    let Ok(answer) = server.router.grpc(request).await;
    let mut body = answer.into_body();
    while body.frame().await.is_some() {}
}
