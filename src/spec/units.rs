//! Values narrower than text: durations, sizes, limits, retries.

/// A duration such as `20ms`, `12h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration(pub std::time::Duration);

/// A size in bytes such as `1MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// How many rejects a job may have: a count, or a share of the records read (`"1%"`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RejectLimit {
    /// So many records.
    Count(u64),
    /// A share of the records read, 0 to 1.
    Share(f64),
}

/// How often and how patiently an operation on a service is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all.
    pub attempts: u32,
    /// Pause before the second try; doubled before each further one, with jitter.
    pub backoff: Duration,
    /// Limit of one try.
    pub timeout: Duration,
}

/// Text that may hold `${VAR}`; what is decoded is what stands there after substitution.
pub type Text = String;
