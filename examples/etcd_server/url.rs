//! The URLs of listeners.

use std::fmt;
use std::str::FromStr;

/// Where to listen: a scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenUrl {
    pub(crate) tls: bool,
    /// `host:port`, the host in brackets if it is an IPv6 address.
    pub(crate) authority: String,
}

impl FromStr for ListenUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{url}`: {why}, as in `http://127.0.0.1:2379`");
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("write a scheme"))?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("the scheme is http or https")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() || authority.contains('/') {
            return Err(wrong("write a host, a port and nothing after them"));
        }
        Ok(Self { tls, authority: authority.to_owned() })
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_told_what_is_wrong() {
        let url: ListenUrl = "https://[::1]:2379/".parse().unwrap();
        assert_eq!(url, ListenUrl { tls: true, authority: "[::1]:2379".to_owned() });
        assert_eq!(url.to_string(), "https://[::1]:2379");
        for (wrong, why) in [
            ("127.0.0.1:2379", "a scheme"),
            ("unix:///tmp/x", "http or https"),
            ("http://127.0.0.1", "a port"),
            ("http://a:1/path", "nothing after"),
        ] {
            assert!(wrong.parse::<ListenUrl>().unwrap_err().contains(why), "{wrong}");
        }
    }
}
