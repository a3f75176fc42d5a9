//! Cutting a blob into spans that can be read by themselves, as it streams past.

use zlib_rs::crc32::crc32;

use super::deflate::{BlockInflate, Step};
use super::digest::{Digest, Hasher};
use super::gzip::{HeaderParser, MAGIC, TRAILER_BYTES, corrupt};
use super::window::{self, WINDOW_BYTES, Window};
use crate::config::IndexConfig;
use crate::error::{Error, ErrorKind, Result};

/// A part of the blob that can be fetched, verified and decoded by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// First compressed byte; shared with the span before where a block starts within a byte.
    pub(super) in_start: u64,
    /// One past the last compressed byte.
    pub(super) in_end: u64,
    /// First uncompressed byte.
    pub(super) out_start: u64,
    /// One past the last uncompressed byte.
    pub(super) out_end: u64,
    pub(super) start: Start,
    /// SHA-256 of the compressed bytes.
    pub(super) digest: Digest,
}

/// How the bytes of a span start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// They are not compressed.
    Plain,
    /// At a gzip header.
    Member,
    /// At a deflate block, with the window that it refers to.
    Block { bits: u8, window: Window },
}

/// Takes an uncompressed piece of the blob.
pub(super) trait Sink {
    fn output(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Room for the history that a window needs and for what is inflated next.
const OUTPUT_BYTES: usize = WINDOW_BYTES + (256 << 10);
/// Data after a checkpoint that is kept to find what it refers to. Real data gives 32 KiB of
/// output long before; endless empty blocks do not, and then the whole window is kept.
const MAX_PENDING_BYTES: usize = 256 << 10;
/// Output before [`IndexConfig::max_ratio`] is looked at.
const RATIO_FREE_BYTES: u64 = 256 << 20;

/// The spans of a gzip blob.
#[derive(Debug)]
pub(super) struct GzipSpans {
    config: IndexConfig,
    inflate: BlockInflate,
    state: State,
    /// Output, of which the last 32 KiB are kept for windows.
    output: Box<[u8]>,
    /// One past the last byte of `output` that is filled.
    filled: usize,
    member: Member,
    input: u64,
    total: u64,
    open: Option<Open>,
    pending: Option<Pending>,
    spans: Vec<Span>,
    /// The last compressed byte, which the next span may share.
    last_byte: u8,
}

#[derive(Debug)]
enum State {
    Header(HeaderParser),
    Body,
    Trailer { filled: usize, bytes: [u8; TRAILER_BYTES] },
    Between,
    Padding,
}

/// Checks of the member in progress.
#[derive(Debug, Clone, Copy, Default)]
struct Member {
    crc: u32,
    output: u64,
}

/// The span in progress.
#[derive(Debug)]
struct Open {
    in_start: u64,
    out_start: u64,
    start: Start,
    hasher: Hasher,
}

/// A window whose needed bytes are not known yet.
#[derive(Debug)]
struct Pending {
    bits: u8,
    window: Vec<u8>,
    data: Vec<u8>,
    output: Vec<u8>,
}

impl GzipSpans {
    pub(super) fn new(config: &IndexConfig) -> Result<Self> {
        Ok(Self {
            config: config.clone(),
            inflate: BlockInflate::new()?,
            state: State::Between,
            output: vec![0; OUTPUT_BYTES].into(),
            filled: 0,
            member: Member::default(),
            input: 0,
            total: 0,
            open: None,
            pending: None,
            spans: Vec::new(),
            last_byte: 0,
        })
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<()> {
        loop {
            let taken = if matches!(self.state, State::Body) {
                // An ended deflate stream or a full output is noticed without further input.
                match self.take_body(bytes, sink)? {
                    None => return Ok(()),
                    Some(taken) => taken,
                }
            } else if bytes.is_empty() {
                return Ok(());
            } else {
                self.take_framing(bytes)?
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    pub(super) fn finish(mut self) -> Result<Vec<Span>> {
        if !matches!(self.state, State::Between | State::Padding) {
            return Err(corrupt("it ends within a member"));
        }
        self.close_span()?;
        Ok(self.spans)
    }

    /// Takes what is not deflate data.
    fn take_framing(&mut self, bytes: &[u8]) -> Result<usize> {
        let taken = match &mut self.state {
            State::Header(parser) => {
                let (taken, done) = parser.take(bytes)?;
                if done {
                    self.start_body()?;
                }
                taken
            }
            State::Trailer { filled, bytes: trailer } => {
                let taken = fill(trailer, *filled, bytes);
                *filled += taken;
                if *filled == TRAILER_BYTES {
                    self.member.check(*trailer)?;
                    self.state = State::Between;
                }
                taken
            }
            State::Padding if bytes.iter().all(|&byte| byte == 0) => bytes.len(),
            State::Padding => return Err(corrupt("bytes after the last member")),
            State::Between | State::Body => {
                self.look_for_member(bytes)?;
                0
            }
        };
        self.account(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    /// Counts and hashes compressed bytes; padding after the last member belongs to no span.
    fn account(&mut self, used: &[u8]) {
        self.input += used.len() as u64;
        if let Some(&last) = used.last() {
            self.last_byte = last;
        }
        if let Some(open) = &mut self.open {
            open.hasher.update(used);
        }
    }

    fn look_for_member(&mut self, bytes: &[u8]) -> Result<()> {
        let is_first = self.input == 0;
        match bytes.first() {
            Some(&byte) if byte == MAGIC[0] => {
                if self.is_span_full() {
                    self.close_span()?;
                }
                if self.open.is_none() {
                    self.open_span(Start::Member, self.input);
                }
                self.state = State::Header(HeaderParser::new());
            }
            // Tapes and some registries' tools pad with zeros; gzip ignores them too.
            Some(0) if !is_first => {
                self.close_span()?;
                self.state = State::Padding;
            }
            _ => return Err(corrupt("bytes after the last member")),
        }
        Ok(())
    }

    fn start_body(&mut self) -> Result<()> {
        self.member = Member::default();
        self.inflate.reset()?;
        self.state = State::Body;
        Ok(())
    }

    /// Inflates a piece; `None` where only more input helps.
    fn take_body(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<Option<usize>> {
        self.make_room();
        let step =
            self.inflate.step(bytes, self.output.get_mut(self.filled..).unwrap_or_default())?;
        if step.consumed == 0 && step.produced == 0 && !step.ended && step.boundary.is_none() {
            return if bytes.is_empty() { Ok(None) } else { Err(corrupt("deflate data stalls")) };
        }
        let used = bytes.get(..step.consumed).unwrap_or_default();
        self.account(used);
        let fresh = self.output.get(self.filled..self.filled + step.produced).unwrap_or_default();
        self.member.add(fresh);
        self.total += fresh.len() as u64;
        self.filled += step.produced;
        if let Some(pending) = &mut self.pending {
            pending.add(used, fresh);
        }
        sink.output(fresh)?;
        self.check_limits()?;
        self.after_step(step)?;
        // At a boundary without progress there is nothing to wait for but input.
        let idle = step.consumed == 0 && step.produced == 0 && !step.ended;
        Ok((!idle || !bytes.is_empty()).then_some(step.consumed))
    }

    fn after_step(&mut self, step: Step) -> Result<()> {
        if step.ended || self.pending.as_ref().is_some_and(Pending::is_ripe) {
            self.settle_pending()?;
        }
        if step.ended {
            self.state = State::Trailer { filled: 0, bytes: [0; TRAILER_BYTES] };
        } else if let Some(bits) = step.boundary
            && self.is_span_full()
        {
            self.cut(bits)?;
        }
        Ok(())
    }

    /// Ends the span and starts one at the block that follows.
    fn cut(&mut self, bits: u8) -> Result<()> {
        self.close_span()?;
        let history = WINDOW_BYTES.min(usize::try_from(self.member.output).unwrap_or(WINDOW_BYTES));
        let history = self.filled.saturating_sub(history)..self.filled;
        let window = self.output.get(history).unwrap_or_default().to_vec();
        let shared = (bits > 0).then_some(self.last_byte);
        let start = Start::Block { bits, window: Window::EMPTY };
        self.open_span(start, self.input - u64::from(bits > 0));
        let data: Vec<u8> = shared.into_iter().collect();
        if let Some(open) = &mut self.open {
            open.hasher.update(&data);
        }
        self.pending = Some(Pending { bits, window, data, output: Vec::new() });
        Ok(())
    }

    fn open_span(&mut self, start: Start, in_start: u64) {
        let (out_start, hasher) = (self.total, Hasher::new());
        self.open = Some(Open { in_start, out_start, start, hasher });
    }

    /// Ends the span after the last byte that was taken; one without output is not kept.
    fn close_span(&mut self) -> Result<()> {
        self.settle_pending()?;
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        if self.total > open.out_start {
            self.spans.push(Span {
                in_start: open.in_start,
                in_end: self.input,
                out_start: open.out_start,
                out_end: self.total,
                start: open.start,
                digest: open.hasher.finish(),
            });
        }
        Ok(())
    }

    /// Packs the open span's window, now that the data which refers to it is known.
    fn settle_pending(&mut self) -> Result<()> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        if let Some(open) = &mut self.open {
            open.start = Start::Block { bits: pending.bits, window: pending.pack()? };
        }
        Ok(())
    }

    fn is_span_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let (output, input) = (self.total - open.out_start, self.input - open.in_start);
            output > 0
                && (output >= self.config.span_bytes || input >= self.config.span_compressed_bytes)
        })
    }

    fn check_limits(&self) -> Result<()> {
        let config = &self.config;
        let (span_in, span_out) = self
            .open
            .as_ref()
            .map_or((0, 0), |open| (self.input - open.in_start, self.total - open.out_start));
        let ratio = self.total.checked_div(self.input).unwrap_or(0);
        let over = |what, seen, field, limit| {
            Err(Error::new(
                ErrorKind::Exhausted,
                format!(
                    "gzip: {what} is {seen}, the limit is {limit}: raise {field} if it is trusted"
                ),
            ))
        };
        if self.total > config.max_blob_bytes {
            return over("its output", self.total, "max_blob_bytes", config.max_blob_bytes);
        }
        if span_in.max(span_out) > config.max_span_bytes {
            let seen = span_in.max(span_out);
            return over("a span", seen, "max_span_bytes", config.max_span_bytes);
        }
        if self.total > RATIO_FREE_BYTES && ratio > config.max_ratio {
            return over("the ratio", ratio, "max_ratio", config.max_ratio);
        }
        Ok(())
    }

    /// Moves the history to the front when the output is full.
    fn make_room(&mut self) {
        if self.output.len() - self.filled < WINDOW_BYTES {
            self.output.copy_within(self.filled - WINDOW_BYTES..self.filled, 0);
            self.filled = WINDOW_BYTES;
        }
    }
}

impl Member {
    fn add(&mut self, fresh: &[u8]) {
        self.crc = crc32(self.crc, fresh);
        self.output += fresh.len() as u64;
    }

    /// Compares with the CRC-32 and the length modulo 2^32 of the trailer (RFC 1952).
    fn check(&self, trailer: [u8; TRAILER_BYTES]) -> Result<()> {
        let stored = u64::from_le_bytes(trailer);
        let seen = u64::from(self.crc) | (self.output << 32);
        if stored == seen { Ok(()) } else { Err(corrupt("a member's checksum mismatches")) }
    }
}

impl Pending {
    fn add(&mut self, data: &[u8], output: &[u8]) {
        self.data.extend_from_slice(data);
        let wanted = output.len().min(WINDOW_BYTES - self.output.len());
        self.output.extend_from_slice(output.get(..wanted).unwrap_or_default());
    }

    fn is_ripe(&self) -> bool {
        self.output.len() >= WINDOW_BYTES || self.data.len() >= MAX_PENDING_BYTES
    }

    fn pack(&self) -> Result<Window> {
        let needed = window::needed(&self.window, self.bits, &self.data, &self.output);
        let whole = self.data.len() >= MAX_PENDING_BYTES && self.output.len() < WINDOW_BYTES;
        match needed {
            Ok(needed) if !whole => Window::pack(&self.window, Some(&needed)),
            // More than is needed is never wrong.
            _ => Window::pack(&self.window, None),
        }
    }
}

fn fill(trailer: &mut [u8; TRAILER_BYTES], filled: usize, bytes: &[u8]) -> usize {
    let free = trailer.get_mut(filled..).unwrap_or_default();
    let taken = free.len().min(bytes.len());
    for (target, &byte) in free.iter_mut().zip(bytes) {
        *target = byte;
    }
    taken
}

/// The spans of a blob that is not compressed: pieces of equal size.
#[derive(Debug)]
pub(super) struct PlainSpans {
    span_bytes: u64,
    max_blob_bytes: u64,
    total: u64,
    start: u64,
    hasher: Hasher,
    spans: Vec<Span>,
}

impl PlainSpans {
    pub(super) fn new(config: &IndexConfig) -> Self {
        Self {
            span_bytes: config
                .span_bytes
                .min(config.span_compressed_bytes)
                .min(config.max_span_bytes),
            max_blob_bytes: config.max_blob_bytes,
            total: 0,
            start: 0,
            hasher: Hasher::new(),
            spans: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<()> {
        sink.output(bytes)?;
        while !bytes.is_empty() {
            let room = self.start + self.span_bytes - self.total;
            let taken = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
            let (piece, rest) = bytes.split_at_checked(taken).unwrap_or_default();
            self.hasher.update(piece);
            self.total += piece.len() as u64;
            if self.total > self.max_blob_bytes {
                let message = "the blob is beyond max_blob_bytes: raise it if it is trusted";
                return Err(Error::new(ErrorKind::Exhausted, message));
            }
            if self.total - self.start == self.span_bytes {
                self.close();
            }
            bytes = rest;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<Span> {
        if self.total > self.start {
            self.close();
        }
        self.spans
    }

    fn close(&mut self) {
        let digest = std::mem::replace(&mut self.hasher, Hasher::new()).finish();
        let (start, end) = (self.start, self.total);
        self.spans.push(Span {
            in_start: start,
            in_end: end,
            out_start: start,
            out_end: end,
            start: Start::Plain,
            digest,
        });
        self.start = end;
    }
}
