//! How messages get onto the wire: prost's way, with room made once.

use std::any::Any;
use std::marker::PhantomData;

use bytes::BufMut;
use prost::Message;
use tonic::Status;
use tonic::codec::{self, BufferSettings, EncodeBuf};
use tonic_prost::ProstCodec;

use super::etcdserverpb::RangeResponse;
use super::stored::{Events, WatchResponse};

/// Room for a message before its length is known. tonic's 8 KiB for each request and each answer are
/// most of what a small call allocates.
const ROOM: usize = 512;
/// tonic's: with so much written, a stream goes to the connection.
const ENOUGH: usize = 32 << 10;

/// A codec of protobuf messages.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(ROOM, ENOUGH)
}

impl<T, U> codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Encoder<T>;
    type Decoder = <ProstCodec<T, U> as codec::Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        Encoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(settings())
    }
}

/// A list of so many keys is not measured before it is written: each key is somewhere else in memory,
/// and to wait for it twice takes a sixth of the time. The room is then what some of the keys take.
const MEASURED: usize = 1024;
/// What may be a guess.
const GUESSED: usize = 64 << 20;

/// About what a message takes.
fn room_for<T: Message + 'static>(message: &T) -> usize {
    let list = (message as &dyn Any).downcast_ref::<RangeResponse>();
    let guessed = list.filter(|list| list.kvs.len() > MEASURED).map(|list| {
        let some = list.kvs.iter().step_by(list.kvs.len() / (MEASURED / 16));
        let (count, bytes) = some.fold((0, 0), |(count, bytes), kv| {
            // With the field's number and its own length.
            (count + 1, bytes + kv.encoded_len() + 4)
        });
        // Some are larger than others.
        bytes / count * (list.kvs.len() + list.kvs.len() / 32)
    });
    guessed.filter(|guessed| *guessed <= GUESSED).unwrap_or_else(|| message.encoded_len())
}

/// Whether many like this one follow, so that room for all of them is made at once.
fn is_one_of_many<T: Message + 'static>(message: &T) -> bool {
    let response = (message as &dyn Any).downcast_ref::<WatchResponse>();
    response.is_some_and(|response| matches!(response.events, Events::Written(..)))
}

/// Writes messages. A large one finds room for all of it, and is not moved while it grows.
#[derive(Debug)]
pub struct Encoder<T>(PhantomData<T>);

impl<T: Message + 'static> codec::Encoder for Encoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, room: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let needed = room_for(&message);
        if room.chunk_mut().len() < needed {
            let more = if is_one_of_many(&message) { 2 * ENOUGH } else { 0 };
            room.reserve(needed.max(more));
        }
        message.encode_raw(room);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}
