use proptest::prelude::*;

use super::*;

/// Slots that anyone may have.
fn open(free: usize) -> Slots {
    Slots { free, common: free }
}

fn names(count: usize) -> Vec<Arc<str>> {
    (0..count).map(|n| format!("t{n}").into()).collect()
}

/// Lane, tenant and slots of what is picked.
fn pick(schedule: &mut Schedule, slots: Slots, now: u64) -> Vec<(Lane, Arc<str>, usize)> {
    schedule.pick(slots, now).into_iter().map(|pick| (pick.lane, pick.tenant, pick.slots)).collect()
}

/// Picks, and takes what was picked.
fn take(schedule: &mut Schedule, slots: Slots, now: u64) -> Vec<(Lane, Arc<str>, usize)> {
    let picked = pick(schedule, slots, now);
    for (lane, tenant, count) in &picked {
        schedule.went(*lane, tenant, *count as u64);
    }
    picked
}

fn of_lane(picked: &[(Lane, Arc<str>, usize)], lane: Lane) -> usize {
    picked.iter().filter(|(of, ..)| *of == lane).map(|(.., count)| count).sum()
}

#[test]
fn a_tenant_with_a_million_waiting_gets_no_more_than_its_share() {
    let mut schedule = Schedule::default();
    let tenants = names(4);
    schedule.came(Lane::Normal, &tenants[0], 1_000_000, 0);
    for small in &tenants[1..] {
        schedule.came(Lane::Normal, small, 3, 0);
    }
    let got: Vec<usize> = take(&mut schedule, open(8), 0).into_iter().map(|(.., count)| count).collect();
    assert_eq!(got, [2, 2, 2, 2]);
    let picked = take(&mut schedule, open(8), 0);
    let large = picked.iter().find(|(_, tenant, _)| *tenant == tenants[0]).unwrap();
    assert_eq!(large.2, 5, "the others have one left each, the rest goes to whoever waits");
}

#[test]
fn lanes_take_turns_of_their_weights_across_picks() {
    let mut schedule = Schedule::default();
    let tenant = &names(1)[0];
    for lane in Lane::ALL {
        schedule.came(lane, tenant, 1_000, 0);
    }
    let order: Vec<Lane> = (0..16).flat_map(|_| take(&mut schedule, open(1), 0)).map(|(lane, ..)| lane).collect();
    let turn = WEIGHTS.into_iter().zip(Lane::ALL).flat_map(|(weight, lane)| std::iter::repeat_n(lane, weight));
    assert_eq!(order, turn.chain([Lane::Critical]).collect::<Vec<_>>());
}

#[test]
fn a_quarter_is_kept_for_critical_deliveries() {
    let reserved = |concurrency| concurrency - Slots::new(concurrency, 0, 0).common;
    assert_eq!([1, 3, 4, 7, 8, 16].map(reserved), [0, 0, 1, 1, 2, 4]);
    assert_eq!(Slots::new(16, 0, 12), Slots { free: 4, common: 0 });
    assert_eq!(Slots::new(16, 4, 12), Slots { free: 0, common: 0 });
    assert_eq!(Slots::new(16, 10, 4), Slots { free: 2, common: 2 }, "critical deliveries may have more than that");
    assert_eq!(Slots::new(2, 8, 8), Slots { free: 0, common: 0 }, "there were more slots before");
}

#[test]
fn a_tenant_without_anything_due_is_skipped_until_then_or_until_more_comes() {
    let mut schedule = Schedule::default();
    let tenants = names(2);
    for tenant in &tenants {
        schedule.came(Lane::High, tenant, 5, 0);
        schedule.not_due(Lane::High, tenant, 1_000, u64::MAX);
    }
    schedule.not_due(Lane::Low, &tenants[0], 1, u64::MAX);
    assert_eq!(schedule.next_due(), Some(1_000), "nothing of it waits in the other lane");
    assert_eq!(pick(&mut schedule, open(9), 999), []);
    schedule.went(Lane::High, &tenants[1], 1);
    assert_eq!(pick(&mut schedule, open(9), 999), [], "fewer wait, which makes none of them due");
    schedule.came(Lane::High, &tenants[1], 1, 0);
    assert_eq!(pick(&mut schedule, open(9), 999), [(Lane::High, tenants[1].clone(), 5)]);
    assert_eq!(schedule.next_due(), Some(1_000));
    assert_eq!(of_lane(&pick(&mut schedule, open(10), 1_000), Lane::High), 10);
    assert_eq!(schedule.next_due(), None);
}

