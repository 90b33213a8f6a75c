//! The record of a window: its columns, and how each follows from what is known of the window.

use std::{fmt, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringViewArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};

use super::{
    rules::Rules,
    stream::{Stream, Terms},
    times::spelled,
    window::{Found, LISTED, Window},
};
use crate::batch::{Column, ColumnType};

/// What a rule says of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    #[default]
    NotEvaluated,
    Pass,
    Suspect,
    Fail,
}

/// The record of a window; times are nanoseconds.
#[derive(Debug)]
pub(super) struct Row {
    start: i64,
    end: i64,
    partial: bool,
    window: Box<Window>,
    expected: Option<i64>,
    completeness: Option<f64>,
    gap_time: i64,
    longest_gap: i64,
    values: Verdict,
    order: Verdict,
    gap: Verdict,
    range: Verdict,
    flatline: Verdict,
    spike: Verdict,
    rate: Verdict,
    score: f64,
    configured: Configured,
}

/// Which rules there are.
#[derive(Clone, Copy, Debug)]
struct Configured {
    gap: bool,
    range: bool,
    flatline: bool,
    spike: bool,
    rate: bool,
}

/// How a column follows from a row.
enum Get {
    Flag(fn(&Row) -> bool),
    Count(fn(&Row) -> Option<u64>),
    Number(fn(&Row) -> Option<f64>),
    Time(fn(&Row) -> Option<i64>),
    Word(fn(&Row) -> Verdict),
    Offences,
}

/// The columns behind those that name the stream: name, may it be null, value.
const COLUMNS: &[(&str, bool, Get)] = &[
    ("window_start", false, Get::Time(|row| Some(row.start))),
    ("window_end", false, Get::Time(|row| Some(row.end))),
    ("partial", false, Get::Flag(|row| row.partial)),
    ("count", false, Get::Count(|row| Some(row.window.count))),
    ("expected", true, Get::Count(|row| row.expected.map(i64::unsigned_abs))),
    ("completeness", true, Get::Number(|row| row.completeness)),
    ("first", true, Get::Time(|row| (row.window.count > 0).then_some(row.window.first))),
    ("last", true, Get::Time(|row| (row.window.count > 0).then_some(row.window.last))),
    ("min_step_seconds", true, Get::Number(|row| row.window.steps.extremes().map(|(least, _)| seconds(least)))),
    ("median_step_seconds", true, Get::Number(|row| row.window.steps.doubled_median().map(|twice| twice as f64 / 2e9))),
    ("max_step_seconds", true, Get::Number(|row| row.window.steps.extremes().map(|(_, most)| seconds(most)))),
    ("jitter_seconds", true, Get::Number(|row| row.window.steps.jitter().map(|nanos| nanos / 1e9))),
    ("duplicates", false, Get::Count(|row| Some(row.window.duplicates))),
    ("out_of_order", false, Get::Count(|row| Some(row.window.out_of_order))),
    ("gaps", true, Get::Count(|row| row.configured.gap.then_some(row.window.gaps))),
    ("gap_seconds", true, Get::Number(|row| row.configured.gap.then(|| seconds(row.gap_time)))),
    ("longest_gap_seconds", true, Get::Number(|row| row.configured.gap.then(|| seconds(row.longest_gap)))),
    ("nulls", false, Get::Count(|row| Some(row.window.nulls))),
    ("nans", false, Get::Count(|row| Some(row.window.nans))),
    ("infinities", false, Get::Count(|row| Some(row.window.infinities))),
    ("zeros", false, Get::Count(|row| Some(row.window.zeros))),
    ("min", true, Get::Number(|row| (row.finite() > 0).then_some(row.window.min))),
    ("mean", true, Get::Number(|row| row.window.moments.mean_and_deviation().0)),
    ("max", true, Get::Number(|row| (row.finite() > 0).then_some(row.window.max))),
    ("stddev", true, Get::Number(|row| row.window.moments.mean_and_deviation().1)),
    ("out_of_range", true, Get::Count(|row| row.configured.range.then_some(row.window.range.fail))),
    ("suspect_range", true, Get::Count(|row| row.configured.range.then_some(row.window.range.suspect))),
    ("flatlines", true, Get::Count(|row| row.configured.flatline.then_some(row.window.flatlines))),
    ("flat_points", true, Get::Count(|row| row.configured.flatline.then_some(row.window.flat_points))),
    (
        "longest_flat_seconds",
        true,
        Get::Number(|row| row.configured.flatline.then(|| seconds(row.window.longest_flat))),
    ),
    ("spikes", true, Get::Count(|row| row.configured.spike.then_some(row.window.spike.fail))),
    ("suspect_spikes", true, Get::Count(|row| row.configured.spike.then_some(row.window.spike.suspect))),
    ("fast_changes", true, Get::Count(|row| row.configured.rate.then_some(row.window.rate.fail))),
    ("suspect_changes", true, Get::Count(|row| row.configured.rate.then_some(row.window.rate.suspect))),
    ("max_rate", true, Get::Number(|row| row.configured.rate.then_some(row.window.max_rate))),
    ("values_verdict", false, Get::Word(|row| row.values)),
    ("order_verdict", false, Get::Word(|row| row.order)),
    ("gap_verdict", false, Get::Word(|row| row.gap)),
    ("range_verdict", false, Get::Word(|row| row.range)),
    ("flatline_verdict", false, Get::Word(|row| row.flatline)),
    ("spike_verdict", false, Get::Word(|row| row.spike)),
    ("rate_verdict", false, Get::Word(|row| row.rate)),
    ("verdict", false, Get::Word(Row::worst)),
    ("offences", false, Get::Offences),
    ("score", false, Get::Number(|row| Some(row.score))),
];

