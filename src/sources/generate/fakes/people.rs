//! Names of people, and what they do.

use super::{
    Entry, Rng, Words, local,
    write::{fill, pick},
};

pub(super) const ALL: &[Entry] = &[
    local!("name" or "full_name" => name),
    local!("first_name" => first_name),
    local!("last_name" => last_name),
    local!("name_with_title" => name_with_title),
    local!("name_title" => title),
    local!("name_suffix" => suffix),
    local!("job_title" or "job" => job_title),
    local!("job_seniority" => seniority),
    local!("job_field" => field),
    local!("job_position" => position),
    local!("profession" => profession),
];

pub(super) fn name<L: Words>(rng: &mut Rng, out: &mut String) {
    let (first, last) = (pick(rng, L::NAME_FIRST_NAME), pick(rng, L::NAME_LAST_NAME));
    // The most usual form is written at once; the comparison is made by the compiler.
    if L::NAME_TPL == "{FirstName} {LastName}" {
        out.push_str(first);
        out.push(' ');
        out.push_str(last);
    } else {
        fill(L::NAME_TPL, out, |key, out| out.push_str(if key == "FirstName" { first } else { last }));
    }
}

fn name_with_title<L: Words>(rng: &mut Rng, out: &mut String) {
    fill(L::NAME_WITH_TITLE_TPL, out, |key, out| {
        out.push_str(match key {
            "Title" => pick(rng, L::NAME_TITLE),
            "FirstName" => pick(rng, L::NAME_FIRST_NAME),
            _ => pick(rng, L::NAME_LAST_NAME),
        });
    });
}

pub(super) fn first_name<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::NAME_FIRST_NAME));
}

fn last_name<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::NAME_LAST_NAME));
}

fn title<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::NAME_TITLE));
}

fn suffix<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::NAME_SUFFIX));
}

fn job_title<L: Words>(rng: &mut Rng, out: &mut String) {
    fill(L::JOB_TITLE_TPL, out, |key, out| {
        out.push_str(match key {
            "Seniority" => pick(rng, L::JOB_SENIORITY),
            "Field" => pick(rng, L::JOB_FIELD),
            _ => pick(rng, L::JOB_POSITION),
        });
    });
}

fn seniority<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::JOB_SENIORITY));
}

fn field<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::JOB_FIELD));
}

fn position<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::JOB_POSITION));
}

fn profession<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::COMPANY_PROFESSION));
}
