//! Words that stand for a requirement, a label, a taint or an amount.

use std::sync::Arc;

use binpack::{
    Effect, HostPort, LabelSelector, Labels, Operator, PoolLimits, Protocol, Requirement,
    Resources, Taint, Toleration, TolerationOperator, key,
};

use super::text::{Fault, Line, quantity};

/// A label's key: short names for those that everyone knows.
pub(crate) fn label_key(word: &str) -> Arc<str> {
    match word {
        "zone" => key::ZONE,
        "host" => key::HOSTNAME,
        "type" => key::INSTANCE_TYPE,
        "capacity" => key::CAPACITY_TYPE,
        "pool" => key::NODE_POOL,
        "arch" => key::ARCH,
        "os" => key::OS,
        other => other,
    }
    .into()
}

/// `key=value,key=value`.
pub(crate) fn labels(line: &mut Line<'_>) -> Result<Labels, Fault> {
    let word = line.word("labels")?;
    let pair = |pair: &str| {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| line.fault(format!("{pair} is no label: write key=value")))?;
        Ok((label_key(key), Arc::from(value)))
    };
    word.split(',').map(pair).collect()
}

/// `key=a,b`, `key!=a,b`, `key>1`, `key<9`, `key` or `!key`. Whether it is well formed is not
/// asked: a case may want to see it refused.
fn requirement(word: &str) -> Requirement {
    let listed =
        |values: &str| values.split(',').filter(|v| !v.is_empty()).map(Arc::from).collect();
    let with = |key: &str, operator, values| Requirement { key: label_key(key), operator, values };
    if let Some(key) = word.strip_prefix('!') {
        return with(key, Operator::DoesNotExist, Vec::new());
    }
    for (sign, operator) in
        [("!=", Operator::NotIn), ("=", Operator::In), (">", Operator::Gt), ("<", Operator::Lt)]
    {
        if let Some((key, values)) = word.split_once(sign) {
            return with(key, operator, listed(values));
        }
    }
    with(word, Operator::Exists, Vec::new())
}

/// Requirements that must all hold, with `&` between them.
pub(crate) fn all_of(word: &str) -> Vec<Requirement> {
    word.split('&').map(requirement).collect()
}

/// Alternatives with `|` between them.
pub(crate) fn any_of(word: &str) -> Vec<Vec<Requirement>> {
    word.split('|').map(all_of).collect()
}

/// The same for the labels of pods; `*` means all pods.
pub(crate) fn selector(line: &mut Line<'_>) -> Result<LabelSelector, Fault> {
    let word = line.word("a selector")?;
    let requirements = if word == "*" { Vec::new() } else { all_of(word) };
    Ok(LabelSelector { requirements })
}

fn effect(word: &str) -> Option<Effect> {
    Some(match word {
        "NoSchedule" => Effect::NoSchedule,
        "PreferNoSchedule" => Effect::PreferNoSchedule,
        "NoExecute" => Effect::NoExecute,
        _ => return None,
    })
}

/// `key=value:Effect` or `key:Effect`.
pub(crate) fn taint(line: &mut Line<'_>) -> Result<Taint, Fault> {
    let word = line.word("a taint")?;
    let wrong = || line.fault(format!("{word} is no taint: write key=value:Effect"));
    let (mark, effect_word) = word.rsplit_once(':').ok_or_else(wrong)?;
    let (key, value) = mark.split_once('=').unwrap_or((mark, ""));
    Ok(Taint::new(key, value, effect(effect_word).ok_or_else(wrong)?))
}

/// `key=value`, `key` or `*`, each with `:Effect` where it is for that effect alone.
pub(crate) fn toleration(line: &mut Line<'_>) -> Result<Toleration, Fault> {
    let word = line.word("a toleration")?;
    let (mark, of) = match word.rsplit_once(':') {
        None => (word, None),
        Some((mark, name)) => {
            let of = effect(name).ok_or_else(|| line.fault(format!("{name} is no effect")))?;
            (mark, Some(of))
        }
    };
    let (key, operator) = match mark.split_once('=') {
        Some((key, value)) => (key, TolerationOperator::Equal(value.into())),
        None => (mark, TolerationOperator::Exists),
    };
    let key = (!matches!(key, "" | "*")).then(|| key.into());
    Ok(Toleration { key, operator, effect: of })
}

/// `80`, `53/udp` or `80@127.0.0.1`.
pub(crate) fn port(line: &mut Line<'_>) -> Result<HostPort, Fault> {
    let word = line.word("a port")?;
    let (rest, ip) = word.split_once('@').unwrap_or((word, ""));
    let (number, protocol) = rest.split_once('/').unwrap_or((rest, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(line.fault(format!("{protocol} is no protocol"))),
    };
    let number = number.parse().map_err(|_| line.fault(format!("{number} is no port")))?;
    Ok(HostPort { ip: ip.into(), port: number, protocol })
}

/// How many of a resource's units one is.
fn per_one(name: &str) -> u64 {
    if matches!(name, "cpu" | "gpu") { 1_000 } else { 1 }
}

/// The resource of this name as one of the model's.
fn named(name: &str) -> &str {
    match name {
        "cpu" => "cpu_milli",
        "memory" => "memory_bytes",
        "disk" => "ephemeral_bytes",
        "gpu" => "gpu_milli",
        other => other,
    }
}

/// Takes an amount if the word is a resource; an extended one has `/` in its name.
pub(crate) fn resource(word: &str, line: &mut Line<'_>, of: &mut Resources) -> Result<bool, Fault> {
    if !matches!(word, "cpu" | "memory" | "disk" | "gpu" | "pods") && !word.contains('/') {
        return Ok(false);
    }
    let amount = line.amount(word, per_one(word))?;
    set(of, word, amount);
    Ok(true)
}

fn set(of: &mut Resources, name: &str, amount: u64) {
    let one = [(named(name), amount)];
    let others = of.amounts().filter(|(other, _)| *other != named(name));
    *of = Resources::from_amounts(others.chain(one));
}

/// `cpu=1,memory=2Gi`: these of a whole.
pub(crate) fn amounts(line: &mut Line<'_>, mut of: Resources) -> Result<Resources, Fault> {
    for (name, amount) in pairs(line)? {
        set(&mut of, name, amount);
    }
    Ok(of)
}

/// `cpu=1,nodes=2`.
pub(crate) fn limits(line: &mut Line<'_>) -> Result<PoolLimits, Fault> {
    let mut limits = PoolLimits::default();
    for (name, amount) in pairs(line)? {
        match name {
            "cpu" => limits.cpu_milli = Some(amount),
            "memory" => limits.memory_bytes = Some(amount),
            "gpu" => limits.gpu_milli = Some(amount),
            "disk" => limits.ephemeral_bytes = Some(amount),
            "nodes" => limits.nodes = Some(amount),
            extended if extended.contains('/') => {
                limits.extended.insert(extended.into(), amount);
            }
            other => return Err(line.fault(format!("{other} can't be limited"))),
        }
    }
    Ok(limits)
}

fn pairs<'t>(line: &mut Line<'t>) -> Result<Vec<(&'t str, u64)>, Fault> {
    let word = line.word("amounts")?;
    let pair = |pair: &'t str| {
        let parsed = pair.split_once('=');
        let parsed =
            parsed.and_then(|(name, amount)| Some((name, quantity(amount, per_one(name))?)));
        parsed.ok_or_else(|| line.fault(format!("{pair} is no amount: write name=amount")))
    };
    word.split(',').map(pair).collect()
}
