use super::*;

/// A request that was answered after so many ms.
fn exchange(ms: u64, status: u16, outcome: Outcome) -> Exchange {
    let at = Duration::ZERO;
    Exchange { tenant: 0, intended: at, sent: at, ended: Duration::from_millis(ms), status: Some(status), outcome }
}

fn tally(exchanges: &[Exchange]) -> Tally {
    let mut tally = Tally::new(Digits::Three);
    exchanges.iter().for_each(|exchange| tally.record(exchange));
    tally
}

/// The latencies of good answers, ms.
fn ok(tally: &Tally) -> Option<Vec<u64>> {
    tally.response_ok().map(|ok| ok.counts().map(|(micros, _)| micros / 1_000).collect())
}

#[test]
fn good_answers_have_a_latency_of_their_own() {
    let good = |ms| exchange(ms, 200, Outcome::Ok);
    let shed = |ms| exchange(ms, 429, Outcome::Shed);
    let failed = Exchange { status: None, ..exchange(9, 0, Outcome::Failed(Failure::Timeout)) };
    let mixed = tally(&[good(10), failed, shed(1), good(20), shed(2), good(30)]);
    assert_eq!(ok(&mixed), Some(vec![10, 20, 30]));
    assert_eq!(mixed.response.count(), 5);
    let (pure, bad, none) = (tally(&[good(40)]), tally(&[shed(3)]), tally(&[]));
    assert_eq!((ok(&pure), ok(&bad), ok(&none)), (Some(vec![40]), Some(vec![]), Some(vec![])));
    assert!(pure.response_ok.is_none(), "where all are good, they are counted once");
    for (into, from, expected) in [
        (&pure, &mixed, vec![10, 20, 30, 40]),
        (&mixed, &pure, vec![10, 20, 30, 40]),
        (&none, &mixed, vec![10, 20, 30]),
        (&bad, &pure, vec![40]),
        (&pure, &bad, vec![40]),
        (&pure, &pure, vec![40]),
    ] {
        let mut whole = into.clone();
        whole.pack();
        whole.merge(from);
        assert_eq!(ok(&whole), Some(expected));
        assert_eq!(whole.response_ok().unwrap().count(), whole.ok);
    }
}

#[test]
fn a_file_that_does_not_tell_good_answers_apart_is_read_and_makes_none_up() {
    let mixed = tally(&[exchange(10, 200, Outcome::Ok), exchange(1, 429, Outcome::Shed)]);
    let pure = tally(&[exchange(10, 200, Outcome::Ok)]);
    let before = |tally: &Tally| -> Tally {
        let mut json = serde_json::to_value(tally).unwrap();
        json.as_object_mut().unwrap().remove("response_ok");
        serde_json::from_value(json).unwrap()
    };
    assert_eq!(before(&pure), pure);
    let mut unknown = before(&mixed);
    assert_eq!(ok(&unknown), None);
    unknown.merge(&mixed);
    assert_eq!(ok(&unknown), None, "a part of them stands for no whole");
    let mut whole = mixed.clone();
    whole.merge(&before(&mixed));
    assert_eq!(ok(&whole), None);
    assert_eq!(serde_json::from_value::<Tally>(serde_json::to_value(&mixed).unwrap()).unwrap(), mixed);
}