#[test]
fn a_clock_that_is_set_back_starves_nobody() {
    let mut schedule = Schedule::default();
    let tenant = &names(1)[0];
    schedule.came(Lane::Critical, tenant, 100, 0);
    schedule.came(Lane::Low, tenant, 100, 0);
    assert_eq!(take(&mut schedule, open(1), 10 * STARVATION)[0].0, Lane::Critical);
    assert_eq!(take(&mut schedule, open(1), 0)[0].0, Lane::Critical);
    assert_eq!(take(&mut schedule, open(1), STARVATION)[0].0, Lane::Critical, "starving as well, and first of equals");
    assert_eq!(take(&mut schedule, open(1), STARVATION)[0].0, Lane::Low);
}

#[test]
fn absurd_numbers_do_no_harm() {
    let mut schedule = Schedule::default();
    let tenants = names(3);
    for tenant in &tenants {
        (0..3).for_each(|_| schedule.came(Lane::Low, tenant, u64::MAX, 0));
    }
    assert_eq!(of_lane(&pick(&mut schedule, open(9), u64::MAX), Lane::Low), 9);
    schedule.went(Lane::Low, &tenants[0], u64::MAX);
    schedule.not_due(Lane::Low, &tenants[0], u64::MAX, u64::MAX);
    assert_eq!(Slots::new(usize::MAX, usize::MAX, usize::MAX).free(), 0);
}

/// What may be done to a schedule.
#[derive(Debug, Clone)]
enum Step {
    Add(usize, usize, i64),
    NotDue(usize, usize, u64),
    Pick { concurrency: usize, critical: usize, others: usize, forward: u64, taken: bool },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0usize..4, 0usize..5, -6i64..12).prop_map(|(lane, tenant, by)| Step::Add(lane, tenant, by)),
        (0usize..4, 0usize..5, 0u64..5_000).prop_map(|(lane, tenant, wait)| Step::NotDue(lane, tenant, wait)),
        (0usize..30, 0usize..10, 0usize..20, 0u64..4_000, any::<bool>()).prop_map(
            |(concurrency, critical, others, forward, taken)| Step::Pick {
                concurrency,
                critical,
                others,
                forward,
                taken
            }
        ),
    ]
}

/// A pair's count, and until when it is skipped.
type Twin = BTreeMap<(Lane, Arc<str>), (u64, u64)>;

