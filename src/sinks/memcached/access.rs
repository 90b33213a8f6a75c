//! Who we are to the servers, and whether TLS is spoken with them: what the spec says of it, and what comes of that once
//! files and variables are read, which is when the run starts.

use std::{fmt, path::PathBuf, sync::OnceLock};

use crate::{
    failure::{Exit, Failure},
    jobspec::{Revealed, Secret},
    service::Tls,
};

/// What the spec says.
#[derive(Debug, Default)]
pub(super) struct Access {
    /// A user's name and where the password is.
    pub(super) login: Option<(String, Secret)>,
    pub(super) tls: Option<TlsFiles>,
    ready: OnceLock<Result<Ready, Failure>>,
}

/// The files that TLS needs.
#[derive(Debug, Default)]
pub(super) struct TlsFiles {
    /// The certificates that vouch for servers; the system's where there is none.
    pub(super) ca: Option<PathBuf>,
    /// Our own certificate and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// What connections are made with.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) login: Option<Login>,
    pub(super) tls: Option<Tls>,
}

/// A user's name and password.
#[derive(Debug)]
pub(super) struct Login {
    user: String,
    password: Revealed,
}

impl Access {
    pub(super) fn new(login: Option<(String, Secret)>, tls: Option<TlsFiles>) -> Access {
        Access { login, tls, ready: OnceLock::new() }
    }

    /// What connections are made with; files and variables are read once.
    ///
    /// # Errors
    /// One is missing, or does not hold what it should.
    pub(super) fn ready(&self) -> Result<&Ready, Failure> {
        let ready = self.ready.get_or_init(|| self.resolve(&|name| std::env::var(name).ok()));
        ready.as_ref().map_err(Failure::clone)
    }

    fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Ready, Failure> {
        let login = match &self.login {
            Some((user, password)) => Some(Login::new(user, password.resolve(env)?)?),
            None => None,
        };
        let new = |TlsFiles { ca, client }: &TlsFiles| {
            Tls::new(ca.as_deref(), client.as_ref().map(|(certificate, key)| (&**certificate, &**key)))
        };
        Ok(Ready { login, tls: self.tls.as_ref().map(new).transpose()? })
    }

    /// What `runner plan` says.
    pub(super) fn notes(&self) -> Vec<String> {
        let user = self.login.as_ref().map(|(user, _)| format!("user `{user}`"));
        self.tls.iter().map(|_| "with TLS".to_owned()).chain(user).collect()
    }
}

/// What is wrong with a user's name, if anything.
pub(super) fn wrong_user(user: &str) -> Option<&'static str> {
    let bad = user.is_empty() || user.chars().any(|c| c == ':' || c == ' ' || c.is_control());
    bad.then_some("memcached knows no user whose name is empty or has a space, a colon or a control character in it")
}

impl Login {
    fn new(user: &str, password: Revealed) -> Result<Login, Failure> {
        match password.expose().chars().any(char::is_control) {
            true => Err(Failure::new(Exit::Spec, "the `password` has control characters, which no password has")),
            false => Ok(Login { user: user.to_owned(), password }),
        }
    }

    /// The command that says who we are. It looks like a `set`: a server that asks for no password would store it.
    pub(super) fn command(&self) -> Vec<u8> {
        let token = format!("{} {}", self.user, self.password.expose());
        format!("set auth 0 0 {}\r\n{token}\r\n", token.len()).into_bytes()
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user `{}`", self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_sent_and_never_shown() {
        let secret = Secret::Env("MEMCACHED_PASSWORD".to_owned());
        let access = Access::new(Some(("boss".to_owned(), secret)), None);
        let ready = access.resolve(&|_| Some("tän go:1".to_owned())).expect("it is there");
        let login = ready.login.as_ref().expect("it is asked for");
        assert_eq!(login.command(), "set auth 0 0 14\r\nboss tän go:1\r\n".as_bytes());
        let shown = format!("{access:?} {ready:?} {login} {:?}", access.notes());
        assert!(!shown.contains("go:1") && shown.contains("boss"), "{shown}");
        let missing = access.resolve(&|_| None).expect_err("it is not there");
        assert_eq!(missing.exit, Exit::Spec);
        let broken = access.resolve(&|_| Some("tan\r\ngo".to_owned())).expect_err("it cannot be sent");
        assert!(broken.exit == Exit::Spec && !broken.message.contains("go"), "{broken}");
    }

    #[test]
    fn files_of_tls_are_read_when_they_are_needed() {
        let file = |name: &str| Some(PathBuf::from(name));
        let told = |ca, client| Access::new(None, Some(TlsFiles { ca, client })).ready().map(drop).map_err(|f| f.exit);
        assert_eq!(told(file("/no/such/file"), None), Err(Exit::InputMissing));
        let not_pem = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(told(file(not_pem), None), Err(Exit::Spec));
    }
}