/// The columns of a record behind those that name the stream; its times have this type.
pub(super) fn columns(time: &ColumnType) -> Vec<Column> {
    let column = |(name, nullable, get): &(&str, bool, Get)| {
        let column_type = match get {
            Get::Flag(_) => ColumnType::Bool,
            Get::Count(_) => ColumnType::Int64,
            Get::Number(_) => ColumnType::Float64,
            Get::Time(_) => time.clone(),
            Get::Word(_) => ColumnType::String,
            Get::Offences => ColumnType::Json,
        };
        Column { name: (*name).to_owned(), column_type, nullable: *nullable }
    };
    COLUMNS.iter().map(column).collect()
}

/// Rows as arrays, one for each of [`columns`].
pub(super) fn arrays(rows: &[Row], time: &ColumnType) -> Vec<ArrayRef> {
    COLUMNS.iter().map(|(.., get)| array(rows, get, time)).collect()
}

fn array(rows: &[Row], get: &Get, time: &ColumnType) -> ArrayRef {
    match get {
        Get::Flag(get) => Arc::new(rows.iter().map(|row| Some(get(row))).collect::<BooleanArray>()),
        Get::Count(get) => {
            let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            Arc::new(rows.iter().map(|row| get(row).map(signed)).collect::<Int64Array>())
        }
        Get::Number(get) => {
            Arc::new(rows.iter().map(|row| get(row).filter(|number| number.is_finite())).collect::<Float64Array>())
        }
        Get::Time(get) if *time == ColumnType::TimestampNs => {
            Arc::new(rows.iter().map(get).collect::<TimestampNanosecondArray>())
        }
        Get::Time(get) => {
            let micros = |nanos: i64| nanos.div_euclid(1000);
            Arc::new(rows.iter().map(|row| get(row).map(micros)).collect::<TimestampMicrosecondArray>())
        }
        Get::Word(get) => Arc::new(rows.iter().map(|row| Some(get(row).word())).collect::<StringViewArray>()),
        Get::Offences => Arc::new(rows.iter().map(|row| Some(row.offences(time))).collect::<StringViewArray>()),
    }
}

/// The windows of a stream as rows, empty ones in the middle too.
#[derive(Debug)]
pub(super) struct Profiles {
    stream: Stream,
    /// The next window.
    next: i64,
    /// The first and the last time of the stream.
    ends: (i64, i64),
    /// Twice the time from one point to the next.
    doubled_interval: Option<i128>,
    /// The first of the long gaps that reach beyond the windows before.
    gap: usize,
}

impl Profiles {
    pub(super) fn new(mut stream: Stream, terms: &Terms) -> Self {
        let longest = terms.rules.longest();
        stream.windows.values_mut().for_each(|window| window.steps.settle(longest));
        let doubled_interval = match terms.rules.interval {
            Some(interval) => Some(i128::from(interval) * 2),
            None => {
                let mut all = super::steps::Steps::default();
                stream.windows.values().for_each(|window| all.merge(&window.steps));
                all.doubled_median()
            }
        };
        let ends = stream
            .windows
            .values()
            .fold((i64::MAX, i64::MIN), |(first, last), window| (first.min(window.first), last.max(window.last)));
        let next = stream.windows.first_key_value().map_or(0, |(number, _)| *number);
        Profiles { stream, next, ends, doubled_interval, gap: 0 }
    }

    /// The next window's record. What was known of it is given up.
    pub(super) fn next(&mut self, terms: &Terms) -> Option<Row> {
        let last = *self.stream.windows.last_key_value()?.0;
        let number = self.next;
        let (start, end) = self.stream.bounds(number, terms);
        let window = self.stream.windows.remove(&number).unwrap_or_default();
        // The last one is taken out last, for it is what says where the stream ends.
        self.next = number.saturating_add(1);
        debug_assert!(number <= last, "windows are taken in order");
        let (beyond, longest) = self.long_gaps(start, end);
        let (gap_time, longest_gap) = (window.gap_time.saturating_add(beyond), window.longest_gap.max(longest));
        let (expected, partial) = self.expected(start, end);
        Some(Row::new(window, (start, end), (expected, partial), (gap_time, longest_gap), &terms.rules))
    }

    /// The time of a window that gaps take which reach beyond it, and the longest of these.
    fn long_gaps(&mut self, start: i64, end: i64) -> (i64, i64) {
        let gaps = &self.stream.long_gaps;
        while gaps.get(self.gap).is_some_and(|(_, to)| *to < start) {
            self.gap += 1;
        }
        let here = gaps[self.gap..].iter().take_while(|(from, _)| *from < end);
        here.fold((0, 0), |(time, longest), (from, to)| {
            (time + (end.min(*to) - start.max(*from)), longest.max(to - from))
        })
    }

