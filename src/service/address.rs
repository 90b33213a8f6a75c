//! `host:port`, as specs name a server.

/// The port of `host:port`, with an IPv6 address in brackets.
///
/// # Errors
/// The text is not such an address; says what is expected.
pub(crate) fn port(text: &str) -> Result<u16, &'static str> {
    let expected = "expected `host:port`, an IPv6 address in brackets";
    let (host, port) = text.rsplit_once(':').ok_or(expected)?;
    let sound = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    let number = port.parse().ok().filter(|_| port.bytes().all(|digit| digit.is_ascii_digit()));
    number.filter(|number| sound && *number > 0).ok_or(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        let good = [("localhost:4410", 4410), ("10.0.0.7:4411", 4411), ("[::1]:4410", 4410), ("a-b.c_d:1", 1)];
        for (text, expected) in good {
            assert_eq!(port(text), Ok(expected), "{text}");
        }
        let bad = ["", "localhost", "localhost:", "localhost:0", "localhost:99999", "h:+1", ":4410", "::1:4410"];
        for text in
            bad.into_iter().chain(["[::1:4410", "[localhost]:4410", "http://h:1", "h:4410/x", "a b:1", "a:1;b:1"])
        {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
