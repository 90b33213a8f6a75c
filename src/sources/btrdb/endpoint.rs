//! Where the server is, and how it is reached: with or without TLS, with which roots and which key.

use std::{fs, path::PathBuf, time::Duration};

use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::{
    failure::{Exit, Failure},
    jobspec::Secret,
};

/// The port that a server listens at with TLS.
const TLS_PORT: u16 = 4411;

/// The variable that names a file of roots, as for other clients of BTrDB.
const CA_VARIABLE: &str = "BTRDB_CA_BUNDLE";

/// How much of an answer may be on its way before it is read. Larger than HTTP/2's 64 KiB, so that the server
/// need not wait for every few pieces; small enough to have per worker.
const WINDOW: u32 = 2 << 20;

/// A server as the spec gives it.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// `host:port`
    pub(super) text: String,
    /// With TLS?
    pub(super) tls: bool,
    /// A file of roots; the system's where there is none.
    pub(super) ca: Option<PathBuf>,
    /// Where the key is.
    pub(super) key: Option<Secret>,
}

/// Is TLS spoken at this port, unless the spec says so of itself?
pub(super) fn means_tls(port: u16) -> bool {
    port == TLS_PORT
}

impl Address {
    /// What a client connects to. Reads the roots, where a file of them is named.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate, or the address is none.
    pub(super) fn endpoint(
        &self,
        timeout: Duration,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Endpoint, Failure> {
        let broken = |error: tonic::transport::Error| {
            Failure::new(Exit::Spec, format!("the endpoint `{}` cannot be used: {error}", self.text))
        };
        let scheme = if self.tls { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.text)).map_err(broken)?;
        let endpoint = endpoint
            .connect_timeout(timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        if !self.tls {
            return Ok(endpoint);
        }
        let named = env(CA_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let config = match self.ca.clone().or(named) {
            None => ClientTlsConfig::new().with_native_roots(),
            Some(path) => {
                let pem = fs::read(&path).map_err(|error| Failure::reading(&path, &error))?;
                if !pem.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----") {
                    let message = format!("`{}` holds no certificate in PEM form", path.display());
                    return Err(Failure::new(Exit::Spec, message));
                }
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
        };
        endpoint.tls_config(config).map_err(broken)
    }

    /// What is sent along with every call.
    ///
    /// # Errors
    /// The key cannot be found, or is nothing that can be sent.
    pub(super) fn authorization(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let Some(key) = &self.key else { return Ok(None) };
        let key = key.resolve(env)?;
        let wrong = |_| Failure::new(Exit::Spec, "the `api_key` has characters that no key has".to_owned());
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", key.expose()).parse().map_err(wrong)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(key: Option<Secret>, ca: Option<&str>) -> Address {
        Address { text: "h:4411".into(), tls: true, ca: ca.map(PathBuf::from), key }
    }

    #[test]
    fn a_key_is_sent_as_a_bearer_and_never_shown() {
        let address = address(Some(Secret::Env("KEY".into())), None);
        let sent = |key: &str| address.authorization(&|_| Some(key.to_owned()));
        let value = sent("tango").unwrap().unwrap();
        assert_eq!(value.to_str().unwrap(), "Bearer tango");
        assert!(!format!("{value:?} {address:?}").contains("tango"));
        for (found, exit) in [(sent("tan\ngo"), Exit::Spec), (address.authorization(&|_| None), Exit::Spec)] {
            let failure = found.unwrap_err();
            assert!(failure.exit == exit && !failure.message.contains("tan"), "{failure}");
        }
    }

    #[test]
    fn roots_come_from_the_key_or_the_variable() {
        let none = |_: &str| None;
        let of = |ca, env: &dyn Fn(&str) -> Option<String>| address(None, ca).endpoint(Duration::from_secs(1), env);
        let missing = of(Some("/no/such/file"), &none).unwrap_err();
        assert_eq!(missing.exit, Exit::InputMissing);
        let named = |name: &str| (name == CA_VARIABLE).then(|| "/no/other/file".to_owned());
        assert!(of(None, &named).unwrap_err().message.contains("/no/other/file"));
        assert!(of(Some("/no/such/file"), &named).unwrap_err().message.contains("/no/such/file"));
        let not_pem = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(of(Some(not_pem), &none).unwrap_err().message.contains("holds no certificate"));
    }
}
