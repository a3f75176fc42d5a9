//! Alternatives of node affinity, host ports and volumes.

use binpack::{HostPort, Node, Requirement, Rule, Volume, key};

use crate::case::{Case, bare, node, pod, runs, sold};

#[test]
fn one_of_the_alternatives_of_node_affinity_holds() {
    let zone = |zone: &str| Requirement::is_in(key::ZONE, [zone]);
    let ssd = || Requirement::exists("ssd");
    let case = |node: Node| {
        let pod = pod("1").or_require(vec![zone("a"), ssd()]).or_require(vec![zone("b")]);
        Case::on([node]).bind(pod, "n")
    };
    case(node("n", "b")).keeps_all();
    case(node("n", "a").with_label("ssd", "yes")).keeps_all();
    case(node("n", "a")).breaks(Rule::Requirements);
    case(node("n", "c").with_label("ssd", "yes")).breaks(Rule::Requirements);
    case(node("n", "b"))
        .but(|input, _| input.pods[0].requirements.push(ssd()))
        .breaks(Rule::Requirements);
}

#[test]
fn a_host_port_is_taken_once() {
    let web = |name: &str| pod(name).with_host_port(HostPort::tcp(80));
    let case = Case::on([bare("n").with_pod(runs(web("old"))), bare("m")]);
    case.clone().bind(web("1"), "n").breaks(Rule::HostPorts);
    case.clone().bind(web("1"), "m").keeps_all();
    case.clone().bind(web("1"), "m").bind(web("2"), "m").breaks(Rule::HostPorts);
    let local = |ip: &str| HostPort { ip: ip.into(), ..HostPort::tcp(80) };
    let two = |one, other| {
        let m = case.clone().bind(pod("1").with_host_port(one), "m");
        m.bind(pod("2").with_host_port(other), "m")
    };
    two(local("10.0.0.1"), local("10.0.0.2")).keeps_all();
    two(local("10.0.0.1"), local("0.0.0.0")).breaks(Rule::HostPorts);
    two(HostPort::tcp(80), HostPort::tcp(81)).keeps_all();
    two(HostPort::tcp(80), HostPort { protocol: binpack::Protocol::Udp, ..HostPort::tcp(80) })
        .keeps_all();
    // Two that shared it before are not the plan's doing.
    let before = bare("n").with_pod(runs(web("1"))).with_pod(runs(web("2")));
    Case::on([before]).bind(pod("3"), "n").keeps_all();
}

#[test]
fn daemons_take_their_ports_on_launches() {
    let web = pod("1").with_host_port(HostPort::tcp(80));
    let daemon = pod("exporter").with_host_port(HostPort::tcp(80));
    let case = |daemon: binpack::Pod| {
        let requests = daemon.requests.clone();
        let case = Case::launching([sold("small", 2_000, 100, &["a"])])
            .but(|input, _| input.daemons.push(daemon));
        (case.launch("small", "a", [web.clone()]), requests)
    };
    let (elsewhere, _) = case(daemon.clone().require(Requirement::exists("edge")));
    elsewhere.keeps_all();
    let (both, requests) = case(daemon);
    both.overhead(0, &requests).breaks(Rule::HostPorts);
}

#[test]
fn no_more_volumes_are_attached_than_go() {
    let disk = |name: &str, handle: &str| pod(name).with_volume(Volume::new("ebs", handle));
    let mut limited = bare("n").with_pod(runs(disk("old", "v0")));
    limited.volume_limits.insert("ebs".into(), 2);
    let case = Case::on([limited.clone()]);
    case.clone().bind(disk("1", "v1"), "n").keeps_all();
    let full = case.bind(disk("1", "v1"), "n").bind(disk("2", "v1"), "n");
    full.keeps_all();
    full.clone().bind(disk("3", "v2"), "n").breaks(Rule::Volumes);
    full.bind(pod("3").with_volume(Volume::new("nfs", "v2")), "n").keeps_all();
    // What was over before is not the plan's doing, as long as it attaches nothing more.
    limited.volume_limits.insert("ebs".into(), 0);
    Case::on([limited.clone()]).bind(disk("1", "v0"), "n").keeps_all();
    Case::on([limited]).bind(disk("1", "v1"), "n").breaks(Rule::Volumes);
}

#[test]
fn a_launch_takes_its_types_number_of_volumes() {
    let disk = |name: &str| pod(name).with_volume(Volume::new("ebs", name));
    let mut it = sold("small", 2_000, 100, &["a"]);
    it.volume_limits.insert("ebs".into(), 1);
    let case = Case::launching([it]);
    case.clone().launch("small", "a", [disk("1")]).keeps_all();
    case.launch("small", "a", [disk("1"), disk("2")]).breaks(Rule::Volumes);
}

#[test]
fn a_volume_is_reached_from_its_node() {
    let zone = |zone: &str| vec![Requirement::is_in(key::ZONE, [zone])];
    let disk = Volume::new("ebs", "v").reached_where(zone("a")).reached_where(zone("b"));
    let at = |zone| Case::on([node("n", zone)]).bind(pod("1").with_volume(disk.clone()), "n");
    at("b").keeps_all();
    at("c").breaks(Rule::Volumes);
}
