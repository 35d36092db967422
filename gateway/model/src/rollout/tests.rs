use proptest::prelude::*;

use super::*;

fn v(n: u64) -> Version {
    Version::new(1, n, 0)
}

fn deployed(versions: &[u64]) -> Rollout {
    versions.iter().fold(Rollout::default(), |rollout, n| rollout.apply(Order::Deploy(v(*n)), 0).unwrap())
}

fn canary(n: u64, share: u8) -> Candidate {
    Candidate { version: v(n), trial: Trial::Canary(share), since: 0, until: Some(1_000), guard: Guard::default() }
}

#[test]
fn a_deployment_serves_and_can_be_taken_back_step_by_step() {
    let rollout = deployed(&[1, 2, 3]);
    assert_eq!((rollout.stable.clone(), rollout.revision), (Some(v(3)), 3));
    assert_eq!(rollout.apply(Order::Deploy(v(3)), 0), Err(RolloutFault::Serves));
    let back = rollout.apply(Order::RollBack(None), 0).unwrap();
    assert_eq!((back.stable.clone(), back.earlier.clone()), (Some(v(2)), vec![v(1)]));
    let back = rollout.apply(Order::RollBack(Some(v(1))), 0).unwrap();
    assert_eq!((back.stable, back.earlier), (Some(v(1)), vec![v(2)]));
    assert_eq!(rollout.apply(Order::RollBack(Some(v(9))), 0), Err(RolloutFault::NothingEarlier));
    assert_eq!(Rollout::default().apply(Order::RollBack(None), 0), Err(RolloutFault::NothingEarlier));
}

#[test]
fn a_canary_gets_its_share_and_is_promoted_or_goes() {
    let rollout = deployed(&[1]).apply(Order::Try(canary(2, 10)), 0).unwrap();
    let served = (0..1_000).filter(|dice| *rollout.pick(*dice).unwrap().serves == v(2)).count();
    assert_eq!(served, 100);
    let promoted = rollout.apply(Order::Promote, 0).unwrap();
    assert_eq!((promoted.stable, promoted.candidate, promoted.earlier), (Some(v(2)), None, vec![v(1)]));
    let abandoned = rollout.apply(Order::Abandon, 0).unwrap();
    assert_eq!((abandoned.stable, abandoned.candidate), (Some(v(1)), None));
    // Going back while something is on trial means to go back from it.
    assert_eq!(rollout.apply(Order::RollBack(None), 0).unwrap().stable, Some(v(1)));
    assert_eq!(Rollout::default().apply(Order::Try(canary(2, 10)), 0), Err(RolloutFault::NothingDeployed));
    assert_eq!(deployed(&[1]).apply(Order::Try(canary(1, 10)), 0), Err(RolloutFault::Serves));
    for share in [0, 100, 255] {
        assert_eq!(deployed(&[1]).apply(Order::Try(canary(2, share)), 0), Err(RolloutFault::Share), "{share}");
    }
    assert_eq!(deployed(&[1]).apply(Order::Promote, 0), Err(RolloutFault::NoCandidate));
}

#[test]
fn a_shadow_never_serves() {
    let candidate = Candidate { trial: Trial::Shadow(50), ..canary(2, 1) };
    let rollout = deployed(&[1]).apply(Order::Try(candidate), 0).unwrap();
    let picks: Vec<_> = (0..100).map(|dice| rollout.pick(dice).unwrap()).collect();
    assert!(picks.iter().all(|pick| *pick.serves == v(1)));
    assert_eq!(picks.iter().filter(|pick| pick.shadow == Some(&v(2))).count(), 50);
}

