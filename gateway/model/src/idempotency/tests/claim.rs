use std::collections::HashMap;

use proptest::prelude::*;

use super::super::*;

const TTL: u64 = 1_000;

fn entry(state: ClaimState) -> Entry {
    Entry { fingerprint: [1; 32], state, expires_at: TTL }
}

#[test]
fn a_claim_decides_what_the_next_request_gets() {
    use ClaimState::{Completed, InFlight, Unknown};
    assert_eq!(judge(None, &[1; 32], 0), Verdict::New);
    for (state, same) in [(InFlight, Verdict::InProgress), (Completed, Verdict::Replay), (Unknown, Verdict::Unknown)] {
        assert_eq!(judge(Some(&entry(state)), &[1; 32], TTL - 1), same);
        assert_eq!(judge(Some(&entry(state)), &[2; 32], TTL - 1), Verdict::Reused);
    }
    for state in [Completed, Unknown] {
        assert_eq!(judge(Some(&entry(state)), &[1; 32], TTL), Verdict::New);
        assert_eq!(judge(Some(&entry(state)), &[2; 32], u64::MAX), Verdict::New);
    }
    assert_eq!(judge(Some(&entry(InFlight)), &[1; 32], u64::MAX), Verdict::InProgress);
    assert_eq!(judge(Some(&entry(InFlight)), &[2; 32], u64::MAX), Verdict::Reused);
}

#[test]
fn only_an_answer_that_would_be_given_again_is_kept() {
    for status in [200, 201, 202, 204, 301, 304, 400, 404, 409, 410, 412, 413, 415, 422, 423, 451, 499] {
        assert_eq!(storable(status), Keep::Store, "{status}");
    }
    for status in [0, 100, 199, 401, 403, 408, 425, 429, 500, 502, 503, 504, 599, 600, u16::MAX] {
        assert_eq!(storable(status), Keep::Release, "{status}");
    }
}

/// What happens to one of a few keys.
#[derive(Debug, Clone, Copy)]
enum Step {
    Ask { key: u8, fingerprint: u8 },
    Answer { key: u8, status: u16 },
    CutOff { key: u8 },
    Wait { ms: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let status = proptest::sample::select(&[200_u16, 202, 302, 401, 404, 409, 429, 500, 503][..]);
    prop_oneof![
        4 => (0..2_u8, 0..2_u8).prop_map(|(key, fingerprint)| Step::Ask { key, fingerprint }),
        2 => (0..2_u8, status).prop_map(|(key, status)| Step::Answer { key, status }),
        1 => (0..2_u8).prop_map(|key| Step::CutOff { key }),
        2 => (1..=TTL).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// Claims as a store keeps them.
#[derive(Default)]
struct Claims(HashMap<u8, Entry>);

impl Claims {
    fn ask(&mut self, key: u8, fingerprint: u8, now: u64) -> Verdict {
        let fingerprint = [fingerprint; 32];
        let verdict = judge(self.0.get(&key), &fingerprint, now);
        if verdict == Verdict::New {
            self.0.insert(key, Entry { fingerprint, state: ClaimState::InFlight, expires_at: 0 });
        }
        verdict
    }

    /// `keep` is none where the request was cut off.
    fn settle(&mut self, key: u8, keep: Option<Keep>, now: u64) {
        let Some(entry) = self.0.get_mut(&key).filter(|entry| entry.state == ClaimState::InFlight) else { return };
        let ended = |state| Entry { state, expires_at: now + TTL, ..*entry };
        match keep {
            Some(Keep::Release) => _ = self.0.remove(&key),
            Some(Keep::Store) => *entry = ended(ClaimState::Completed),
            None => *entry = ended(ClaimState::Unknown),
        }
    }
}

/// What was done under one key, one after the other: by which request, and what it came to, with the time.
type History = Vec<(u8, Option<(Result<u16, ()>, u64)>)>;

/// What a request may get by all that was done under its key before.
fn remembered(history: &History, fingerprint: u8, now: u64) -> Verdict {
    let Some((first, outcome)) = history.last() else { return Verdict::New };
    let same = |verdict| if *first == fingerprint { verdict } else { Verdict::Reused };
    match outcome {
        None => same(Verdict::InProgress),
        Some((_, at)) if now - at >= TTL => Verdict::New,
        Some((Err(()), _)) => same(Verdict::Unknown),
        Some((Ok(401 | 403 | 408 | 425 | 429 | 500..), _)) => Verdict::New,
        Some((Ok(_), _)) => same(Verdict::Replay),
    }
}

proptest! {
    /// A store that keeps one entry per key says the same as one that remembers everything.
    #[test]
    fn a232_a_request_is_done_once_while_its_key_is_held(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut claims = Claims::default();
        let mut histories: HashMap<u8, History> = HashMap::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait { ms } => now += ms,
                Step::Ask { key, fingerprint } => {
                    let history = histories.entry(key).or_default();
                    let verdict = claims.ask(key, fingerprint, now);
                    prop_assert_eq!(verdict, remembered(history, fingerprint, now), "{:?}", history);
                    if verdict == Verdict::New {
                        history.push((fingerprint, None));
                    }
                }
                Step::Answer { key, .. } | Step::CutOff { key } => {
                    let outcome = match step {
                        Step::Answer { status, .. } => Ok(status),
                        _ => Err(()),
                    };
                    claims.settle(key, outcome.ok().map(storable), now);
                    if let Some((_, open @ None)) = histories.entry(key).or_default().last_mut() {
                        *open = Some((outcome, now));
                    }
                }
            }
        }
    }
}
