//! Reads the points of one split. A read that breaks off goes on where it was.

use std::{sync::Arc, vec};

use arrow_array::{ArrayRef, Float64Array, TimestampNanosecondArray};

use super::{
    Link,
    columns::{Column, Rows},
    session::Pieces,
    span::{Span, time},
    wire::{RawPoint, RawValues, RawValuesParams, RawValuesResponse},
};
use crate::{
    batch::{Batch, Rejects},
    failure::Failure,
    service::{ErrorClass, ServiceError, Tries},
    stage::SplitReader,
};

/// The reader of one split, point by point.
pub(super) struct PointReader<'a> {
    link: &'a mut Link,
    rows: Rows<'a>,
    /// What is read.
    span: Span,
    /// Most rows of a batch.
    most: usize,
    /// Failed attempts since the last points.
    tries: Tries,
    answer: Option<Pieces<RawValuesResponse>>,
    place: Place,
    /// The points of a piece that are not in a batch yet.
    piece: vec::IntoIter<RawPoint>,
    is_over: bool,
}

/// How far a split has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Time of the last point.
    last: i64,
    /// So many points were read at that time; a time may come more than once.
    at_last: u64,
    /// So many points at that time are still to come that have been read before.
    skip: u64,
}

impl Place {
    fn start(span: &Span) -> Place {
        Place { last: span.start, at_last: 0, skip: 0 }
    }

    /// Points that were read before come again, as a new read begins at the time of the last.
    fn again(&mut self) {
        self.skip = self.at_last;
    }

    /// Takes the next point. False where it has been read before.
    ///
    /// # Errors
    /// It lies outside of the split, before the last, or is not the one that was read before.
    fn pass(&mut self, point: &RawPoint, span: &Span) -> Result<bool, ServiceError> {
        let broken = |what: &str| {
            let message = format!("a point at {} {what}", time(point.time));
            Err(ServiceError::silent(ErrorClass::Permanent, message))
        };
        if point.time < span.start || point.time >= span.end {
            return broken("lies outside of what was asked for");
        }
        if point.time < self.last {
            return broken(&format!("comes after one at {}", time(self.last)));
        }
        if self.skip > 0 {
            self.skip -= 1;
            let same = point.time == self.last;
            return if same { Ok(false) } else { broken("was not there when the read began: the version has changed") };
        }
        self.at_last = if point.time == self.last { self.at_last + 1 } else { 1 };
        self.last = point.time;
        Ok(true)
    }
}

impl<'a> PointReader<'a> {
    /// A reader of a split; it asks when the first batch is wanted.
    pub(super) fn new(link: &'a mut Link, rows: Rows<'a>, span: Span, most: usize) -> PointReader<'a> {
        let place = Place::start(&span);
        let piece = Vec::new().into_iter();
        PointReader { link, rows, span, most, tries: Tries::default(), answer: None, place, piece, is_over: false }
    }

    /// The next piece of the answer, from the place on where there is none yet.
    fn next_piece(&mut self) -> Result<Option<RawValuesResponse>, ServiceError> {
        let PointReader { link, span, answer, place, .. } = self;
        link.attempt(|session| {
            let pieces = match answer {
                Some(pieces) => pieces,
                None => {
                    place.again();
                    let question = RawValuesParams {
                        uuid: span.uuid.to_vec(),
                        start: place.last,
                        end: span.end,
                        version_major: span.version,
                    };
                    answer.insert(session.begin::<RawValues>(question)?)
                }
            };
            session.next(pieces)
        })
    }

    /// Fetches the next points, however often that must be tried. False where there are no more.
    fn fetch(&mut self) -> Result<bool, Failure> {
        while !self.is_over {
            match self.next_piece().and_then(|piece| self.check(piece)) {
                Ok(Some(points)) => {
                    self.piece = points.into_iter();
                    return Ok(true);
                }
                Ok(None) => self.is_over = true,
                Err(trouble) => {
                    // The answer belonged to a connection that is closed now.
                    self.answer = None;
                    let server = Arc::clone(&self.link.server);
                    server.after(&mut self.tries, &trouble)?;
                }
            }
        }
        Ok(false)
    }

    /// The points of a piece that have not been read before.
    fn check(&mut self, piece: Option<RawValuesResponse>) -> Result<Option<Vec<RawPoint>>, ServiceError> {
        let Some(piece) = piece else {
            if self.place.skip > 0 {
                let message = "points that were read before are gone: the version has changed";
                return Err(ServiceError::silent(ErrorClass::Permanent, message));
            }
            return Ok(None);
        };
        let mut points = piece.values;
        if piece.version_major != self.span.version && !points.is_empty() {
            let message = format!("version {} instead of {}", piece.version_major, self.span.version);
            return Err(ServiceError::silent(ErrorClass::Permanent, message));
        }
        let mut wrong = None;
        let (place, span) = (&mut self.place, &self.span);
        points.retain(|point| {
            let passed = if wrong.is_some() { Ok(false) } else { place.pass(point, span) };
            passed.unwrap_or_else(|trouble| {
                wrong = Some(trouble);
                false
            })
        });
        if !points.is_empty() {
            self.tries = Tries::default();
        }
        wrong.map_or(Ok(Some(points)), Err)
    }
}

