//! What is expected of a stream: the keys of `expect`, and how they are checked.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    jobspec::{Duration, Path, Problem, SpecLocation},
    kind::Context,
};

/// What is expected of a stream, after the tests that QARTOD names. A rule that is not named is not evaluated; each
/// one that is gives a verdict.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectSpec {
    /// The time from one point to the next, from which the number of expected points follows. By default it is the
    /// median step of the stream.
    interval: Option<Duration>,
    /// A longer time without a point is a gap: `fail`.
    max_gap: Option<Duration>,
    /// The lowest and the highest value that there can be: a value outside is a `fail`.
    #[schemars(length(min = 2, max = 2))]
    range: Option<Vec<f64>>,
    /// The lowest and the highest value that is usual: a value outside is `suspect`.
    #[schemars(length(min = 2, max = 2))]
    suspect_range: Option<Vec<f64>>,
    /// Values that do not change.
    flatline: Option<FlatlineSpec>,
    /// A value that differs from both of its neighbours.
    spike: Option<SpikeSpec>,
    /// A value that differs by too much from the one before, for the time between them.
    rate: Option<RateSpec>,
}

/// A point is flat where the values of all points before it, back to one that is at least `for` older, differ from each
/// other and from its own by no more than `tolerance`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FlatlineSpec {
    /// How long values stay before that is a `fail`.
    r#for: Duration,
    /// How long values stay before that is `suspect`; shorter than `for`.
    suspect_for: Option<Duration>,
    /// The difference of the largest and the smallest value that still counts as no change.
    #[serde(default)]
    tolerance: f64,
}

/// A point is a spike where its value differs by more than a threshold from the mean of the values before and after it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SpikeSpec {
    /// A larger difference is a `fail`.
    threshold: f64,
    /// A larger difference is `suspect`; below `threshold`.
    suspect: Option<f64>,
}

/// The rate of change is the difference of a value from the one before, without its sign, by the seconds between them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RateSpec {
    /// A higher rate, per second, is a `fail`.
    max: f64,
    /// A higher rate, per second, is `suspect`; below `max`.
    suspect: Option<f64>,
}

/// Rules as points are held to them; times in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) interval: Option<i64>,
    pub(super) max_gap: Option<i64>,
    pub(super) range: Option<Range>,
    pub(super) flatline: Option<Flatline>,
    pub(super) spike: Option<Limits>,
    /// Per second.
    pub(super) rate: Option<Limits>,
}

/// Outside of `fail` is a fail, else outside of `suspect` is suspect.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) fail: [f64; 2],
    pub(super) suspect: [f64; 2],
}

#[derive(Debug)]
pub(super) struct Flatline {
    pub(super) fail: i64,
    pub(super) suspect: i64,
    pub(super) tolerance: f64,
}

/// Above `fail` is a fail, else above `suspect` is suspect.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) fail: f64,
    pub(super) suspect: f64,
}

/// What stands in for a bound that the spec does not name.
const ANY: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

impl Rules {
    /// A longer step is a gap.
    pub(super) fn longest(&self) -> i64 {
        self.max_gap.unwrap_or(i64::MAX)
    }

    /// Do any of them look at how values follow each other?
    pub(super) fn look_at_neighbours(&self) -> bool {
        self.flatline.is_some() || self.spike.is_some() || self.rate.is_some()
    }
}

/// Checks the keys of `expect`.
pub(super) fn compile(context: &mut Context<'_>, spec: &ExpectSpec) -> Option<Rules> {
    let at = context.path.key("expect");
    let mut checker = Checker { context, sound: true };
    let flatline = spec.flatline.as_ref().map(|rule| {
        let at = at.entry("flatline");
        let fail = checker.nanos(&at.entry("for"), rule.r#for);
        let suspect = rule.suspect_for.map(|time| checker.nanos(&at.entry("suspect_for"), time));
        checker.require(suspect.is_none_or(|suspect| suspect < fail), &at.entry("suspect_for"), "must be below `for`");
        checker.not_negative(rule.tolerance, &at.entry("tolerance"));
        Flatline { fail, suspect: suspect.unwrap_or(fail), tolerance: rule.tolerance }
    });
    let spike =
        spec.spike.as_ref().map(|rule| checker.limits(&at.entry("spike"), ("threshold", rule.threshold), rule.suspect));
    let rate = spec.rate.as_ref().map(|rule| checker.limits(&at.entry("rate"), ("max", rule.max), rule.suspect));
    let rules = Rules {
        interval: spec.interval.map(|time| checker.nanos(&at.entry("interval"), time)),
        max_gap: spec.max_gap.map(|time| checker.nanos(&at.entry("max_gap"), time)),
        range: checker.ranges(&at, spec),
        flatline,
        spike,
        rate,
    };
    checker.sound.then_some(rules)
}

/// A duration in nanoseconds, where it is one that can be counted with: above 0, below 292 years.
pub(super) fn nanos(time: Duration) -> Option<i64> {
    i64::try_from(time.0.as_nanos()).ok().filter(|nanos| *nanos > 0)
}

struct Checker<'c, 'a> {
    context: &'c mut Context<'a>,
    sound: bool,
}

impl Checker<'_, '_> {
    fn require(&mut self, holds: bool, at: &Path, message: &str) {
        if !holds {
            self.context.problems.push(Problem::new("range", SpecLocation::value(at.clone()), message));
            self.sound = false;
        }
    }

    fn nanos(&mut self, at: &Path, time: Duration) -> i64 {
        let nanos = nanos(time);
        self.require(nanos.is_some(), at, "must be above 0 and below 292 years");
        nanos.unwrap_or(1)
    }

    fn not_negative(&mut self, number: f64, at: &Path) {
        self.require(number >= 0.0 && number.is_finite(), at, "must be 0 or more");
    }

    fn limits(&mut self, at: &Path, (key, fail): (&str, f64), suspect: Option<f64>) -> Limits {
        self.not_negative(fail, &at.entry(key));
        if let Some(suspect) = suspect {
            self.not_negative(suspect, &at.entry("suspect"));
            self.require(suspect < fail, &at.entry("suspect"), &format!("must be below `{key}`"));
        }
        Limits { fail, suspect: suspect.unwrap_or(fail) }
    }

    fn ranges(&mut self, at: &Path, spec: &ExpectSpec) -> Option<Range> {
        let fail = spec.range.as_ref().map(|range| self.range(&at.entry("range"), range));
        let suspect = spec.suspect_range.as_ref().map(|range| self.range(&at.entry("suspect_range"), range));
        if let (Some(fail), Some(suspect)) = (fail, suspect) {
            let inside = suspect[0] >= fail[0] && suspect[1] <= fail[1];
            self.require(inside || !self.sound, &at.entry("suspect_range"), "must lie within `range`");
        }
        let fail = match (fail, suspect) {
            (None, None) => return None,
            (fail, _) => fail.unwrap_or(ANY),
        };
        Some(Range { fail, suspect: suspect.unwrap_or(fail) })
    }

    fn range(&mut self, at: &Path, range: &[f64]) -> [f64; 2] {
        let range = match *range {
            [low, high] if low <= high => Some([low, high]),
            _ => None,
        };
        self.require(range.is_some(), at, "two numbers: the lowest value, then the highest");
        range.unwrap_or(ANY)
    }
}
