//! Where messages may go.
//!
//! An address is set in the settings file, never through the API; still it may lead, by mistake or by a change in
//! the name service, to something inside that takes orders from whoever reaches it. So only public addresses are
//! connected to, unless the settings name the host. The name is resolved anew for each connection, and what was
//! checked is what is connected to.

use anyhow::ensure;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Ports on which other systems are spoken to.
const PORTS: [u16; 2] = [443, 8443];

/// Decides where a request may go.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// Hosts that may lie inside, speak plain HTTP, and listen on any port.
    internal: Arc<[String]>,
}

impl Guard {
    /// A guard that knows the hosts `internal`, names or addresses.
    pub(crate) fn new(internal: &[String]) -> Self {
        Self { internal: internal.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    fn knows(&self, host: &str) -> bool {
        self.internal.iter().any(|known| known == host)
    }

    /// Refuses an address that nothing may be sent to. A name is judged when it is resolved.
    ///
    /// # Errors
    ///
    /// The reason.
    pub(crate) fn check(&self, url: &Url) -> anyhow::Result<()> {
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        ensure!(url.username().is_empty() && url.password().is_none(), "must not hold a user or a password");
        ensure!(matches!(url.scheme(), "http" | "https"), "must begin with https://, got {url}");
        if self.knows(host) {
            return Ok(());
        }
        ensure!(url.scheme() == "https", "must begin with https://, unless {host} is one of the internal hosts");
        let port = url.port_or_known_default().unwrap_or_default();
        ensure!(PORTS.contains(&port), "port {port} is allowed only for one of the internal hosts");
        if let Ok(address) = host.parse() {
            ensure!(is_public(address), "{host} is not a public address, and not one of the internal hosts");
        }
        Ok(())
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One address inside is enough to refuse: a name that leads to both may be made to lead there.
            if !guard.knows(name.as_str())
                && let Some(inside) = found.iter().find(|address| !is_public(address.ip()))
            {
                let refused = format!("{} leads to {}, which is not a public address", name.as_str(), inside.ip());
                return Err(refused.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether `address` is reached through the public Internet.
///
/// # Source
///
/// IANA's registries of special-purpose addresses for IPv4 and IPv6.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
        || 224 <= a)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    let is_documentation = address.segments()[..2] == [0x2001, 0xdb8];
    // Everything that is handed out for the Internet lies in 2000::/3; 2001::/32 tunnels to an address that it hides.
    first & 0xe000 == 0x2000 && address.segments()[..2] != [0x2001, 0] && !is_documentation
}

/// The IPv4 address that is reached through `address`: mapped, translated or tunnelled.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let of = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Has the process encrypt with what this crate was built for, unless somebody chose before.
pub(crate) fn provide_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider().install_default().is_err()
    {
        tracing::debug!("another crypto provider was installed meanwhile");
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        write!(told, ": {cause}").expect("writing to a string does not fail");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, internal: &[&str]) -> Result<(), String> {
        let internal: Vec<String> = internal.iter().map(|host| (*host).to_owned()).collect();
        Guard::new(&internal).check(&Url::parse(url).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_lies_inside_is_no_public_address_however_it_is_written() {
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.0.1",
            "198.19.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:0:4136:e378::",
            "2001:db8::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn an_address_is_refused_for_what_it_leads_to() {
        assert_eq!(check("https://example.org/hook", &[]), Ok(()));
        assert_eq!(check("https://example.org:8443/hook", &[]), Ok(()));
        for (url, reason) in [
            ("http://example.org/hook", "must begin with https://"),
            ("ftp://example.org", "must begin with https://"),
            ("https://example.org:22/", "port 22"),
            ("https://user:word@example.org/", "user or a password"),
            ("https://127.0.0.1/", "not a public address"),
            // Other ways to write an address are read before they are judged.
            ("https://2130706433/", "not a public address"),
            ("https://0x7f.1/", "not a public address"),
            ("https://0177.0.0.1/", "not a public address"),
            ("https://[::1]/", "not a public address"),
            ("https://[::ffff:10.0.0.1]/", "not a public address"),
        ] {
            let refused = check(url, &[]).unwrap_err();
            assert!(refused.contains(reason), "{url}: {refused}");
        }
    }

    #[test]
    fn a_host_that_the_settings_name_may_lie_inside() {
        assert_eq!(check("http://10.0.0.5:9000/hook", &["10.0.0.5"]), Ok(()));
        assert_eq!(check("http://CMMS.plant.local:9000/hook", &["cmms.plant.local"]), Ok(()));
        assert!(check("http://10.0.0.6:9000/hook", &["10.0.0.5"]).is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_when_it_is_resolved() {
        let resolved = |guard: Guard| async move { guard.resolve("localhost".parse().unwrap()).await.map(|_| ()) };
        let refused = resolved(Guard::new(&[])).await.unwrap_err().to_string();
        assert!(refused.contains("not a public address"), "{refused}");
        assert!(resolved(Guard::new(&["localhost".to_owned()])).await.is_ok());
    }
}
