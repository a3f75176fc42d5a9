//! Ctrl-C, which ends the planning and not the program.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use trestle_examples::fail::{Context, Result};

/// The exit code of a program that was interrupted: 128 and SIGINT's number, as shells have it.
const INTERRUPTED: i32 = 130;

/// Whether Ctrl-C was pressed.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on, on a thread of its own. The second signal ends the program.
    pub(crate) fn listen() -> Result<Self> {
        let what = || "signals".to_owned();
        let pressed = Self(Arc::default());
        let runtime = Builder::new_current_thread().enable_all().build().context(what)?;
        let mut signals = {
            let _entered = runtime.enter();
            signal(SignalKind::interrupt()).context(what)?
        };
        let thread = std::thread::Builder::new().name("signals".to_owned());
        let flag = pressed.clone();
        let listening = move || {
            runtime.block_on(async {
                signals.recv().await;
                flag.0.store(true, Ordering::Release);
                signals.recv().await;
                process::exit(INTERRUPTED);
            });
        };
        thread.spawn(listening).context(what)?;
        Ok(pressed)
    }

    /// Whether it was pressed.
    pub(crate) fn is_pressed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
