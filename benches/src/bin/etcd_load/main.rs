//! A load generator that runs unchanged against any server of the etcd v3 API.
#![forbid(unsafe_code)]

mod progress;

use std::path::Path;
use std::process::ExitCode;

use benches::etcd::Outcome;
use benches::load::{Load, Report, runtime};
use clap::Parser;

fn main() -> ExitCode {
    let load = Load::parse();
    match run(&load) {
        Ok(report) if report.is_good() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("etcd-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(load: &Load) -> Outcome<Report> {
    let report = runtime(load.shape.threads)?.block_on(measure(load))?;
    match load.shape.json.as_deref() {
        // What reads standard output wants nothing else there.
        Some(file) if file == Path::new("-") => {
            eprint!("{report}");
            println!("{}", report.to_json());
        }
        Some(file) => {
            print!("{report}");
            std::fs::write(file, format!("{}\n", report.to_json()))?;
        }
        None => print!("{report}"),
    }
    Ok(report)
}

/// Runs the load to its end or until the user has had enough.
async fn measure(load: &Load) -> Outcome<Report> {
    let running = load.begin().await?;
    let course = running.course();
    let progress = progress::show(course.clone(), load.shape.total);
    let report = running.finish();
    tokio::pin!(report);
    tokio::select! {
        report = &mut report => report,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            course.stop();
            report.await
        }
        () = progress => Err("the progress bar has ended".into()),
    }
}