#[test]
fn a168_a_version_in_quarantine_gives_way_to_the_last_good_one() {
    let rollout = deployed(&[1, 2, 3]).apply(Order::Quarantine(v(3)), 7).unwrap();
    assert_eq!((rollout.stable.clone(), rollout.earlier.clone()), (Some(v(2)), vec![v(1)]));
    assert_eq!(rollout.quarantined, [Quarantined { version: v(3), at: 7 }]);
    assert_eq!(rollout.apply(Order::Deploy(v(3)), 8), Err(RolloutFault::Quarantined));
    let released = rollout.apply(Order::Release(v(3)), 9).unwrap();
    assert_eq!(released.apply(Order::Deploy(v(3)), 10).unwrap().stable, Some(v(3)));
    let last = deployed(&[1]).apply(Order::Quarantine(v(1)), 0).unwrap();
    assert_eq!((last.stable.clone(), last.pick(0)), (None, None), "nothing is left to serve");
    assert_eq!(last.apply(Order::Quarantine(v(1)), 0), Err(RolloutFault::NotInUse));
    let trial = deployed(&[1]).apply(Order::Try(canary(2, 10)), 0).unwrap().apply(Order::Quarantine(v(2)), 0).unwrap();
    assert_eq!((trial.stable, trial.candidate), (Some(v(1)), None));
}

#[test]
fn a_candidate_is_judged_by_faults_errors_and_time() {
    let candidate = canary(2, 10);
    let record = |calls, faults, errors, micros| Record { calls, faults, errors, micros };
    let stable = record(1_000, 0, 10, 20_000);
    let judged = |own, now| candidate.judge(own, stable, now);
    assert_eq!(judged(record(19, 0, 0, 380), 5_000), Verdict::Wait, "too few to tell");
    assert_eq!(judged(record(1, 1, 1, 20), 0), Verdict::Abandon("faults"));
    assert_eq!(judged(record(100, 0, 2, 2_000), 999), Verdict::Wait);
    assert_eq!(judged(record(100, 0, 2, 2_000), 1_000), Verdict::Promote);
    assert_eq!(judged(record(100, 0, 3, 2_000), 1_000), Verdict::Abandon("errors"), "2 % is one point more than 1 %");
    assert_eq!(judged(record(100, 0, 0, 3_000), 1_000), Verdict::Promote);
    assert_eq!(judged(record(100, 0, 0, 3_001), 1_000), Verdict::Abandon("time"));
    let nobody = candidate.judge(record(100, 0, 0, 3_001), Record::default(), 1_000);
    assert_eq!(nobody, Verdict::Promote, "there is nothing to hold its time against");
    let shadow = Candidate { trial: Trial::Shadow(100), ..canary(2, 1) };
    assert_eq!(shadow.judge(record(100, 0, 100, 2_000), stable, 5_000), Verdict::Wait, "it may differ");
    assert_eq!(shadow.judge(record(100, 0, 0, 2_000), stable, 5_000), Verdict::Wait);
}

fn any_order() -> impl Strategy<Value = Order> {
    let version = || (0_u64..6).prop_map(v);
    prop_oneof![
        version().prop_map(Order::Deploy),
        ((0_u64..6), (0_u8..=101), any::<bool>()).prop_map(|(n, share, shadow)| {
            let trial = if shadow { Trial::Shadow(share) } else { Trial::Canary(share) };
            Order::Try(Candidate { trial, ..canary(n, 1) })
        }),
        Just(Order::Promote),
        Just(Order::Abandon),
        proptest::option::of(version()).prop_map(Order::RollBack),
        version().prop_map(Order::Quarantine),
        version().prop_map(Order::Release),
    ]
}

proptest! {
    /// Whatever is asked, in whatever order.
    #[test]
    fn a_rollout_stays_sound(orders in proptest::collection::vec(any_order(), 1..80)) {
        let mut rollout = Rollout::default();
        for order in orders {
            let Ok(next) = rollout.apply(order.clone(), 0) else { continue };
            prop_assert_eq!(next.revision, rollout.revision + 1);
            prop_assert!(next.earlier.len() <= MOST_EARLIER && next.quarantined.len() <= MOST_QUARANTINED);
            for version in next.in_use().chain(&next.earlier) {
                prop_assert!(!next.is_quarantined(version), "{order:?}: {next:?}");
            }
            let mut known: Vec<_> = next.stable.iter().chain(&next.earlier).collect();
            known.sort();
            known.dedup();
            prop_assert_eq!(known.len(), usize::from(next.stable.is_some()) + next.earlier.len());
            prop_assert!(next.candidate.is_none() || next.stable.is_some());
            let written = serde_json::to_string(&next).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Rollout>(&written).unwrap(), &next);
            rollout = next;
        }
    }
}
