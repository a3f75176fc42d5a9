//! etcd's `--auth-token`: `simple`, or `jwt` with its options.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use kv_journal::etcd_server::{AuthToken, JwtConfig};

use super::duration;

const OPTIONS: [&str; 4] = ["sign-method", "pub-key", "priv-key", "ttl"];

/// Reads the flag. Simple tokens live for `simple_ttl`.
pub(crate) fn parse(text: &str, simple_ttl: Duration) -> Result<AuthToken, String> {
    let (kind, options) = text.split_once(',').unwrap_or((text, ""));
    match kind {
        "simple" | "" => Ok(AuthToken::Simple { ttl: simple_ttl }),
        "jwt" => jwt(&read_options(options)?).map(AuthToken::Jwt),
        other => Err(format!("`{other}` is no kind of tokens: write `simple` or `jwt,…`")),
    }
}

fn read_options(text: &str) -> Result<HashMap<&str, &str>, String> {
    let mut options = HashMap::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let pair = option.split_once('=').filter(|(name, _)| OPTIONS.contains(name));
        let Some((name, value)) = pair else {
            return Err(format!("`{option}` is no option: there are {}", OPTIONS.join(", ")));
        };
        if options.insert(name, value).is_some() {
            return Err(format!("`{name}` is given twice"));
        }
    }
    Ok(options)
}

fn jwt(options: &HashMap<&str, &str>) -> Result<JwtConfig, String> {
    let method = options.get("sign-method").ok_or("`jwt` needs a sign-method, such as RS256")?;
    let file = |name: &str| match options.get(name) {
        Some(path) => fs::read(path).map_err(|error| format!("{name} {path}: {error}")),
        None => Ok(Vec::new()),
    };
    let mut config = JwtConfig::new(*method, file("pub-key")?, file("priv-key")?);
    if let Some(ttl) = options.get("ttl") {
        config.ttl = duration::parse(ttl)?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_as_etcd_is_told() {
        let ttl = Duration::from_secs(9);
        assert_eq!(parse("simple", ttl), Ok(AuthToken::Simple { ttl }));
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        fs::write(&key, "secret").unwrap();
        let flag = format!("jwt,sign-method=HS256,priv-key={},ttl=10m", key.display());
        let Ok(AuthToken::Jwt(config)) = parse(&flag, ttl) else { panic!("{flag}") };
        assert_eq!(
            (config.ttl, &config.private_key[..]),
            (Duration::from_secs(600), &b"secret"[..])
        );
        for (wrong, says) in [
            ("paper", "no kind"),
            ("jwt", "needs a sign-method"),
            ("jwt,sign=HS256", "no option"),
            ("jwt,ttl=1m,ttl=2m", "twice"),
            ("jwt,sign-method=HS256,priv-key=/nowhere/at/all", "/nowhere/at/all"),
        ] {
            let said = parse(wrong, ttl).unwrap_err();
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }
}
