//! The cache's state, free of IO: whole revisions go in, snapshots and events come out.

pub(crate) mod backoff;
pub(crate) mod checkpoint;
pub(crate) mod digest;
pub(crate) mod event;
pub(crate) mod filter;
pub(crate) mod footprint;
pub(crate) mod frontier;
pub(crate) mod index;
pub(crate) mod interest;
pub(crate) mod object;
pub(crate) mod past;
pub(crate) mod pins;
pub(crate) mod posting;
pub(crate) mod predicate;
pub(crate) mod questions;
pub(crate) mod resume;
pub(crate) mod root;
pub(crate) mod schema;
pub(crate) mod selector;
pub(crate) mod state;
pub(crate) mod text;
pub(crate) mod token;
pub(crate) mod trail;
pub(crate) mod view;