    /// How many points a window should have for what of it the stream covers, and whether that is a part only.
    fn expected(&self, start: i64, end: i64) -> (Option<i64>, bool) {
        let (first, last) = self.ends;
        // All times two, for an interval may end in half a nanosecond.
        let interval = self.doubled_interval.unwrap_or(2);
        let (start, end) = (i128::from(start) * 2, i128::from(end) * 2);
        let covered = (start.max(i128::from(first) * 2), end.min(i128::from(last) * 2 + interval));
        let partial = covered != (start, end);
        let expected = (2 * (covered.1 - covered.0) + interval) / (2 * interval);
        (self.doubled_interval.map(|_| i64::try_from(expected).unwrap_or(i64::MAX).max(1)), partial)
    }
}

impl Row {
    fn new(
        window: Box<Window>,
        (start, end): (i64, i64),
        (expected, partial): (Option<i64>, bool),
        (gap_time, longest_gap): (i64, i64),
        rules: &Rules,
    ) -> Self {
        let different = window.count - window.duplicates;
        let completeness = expected.map(|expected| (different as f64 / expected as f64).min(1.0));
        let configured = Configured {
            gap: rules.max_gap.is_some(),
            range: rules.range.is_some(),
            flatline: rules.flatline.is_some(),
            spike: rules.spike.is_some(),
            rate: rules.rate.is_some(),
        };
        let finite = window.moments.count() > 0;
        let of = |rule: bool, found: Found| if rule && finite { Verdict::of(found) } else { Verdict::NotEvaluated };
        let disorder = Found { fail: 0, suspect: window.duplicates + window.out_of_order };
        let absent = Found { fail: u64::from(!finite), suspect: window.missing() };
        let flat = |rule: &super::rules::Flatline| Found {
            fail: window.flat_points,
            suspect: u64::from(window.longest_flat >= rule.suspect),
        };
        let gap = Found { fail: u64::from(longest_gap > 0), suspect: 0 };
        let row = Row {
            values: Verdict::of(absent),
            order: if window.count > 0 { Verdict::of(disorder) } else { Verdict::NotEvaluated },
            gap: if configured.gap { Verdict::of(gap) } else { Verdict::NotEvaluated },
            range: of(configured.range, window.range),
            flatline: of(configured.flatline, rules.flatline.as_ref().map(flat).unwrap_or_default()),
            spike: of(configured.spike, window.spike),
            rate: of(configured.rate, window.rate),
            score: 0.0,
            start,
            end,
            partial,
            expected,
            completeness,
            gap_time,
            longest_gap,
            configured,
            window,
        };
        Row { score: row.score(disorder), ..row }
    }

    /// Values that statistics are made of.
    fn finite(&self) -> u64 {
        self.window.moments.count()
    }

    /// The worst of all verdicts.
    fn worst(&self) -> Verdict {
        let all = [self.values, self.order, self.gap, self.range, self.flatline, self.spike, self.rate];
        all.into_iter().max().unwrap_or_default()
    }

    /// The completeness, times the share of the points that each of the rules about points leaves standing; a suspect
    /// one counts half.
    fn score(&self, disorder: Found) -> f64 {
        let window = &self.window;
        if window.count == 0 {
            return 0.0;
        }
        let absent = Found { fail: window.missing(), suspect: 0 };
        let flat = Found { fail: window.flat_points, suspect: 0 };
        let found = [absent, disorder, window.range, flat, window.spike, window.rate];
        let share = |found: &Found| 1.0 - (found.fail as f64 + found.suspect as f64 / 2.0) / window.count as f64;
        found.iter().map(share).fold(self.completeness.unwrap_or(1.0), |score, share| score * share)
    }

    /// The times of the first offences, by rule, as JSON.
    fn offences(&self, time: &ColumnType) -> String {
        let Some(lists) = &self.window.offences else { return "{}".to_owned() };
        let named = LISTED.iter().zip(lists.iter()).filter(|(_, times)| !times.is_empty());
        let quoted = |times: &Vec<i64>| {
            let times: Vec<String> = times.iter().map(|nanos| format!("\"{}\"", spelled(*nanos, time))).collect();
            times.join(",")
        };
        let members: Vec<String> = named.map(|(name, times)| format!("\"{name}\":[{}]", quoted(times))).collect();
        format!("{{{}}}", members.join(","))
    }
}

impl Window {
    /// Points without a value that could be counted with.
    fn missing(&self) -> u64 {
        self.nulls + self.nans + self.infinities
    }
}

impl Verdict {
    fn of(found: Found) -> Verdict {
        match found {
            Found { fail: 0, suspect: 0 } => Verdict::Pass,
            Found { fail: 0, .. } => Verdict::Suspect,
            _ => Verdict::Fail,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Verdict::NotEvaluated => "not_evaluated",
            Verdict::Pass => "pass",
            Verdict::Suspect => "suspect",
            Verdict::Fail => "fail",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Nanoseconds as seconds.
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}
