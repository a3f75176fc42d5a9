//! Flags of etcd that mean nothing for a server without peers. They are taken, so that a command
//! line that starts etcd starts this too, and said to be ignored.

use clap::{Arg, ArgAction, Command};

/// Those that have a value.
const VALUED: &[&str] = &[
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "bootstrap-defrag-threshold-megabytes",
    "cipher-suites",
    "client-cert-allowed-hostname",
    "client-cert-file",
    "client-crl-file",
    "client-key-file",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "corrupt-check-time",
    "cors",
    "discovery",
    "discovery-cacert",
    "discovery-cert",
    "discovery-dial-timeout",
    "discovery-endpoints",
    "discovery-fallback",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
    "discovery-key",
    "discovery-password",
    "discovery-proxy",
    "discovery-request-timeout",
    "discovery-srv",
    "discovery-srv-name",
    "discovery-token",
    "discovery-user",
    "distributed-tracing-address",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "distributed-tracing-service-name",
    "downgrade-check-time",
    "election-timeout",
    "feature-gates",
    "heartbeat-interval",
    "host-whitelist",
    "initial-advertise-peer-urls",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "listen-client-http-urls",
    "listen-peer-urls",
    "log-format",
    "log-outputs",
    "log-rotation-config-json",
    "logger",
    "max-learners",
    "max-snapshots",
    "max-wals",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
    "peer-cert-file",
    "peer-client-cert-file",
    "peer-client-key-file",
    "peer-crl-file",
    "peer-key-file",
    "peer-trusted-ca-file",
    "proxy",
    "raft-read-timeout",
    "raft-write-timeout",
    "self-signed-cert-validity",
    "snapshot-catchup-entries",
    "snapshot-count",
    "tls-max-version",
    "tls-min-version",
    "wal-dir",
    "warning-apply-duration",
    "warning-unary-request-duration",
];

/// Those that are on or off.
const SWITCHES: &[&str] = &[
    "debug",
    "discovery-insecure-skip-tls-verify",
    "discovery-insecure-transport",
    "enable-distributed-tracing",
    "enable-log-rotation",
    "enable-pprof",
    "enable-v2",
    "initial-election-tick-advance",
    "memory-mlock",
    "peer-auto-tls",
    "peer-client-cert-auth",
    "peer-skip-client-san-verification",
    "pre-vote",
    "socket-reuse-address",
    "socket-reuse-port",
    "strict-reconfig-check",
];

/// `command` with all of them, hidden.
pub(crate) fn add_to(command: Command) -> Command {
    let valued = VALUED.iter().map(|name| Arg::new(name).long(name).hide(true));
    let switches = SWITCHES.iter().map(|name| {
        Arg::new(name)
            .long(name)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide(true)
    });
    command.args(valued.chain(switches).map(|arg| arg.action(ArgAction::Set)))
}

/// Which of them were given.
pub(crate) fn given(matches: &clap::ArgMatches) -> Vec<String> {
    let all = VALUED.iter().chain(SWITCHES);
    all.filter(|name| matches.value_source(name).is_some())
        .map(|name| format!("--{name}"))
        .collect()
}
