use std::path::Path;

use super::*;
use crate::record::{Digits, Second, Tally};

/// A run of so many seconds, each with `tally`.
pub(crate) fn sample(seconds: usize, tally: &Tally) -> RunResult {
    let mut all = Tally::new(Digits::Three);
    (0..seconds).for_each(|_| all.merge(tally));
    let second = Second { all: tally.clone(), tenants: Default::default() };
    RunResult {
        schema: SCHEMA.to_owned(),
        name: "sample".to_owned(),
        started: "2026-11-30T10:20:58Z".to_owned(),
        ended: Ended::Complete,
        plan: Plan {
            target: "http://127.0.0.1:8080".to_owned(),
            protocol: "http/1.1".to_owned(),
            schedule: "constant 100/s".to_owned(),
            seconds: seconds as f64,
            warm_up_seconds: 0.0,
            connections: 64,
            mix: "acme=1".to_owned(),
            digest: digest([("schedule", b"constant".as_slice())]),
        },
        environment: Environment::here(),
        recording: Recording {
            seconds_measured: seconds as f64,
            all,
            tenants: Default::default(),
            seconds: vec![second; seconds],
        },
        generator: Generator {
            threads: 1,
            busiest_thread: 0.1,
            cpu_seconds: 0.2,
            lag_p99_us: 50,
            lag_max_us: 900,
            descriptors: (80, 1024),
            clock_step_seconds: 0.0,
            invalid: Vec::new(),
            warnings: Vec::new(),
        },
        delivery: None,
        marks: Vec::new(),
        series: Vec::new(),
        verdict: None,
    }
}

fn one_answer() -> Tally {
    let mut tally = Tally::new(Digits::Two);
    (tally.intended, tally.sent, tally.ok) = (1, 1, 1);
    tally.response.record(std::time::Duration::from_millis(3));
    tally.statuses.insert(200, 1);
    tally
}

#[test]
fn a_result_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.json");
    let result = sample(3, &one_answer());
    probe(&path).unwrap();
    write(&path, &result).unwrap();
    write(&path, &result).unwrap();
    assert_eq!(read(&path).unwrap(), result);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["run.json"], "nothing is left beside it");
}

#[test]
fn another_schema_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.json");
    let said = |text: &str| {
        std::fs::write(&path, text).unwrap();
        read(&path).unwrap_err().to_string()
    };
    let newer = said(r#"{"schema":"sluis-bench/2","all":"different"}"#);
    assert!(newer.contains("sluis-bench/2") && newer.contains("a newer sluis"), "{newer}");
    assert!(said(r#"{"schema":"other"}"#).contains("its schema is \"other\""));
    assert!(said("{}").contains("missing field `schema`"));
    assert!(said("[").contains("is no result of"));
    let missing = read(&folder.path().join("none.json")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read "), "{missing}");
}

#[test]
fn a_full_disk_or_a_missing_folder_is_an_error() {
    let result = sample(1, &one_answer());
    let full = write(Path::new("/dev/full"), &result).unwrap_err().to_string();
    assert!(full.starts_with("cannot write /dev/full: No space left"), "{full}");
    assert!(!std::fs::metadata("/dev/full").unwrap().is_file(), "the device is still one");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no/run.json");
    assert!(probe(&path).is_err() && write(&path, &result).is_err());
    assert!(probe(folder.path()).is_err(), "a folder is no file");
}

#[test]
fn a_histogram_of_other_bounds_is_refused() {
    use base64::Engine;
    use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.json");
    let wide = hdrhistogram::Histogram::<u64>::new_with_bounds(1, u64::MAX / 2, 3).unwrap();
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&wide, &mut bytes).unwrap();
    let mut json = serde_json::to_value(sample(1, &one_answer())).unwrap();
    json["recording"]["all"]["response"]["hdr"] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
    std::fs::write(&path, json.to_string()).unwrap();
    let said = read(&path).unwrap_err().to_string();
    assert!(said.contains("latencies up to"), "{said}");
}

#[test]
fn this_machine_is_told() {
    let here = Environment::here();
    assert!(here.cores >= 1 && here.kernel.contains(' ') && here.memory_mib > 64, "{here:?}");
    assert!(is_here("127.0.0.1") && is_here("[::1]") && is_here("localhost"));
    assert!(!is_here("192.0.2.1") && !is_here("no such host"));
}

#[test]
fn a_digest_tells_where_one_part_ends() {
    let of = |parts: [(&str, &str); 2]| digest(parts.map(|(name, part)| (name, part.as_bytes())));
    assert_eq!(of([("a", "bc"), ("d", "")]), of([("a", "bc"), ("d", "")]));
    assert_ne!(of([("a", "bc"), ("d", "")]), of([("a", "b"), ("cd", "")]));
    assert_eq!(of([("a", "b"), ("c", "d")]).len(), 64);
}
