//! Messages that are written from what the store keeps, without a copy in between.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use prost::DecodeError;
use prost::Message;
use prost::encoding::{self, DecodeContext, WireType};

use super::etcdserverpb::ResponseHeader;
use super::fields::{Fields, bytes_len, message_len, number_len};
use crate::core::{self, EventKind, Meta};

/// `mvccpb.KeyValue`: a key of the store, or one that was received.
#[derive(Debug, Clone)]
pub enum KeyValue {
    /// As the store has it.
    Stored(core::KeyValue),
    /// As it came over the wire.
    Received(Box<Received>),
}

/// A [`KeyValue`] that came over the wire.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Received {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The revision at which the key was last created.
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    /// The revision of its last change.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// How many puts since it was created.
    #[prost(int64, tag = "4")]
    pub version: i64,
    /// The value.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
    /// The lease that it is attached to; 0 for none.
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

impl KeyValue {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Stored(kv) => kv.key(),
            Self::Received(kv) => &kv.key,
        }
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        match self {
            Self::Stored(kv) => kv.value(),
            Self::Received(kv) => &kv.value,
        }
    }

    /// The numbers. A negative revision or version, which no server sends, reads as 0.
    #[must_use]
    pub fn meta(&self) -> Meta {
        let number = |signed: i64| u64::try_from(signed).unwrap_or(0);
        match self {
            Self::Stored(kv) => kv.meta(),
            Self::Received(kv) => Meta {
                create_revision: number(kv.create_revision),
                mod_revision: number(kv.mod_revision),
                version: number(kv.version),
                lease: kv.lease,
            },
        }
    }
}

impl From<core::KeyValue> for KeyValue {
    fn from(kv: core::KeyValue) -> Self {
        Self::Stored(kv)
    }
}

impl From<KeyValue> for core::KeyValue {
    fn from(kv: KeyValue) -> Self {
        match kv {
            KeyValue::Stored(kv) => kv,
            KeyValue::Received(_) => Self::new(kv.key(), kv.value(), kv.meta()),
        }
    }
}

impl Default for KeyValue {
    fn default() -> Self {
        Self::Received(Box::default())
    }
}

impl PartialEq for KeyValue {
    fn eq(&self, other: &Self) -> bool {
        self.meta() == other.meta() && self.key() == other.key() && self.value() == other.value()
    }
}

impl Eq for KeyValue {}

impl Hash for KeyValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.meta(), self.key(), self.value()).hash(state);
    }
}

impl Message for KeyValue {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        match self {
            Self::Stored(kv) => put_key_value(Fields::new(), kv, buf),
            Self::Received(kv) => kv.encode_raw(buf),
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match self {
            Self::Received(kv) => kv.merge_field(tag, wire_type, buf, ctx),
            Self::Stored(_) => {
                self.clear();
                self.merge_field(tag, wire_type, buf, ctx)
            }
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Stored(kv) => key_value_len(kv),
            Self::Received(kv) => kv.encoded_len(),
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The fields of `mvccpb.KeyValue` that are not zero, in the order of their numbers.
fn put_key_value(fields: Fields, kv: &core::KeyValue, buf: &mut impl BufMut) {
    let meta = kv.meta();
    fields.put_with(1, kv.key(), buf);
    Fields::new()
        .number(2, meta.create_revision)
        .number(3, meta.mod_revision)
        .number(4, meta.version)
        .put_with(5, kv.value(), buf);
    if meta.lease != 0 {
        Fields::new().number(6, meta.lease.cast_unsigned()).put(buf);
    }
}

fn key_value_len(kv: &core::KeyValue) -> usize {
    let meta = kv.meta();
    bytes_len(kv.key())
        + number_len(meta.create_revision)
        + number_len(meta.mod_revision)
        + number_len(meta.version)
        + bytes_len(kv.value())
        + number_len(meta.lease.cast_unsigned())
}

/// `mvccpb.Event`, as it was received.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// What happened: 0 is a put, 1 a delete.
    #[prost(enumeration = "EventType", tag = "1")]
    pub r#type: i32,
    /// The key as written; for a delete the key and its revision.
    #[prost(message, optional, tag = "2")]
    pub kv: Option<KeyValue>,
    /// The key as it was before, if asked for.
    #[prost(message, optional, tag = "3")]
    pub prev_kv: Option<KeyValue>,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EventType {
    /// It was written.
    Put = 0,
    /// It was deleted.
    Delete = 1,
}

/// `etcdserverpb.WatchResponse`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WatchResponse {
    /// What every answer begins with.
    pub header: Option<ResponseHeader>,
    /// The watcher; -1: all of the stream, or one that was not created.
    pub watch_id: i64,
    /// Whether this says that the watcher exists.
    pub created: bool,
    /// Whether this says that it is gone.
    pub canceled: bool,
    /// The compact revision, if the watcher is gone because of a compaction.
    pub compact_revision: i64,
    /// Why it is gone.
    pub cancel_reason: String,
    /// Whether more events of this revision follow.
    pub fragment: bool,
    /// The events.
    pub events: Events,
}

/// The events of a [`WatchResponse`].
#[derive(Debug, Clone)]
pub enum Events {
    /// As the store has them, shared by all watchers of the same range.
    Stored(Arc<[core::Event]>),
    /// The same, and as they are written: whoever tells many watchers of the same writes it once.
    Written(Arc<[core::Event]>, Bytes),
    /// As they came over the wire.
    Received(Vec<Event>),
}

impl Events {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Stored(events) | Self::Written(events, _) => events.len(),
            Self::Received(events) => events.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events of the store as they are written in a [`WatchResponse`].
    #[cfg(feature = "etcd-server")]
    pub(crate) fn written(events: &[core::Event]) -> Bytes {
        let mut bytes = Vec::with_capacity(stored_len(events));
        for event in events {
            put_event(event, &mut bytes);
        }
        bytes.into()
    }

