//! The lock of the modules that are model-checked: `tests/watch_handshake.rs` compiles them with
//! another one, which tries every order of steps.

pub(super) use parking_lot::Mutex;