fn check_pick(picked: &[(Lane, Arc<str>, usize)], twin: &Twin, slots: Slots, now: u64) -> Result<(), TestCaseError> {
    let due = |critical: bool| -> usize {
        let pairs =
            twin.iter().filter(|((lane, _), (_, until))| (*lane == Lane::Critical) == critical && *until <= now);
        pairs.map(|(_, (count, _))| *count as usize).sum()
    };
    let most = slots.free.min(due(true) + due(false).min(slots.common));
    let critical = of_lane(picked, Lane::Critical);
    let all: usize = picked.iter().map(|(.., count)| count).sum();
    prop_assert_eq!(all, most, "no slot is left free in vain");
    prop_assert!(all - critical <= slots.common);
    let mut seen = BTreeSet::new();
    for (lane, tenant, count) in picked {
        let (waiting, until) = twin[&(*lane, tenant.clone())];
        prop_assert!(*count >= 1 && *count as u64 <= waiting && until <= now);
        prop_assert!(seen.insert((*lane, tenant.clone())), "each pair is named once");
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_slot_stays_free_while_something_is_due_and_nothing_is_remembered_of_who_has_nothing(
        steps in proptest::collection::vec(any_step(), 1..120),
    ) {
        let tenants = names(5);
        let (mut schedule, mut twin, mut now) = (Schedule::default(), Twin::new(), 0);
        for step in steps {
            match step {
                Step::Add(lane, tenant, by) => {
                    let (lane, tenant) = (Lane::ALL[lane], &tenants[tenant]);
                    match by {
                        0.. => schedule.came(lane, tenant, by.cast_unsigned(), now),
                        _ => schedule.went(lane, tenant, by.unsigned_abs()),
                    }
                    let entry = twin.entry((lane, tenant.clone())).or_default();
                    *entry = (entry.0.saturating_add_signed(by), if by > 0 { 0 } else { entry.1 });
                }
                Step::NotDue(lane, tenant, wait) => {
                    let (lane, tenant) = (Lane::ALL[lane], &tenants[tenant]);
                    schedule.not_due(lane, tenant, now + wait, u64::MAX);
                    twin.entry((lane, tenant.clone())).and_modify(|entry| entry.1 = now + wait);
                }
                Step::Pick { concurrency, critical, others, forward, taken } => {
                    now += forward;
                    let slots = Slots::new(concurrency, critical, others);
                    let picked = pick(&mut schedule, slots, now);
                    check_pick(&picked, &twin, slots, now)?;
                    twin.values_mut().filter(|(_, until)| *until <= now).for_each(|entry| entry.1 = 0);
                    for (lane, tenant, count) in picked.into_iter().filter(|_| taken) {
                        schedule.went(lane, &tenant, count as u64);
                        twin.entry((lane, tenant)).and_modify(|entry| entry.0 -= count as u64);
                    }
                }
            }
            twin.retain(|_, (count, _)| *count > 0);
            let skipped = twin.values().map(|(_, until)| *until).filter(|until| *until > 0);
            prop_assert_eq!(schedule.next_due(), skipped.clone().min());
            prop_assert_eq!(schedule.skipped.len(), skipped.count());
            prop_assert_eq!(schedule.queues.iter().map(|q| q.tenants.len()).sum::<usize>(), twin.len());
            let places: usize = schedule.queues.iter().map(|q| q.rotation.len()).sum();
            prop_assert_eq!(places + schedule.skipped.len(), twin.len());
        }
    }

    #[test]
    fn tenants_of_a_lane_differ_by_one_slot_at_most(
        picks in proptest::collection::vec(0usize..20, 1..60),
        tenants in 1usize..8,
    ) {
        let (mut schedule, tenants) = (Schedule::default(), names(tenants));
        for (n, tenant) in tenants.iter().enumerate() {
            // However much each has.
            schedule.came(Lane::Normal, tenant, 2_000 + 100_000 * n as u64, 0);
        }
        let mut got: HashMap<Arc<str>, usize> = tenants.iter().map(|tenant| (tenant.clone(), 0)).collect();
        for slots in picks {
            for (_, tenant, count) in take(&mut schedule, open(slots), 0) {
                *got.get_mut(&tenant).unwrap() += count;
            }
            prop_assert!(got.values().max().unwrap() - got.values().min().unwrap() <= 1);
        }
    }

    #[test]
    fn lanes_share_by_weight_whatever_the_size_of_the_picks(
        picks in proptest::collection::vec(0usize..40, 1..100),
        tenants in 1usize..5,
    ) {
        let mut schedule = Schedule::default();
        for tenant in names(tenants) {
            Lane::ALL.into_iter().for_each(|lane| schedule.came(lane, &tenant, 1_000_000, 0));
        }
        let (mut got, mut all) = ([0; LANES], 0);
        for slots in picks {
            let picked = take(&mut schedule, open(slots), 0);
            all += slots;
            for lane in Lane::ALL {
                got[lane as usize] += of_lane(&picked, lane);
                // Never more than one turn away from the exact share.
                let (weight, sum) = (WEIGHTS[lane as usize], WEIGHTS.iter().sum::<usize>());
                prop_assert!((got[lane as usize] * sum).abs_diff(all * weight) <= weight * sum);
            }
        }
    }

    #[test]
    fn who_waits_for_a_minute_comes_first(
        picks in proptest::collection::vec((0u64..40_000, 0usize..3, 0usize..3), 1..80),
    ) {
        let (mut schedule, tenant) = (Schedule::default(), &names(1)[0]);
        Lane::ALL.into_iter().for_each(|lane| schedule.came(lane, tenant, 1_000_000, 0));
        let (mut now, mut offered) = (0, None);
        for (forward, common, reserved) in picks {
            now += forward;
            let slots = Slots { free: common + reserved, common };
            let picked = take(&mut schedule, slots, now);
            let times = offered.get_or_insert([now; LANES]);
            let mut starving: Vec<_> =
                Lane::ALL.into_iter().filter(|lane| now - times[*lane as usize] >= STARVATION).collect();
            starving.sort_by_key(|lane| (times[*lane as usize], *lane));
            // As many as there is room for; critical ones find some where others do not.
            let mut room = slots;
            for lane in starving {
                if room.of(lane) > 0 {
                    room.take(lane, 1);
                    prop_assert!(of_lane(&picked, lane) >= 1, "{:?} at {}", lane, now);
                }
            }
            Lane::ALL.into_iter().filter(|lane| of_lane(&picked, *lane) > 0).for_each(|l| times[l as usize] = now);
        }
    }

    /// A sink at work: deliveries begin and end, and now and then a critical one comes.
    #[test]
    fn critical_deliveries_find_the_reserve_free(
        concurrency in 4usize..40,
        steps in proptest::collection::vec((0usize..6, 0usize..3, 0usize..3), 1..80),
    ) {
        let (mut schedule, tenant) = (Schedule::default(), &names(1)[0]);
        [Lane::High, Lane::Normal, Lane::Low].into_iter().for_each(|lane| schedule.came(lane, tenant, 1_000_000, 0));
        let (reserved, mut critical, mut others) = (concurrency / 4, 0usize, 0usize);
        for (others_end, critical_end, critical_begin) in steps {
            others -= others_end.min(others);
            critical -= critical_end.min(critical);
            schedule.came(Lane::Critical, tenant, critical_begin as u64, 0);
            let room = reserved.saturating_sub(critical);
            let picked = take(&mut schedule, Slots::new(concurrency, critical, others), 0);
            let urgent = of_lane(&picked, Lane::Critical);
            prop_assert!(urgent >= critical_begin.min(room));
            critical += urgent;
            others += picked.iter().map(|(.., count)| count).sum::<usize>() - urgent;
            prop_assert!(others <= concurrency - reserved);
            prop_assert!(critical + others <= concurrency);
        }
    }

    /// Deliveries of one tenant that come due at any time, also in the past, and are taken in that order.
    #[test]
    fn a_look_begins_no_later_than_what_is_due(
        steps in proptest::collection::vec((proptest::collection::vec(0u64..1_000, 0..4), 0usize..5, 0u64..300), 1..60),
    ) {
        let (mut schedule, tenant) = (Schedule::default(), &names(1)[0]);
        let (mut waiting, mut now) = (Vec::new(), 0);
        for (came, slots, forward) in steps {
            now += forward;
            for due in came {
                schedule.came(Lane::Normal, tenant, 1, due);
                waiting.push(due);
            }
            waiting.sort_unstable();
            let seen = schedule.arrivals();
            for Pick { slots, from, .. } in schedule.pick(open(slots), now) {
                prop_assert!(waiting.iter().all(|due| *due >= from));
                // What comes during the look is not in it.
                schedule.came(Lane::Normal, tenant, 1, now / 2);
                let due: Vec<u64> = waiting.iter().copied().filter(|due| *due <= now).take(slots).collect();
                waiting.drain(..due.len());
                schedule.went(Lane::Normal, tenant, due.len() as u64);
                match due.last() {
                    Some(last) if due.len() == slots => schedule.looked(Lane::Normal, tenant, *last),
                    _ => schedule.not_due(Lane::Normal, tenant, *waiting.first().unwrap_or(&u64::MAX), seen),
                }
                waiting.push(now / 2);
            }
        }
    }
}
