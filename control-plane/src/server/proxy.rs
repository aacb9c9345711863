//! Who asks, when a proxy stands in between.

use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use warp::http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client that made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: IpAddr,
    /// Somebody passed the request on, or says so.
    pub(crate) forwarded: bool,
    /// It came through the socket in the node's folder, and so from whoever owns it.
    pub(crate) is_owner: bool,
}

impl Peer {
    /// The client that a request with `headers` came from, over a connection from `peer`.
    ///
    /// The list in `X-Forwarded-For` is believed from its end on, as far as trusted proxies wrote it.
    pub(crate) fn of(peer: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let trusts = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
        let mut address = peer.ip().to_canonical();
        let told = headers.get_all(FORWARDED_FOR);
        let forwarded = told.iter().next().is_some();
        let said: Vec<&str> = told.iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')).collect();
        for said in said.into_iter().rev() {
            if !trusts(address) {
                break;
            }
            let Ok(before) = said.trim().parse::<IpAddr>() else { break };
            address = before.to_canonical();
        }
        Self { address, forwarded, is_owner: false }
    }

    /// Whoever owns the node's folder.
    pub(crate) fn owner() -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), forwarded: false, is_owner: true }
    }

    /// Whether it is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        !self.forwarded && self.address.is_loopback()
    }
}

/// An address, or all that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Network {
    address: IpAddr,
    n_bits: u8,
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither an address nor a network such as \"10.0.0.0/8\"");
        let (address, n_bits) = match text.split_once('/') {
            Some((address, n_bits)) => (address, Some(n_bits.parse().map_err(|_| wrong())?)),
            None => (text.as_str(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let n_bits = n_bits.unwrap_or(width);
        if n_bits <= width { Ok(Self { address, n_bits }) } else { Err(wrong()) }
    }
}

impl Network {
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        // A shift by all bits would be an overflow.
        (ours ^ theirs).checked_shr(width - u32::from(self.n_bits)).unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Result<Network, String> {
        Network::try_from(text.to_owned())
    }

    #[test]
    fn a_network_holds_what_begins_like_it() {
        for (text, address, held) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
        ] {
            let holds = network(text).expect(text).holds(address.parse().expect("an address"));
            assert_eq!(holds, held, "{text} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "x", "10.0.0.0/", "::/129"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_trusted_proxies_say_whom_they_speak_for() {
        let trusted = [network("10.0.0.0/8").expect("a network")];
        for (peer, told, address) in [
            // Nobody in between,
            ("192.0.2.1:1", &[][..], "192.0.2.1"),
            // a client that makes up an address,
            ("192.0.2.1:1", &["127.0.0.1"], "192.0.2.1"),
            // one proxy, two of them, and one whose client made something up.
            ("10.0.0.1:1", &["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1:1", &["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1:1", &["127.0.0.1", "192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1:1", &["nonsense"], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in told {
                headers.append(FORWARDED_FOR, value.parse().expect("a value"));
            }
            let peer = Peer::of(peer.parse().expect("an address"), &headers, &trusted);
            assert_eq!(peer.address, address.parse::<IpAddr>().expect("an address"), "{told:?}");
            assert!(told.is_empty() || !peer.is_local());
        }
    }
}
