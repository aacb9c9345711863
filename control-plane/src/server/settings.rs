//! `[server]`: where to listen, and what a connection may take.

use super::proxy::Network;
use crate::tls;
use config::ConfigError;
use serde::Deserialize;
use std::net::SocketAddr;
use tokio::sync::Semaphore;

/// Least room for a request's head that the HTTP library accepts.
const HEADER_BYTES_MIN: usize = 8_192;

/// `[server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Address and port.
    pub(crate) listen: SocketAddr,
    /// A proxy that speaks TLS stands in front.
    pub(crate) behind_proxy: bool,
    /// Proxies whose word on the client's address is believed.
    pub(crate) trusted_proxies: Vec<Network>,
    /// Headers of a request.
    pub(crate) headers_max: usize,
    /// Bytes of its head.
    pub(crate) header_bytes_max: usize,
    /// Seconds for its head.
    pub(crate) header_read_timeout_seconds: f64,
    /// Seconds for its body.
    pub(crate) body_read_timeout_seconds: f64,
    /// Bytes of a body that must come each second.
    pub(crate) body_bytes_per_second_min: u32,
    /// Seconds for which that rate is not asked for.
    pub(crate) body_grace_seconds: f64,
    /// Seconds until a request must be answered.
    pub(crate) request_timeout_seconds: f64,
    /// Seconds without a request after which a connection is closed.
    pub(crate) idle_timeout_seconds: f64,
    /// Seconds for which a client may leave its answer unread.
    pub(crate) write_stall_seconds: f64,
    /// Bytes of an answer that the system keeps for a client that does not read.
    pub(crate) send_buffer_bytes: u32,
    /// Open connections.
    pub(crate) connections_max: usize,
    /// Open connections from one address.
    pub(crate) connections_per_address_max: usize,
    /// Seconds that requests under way get at the end.
    pub(crate) drain_seconds: f64,
}

impl Settings {
    /// Refuses what nothing can be served with, or not safely.
    ///
    /// # Errors
    ///
    /// The setting and why.
    pub(crate) fn check(&self, tls: &tls::Settings) -> Result<(), ConfigError> {
        let refused = |key: &str, reason: &str| {
            let (key, reason) = (format!("server.{key}"), reason.to_owned());
            Err(ConfigError::Refused { key, reason, origin: "the merged settings".to_owned() })
        };
        let times = [
            ("header_read_timeout_seconds", self.header_read_timeout_seconds),
            ("body_read_timeout_seconds", self.body_read_timeout_seconds),
            ("body_grace_seconds", self.body_grace_seconds),
            ("request_timeout_seconds", self.request_timeout_seconds),
            ("idle_timeout_seconds", self.idle_timeout_seconds),
            ("write_stall_seconds", self.write_stall_seconds),
            ("drain_seconds", self.drain_seconds),
        ];
        if let Some((key, _)) = times.into_iter().find(|(_, seconds)| !(0.001..=86_400.0).contains(seconds)) {
            return refused(key, "must be from 0.001 to 86400");
        }
        if self.connections_max == 0 || Semaphore::MAX_PERMITS < self.connections_max {
            return refused("connections_max", "must be at least 1, and not astronomical");
        }
        if self.connections_per_address_max == 0 {
            return refused("connections_per_address_max", "must be at least 1");
        }
        if self.headers_max == 0 {
            return refused("headers_max", "must be at least 1");
        }
        if self.header_bytes_max < HEADER_BYTES_MIN {
            return refused("header_bytes_max", "must be at least 8192");
        }
        if !self.listen.ip().to_canonical().is_loopback() && !tls.is_on() && !self.behind_proxy {
            return refused(
                "listen",
                "others can reach this address, and keys would go over the network in the clear: set \
                 tls.certificate_file and tls.key_file, or set server.behind_proxy to true if a proxy that speaks \
                 TLS stands in front",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Config;

    fn refusal(changes: &[(&str, &str)]) -> Option<String> {
        let set = |config: Config, (key, value): &(&str, &str)| match *value {
            "true" => config.with(key, true).expect("a known setting"),
            value => config.with(key, value).expect("a known setting"),
        };
        let config = changes.iter().fold(Config::defaults(), set);
        let (settings, tls): (Settings, tls::Settings) =
            (config.section("server").expect("a section"), config.section("tls").expect("a section"));
        settings.check(&tls).err().map(|error| error.to_string())
    }

    #[test]
    fn plain_http_is_for_this_machine_unless_a_proxy_stands_in_front() {
        assert_eq!(refusal(&[]), None);
        assert_eq!(refusal(&[("server.listen", "[::1]:0")]), None);
        let told = refusal(&[("server.listen", "0.0.0.0:8000")]).expect("refused");
        for setting in ["server.listen", "server.behind_proxy", "tls.certificate_file", "tls.key_file"] {
            assert!(told.contains(setting), "{setting}: {told}");
        }
        assert_eq!(refusal(&[("server.listen", "0.0.0.0:8000"), ("server.behind_proxy", "true")]), None);
        let tls = [("tls.certificate_file", "c.pem"), ("tls.key_file", "k.pem")];
        assert_eq!(refusal(&[("server.listen", "0.0.0.0:8000"), tls[0], tls[1]]), None);
    }
}
