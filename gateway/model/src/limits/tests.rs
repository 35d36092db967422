use proptest::prelude::*;

use super::*;

#[test]
fn a264_a_tenant_at_many_times_its_rate_gets_its_rate_and_a_wait() {
    let rate = Rate::new(500, 1_000);
    // Ten seconds at twenty times the rate.
    let admitted = (0..100_000_u64).filter(|n| rate.try_acquire(n * 100_000).is_ok()).count();
    assert_eq!(admitted, 1_000 + 500 * 10 - 1);
    let wait = rate.try_acquire(10 * SECOND - 100_000).unwrap_err();
    assert!(wait <= Duration::from_millis(2), "{wait:?}");
}

#[test]
fn a_burst_is_what_one_moment_admits() {
    for burst in [0, 1, 2, 1_000] {
        let rate = Rate::new(10, burst);
        let admitted = (0..5_000).filter(|_| rate.try_acquire(7 * SECOND).is_ok()).count();
        assert_eq!(admitted, burst.max(1) as usize);
    }
}

#[test]
fn a_rate_of_nothing_admits_nothing() {
    assert_eq!(Rate::new(0, 100).try_acquire(u64::from(u32::MAX)), Err(SHUT));
}

#[test]
fn a_wait_survives_a_reload_but_not_beyond_what_the_new_settings_can_ask() {
    let rate = Rate::new(1, 1_000);
    while rate.try_acquire(0).is_ok() {}
    rate.set(1, 1_000);
    assert_eq!(rate.try_acquire(0), Err(Duration::from_secs(1)), "the same settings forget nothing");
    rate.set(1_000, 10);
    assert!(rate.try_acquire(0).unwrap_err() <= Duration::from_secs(1));
    assert_eq!(rate.try_acquire(SECOND / 1_000), Ok(()), "not a thousand seconds later");
}

#[test]
fn the_largest_settings_do_not_overflow() {
    for (per_second, burst) in [(1, u32::MAX), (u32::MAX, u32::MAX), (u32::MAX, 1)] {
        let rate = Rate::new(per_second, burst);
        assert_eq!(rate.try_acquire(1 << 60), Ok(()));
    }
}

proptest! {
    /// In any stretch of time at most burst + rate × stretch, and who waits as told gets in.
    #[test]
    fn no_stretch_admits_more_than_burst_and_rate(
        per_second in 1_u32..2_000,
        burst in 1_u32..50,
        steps in proptest::collection::vec((0_u64..20_000_000, 1_u32..20), 1..150),
    ) {
        let rate = Rate::new(per_second, burst);
        let mut now = 0;
        let mut admitted: Vec<u64> = Vec::new();
        for (forward, tries) in steps {
            now += forward;
            for _ in 0..tries {
                match rate.try_acquire(now) {
                    Ok(()) => admitted.push(now),
                    Err(wait) => {
                        let then = now + u64::try_from(wait.as_nanos()).unwrap();
                        prop_assert!(rate.try_acquire(then - 1).is_err(), "one nanosecond early");
                    }
                }
            }
        }
        for (first, from) in admitted.iter().enumerate() {
            for (last, to) in admitted.iter().enumerate().skip(first) {
                let allowed = u128::from(burst) + u128::from(to - from) * u128::from(per_second) / u128::from(SECOND);
                prop_assert!((last - first + 1) as u128 <= allowed);
            }
        }
    }

    /// The worst that a client can do is to come at the first moment that it may, to the nanosecond.
    #[test]
    fn who_waits_as_told_is_admitted_and_never_gains(
        per_second in 1_u32..2_000,
        burst in 1_u32..50,
        start in 0_u64..1 << 40,
    ) {
        let rate = Rate::new(per_second, burst);
        let (mut now, mut admitted) = (start, 0);
        for _ in 0..200 {
            if let Err(wait) = rate.try_acquire(now) {
                now += u64::try_from(wait.as_nanos()).unwrap();
                prop_assert_eq!(rate.try_acquire(now), Ok(()));
            }
            admitted += 1;
            let allowed = u128::from(burst) + u128::from(now - start) * u128::from(per_second) / u128::from(SECOND);
            prop_assert!(admitted <= allowed, "{} of {}", admitted, allowed);
        }
    }

    /// Against a plain list of permits, the limit changing underneath.
    #[test]
    fn permits_neither_leak_nor_exceed(steps in proptest::collection::vec((0_u8..4, 0_usize..12), 1..300)) {
        let permits = Arc::new(Permits::new(5));
        let mut out = Vec::new();
        for (step, number) in steps {
            match step {
                0 | 1 => match permits.try_acquire() {
                    Some(permit) => {
                        out.push(permit);
                        prop_assert!(out.len() <= permits.limit());
                    }
                    None => prop_assert!(out.len() >= permits.limit()),
                },
                2 if !out.is_empty() => drop(out.swap_remove(number % out.len())),
                2 => {}
                _ => permits.set_limit(number),
            }
            prop_assert_eq!(permits.in_use(), out.len());
        }
        drop(out);
        prop_assert_eq!(permits.in_use(), 0);
    }
}

#[test]
fn threads_share_one_rate() {
    const ROUNDS: u64 = 50_000;
    let rate = Rate::new(1_000_000, 100);
    let clock = AtomicU64::new(0);
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    // A microsecond in four tries: each thread's reading is stale by the time it is used.
                    let now = clock.fetch_add(250, Ordering::Relaxed);
                    admitted.fetch_add(u64::from(rate.try_acquire(now).is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    let micros = 4 * ROUNDS * 250 / 1_000;
    assert!(admitted.into_inner() <= 100 + micros);
}

#[test]
fn threads_share_permits_without_exceeding_or_leaking() {
    let permits = Arc::new(Permits::new(3));
    let (held, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    if let Some(permit) = permits.try_acquire() {
                        most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        held.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                }
            });
        }
    });
    assert!((1..=3).contains(&most.into_inner()));
    assert_eq!(permits.in_use(), 0);
}
