//! Mail, hosts, addresses of machines.

use fake::{
    Fake,
    faker::internet::raw::{FreeEmail, SafeEmail, Username},
};

use super::{
    Entry, Rng, Words, global, local,
    write::{hex, number, pick, slug},
};

pub(super) const ALL: &[Entry] = &[
    local!("email" or "free_email" => email),
    local!("safe_email" => safe_email),
    local!("user_name" or "username" => user_name),
    local!("free_email_provider" => provider),
    local!("domain_name" => domain_name),
    local!("domain_suffix" or "tld" => domain_suffix),
    local!("url" => url),
    local!("password" => password),
    local!("user_agent" => user_agent),
    global!("ip" => ip),
    global!("ipv4" => ipv4),
    global!("ipv6" => ipv6),
    global!("mac_address" => mac_address),
    local!("phone_number" => phone_number),
    local!("cell_number" => cell_number),
];

/// `first.last` or `first123`; false, with nothing appended, where the names have other letters than ASCII.
fn account<L: Words>(rng: &mut Rng, out: &mut String) -> bool {
    let start = out.len();
    let (first, last) = (pick(rng, L::NAME_FIRST_NAME), pick(rng, L::NAME_LAST_NAME));
    let style = rng.below(4);
    let written = match style {
        0 => slug(first, out),
        _ => slug(first, out) && separated(if style == 1 { '_' } else { '.' }, last, out),
    };
    if !written {
        out.truncate(start);
        return false;
    }
    if style != 2 {
        number(rng.below(1000), out);
    }
    true
}

fn separated(separator: char, text: &str, out: &mut String) -> bool {
    out.push(separator);
    slug(text, out)
}

fn email<L: Words>(rng: &mut Rng, out: &mut String) {
    if account::<L>(rng, out) {
        out.push('@');
        out.push_str(pick(rng, L::INTERNET_FREE_EMAIL_PROVIDER));
    } else {
        // The crate spells names out in ASCII.
        out.push_str(&FreeEmail(L::LOCALE).fake_with_rng::<String, _>(rng));
    }
}

fn safe_email<L: Words>(rng: &mut Rng, out: &mut String) {
    if account::<L>(rng, out) {
        out.push_str("@example.");
        out.push_str(pick(rng, &["com", "net", "org"]));
    } else {
        out.push_str(&SafeEmail(L::LOCALE).fake_with_rng::<String, _>(rng));
    }
}

fn user_name<L: Words>(rng: &mut Rng, out: &mut String) {
    if !account::<L>(rng, out) {
        out.push_str(&Username(L::LOCALE).fake_with_rng::<String, _>(rng));
    }
}

fn provider<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::INTERNET_FREE_EMAIL_PROVIDER));
}

fn domain_name<L: Words>(rng: &mut Rng, out: &mut String) {
    if !slug(pick(rng, L::NAME_LAST_NAME), out) {
        // Hosts are made of ASCII; such words every locale has.
        slug(pick(rng, <fake::locales::EN as fake::locales::Data>::LOREM_WORD), out);
    }
    out.push('.');
    out.push_str(pick(rng, L::INTERNET_DOMAIN_SUFFIX));
}

fn domain_suffix<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::INTERNET_DOMAIN_SUFFIX));
}

fn url<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str("https://");
    domain_name::<L>(rng, out);
    out.push('/');
    out.push_str(pick(rng, L::PATH_SEGMENTS));
}

fn password<L: Words>(rng: &mut Rng, out: &mut String) {
    let chars = L::INTERNET_PASSWORD_CHARS;
    let count = 8 + rng.below(9);
    out.extend((0..count).filter_map(|_| chars.get(rng.below(chars.len() as u64) as usize)));
}

fn user_agent<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::INTERNET_USER_AGENT));
}

fn ip(rng: &mut Rng, out: &mut String) {
    if rng.below(2) == 0 { ipv4(rng, out) } else { ipv6(rng, out) }
}

fn ipv4(rng: &mut Rng, out: &mut String) {
    let bits = rng.next();
    for i in 0..4 {
        if i > 0 {
            out.push('.');
        }
        number(bits >> (8 * i) & 255, out);
    }
}

fn ipv6(rng: &mut Rng, out: &mut String) {
    for i in 0..8 {
        if i > 0 {
            out.push(':');
        }
        hex(rng.next(), 4, false, out);
    }
}

fn mac_address(rng: &mut Rng, out: &mut String) {
    let bits = rng.next();
    for i in 0..6 {
        if i > 0 {
            out.push(':');
        }
        hex(bits >> (8 * i), 2, true, out);
    }
}

fn phone_number<L: Words>(rng: &mut Rng, out: &mut String) {
    let format = pick(rng, L::PHONE_NUMBER_FORMATS);
    super::write::format(rng, format, out);
}

fn cell_number<L: Words>(rng: &mut Rng, out: &mut String) {
    let format = pick(rng, L::PHONE_CELL_NUMBER_FORMATS);
    super::write::format(rng, format, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_has_one_at_sign_and_no_blanks() {
        for key in 0..500 {
            let mut out = String::new();
            email::<fake::locales::FR_FR>(&mut Rng::new(key), &mut out);
            assert_eq!(out.matches('@').count(), 1, "{out}");
            assert!(out.is_ascii() && !out.contains(' '), "{out}");
        }
    }
}
