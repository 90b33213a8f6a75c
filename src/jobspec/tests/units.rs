//! Tests of `jobspec::units`.

use super::*;
use crate::jobspec::{Path, Problems, Value, decode};

#[test]
fn durations_are_read_and_printed() {
    let cases: &[(&str, Option<u64>, &str)] = &[
        ("20ms", Some(20_000), "20ms"),
        ("3s", Some(3_000_000), "3s"),
        ("5m", Some(300_000_000), "5m"),
        ("12h", Some(43_200_000_000), "12h"),
        ("2d", Some(172_800_000_000), "2d"),
        ("7us", Some(7), "7us"),
        ("1h30m", Some(5_400_000_000), "1h30m"),
        ("90m", Some(5_400_000_000), "1h30m"),
        ("1500ms", Some(1_500_000), "1s500ms"),
        ("0s", Some(0), "0s"),
        ("", None, "expected a duration"),
        ("5", None, "units are"),
        ("s", None, "expected a duration"),
        ("-5s", None, "expected a duration"),
        ("5 s", None, "units are"),
        ("5parsecs", None, "units are"),
        ("5m1h", None, "from large to small"),
        ("5s5s", None, "from large to small"),
        ("99999999999999999999d", None, "expected a duration"),
        ("999999999999999d", None, "too long"),
    ];
    for (text, micros, shown) in cases {
        match (Duration::from_text(text), micros) {
            (Ok(duration), Some(micros)) => {
                assert_eq!(duration.0.as_micros(), u128::from(*micros), "{text}");
                assert_eq!(duration.to_string(), *shown, "{text}");
                assert_eq!(Duration::from_text(shown), Ok(duration), "{text}");
            }
            (Err(message), None) => assert!(message.contains(shown), "{text}: {message}"),
            (answer, _) => panic!("{text}: {answer:?}"),
        }
    }
}

#[test]
fn sizes_are_read_and_printed() {
    let cases: &[(&str, Option<u64>, &str)] = &[
        ("512", Some(512), "512B"),
        ("512B", Some(512), "512B"),
        ("64KiB", Some(65_536), "64KiB"),
        ("1024KiB", Some(1 << 20), "1MiB"),
        ("1GiB", Some(1 << 30), "1GiB"),
        ("2TiB", Some(2 << 40), "2TiB"),
        ("10MB", Some(10_000_000), "10MB"),
        ("3kB", Some(3_000), "3kB"),
        ("3KB", Some(3_000), "3kB"),
        ("0", Some(0), "0B"),
        ("", None, "expected a size"),
        ("MiB", None, "expected a size"),
        ("1mib", None, "units are"),
        ("1.5MiB", None, "units are"),
        ("99999999999TiB", None, "too large"),
    ];
    for (text, bytes, shown) in cases {
        match (Bytes::from_text(text), bytes) {
            (Ok(size), Some(bytes)) => {
                assert_eq!((size.0, size.to_string().as_str()), (*bytes, *shown), "{text}");
                assert_eq!(Bytes::from_text(shown), Ok(size), "{text}");
            }
            (Err(message), None) => assert!(message.contains(shown), "{text}: {message}"),
            (answer, _) => panic!("{text}: {answer:?}"),
        }
    }
}

#[test]
fn reject_limits_are_read_and_printed() {
    let cases: &[(&str, Option<RejectLimit>, &str)] = &[
        ("0", Some(RejectLimit::Count(0)), "0"),
        ("17", Some(RejectLimit::Count(17)), "17"),
        ("1%", Some(RejectLimit::Share(0.01)), "1%"),
        ("0.5%", Some(RejectLimit::Share(0.005)), "0.5%"),
        ("7%", Some(RejectLimit::Share(0.07)), "7%"),
        ("100%", Some(RejectLimit::Share(1.0)), "100%"),
        ("101%", None, "at most"),
        ("-1%", None, "a share such as"),
        ("inf%", None, "a share such as"),
        ("%", None, "a share such as"),
        ("some", None, "a share such as"),
        ("1.5", None, "a share such as"),
    ];
    for (text, limit, shown) in cases {
        match (RejectLimit::from_text(text), limit) {
            (Ok(found), Some(limit)) => assert_eq!((found, found.to_string().as_str()), (*limit, *shown), "{text}"),
            (Err(message), None) => assert!(message.contains(shown), "{text}: {message}"),
            (answer, _) => panic!("{text}: {answer:?}"),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    let mut problems = Problems::default();
    decode(&value, &Path::default(), &[], &mut problems)
        .ok_or_else(|| problems.iter().map(|p| p.message.clone()).collect::<Vec<_>>().join("; "))
}

#[test]
fn values_of_other_types_are_taken_where_they_mean_something() {
    assert_eq!(read(Value::Int(512)), Ok(Bytes(512)));
    assert_eq!(read(Value::Substituted("512".into())), Ok(Bytes(512)));
    assert_eq!(read(Value::Int(5)), Ok(RejectLimit::Count(5)));
    let expected = "expected a duration such as `20ms`, `3s`, `12h` or `1h30m`";
    assert_eq!(read::<Duration>(Value::Int(5)), Err(format!("{expected}, found an integer")));
    assert_eq!(read::<Duration>(Value::Null), Err(format!("{expected}, found null")));
    assert!(read::<Bytes>(Value::Int(-5)).unwrap_err().contains("`-5` is out of range"));
    assert!(read::<Bytes>(Value::Float(0.5)).unwrap_err().contains("found a number with a point"));
}

#[test]
fn retries_have_defaults_and_at_least_one_attempt() {
    let table = |text: &str| crate::jobspec::load::parse_value(text).unwrap().0;
    assert_eq!(read(table("{}")), Ok(Retry::default()));
    let retry = read::<Retry>(table("{ attempts = 5, backoff = '1s', timeout = '2m' }")).unwrap();
    assert_eq!(
        (retry.attempts, retry.backoff.to_string().as_str(), retry.timeout.to_string().as_str()),
        (Some(5), "1s", "2m")
    );
    assert_eq!(
        read::<Retry>(table("{ attempts = 0 }")),
        Err("`0` is out of range: expected an integer from 1 to 1000".into())
    );
    assert_eq!(read::<Retry>(table("{ attempt = 2 }")), Err("unknown key `attempt`".into()));
}

#[test]
fn schemas_say_what_is_legal() {
    let mut generator = SchemaGenerator::default();
    for schema in [
        Duration::json_schema(&mut generator),
        Bytes::json_schema(&mut generator),
        RejectLimit::json_schema(&mut generator),
    ] {
        for key in ["pattern", "description", "examples"] {
            assert!(schema.get(key).is_some(), "{key}");
        }
    }
}

#[test]
fn pauses_grow_and_have_a_limit() {
    let backoff = Duration(std::time::Duration::from_millis(100));
    let retry = Retry { backoff, ..Retry::default() };
    for (attempt, least, most) in [
        (0, 50, 100),
        (1, 50, 100),
        (2, 100, 200),
        (3, 200, 400),
        (4, 400, 800),
        // Never more than five seconds.
        (u32::MAX, 2_500, 5_000),
    ] {
        let pause = retry.pause(attempt).as_millis();
        assert!((least..=most).contains(&pause), "{attempt}: {pause}");
    }
    assert_ne!(retry.pause(9), retry.pause(9));
    assert!(retry.pause(u32::MAX) <= Retry::LONGEST_PAUSE);
}
