//! gRPC's metrics: how often each method was called, and how that ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prost_reflect::MethodDescriptor;
use tokio::time::Instant;
use tonic::Code;

use super::Counter;
use super::exposition::{Exposition, labels};
use crate::core::DurationRecorder;
use crate::etcd_server::definitions;

/// Prometheus' default buckets, which go-grpc-prometheus uses.
const HANDLING: [Duration; 11] = {
    const MILLIS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];
    let mut bounds = [Duration::ZERO; 11];
    let mut at = 0;
    while at < bounds.len() {
        bounds[at] = Duration::from_millis(MILLIS[at]);
        at += 1;
    }
    bounds
};

const CODES: usize = Code::Unauthenticated as usize + 1;

/// Every method by its path.
#[derive(Debug)]
pub(super) struct Methods(HashMap<String, Arc<Method>>);

#[derive(Debug)]
struct Method {
    labels: String,
    started: Counter,
    handled: [Counter; CODES],
    seconds: Option<DurationRecorder>,
}

impl Methods {
    /// How long calls take is measured if `timed`.
    pub(super) fn new(timed: bool) -> Self {
        let services = definitions::pool().services();
        let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
        Self(methods.map(|method| (path(&method), Arc::new(Method::new(&method, timed)))).collect())
    }

    /// A call begins; `None` if there is no such method.
    pub(super) fn begin(&self, path: &str) -> Option<Call> {
        let method = Arc::clone(self.0.get(path)?);
        method.started.add(1);
        let began = method.seconds.is_some().then(Instant::now);
        Some(Call { method, began, ended: false })
    }

    pub(super) fn write(&self, out: &mut Exposition) {
        let mut methods: Vec<_> = self.0.values().collect();
        methods.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        let mut started = out.family("grpc_server_started_total", "counter");
        for method in &methods {
            started.sample(&method.labels, method.started.get());
        }
        let mut handled = out.family("grpc_server_handled_total", "counter");
        for method in &methods {
            for (code, count) in method.handled.iter().enumerate() {
                let (code, count) = (Code::from(i32::try_from(code).unwrap_or(-1)), count.get());
                // A rate wants a series to be there before there is anything to count.
                if count > 0 || code == Code::Ok {
                    let code = labels(&[("grpc_code", name(code))]);
                    handled.sample(&format!("{},{code}", method.labels), count);
                }
            }
        }
        if methods.iter().all(|method| method.seconds.is_none()) {
            return;
        }
        let mut seconds = out.family("grpc_server_handling_seconds", "histogram");
        for method in &methods {
            if let Some(recorder) = &method.seconds {
                seconds.durations(&method.labels, &recorder.durations());
            }
        }
    }
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

impl Method {
    fn new(method: &MethodDescriptor, timed: bool) -> Self {
        let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
            (false, false) => "unary",
            (true, false) => "client_stream",
            (false, true) => "server_stream",
            (true, true) => "bidi_stream",
        };
        let service = method.parent_service();
        let labels = labels(&[
            ("grpc_method", method.name()),
            ("grpc_service", service.full_name()),
            ("grpc_type", kind),
        ]);
        let seconds = timed.then(|| DurationRecorder::new(&HANDLING));
        Self { labels, started: Counter::default(), handled: Default::default(), seconds }
    }
}

/// A call that runs. One that is dropped before it ends was canceled.
#[derive(Debug)]
pub(in crate::etcd_server) struct Call {
    method: Arc<Method>,
    began: Option<Instant>,
    ended: bool,
}

impl Call {
    pub(in crate::etcd_server) fn end(mut self, code: Code) {
        self.count(code);
        self.ended = true;
    }

    fn count(&self, code: Code) {
        self.method.handled[code as usize].add(1);
        if let (Some(began), Some(seconds)) = (self.began, &self.method.seconds) {
            seconds.record(began.elapsed());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.count(Code::Cancelled);
        }
    }
}

/// As Go's gRPC calls a code.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(methods: &Methods) -> String {
        let mut out = Exposition::default();
        methods.write(&mut out);
        out.into_text()
    }

    #[test]
    fn every_method_is_there_before_it_is_called() {
        let text = text(&Methods::new(false));
        for (method, service, kind) in [
            ("Put", "etcdserverpb.KV", "unary"),
            ("Watch", "etcdserverpb.Watch", "bidi_stream"),
            ("Snapshot", "etcdserverpb.Maintenance", "server_stream"),
            ("Campaign", "v3electionpb.Election", "unary"),
        ] {
            let of =
                format!("grpc_method=\"{method}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"");
            assert!(text.contains(&format!("grpc_server_started_total{{{of}}} 0\n")), "{text}");
            let handled = format!("grpc_server_handled_total{{{of},grpc_code=\"OK\"}} 0\n");
            assert!(text.contains(&handled), "{text}");
        }
        assert!(!text.contains("handling_seconds"));
    }

    #[test]
    fn a_call_ends_once() {
        const PUT: &str = "/etcdserverpb.KV/Put";
        let methods = Methods::new(true);
        methods.begin(PUT).unwrap().end(Code::Ok);
        methods.begin(PUT).unwrap().end(Code::ResourceExhausted);
        drop(methods.begin(PUT));
        let under_way = methods.begin(PUT);
        assert!(methods.begin("/etcdserverpb.KV/Nothing").is_none());
        let text = text(&methods);
        drop(under_way);
        let of = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
        assert!(text.contains(&format!("started_total{{{of}}} 4\n")), "{text}");
        for code in ["OK", "ResourceExhausted", "Canceled"] {
            let handled = format!("handled_total{{{of},grpc_code=\"{code}\"}} 1\n");
            assert!(text.contains(&handled), "{text}");
        }
        let seconds = format!("grpc_server_handling_seconds_count{{{of}}} 3\n");
        assert!(text.contains(&seconds), "{text}");
    }
}
