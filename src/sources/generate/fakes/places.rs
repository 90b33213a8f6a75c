//! Addresses, countries, languages.

use super::{
    Entry, Rng, Words, global, local,
    tables::{LANGUAGE_CODES, LANGUAGES, LOCALES},
    write::{fill, format, number, pick},
};
use crate::sources::generate::values::push;

pub(super) const ALL: &[Entry] = &[
    local!("city" or "city_name" => city),
    local!("city_prefix" => city_prefix),
    local!("city_suffix" => city_suffix),
    local!("country" or "country_name" => country),
    local!("country_code" => country_code),
    local!("state" or "state_name" => state),
    local!("state_abbr" => state_abbr),
    local!("street_name" => street_name),
    local!("street_suffix" => street_suffix),
    local!("street_address" => street_address),
    local!("building_number" => building_number),
    local!("secondary_address" => secondary_address),
    local!("secondary_address_type" => secondary_address_type),
    local!("zip_code" => zip_code),
    local!("post_code" => post_code),
    local!("time_zone" => time_zone),
    local!("geohash" => geohash),
    global!("latitude" => latitude),
    global!("longitude" => longitude),
    global!("language_name" => |rng, out| out.push_str(pick(rng, LANGUAGES))),
    global!("language_code" => |rng, out| out.push_str(pick(rng, LANGUAGE_CODES))),
    global!("locale" => |rng, out| out.push_str(pick(rng, LOCALES))),
];

fn city<L: Words>(rng: &mut Rng, out: &mut String) {
    let prefix = rng.below(5) == 0;
    let template = if prefix { L::ADDRESS_CITY_WITH_PREFIX_TPL } else { L::ADDRESS_CITY_TPL };
    fill(template, out, |key, out| {
        out.push_str(match key {
            "CityPrefix" => pick(rng, L::ADDRESS_CITY_PREFIX),
            "CitySuffix" => pick(rng, L::ADDRESS_CITY_SUFFIX),
            _ if rng.below(4) == 0 => pick(rng, L::NAME_FIRST_NAME),
            _ => pick(rng, L::NAME_LAST_NAME),
        });
    });
}

fn city_prefix<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::ADDRESS_CITY_PREFIX));
}

fn city_suffix<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::ADDRESS_CITY_SUFFIX));
}

fn country<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::ADDRESS_COUNTRY));
}

fn country_code<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::ADDRESS_COUNTRY_CODE));
}

fn state<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::ADDRESS_STATE));
}

fn state_abbr<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::ADDRESS_STATE_ABBR));
}

fn street_name<L: Words>(rng: &mut Rng, out: &mut String) {
    fill(L::ADDRESS_STREET_TPL, out, |key, out| {
        out.push_str(match key {
            "StreetSuffix" => pick(rng, L::ADDRESS_STREET_SUFFIX),
            _ if rng.below(2) == 0 => pick(rng, L::NAME_FIRST_NAME),
            _ => pick(rng, L::NAME_LAST_NAME),
        });
    });
}

fn street_suffix<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::ADDRESS_STREET_SUFFIX));
}

fn street_address<L: Words>(rng: &mut Rng, out: &mut String) {
    building_number::<L>(rng, out);
    out.push(' ');
    street_name::<L>(rng, out);
}

fn building_number<L: Words>(rng: &mut Rng, out: &mut String) {
    let picked = pick(rng, L::ADDRESS_BUILDING_NUMBER_FORMATS);
    format(rng, picked, out);
}

fn secondary_address<L: Words>(rng: &mut Rng, out: &mut String) {
    fill(L::ADDRESS_SECONDARY_ADDR_TPL, out, |key, out| match key {
        "Number" => number(1 + rng.below(98), out),
        _ => out.push_str(pick(rng, L::ADDRESS_SECONDARY_ADDR_TYPE)),
    });
}

fn secondary_address_type<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::ADDRESS_SECONDARY_ADDR_TYPE));
}

fn zip_code<L: Words>(rng: &mut Rng, out: &mut String) {
    let picked = pick(rng, L::ADDRESS_ZIP_FORMATS);
    format(rng, picked, out);
}

fn post_code<L: Words>(rng: &mut Rng, out: &mut String) {
    let picked = pick(rng, L::ADDRESS_POSTCODE_FORMATS);
    format(rng, picked, out);
}

fn time_zone<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::ADDRESS_TIME_ZONE));
}

fn geohash<L: Words>(rng: &mut Rng, out: &mut String) {
    (0..8).for_each(|_| out.push_str(pick(rng, L::ADDRESS_GEOHASH_CHARS)));
}

fn latitude(rng: &mut Rng, out: &mut String) {
    push(out, format_args!("{:.6}", rng.unit() * 180.0 - 90.0));
}

fn longitude(rng: &mut Rng, out: &mut String) {
    push(out, format_args!("{:.6}", rng.unit() * 360.0 - 180.0));
}
