//! A server that etcd's own clients cannot tell from etcd, with etcd's own flags.
//!
//! ```sh
//! cargo run --release --example etcd-server -- --data-dir trestle.etcd
//! ETCDCTL_API=3 etcdctl put greeting hello
//! ```

mod args;
mod auth_token;
mod duration;
mod foreign;
mod log;
mod run;
mod url;

use std::process::ExitCode;

use args::{Args, ArgsEnd};
use log::Log;

/// Hyper and the store allocate small pieces from several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code of a command line that is wrong, as clap has it.
const MISTAKE: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(ArgsEnd::Shown(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(ArgsEnd::Mistake(line)) => {
            eprintln!("etcd-server: {line}");
            return ExitCode::from(MISTAKE);
        }
    };
    let log = Log::new(args.log_level);
    for flag in &args.ignored {
        log.warn("ignored a flag that means nothing here", &[("flag", flag)]);
    }
    match run::run(&args, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            log.fatal("the server ended", &[("error", &fail.to_string())]);
            ExitCode::FAILURE
        }
    }
}
