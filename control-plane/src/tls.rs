//! TLS: the certificate from files, looked at again while the node runs.

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use config::ConfigError;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// The one protocol that is spoken.
const HTTP_1_1: &[u8] = b"http/1.1";

/// `[tls]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The chain, the node's own certificate first; empty for plain HTTP.
    pub(crate) certificate_file: PathBuf,
    /// The private key.
    pub(crate) key_file: PathBuf,
    /// Seconds between two looks at the files.
    pub(crate) reload_seconds: f64,
    /// Seconds for a handshake.
    pub(crate) handshake_timeout_seconds: f64,
}

impl Settings {
    /// Whether both files are named.
    pub(crate) fn is_on(&self) -> bool {
        self.names() == (true, true)
    }

    /// Refuses what cannot be used.
    ///
    /// # Errors
    ///
    /// The setting and why.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refused = |key: &str, reason: &str| {
            let (key, reason) = (format!("tls.{key}"), reason.to_owned());
            Err(ConfigError::Refused { key, reason, origin: "the merged settings".to_owned() })
        };
        match self.names() {
            (true, false) => return refused("key_file", "must be set, because tls.certificate_file is"),
            (false, true) => return refused("certificate_file", "must be set, because tls.key_file is"),
            _ => {}
        }
        let times =
            [("reload_seconds", self.reload_seconds), ("handshake_timeout_seconds", self.handshake_timeout_seconds)];
        match times.into_iter().find(|(_, seconds)| !(0.001..=86_400.0).contains(seconds)) {
            Some((key, _)) => refused(key, "must be from 0.001 to 86400"),
            None => Ok(()),
        }
    }

    fn names(&self) -> (bool, bool) {
        (!self.certificate_file.as_os_str().is_empty(), !self.key_file.as_os_str().is_empty())
    }
}

/// Agrees on keys with clients. Clones share the certificate.
#[derive(Clone)]
pub(crate) struct Tls {
    settings: Settings,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// Reads the certificate, if there is to be one.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or the two do not belong together.
    pub(crate) fn open(settings: &Settings) -> anyhow::Result<Option<Self>> {
        if !settings.is_on() {
            return Ok(None);
        }
        let config = Arc::new(ArcSwap::from_pointee(Files::read(settings)?.config()?));
        Ok(Some(Self { settings: settings.clone(), config }))
    }

    /// Agrees on keys over `stream`, in time.
    ///
    /// # Errors
    ///
    /// The client went away or speaks something else; [`io::ErrorKind::TimedOut`] when it took too long.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let handshake = TlsAcceptor::from(self.config.load_full()).accept(stream);
        let within = Duration::from_secs_f64(self.settings.handshake_timeout_seconds);
        tokio::time::timeout(within, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Looks at the files again and again until `stopping`; new connections get what is new.
    pub(crate) async fn follow(self, stopping: CancellationToken) {
        let pause = Duration::from_secs_f64(self.settings.reload_seconds);
        let mut served = Files::read(&self.settings).ok();
        while stopping.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let settings = self.settings.clone();
            let read = tokio::task::spawn_blocking(move || Files::read(&settings)).await;
            let found = match read {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    tracing::warn!(error = format!("{error:#}"), "the certificate cannot be read; the old one stays");
                    continue;
                }
                Err(_) => continue,
            };
            if served.as_ref() == Some(&found) {
                continue;
            }
            match found.config() {
                Ok(config) => {
                    self.config.store(Arc::new(config));
                    tracing::info!("a new certificate is served");
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the new certificate cannot be used; the old one stays"
                    );
                }
            }
            // A pair that cannot be used is complained about once.
            served = Some(found);
        }
    }
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(settings: &Settings) -> anyhow::Result<Self> {
        let read = |setting: &str, path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("tls.{setting}: cannot read {}", path.display()))
        };
        Ok(Self {
            certificate: read("certificate_file", &settings.certificate_file)?,
            key: read("key_file", &settings.key_file)?,
        })
    }

    fn config(&self) -> anyhow::Result<ServerConfig> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .context("tls.certificate_file: not PEM")?;
        if chain.is_empty() {
            bail!("tls.certificate_file: there is no certificate in it");
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).context("tls.key_file: there is no private key in it")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("tls.key_file and tls.certificate_file do not belong together")?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Node;
    use ::config::Config;
    use runtime::Clock;
    use runtime::metrics::Form;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use std::path::Path;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;

    /// Writes a new certificate and its key into `folder`; gives the certificate.
    fn renew(folder: &Path) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).expect("written");
        made.cert.der().clone()
    }

    async fn node(folder: &Path) -> Node {
        let path = |name: &str| folder.join(name).to_str().expect("Unicode").to_owned();
        let config = Config::defaults()
            .with("store.data_dir", path("data"))
            .and_then(|config| config.with("server.listen", "127.0.0.1:0"))
            .and_then(|config| config.with("tls.certificate_file", path("cert.pem")))
            .and_then(|config| config.with("tls.key_file", path("key.pem")))
            .and_then(|config| config.with("tls.reload_seconds", 0.02))
            .and_then(|config| config.with("tls.handshake_timeout_seconds", 1))
            .expect("known settings");
        Node::start(config, Clock::System).await.expect("a node")
    }

    /// What a client that believes in `root` is told.
    async fn ask(node: &Node, root: &CertificateDer<'static>) -> io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(node.address()).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        let mut told = String::new();
        stream.read_to_string(&mut told).await?;
        Ok(told)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_renewed_certificate_is_served_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = renew(folder.path());
        let node = node(folder.path()).await;
        assert!(node.base().starts_with("https://"));
        let told = ask(&node, &first).await.expect("an answer");
        assert!(told.starts_with("HTTP/1.1 200 ") && told.contains("strict-transport-security"), "{told}");
        // When the certificate is renewed, then new connections get the new one.
        let second = renew(folder.path());
        while ask(&node, &second).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(ask(&node, &first).await.is_err());
        // When a file is damaged, the old pair stays.
        std::fs::write(folder.path().join("key.pem"), "no key").expect("written");
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(200) {
            ask(&node, &second).await.expect("an answer");
        }
        node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_never_agrees_on_a_key_is_hung_up_on() {
        let folder = tempfile::tempdir().expect("a folder");
        renew(folder.path());
        let node = node(folder.path()).await;
        let began = Instant::now();
        let mut silent = TcpStream::connect(node.address()).await.expect("a connection");
        assert!(matches!(silent.read(&mut [0]).await, Ok(0) | Err(_)));
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(node.app().metrics.encode(Form::Text).contains("limit=\"handshake_timeout_seconds\"} 1"));
        node.stop().await;
    }

    #[tokio::test]
    async fn half_a_pair_is_refused_by_name() {
        let config = Config::defaults().with("tls.key_file", "key.pem").expect("a known setting");
        let error = config.section::<Settings>("tls").expect("a section").check().expect_err("refused").to_string();
        assert!(error.starts_with("tls.certificate_file: "), "{error}");
    }
}
