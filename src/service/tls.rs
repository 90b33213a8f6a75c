//! TLS to a server, over a connection whose reads and writes have timeouts. What a timeout interrupts goes on with the
//! next call: nothing is lost.

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::transport::{Transport, remaining, unless_late};
use crate::failure::{Exit, Failure};

/// Which servers are trusted, and who we are to them.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts servers that the certificates in the file `ca` vouch for, or those that the system trusts where no file is
    /// named. `client` is our own certificate and its key, where servers ask for one.
    ///
    /// # Errors
    /// A file cannot be read, or does not hold what it should.
    pub(crate) fn new(ca: Option<&Path>, client: Option<(&Path, &Path)>) -> Result<Tls, Failure> {
        let wrong = |error: rustls::Error| Failure::new(Exit::Spec, format!("TLS cannot be set up: {error}"));
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_root_certificates(roots(ca)?);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key_text = read(key)?;
                let key = PrivateKeyDer::from_pem_slice(&key_text).map_err(|_| holds_no("private key", key))?;
                builder.with_client_auth_cert(certificates(certificate)?, key).map_err(wrong)?
            }
        };
        // Servers that ask for certificates may break off a session that is resumed: OpenSSL does, unless told how to tell
        // sessions apart. A worker keeps its connections, so there are few to greet.
        config.resumption = Resumption::disabled();
        Ok(Tls(Arc::new(config)))
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|_| holds_no("certificate", path))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let message = "this system has no certificates that vouch for servers; name a file of them with `ca`";
                return Err(Failure::new(Exit::Spec, message));
            }
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| holds_no("certificate", path))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::reading(path, &error))
}

fn holds_no(what: &str, path: &Path) -> Failure {
    Failure::new(Exit::Spec, format!("`{}` holds no {what} in PEM form", path.display()))
}

/// How many bytes at the end of what is written go in a TLS record of their own. memcached 1.6.18 does not look at the rest
/// of a record in which a value has ended before another record comes: without one it would never answer.
const LAST: usize = 4;

/// An open connection.
#[derive(Debug)]
pub(super) struct TlsStream {
    connection: ClientConnection,
    stream: TcpStream,
}

impl TlsStream {
    /// Greets the server, which is called `host`.
    pub(super) fn greet(stream: TcpStream, tls: &Tls, host: &str, deadline: Instant) -> io::Result<TlsStream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&tls.0), name).map_err(io::Error::other)?;
        let mut greeting = TlsStream { connection, stream };
        greeting.finish_greeting(deadline).map_err(|error| if is_no_tls(&error) { no_tls(&error) } else { error })?;
        Ok(greeting)
    }

    fn finish_greeting(&mut self, deadline: Instant) -> io::Result<()> {
        while self.connection.is_handshaking() {
            let left = remaining(deadline)?;
            unless_late(match self.connection.wants_write() {
                true => self.limit_writes(left).and_then(|()| self.push()),
                false => self.limit_reads(left).and_then(|()| self.pull()),
            })?;
        }
        Ok(())
    }

    /// Writes some of what is encrypted.
    fn push(&mut self) -> io::Result<usize> {
        self.connection.write_tls(&mut self.stream)
    }

    /// Reads, and decrypts what is whole.
    fn pull(&mut self) -> io::Result<usize> {
        match self.connection.read_tls(&mut self.stream)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => match self.connection.process_new_packets() {
                Ok(_) => Ok(read),
                Err(error) => {
                    // The server is told why, as far as it still listens; what went wrong first is what counts.
                    let _ = self.push();
                    Err(io::Error::other(error))
                }
            },
        }
    }
}

impl Read for TlsStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            match self.pull() {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                done => done?,
            };
        }
    }
}

impl Write for TlsStream {
    /// Encrypts what there is room for, and sends as much of it as goes now; [`Write::flush`] sends the rest.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let first = bytes.len().checked_sub(LAST).filter(|first| *first > 0).unwrap_or(bytes.len());
        let taken = self.connection.writer().write(&bytes[..first])?;
        unless_late(self.flush())?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.push()? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Transport for TlsStream {
    fn limit_reads(&self, wait: Duration) -> io::Result<()> {
        self.stream.limit_reads(wait)
    }

    fn limit_writes(&self, wait: Duration) -> io::Result<()> {
        self.stream.limit_writes(wait)
    }
}

/// Is what a server said to a greeting no TLS at all?
fn is_no_tls(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::InvalidMessage(_)))
}

fn no_tls(error: &io::Error) -> io::Error {
    io::Error::other(format!("the server does not speak TLS at this address ({error})"))
}

/// Does one side not accept the other's certificate, or its kind of TLS? Trying again would not help.
pub(super) fn is_distrust(error: &io::Error) -> bool {
    use rustls::Error::{AlertReceived, InvalidCertificate, NoCertificatesPresented, PeerIncompatible};
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let distrust = |cause: &rustls::Error| {
        matches!(cause, AlertReceived(_) | InvalidCertificate(_) | NoCertificatesPresented | PeerIncompatible(_))
    };
    cause.is_some_and(distrust)
}
