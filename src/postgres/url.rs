//! Where the server is: a URL, or where to find one. What may hold a password is never printed.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema as JsonSchemaText, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use tokio_postgres::config::{Config, Host, SslMode};

use crate::{
    failure::{Exit, Failure},
    jobspec::{Problem, Secret, SpecLocation, Value},
    kind::Context,
};

/// A connection URL as a spec gives it.
#[derive(Clone)]
pub(crate) enum Url {
    /// Itself.
    Text(String),
    /// Where it is.
    Secret(Secret),
}

const FORM: &str = "expected `postgres://user@host:port/database`";

const ENCODE: &str = "`@`, `#`, `%`, `/`, `?` and `:` in a user's name or a password are written as `%40`, `%23`, `%25`, \
                      `%2F`, `%3F` and `%3A`";

impl Url {
    /// Records what is wrong with a URL that stands in the spec itself, at the key `url`. What a variable put
    /// there is looked at when the run starts, and may hold a password.
    pub(crate) fn check(&self, context: &mut Context<'_>) {
        let literal = matches!(context.table.as_table().and_then(|table| table.get("url")), Some(Value::Text(_)));
        let (true, Url::Text(text)) = (literal, self) else { return };
        let found = match parse(text) {
            Err(message) => Some((message.to_owned(), None)),
            Ok(config) if config.get_password().is_some() => {
                let help = "write `url = { env = \"DATABASE_URL\" }` or `{ file = \"…\" }` and put the URL there";
                Some(("a password does not belong in a job spec".to_owned(), Some(help.to_owned())))
            }
            Ok(_) => None,
        };
        if let Some((message, help)) = found {
            let place = SpecLocation::value(context.path.key("url"));
            context.problems.push(Problem::new("url", place, message).help(help));
        }
    }

    /// The settings that it stands for.
    ///
    /// # Errors
    /// It is not there, or is not a URL.
    pub(super) fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Failure> {
        let revealed;
        let text = match self {
            Url::Text(text) => text.as_str(),
            Url::Secret(secret) => {
                revealed = secret.resolve(env)?;
                revealed.expose()
            }
        };
        parse(text).map_err(|message| Failure::new(Exit::Spec, format!("the `url`: {message}")))
    }

    /// What `runner plan` says of it.
    pub(crate) fn note(&self) -> String {
        match self {
            Url::Secret(Secret::Env(name)) => format!("server from the variable `{name}`"),
            Url::Secret(Secret::File(path)) => format!("server from the file `{}`", path.display()),
            Url::Text(text) => parse(text).map_or_else(|_| "server from the `url`".to_owned(), |c| describe(&c)),
        }
    }
}

/// Server and database, for people: `PostgreSQL database `db` on `host:port``.
pub(super) fn describe(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
    let host = |(i, host): (usize, &Host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(i)),
        #[cfg(unix)]
        Host::Unix(path) => format!("{}:{}", path.display(), port(i)),
    };
    let hosts: Vec<String> = config.get_hosts().iter().enumerate().map(host).collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("PostgreSQL database `{database}` on `{}`", hosts.join(","))
}

/// The settings in a URL. The message never repeats the text: it may hold a password.
fn parse(text: &str) -> Result<Config, &'static str> {
    if let Some((_, rest)) = text.split_once("://") {
        let before = rest.split('?').next().unwrap_or_default();
        let percents = || rest.split('%').skip(1);
        let is_hex = |code: &str| code.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
        if before.matches('@').count() > 1 || rest.contains('#') || !percents().all(is_hex) {
            return Err(ENCODE);
        }
    }
    let config: Config = text.parse().map_err(|_| FORM)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("it names no host; expected `postgres://user@host:port/database`");
    }
    if config.get_user().is_none() {
        return Err("it names no user; expected `postgres://user@host:port/database`");
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err("it asks for `sslmode=require`, and TLS is not built in");
    }
    Ok(config)
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UrlVisitor)
    }
}

struct UrlVisitor;

impl<'de> Visitor<'de> for UrlVisitor {
    type Value = Url;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL, or where it is: `{ env = \"DATABASE_URL\" }` or `{ file = \"…\" }`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Url, E> {
        Ok(Url::Text(text.to_owned()))
    }

    /// Stands for a URL from the environment that is not known while a spec is only checked.
    fn visit_unit<E: de::Error>(self) -> Result<Url, E> {
        self.visit_str("")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Url, A::Error> {
        Secret::deserialize(MapAccessDeserializer::new(map)).map(Url::Secret)
    }
}

impl JsonSchema for Url {
    fn schema_name() -> Cow<'static, str> {
        "PostgresUrl".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> JsonSchemaText {
        let secret = generator.subschema_for::<Secret>();
        json_schema!({
            "description": "`postgres://user@host:port/database`, or where it is; only there may it hold a password.",
            "oneOf": [{ "type": "string" }, secret],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_parsed_and_its_text_never_repeated() {
        let cases = [
            ("postgres://u@h/d", Ok("PostgreSQL database `d` on `h:5432`")),
            ("postgresql://u@h:7,i:8/d", Ok("PostgreSQL database `d` on `h:7,i:8`")),
            ("postgres://u:tango@h", Ok("PostgreSQL database `u` on `h:5432`")),
            ("postgres://u@h/d?sslmode=require", Err("TLS is not built in")),
            ("postgres://u:tango@h:port/d", Err("expected `postgres://")),
            ("postgres://u:tango@x@h/d", Err("are written as `%40`")),
            ("postgres://u:tango#1@h/d", Err("are written as `%40`")),
            ("postgres://u:tango%rd@h/d", Err("are written as `%40`")),
            ("postgres://u:tango/1@h/d", Ok("PostgreSQL database `d` on `h:5432`")),
            ("postgres://u:t%40ng%23@h/d", Ok("PostgreSQL database `d` on `h:5432`")),
            ("tango", Err("expected `postgres://")),
            ("", Err("no host")),
            ("postgres://h/d", Err("no user")),
        ];
        for (text, expected) in cases {
            let found = parse(text).map(|config| describe(&config));
            match expected {
                Ok(shown) => assert_eq!(found.as_deref(), Ok(shown)),
                Err(part) => assert!(found.as_ref().is_err_and(|e| e.contains(part)), "{text}: {found:?}"),
            }
            assert!(!format!("{found:?}").contains("tango"));
        }
    }

    #[test]
    fn a_secret_url_is_fetched_and_hidden() {
        let url = Url::Secret(Secret::Env("DB".to_owned()));
        let config = url.resolve(&|_| Some("postgres://u:tango@h/d".to_owned())).unwrap();
        assert_eq!(config.get_password(), Some(&b"tango"[..]));
        assert_eq!(url.resolve(&|_| None).unwrap_err().exit, Exit::Spec);
        let wrong = url.resolve(&|_| Some("postgres://u:tango@h:x".to_owned())).unwrap_err();
        assert!(wrong.exit == Exit::Spec && !wrong.message.contains("tango"), "{wrong}");
        assert_eq!((format!("{url:?}"), url.note()), ("***".to_owned(), "server from the variable `DB`".to_owned()));
    }
}