    /// All of them as the store would have them.
    #[must_use]
    pub fn into_stored(self) -> Arc<[core::Event]> {
        match self {
            Self::Stored(events) | Self::Written(events, _) => events,
            Self::Received(events) => events.into_iter().map(core::Event::from).collect(),
        }
    }
}

impl From<Event> for core::Event {
    fn from(event: Event) -> Self {
        let kind = match event.r#type() {
            EventType::Put => EventKind::Put,
            EventType::Delete => EventKind::Delete,
        };
        let kv = event.kv.unwrap_or_default().into();
        Self { kind, kv, prev_kv: event.prev_kv.map(Into::into) }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::Received(Vec::new())
    }
}

impl PartialEq for Events {
    fn eq(&self, other: &Self) -> bool {
        self.clone().into_stored() == other.clone().into_stored()
    }
}

const EVENTS_TAG: u8 = 11;
const EVENTS_FIELD: u32 = EVENTS_TAG as u32;

impl Message for WatchResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        let header = self.header.map_or_else(Fields::new, |header| {
            Fields::new()
                .before_bytes(1, header_len(&header))
                .number(1, header.cluster_id)
                .number(2, header.member_id)
                .number(3, header.revision.cast_unsigned())
                .number(4, header.raft_term)
        });
        header
            .number(2, self.watch_id.cast_unsigned())
            .number(3, u64::from(self.created))
            .number(4, u64::from(self.canceled))
            .number(5, self.compact_revision.cast_unsigned())
            .put_with(6, self.cancel_reason.as_bytes(), buf);
        if self.fragment {
            Fields::new().number(7, 1).put(buf);
        }
        match &self.events {
            Events::Received(events) => {
                encoding::message::encode_repeated(EVENTS_FIELD, events, buf);
            }
            Events::Stored(events) => events.iter().for_each(|event| put_event(event, buf)),
            Events::Written(_, written) => buf.put_slice(written),
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => {
                let header = self.header.get_or_insert_default();
                encoding::message::merge(wire_type, header, buf, ctx)
            }
            2 => encoding::int64::merge(wire_type, &mut self.watch_id, buf, ctx),
            3 => encoding::bool::merge(wire_type, &mut self.created, buf, ctx),
            4 => encoding::bool::merge(wire_type, &mut self.canceled, buf, ctx),
            5 => encoding::int64::merge(wire_type, &mut self.compact_revision, buf, ctx),
            6 => encoding::string::merge(wire_type, &mut self.cancel_reason, buf, ctx),
            7 => encoding::bool::merge(wire_type, &mut self.fragment, buf, ctx),
            EVENTS_FIELD => {
                if !matches!(self.events, Events::Received(_)) {
                    self.events = Events::default();
                }
                match &mut self.events {
                    Events::Received(events) => {
                        encoding::message::merge_repeated(wire_type, events, buf, ctx)
                    }
                    Events::Stored(_) | Events::Written(..) => Ok(()),
                }
            }
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let header = self.header.as_ref().map_or(0, |header| message_len(header_len(header)));
        let events = match &self.events {
            Events::Received(events) => {
                encoding::message::encoded_len_repeated(EVENTS_FIELD, events)
            }
            Events::Stored(events) => stored_len(events),
            Events::Written(_, written) => written.len(),
        };
        header
            + number_len(self.watch_id.cast_unsigned())
            + number_len(u64::from(self.created))
            + number_len(u64::from(self.canceled))
            + number_len(self.compact_revision.cast_unsigned())
            + bytes_len(self.cancel_reason.as_bytes())
            + number_len(u64::from(self.fragment))
            + events
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

fn header_len(header: &ResponseHeader) -> usize {
    number_len(header.cluster_id)
        + number_len(header.member_id)
        + number_len(header.revision.cast_unsigned())
        + number_len(header.raft_term)
}

fn stored_len(events: &[core::Event]) -> usize {
    events.iter().map(|event| message_len(event_len(event))).sum()
}

fn put_event(event: &core::Event, buf: &mut impl BufMut) {
    let fields = Fields::new()
        .before_bytes(EVENTS_TAG, event_len(event))
        .number(1, event_type(event))
        .before_bytes(2, key_value_len(&event.kv));
    put_key_value(fields, &event.kv, buf);
    if let Some(prev) = &event.prev_kv {
        put_key_value(Fields::new().before_bytes(3, key_value_len(prev)), prev, buf);
    }
}

fn event_len(event: &core::Event) -> usize {
    let prev = event.prev_kv.as_ref().map_or(0, |prev| message_len(key_value_len(prev)));
    number_len(event_type(event)) + message_len(key_value_len(&event.kv)) + prev
}

fn event_type(event: &core::Event) -> u64 {
    match event.kind {
        EventKind::Put => 0,
        EventKind::Delete => 1,
    }
}