impl SplitReader for PointReader<'_> {
    fn next_batch(&mut self, _rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        let (mut times, mut values) = (Vec::with_capacity(self.most), Vec::with_capacity(self.most));
        while times.len() < self.most {
            match self.piece.next() {
                Some(point) => {
                    times.push(point.time);
                    values.push(point.value);
                }
                None if self.fetch()? => {}
                None => break,
            }
        }
        if times.is_empty() {
            return Ok(None);
        }
        let time = Arc::new(TimestampNanosecondArray::from(times)) as ArrayRef;
        let value = Arc::new(Float64Array::from(values)) as ArrayRef;
        let len = time.len();
        self.rows.batch(len, &[(Column::Time, time), (Column::Value, value)]).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        Span { uuid: [0; 16], version: 7, start: 0, end: 100 }
    }

    /// Takes points of these times; says which were new, or what was wrong.
    fn pass(place: &mut Place, times: &[i64]) -> Result<Vec<i64>, String> {
        let mut new = Vec::new();
        for time in times {
            let point = RawPoint { time: *time, value: 0.0 };
            if place.pass(&point, &span()).map_err(|trouble| trouble.message)? {
                new.push(*time);
            }
        }
        Ok(new)
    }

    #[test]
    fn a_read_goes_on_behind_the_points_it_had() {
        // What was read, what the next read gives from the last of these times on, and what of it is new.
        let cases: [(&[i64], &[i64], &[i64]); 6] = [
            (&[], &[0, 0, 5], &[0, 0, 5]),
            (&[0], &[0, 5], &[5]),
            (&[0, 5], &[5, 5, 6], &[5, 6]),
            (&[0, 5, 5], &[5, 5, 5], &[5]),
            (&[5, 5, 5], &[5, 5, 5], &[]),
            (&[0, 99], &[99], &[]),
        ];
        for (before, after, new) in cases {
            let mut place = Place::start(&span());
            pass(&mut place, before).unwrap();
            place.again();
            assert_eq!(place.last, before.last().copied().unwrap_or(0));
            assert_eq!(pass(&mut place, after).unwrap(), new, "{before:?} {after:?}");
            assert_eq!(place.skip, 0);
            // And a third time, over both.
            let all: Vec<i64> = before.iter().chain(new).copied().collect();
            place.again();
            let again: Vec<i64> = all.iter().filter(|time| **time == place.last).copied().collect();
            assert_eq!(pass(&mut place, &again).unwrap(), [0; 0]);
        }
    }

    #[test]
    fn points_that_cannot_be_are_errors() {
        let mut place = Place::start(&span());
        for (times, message) in [
            (&[-1][..], "a point at 1969-12-31T23:59:59.999999999Z lies outside"),
            (&[100], "lies outside of what was asked for"),
            (&[5, 4], "comes after one at 1970-01-01T00:00:00.000000005Z"),
        ] {
            let found = pass(&mut place, times).unwrap_err();
            assert!(found.contains(message), "{found}");
        }
        place.again();
        assert!(pass(&mut place, &[6]).unwrap_err().contains("the version has changed"));
    }
}
