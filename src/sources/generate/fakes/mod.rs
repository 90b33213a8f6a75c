//! Made-up text by readable names: the `fake` crate's word lists and formats, written straight into a
//! column's buffer; its own fakers where they are rare; small tables for what it lacks.

mod internet;
mod locale;
mod people;
mod places;
mod rest;
mod tables;
mod things;
mod write;

pub(super) use self::locale::Locale;
use self::locale::Words;
use super::rng::Rng;

/// Appends one made-up value.
pub(super) type Faker = fn(&mut Rng, &mut String);

/// One fake as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeInfo {
    /// What stands behind `fake =`, or in the braces of a template.
    pub name: &'static str,
    /// Other names for the same.
    pub aliases: &'static [&'static str],
    /// The locales that have it.
    pub locales: Vec<&'static str>,
    /// A value of the first of these locales, always the same.
    pub example: String,
}

/// One line of the registry.
struct Entry {
    name: &'static str,
    aliases: &'static [&'static str],
    faker: fn(Locale) -> Option<Faker>,
}

/// Why there is no faker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// No fake has the name.
    Name,
    /// These locales have it.
    Locale(Vec<&'static str>),
}

/// Every fake, by subject.
pub fn names() -> impl Iterator<Item = FakeInfo> {
    entries().map(|entry| {
        let locales = entry.locales();
        let mut example = String::new();
        let first = Locale::all().find_map(|locale| (entry.faker)(locale));
        if let Some(faker) = first {
            faker(&mut Rng::new(super::rng::hash_name(0, entry.name)), &mut example);
        }
        FakeInfo { name: entry.name, aliases: entry.aliases, locales, example }
    })
}

/// Every name that a fake goes by.
pub(super) fn every_name() -> impl Iterator<Item = &'static str> {
    entries().flat_map(|entry| [entry.name].into_iter().chain(entry.aliases.iter().copied()))
}

/// Is there a fake of that name, in whatever locale?
pub(super) fn is_known(name: &str) -> bool {
    every_name().any(|known| known == name)
}

/// The fake of that name in a locale.
pub(super) fn find(name: &str, locale: Locale) -> Result<Faker, Missing> {
    let entry = entries().find(|entry| entry.name == name || entry.aliases.contains(&name)).ok_or(Missing::Name)?;
    (entry.faker)(locale).ok_or_else(|| Missing::Locale(entry.locales()))
}

impl Entry {
    fn locales(&self) -> Vec<&'static str> {
        Locale::all().filter(|locale| (self.faker)(*locale).is_some()).map(Locale::name).collect()
    }
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    [people::ALL, places::ALL, things::ALL, internet::ALL, rest::ALL].into_iter().flatten()
}

/// A line of the registry: names, and a function that is generic over the locale's words.
macro_rules! local {
    ($name:literal $(or $alias:literal)* => $function:ident) => {
        $crate::sources::generate::fakes::Entry {
            name: $name,
            aliases: &[$($alias),*],
            faker: |locale| Some($crate::sources::generate::fakes::locale::by_locale!(locale, $function)),
        }
    };
}
use local;

/// A line of the registry: names, and a function that is the same in every locale.
macro_rules! global {
    ($name:literal $(or $alias:literal)* => $function:expr) => {
        $crate::sources::generate::fakes::Entry { name: $name, aliases: &[$($alias),*], faker: |_| Some($function) }
    };
}
use global;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_fake_has_its_own_name_and_an_example() {
        let mut met = HashSet::new();
        assert!(every_name().all(|name| met.insert(name)), "a name is taken twice");
        for info in names() {
            assert!(!info.example.trim().is_empty(), "{}", info.name);
            assert!(!info.locales.is_empty(), "{}", info.name);
            assert!(!info.example.contains(['{', '$', '^']), "{}: {}", info.name, info.example);
        }
        assert!(met.len() > 110, "{}", met.len());
    }

    #[test]
    fn every_fake_works_in_every_locale_and_follows_from_its_key() {
        for entry in entries() {
            for (locale, faker) in Locale::all().filter_map(|locale| Some((locale, (entry.faker)(locale)?))) {
                let make = |key: u64| {
                    let mut out = String::new();
                    faker(&mut Rng::new(key), &mut out);
                    out
                };
                let values: HashSet<String> = (0..200).map(make).collect();
                // Some lists of some locales have one word.
                assert!(
                    values.len() > 1 || locale != Locale::default(),
                    "{} in {}: always {values:?}",
                    entry.name,
                    locale.name()
                );
                assert!((0..200).all(|key| values.contains(&make(key))), "{} in {}", entry.name, locale.name());
                let name = format!("{} in {}", entry.name, locale.name());
                assert!(values.iter().all(|value| !value.contains('{')), "{name}: {values:?}");
            }
        }
    }

    #[test]
    fn locales_change_words() {
        let make = |locale: &str| {
            let mut out = String::new();
            find("name", Locale::find(locale).unwrap()).unwrap()(&mut Rng::new(1), &mut out);
            out
        };
        assert!(!make("ja_jp").is_ascii());
        assert_ne!(make("fr_fr"), make("EN"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(find("nmae", Locale::default()).err(), Some(Missing::Name));
        let wanted = Missing::Locale(vec!["fr_fr"]);
        assert_eq!(find("health_insurance_code", Locale::default()).err(), Some(wanted));
    }
}
