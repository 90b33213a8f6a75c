//! How single values are made: numbers and text for one place.

use std::fmt::Write;

use rand_distr::{Distribution, StandardNormal};

use super::{
    cells::Cell,
    fakes::Faker,
    node::Made,
    pick::{Permutation, Pick, Zipf},
    rng::mix,
};
use crate::values::hex;

/// One of several values.
#[derive(Clone, Debug)]
pub(super) struct Choice<T> {
    /// The values; never empty.
    pub(super) values: Vec<T>,
    /// Picks an index below their number.
    pub(super) pick: Pick,
}

impl<T> Choice<T> {
    pub(super) fn get(&self, cell: Cell) -> &T {
        &self.values[self.pick.index(cell) as usize]
    }
}

/// Integers; also days and microseconds.
#[derive(Clone, Debug)]
pub(super) enum Ints {
    /// `start + n · step`; checked against the number of rows when the spec is compiled.
    Sequence { start: i64, step: i64 },
    /// `min` and what `pick` adds to it.
    Range { min: i64, pick: Pick },
    /// One of these.
    Choice(Choice<i64>),
    /// A rank.
    Zipf(Zipf),
}

impl Ints {
    pub(super) fn get(&self, cell: Cell) -> i64 {
        match self {
            Ints::Sequence { start, step } => start.wrapping_add((cell.n as i64).wrapping_mul(*step)),
            Ints::Range { min, pick } => min.wrapping_add(pick.index(cell) as i64),
            Ints::Choice(choice) => *choice.get(cell),
            Ints::Zipf(zipf) => zipf.rank(&mut cell.rng()) as i64,
        }
    }
}

/// Numbers with a point.
#[derive(Clone, Debug)]
pub(super) enum Floats {
    /// From `min` (included) to `max` (excluded).
    Range { min: f64, max: f64 },
    /// `(min + pick) / scale`: numbers of so many decimals.
    Grid { min: i64, pick: Pick, scale: f64 },
    /// The normal distribution.
    Normal { mean: f64, stddev: f64, scale: Option<f64> },
    /// One of these.
    Choice(Choice<f64>),
}

impl Floats {
    pub(super) fn get(&self, cell: Cell) -> f64 {
        match self {
            Floats::Range { min, max } => {
                let part = cell.rng().unit();
                (min * (1.0 - part) + max * part).clamp(*min, *max)
            }
            Floats::Grid { min, pick, scale } => min.wrapping_add(pick.index(cell) as i64) as f64 / scale,
            Floats::Normal { mean, stddev, scale } => {
                let standard: f64 = StandardNormal.sample(&mut cell.rng());
                let value = mean + stddev * standard;
                scale.map_or(value, |scale| (value * scale).round() / scale)
            }
            Floats::Choice(choice) => *choice.get(cell),
        }
    }
}

/// Text.
#[derive(Clone, Debug)]
pub(super) enum Texts {
    /// A random UUID; different for every number under one seed.
    Uuid,
    /// One of these.
    Choice(Choice<Box<str>>),
    /// Characters by a pattern.
    Pattern(Pattern),
    /// Text with other values in it.
    Template(Vec<Piece>),
    /// Made up.
    Fake(Faker),
}

impl Texts {
    /// Appends the value for a cell.
    pub(super) fn write(&self, cell: Cell, made: &Made, out: &mut String) {
        match self {
            Texts::Uuid => uuid(cell.key(), out),
            Texts::Choice(choice) => out.push_str(choice.get(cell)),
            Texts::Pattern(pattern) => pattern.write(cell, out),
            Texts::Template(pieces) => pieces.iter().for_each(|piece| piece.write(cell, made, out)),
            Texts::Fake(faker) => faker(&mut cell.rng(), out),
        }
    }
}

/// A part of a template.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// As it stands.
    Text(Box<str>),
    /// A fake value; each place in the template has its own.
    Fake(Faker, u64),
    /// The record's own field; nothing where it is null.
    Field(usize),
}

impl Piece {
    fn write(&self, cell: Cell, made: &Made, out: &mut String) {
        match self {
            Piece::Text(text) => out.push_str(text),
            Piece::Fake(faker, salt) => faker(&mut Cell { seed: cell.seed ^ salt, ..cell }.rng(), out),
            Piece::Field(field) => made.write_text(*field, cell.row, out),
        }
    }
}

/// A pattern of fixed and random characters.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) parts: Vec<Part>,
    /// For unique values: a shuffle of what the last so many random characters can be.
    pub(super) distinct: Option<(usize, Permutation)>,
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As it stands.
    Text(Box<str>),
    /// One of these characters, which are ASCII.
    OneOf(&'static [u8]),
}

impl Pattern {
    fn write(&self, cell: Cell, out: &mut String) {
        let mut rng = cell.rng();
        let (mut random, mut code) = match &self.distinct {
            None => (usize::MAX, 0),
            Some((counted, permutation)) => {
                let all = self.parts.iter().filter(|part| matches!(part, Part::OneOf(_))).count();
                (all - counted, permutation.index(cell.seed, cell.n))
            }
        };
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::OneOf(legal) if random > 0 => {
                    random -= 1;
                    out.push(char::from(legal[rng.below(legal.len() as u64) as usize]));
                }
                Part::OneOf(legal) => {
                    out.push(char::from(legal[(code % legal.len() as u64) as usize]));
                    code /= legal.len() as u64;
                }
            }
        }
    }
}

/// Appends the version 4 UUID that all 64 bits of `key` are part of: different keys, different UUIDs.
pub(super) fn uuid(key: u64, out: &mut String) {
    let rest = mix(key ^ 0x7575_6964) >> 6;
    let high = (key & !0xffff) | 0x4000 | ((key >> 4) & 0xfff);
    let low = (0b10 << 62) | ((key & 0xf) << 58) | rest;
    let mut text = [b'-'; 36];
    let mut at = 0;
    for byte in high.to_be_bytes().into_iter().chain(low.to_be_bytes()) {
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        text[at..at + 2].copy_from_slice(&hex::pair(byte));
        at += 2;
    }
    out.push_str(std::str::from_utf8(&text).expect("hexadecimal digits and dashes are ASCII"));
}

/// Appends anything that can be displayed.
pub(super) fn push(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{value}");
}
