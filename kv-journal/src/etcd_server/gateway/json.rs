//! Messages as JSON, and back (protobuf.dev/programming-guides/json).

use bytes::{BufMut, Bytes};
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Deserializer, Serializer};
use tonic::Status;

/// Whether it is compressed, and its length.
pub(super) const FRAME_HEAD: usize = 5;

/// A message of a call over gRPC, from its JSON. Nothing at all is the message without fields, and
/// fields that are unknown are passed over.
pub(super) fn frame(kind: &MessageDescriptor, text: &[u8]) -> Result<Bytes, Status> {
    let message = if text.trim_ascii().is_empty() {
        DynamicMessage::new(kind.clone())
    } else {
        read(kind, text)?
    };
    let len = message.encoded_len();
    let too_long = |_| Status::invalid_argument("the request is too large");
    let mut frame = Vec::with_capacity(FRAME_HEAD + len);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(len).map_err(too_long)?);
    message.encode(&mut frame).map_err(|error| Status::internal(error.to_string()))?;
    Ok(frame.into())
}

fn read(kind: &MessageDescriptor, text: &[u8]) -> Result<DynamicMessage, Status> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut text = Deserializer::from_slice(text);
    let message = DynamicMessage::deserialize_with_options(kind.clone(), &mut text, &options);
    let message = message.and_then(|message| text.end().map(|()| message));
    message.map_err(|error| Status::invalid_argument(error.to_string()))
}

/// Adds a message's JSON: names as they are defined, numbers of 64 bits as strings, nothing that has
/// its default.
pub(super) fn write(
    kind: &MessageDescriptor,
    message: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Status> {
    let unreadable = |error: &dyn std::error::Error| Status::internal(error.to_string());
    let message =
        DynamicMessage::decode(kind.clone(), message).map_err(|error| unreadable(&error))?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let written = message.serialize_with_options(&mut Serializer::new(out), &options);
    written.map_err(|error| unreadable(&error))
}

/// Reads `text` as every kind of request, for the fuzzer: whether what was read can be written and
/// read again, and is the same then.
#[doc(hidden)]
#[must_use]
pub fn fuzz_gateway(text: &[u8]) -> bool {
    super::routes::methods().all(|method| {
        let kind = method.input();
        let Ok(first) = frame(&kind, text) else { return true };
        let mut again = Vec::new();
        let message = first.get(FRAME_HEAD..).unwrap_or_default();
        if write(&kind, message, &mut again).is_err() {
            // What is nested deeper than a message may be decoded, is refused by its service.
            return true;
        }
        frame(&kind, &again).is_ok_and(|second| second == first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd_server::gateway::routes::method_of;

    fn requests_of(path: &str) -> MessageDescriptor {
        method_of(path).unwrap().input()
    }

    #[test]
    fn json_of_every_spelling_is_read_and_one_is_written() {
        let kind = requests_of("/v3/kv/range");
        let spellings = [
            r#"{"key":"YQ==","range_end":"Yg==","limit":"3","sort_order":"DESCEND"}"#,
            r#"{"key":"YQ==","rangeEnd":"Yg==","limit":3,"sortOrder":2,"unknown":[1]}"#,
        ];
        let frames = spellings.map(|text| frame(&kind, text.as_bytes()).unwrap());
        assert_eq!(frames[0], frames[1]);
        let mut text = Vec::new();
        write(&kind, &frames[0][FRAME_HEAD..], &mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), spellings[0]);
        assert_eq!(&frame(&kind, b" \n").unwrap()[..], [0; 5]);
    }

    #[test]
    fn what_is_no_json_of_the_message_is_refused() {
        let kind = requests_of("/v3/kv/txn");
        let deep = [r#"{"success":[{"request_txn":"#.repeat(200), "}".repeat(200)].concat();
        for wrong in
            ["{", "[]", "{}{}", r#"{"compare":{}}"#, r#"{"success":[{"request_put":1}]}"#, &deep]
        {
            let refused = frame(&kind, wrong.as_bytes()).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{wrong}");
            assert!(fuzz_gateway(wrong.as_bytes()));
        }
    }
}
