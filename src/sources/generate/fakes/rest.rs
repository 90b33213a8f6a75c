//! What is asked for rarely: here the crate's own fakers make the text.

use fake::{
    Fake,
    faker::{
        administrative::raw::HealthInsuranceCode,
        automotive::raw::LicencePlate,
        barcode::raw::{Isbn, Isbn10, Isbn13},
        creditcard::raw::CreditCardNumber,
        filesystem::raw::{DirPath, FileExtension, FileName, FilePath, MimeType, Semver, SemverStable, SemverUnstable},
        finance::raw::{Bic, Isin},
        picsum::raw::{Image, ImageBlur, ImageGrayscale, ImageWithSeed},
    },
    locales::{EN, FA_IR, FR_FR, IT_IT, NL_NL, PT_PT, TR_TR},
};

use super::{Entry, Faker, Locale, Words, global, local, tables::HTTP_STATUS, write::number};
use crate::sources::generate::rng::Rng;

/// A line of the registry for a faker of the crate that is the same in every locale.
macro_rules! of_crate {
    ($name:literal $(or $alias:literal)* => $faker:ident) => {
        global!($name $(or $alias)* => |rng, out| out.push_str(&$faker(EN).fake_with_rng::<String, _>(rng)))
    };
}

pub(super) const ALL: &[Entry] = &[
    of_crate!("isbn" => Isbn),
    of_crate!("isbn10" => Isbn10),
    of_crate!("isbn13" => Isbn13),
    of_crate!("credit_card_number" => CreditCardNumber),
    of_crate!("bic" => Bic),
    of_crate!("isin" => Isin),
    of_crate!("file_path" => FilePath),
    local!("file_name" => file_name),
    local!("file_extension" => file_extension),
    of_crate!("dir_path" => DirPath),
    of_crate!("mime_type" => MimeType),
    of_crate!("semver" => Semver),
    of_crate!("semver_stable" => SemverStable),
    of_crate!("semver_unstable" => SemverUnstable),
    of_crate!("image" => Image),
    of_crate!("image_with_seed" => ImageWithSeed),
    of_crate!("image_grayscale" => ImageGrayscale),
    of_crate!("image_blur" => ImageBlur),
    global!("rfc_status_code" or "http_status" => status),
    global!("valid_status_code" => |rng, out| number(100 + rng.below(500), out)),
    Entry { name: "licence_plate", aliases: &["license_plate"], faker: licence_plate },
    Entry { name: "health_insurance_code", aliases: &[], faker: health_insurance_code },
];

fn file_name<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(&FileName(L::LOCALE).fake_with_rng::<String, _>(rng));
}

fn file_extension<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(&FileExtension(L::LOCALE).fake_with_rng::<String, _>(rng));
}

fn status(rng: &mut Rng, out: &mut String) {
    number(HTTP_STATUS[rng.below(HTTP_STATUS.len() as u64) as usize], out);
}

fn licence_plate(locale: Locale) -> Option<Faker> {
    macro_rules! of {
        ($locale:ident) => {
            Some(|rng, out| out.push_str(&LicencePlate($locale).fake_with_rng::<String, _>(rng)))
        };
    }
    match locale {
        Locale::FaIr => of!(FA_IR),
        Locale::FrFr => of!(FR_FR),
        Locale::ItIt => of!(IT_IT),
        Locale::NlNl => of!(NL_NL),
        Locale::PtPt => of!(PT_PT),
        Locale::TrTr => of!(TR_TR),
        _ => None,
    }
}

fn health_insurance_code(locale: Locale) -> Option<Faker> {
    match locale {
        Locale::FrFr => Some(|rng, out| out.push_str(&HealthInsuranceCode(FR_FR).fake_with_rng::<String, _>(rng))),
        _ => None,
    }
}
