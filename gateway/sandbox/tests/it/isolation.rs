//! What one call leaves for the next, what one guest's load does to another's call, and what is left when a call is
//! abandoned: nothing (catalogue 2G).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sluis_model::hook::{Budget, CallFault, Decision};
use sluis_model::plan::CallLimits;
use sluis_sandbox::Scope;

use crate::support::*;

const SPIN: &str = "(loop $again (br $again)) (unreachable)";

#[tokio::test]
async fn a194_every_call_begins_anew() {
    let house = House::with(|settings| settings.instances = 1);
    // Counts in a global, in memory and in a table.
    let items = "(global $calls (mut i32) (i32.const 200)) (table $t 4 funcref) (elem declare func $on-request)";
    let body = format!(
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (i32.store (i32.const 8000) (i32.add (i32.load (i32.const 8000)) (i32.const 1)))
         (if (i32.eqz (ref.is_null (table.get $t (i32.const 1)))) (then (unreachable)))
         (table.set $t (i32.const 1) (ref.func $on-request))
         (drop (memory.grow (i32.const 1)))
         {}",
        respond("(i32.add (global.get $calls) (i32.add (i32.load (i32.const 8000)) (memory.size)))")
    );
    let plugin = house.load(&module("", items, &body)).await.unwrap();
    for _ in 0..50 {
        assert_eq!(status(&call(&plugin).await), 201 + 1 + 3);
    }
}

#[tokio::test]
async fn a195_nothing_of_another_guest_is_left_in_a_slot() {
    // One slot: everyone gets what the last one left.
    let house = House::with(|settings| settings.instances = 1);
    let limits = CallLimits { cpu: Duration::from_secs(20), ..limits() };
    let writer = house.guest("residue-writer").await;
    let scanner = house.guest("residue-scanner").await;
    for round in 0..10 {
        // The writer is called with a trap at its end every other time, the scanner finds nothing either way.
        let written = call_with(&writer, &[round % 2], &limits).await;
        assert_eq!(written.result.is_err(), round % 2 == 1, "{written:?}");
        assert_eq!(written.usage.memory, 100 * 65536);
        let scanned = call_with(&scanner, b"", &limits).await;
        assert_eq!(status(&scanned), 200, "round {round}");
        assert_eq!(scanned.usage.memory, 100 * 65536);
    }
    // The scanner finds what it should not when it is there: it is told to write first.
    let both = house.guest("residue-both").await;
    assert_eq!(status(&call_with(&both, &[1], &limits).await), 500);
    // Nor of itself.
    for round in 0..10 {
        assert_eq!(status(&call_with(&both, b"", &limits).await), 200, "round {round}");
    }
}

#[tokio::test]
async fn a197_without_a_free_slot_the_answer_is_at_once() {
    let house = House::with(|settings| settings.instances = 2);
    let spinner = house.load(&module("", "", SPIN)).await.unwrap();
    let echo = house.guest("echo").await;
    let limits = CallLimits { cpu: Duration::from_secs(30), ..limits() };
    let scope = Arc::default();
    let mut first = Box::pin(spinner.on_request(request(b""), &scope, &limits, MIB));
    let mut second = Box::pin(spinner.on_request(request(b""), &scope, &limits, MIB));
    for call in [&mut first, &mut second] {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    for _ in 0..100 {
        let begun = Instant::now();
        assert_eq!(call(&echo).await.result, Err(CallFault::Capacity));
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
    drop(first);
    assert!(call(&echo).await.result.is_ok());
    drop(second);
}

#[tokio::test]
async fn a197_a_component_is_not_refused_for_want_of_a_slot_at_once() {
    let house = House::with(|settings| settings.instances = 1);
    let spinner = house.load(&module("", "", SPIN)).await.unwrap();
    let limits = CallLimits { cpu: Duration::from_secs(30), ..limits() };
    let scope = Arc::default();
    let mut call = Some(Box::pin(spinner.on_request(request(b""), &scope, &limits, MIB)));
    assert!(poll_once(call.as_mut().unwrap().as_mut()).is_pending());
    let text = guest("echo");
    let mut load = pin!(house.load(&text));
    let given_back = tokio::time::sleep(Duration::from_millis(500));
    tokio::select! {
        _ = &mut load => panic!("there was no slot to try it in"),
        () = given_back => call = None,
    }
    assert!(call.is_none() && load.await.is_ok());
    // Until nobody gives one back.
    let mut call = Box::pin(spinner.on_request(request(b""), &scope, &limits, MIB));
    assert!(poll_once(call.as_mut()).is_pending());
    let refused = house.load(&module("", "", &respond("(i32.const 201)"))).await.unwrap_err();
    assert_eq!(refused.code(), "plugin-capacity");
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a192_a_call_may_be_dropped_anywhere() {
    let house = House::with(|settings| settings.instances = 4);
    // Spins in the hook, in the allocator (while the request is lowered), and after a host call.
    let spins = [
        module("", "", SPIN),
        module("", "", SPIN).replace("(local $at i32)", "(local $at i32) (loop $again (br $again))"),
        module(CONFIG, "", &format!("(call $get (i32.const 0) (i32.const 0) (i32.const 64)) {SPIN}")),
    ];
    let echo = house.guest("echo").await;
    let limits = CallLimits { cpu: Duration::from_secs(30), ..limits() };
    for text in spins {
        let spinner = house.load(&text).await.unwrap();
        for polls in 0..24 {
            // Each a tenant of its own: one whose last call was heavy would wait before it begins.
            let scope = Arc::default();
            let mut call = pin!(spinner.on_request(request(b"body"), &scope, &limits, MIB));
            for _ in 0..polls {
                assert!(poll_once(call.as_mut()).is_pending());
            }
        }
    }
    // All slots are back.
    let calls = (0..4).map(|_| call(&echo)).collect::<Vec<_>>();
    for call in calls {
        assert!(call.await.result.is_ok());
    }
    let spinner = house.load(&module("", "", SPIN)).await.unwrap();
    let scopes: [Arc<Scope>; 4] = Default::default();
    let mut held: Vec<_> =
        scopes.iter().map(|scope| Box::pin(spinner.on_request(request(b""), scope, &limits, MIB))).collect();
    for call in &mut held {
        assert!(poll_once(call.as_mut()).is_pending(), "a slot was lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a200_a_hundred_spinning_guests_do_not_stop_a_good_one() {
    let house = House::with(|settings| settings.instances = 128);
    let spinner = house.load(&module("", "", SPIN)).await.unwrap();
    let echo = house.guest("echo").await;
    let budget = Duration::from_millis(30);
    let spinning: Vec<_> = (0..100)
        .map(|_| {
            let spinner = spinner.clone();
            tokio::spawn(async move { call_with(&spinner, b"", &CallLimits { cpu: budget, ..limits() }).await })
        })
        .collect();
    let mut answered = 0;
    while !spinning.iter().all(|task| task.is_finished()) {
        let outcome = tokio::spawn({
            let echo = echo.clone();
            async move { call_with(&echo, b"body", &limits()).await }
        });
        assert!(matches!(outcome.await.unwrap().result, Ok(Decision::Respond(_))));
        answered += 1;
    }
    // A hundred times 30 ms on two threads are 1.5 seconds; a good call waits one round of ticks among them.
    assert!(answered >= 3, "{answered}");
    for task in spinning {
        let outcome = task.await.unwrap();
        assert_eq!(outcome.result, Err(CallFault::Budget(Budget::Cpu)));
        // The ticker is a thread of its own: guests that keep every worker busy cannot keep it from ticking. By how much
        // a guest outlives its budget is for `benches/` to say, on a machine that does nothing else.
        assert!(outcome.usage.cpu >= budget, "{:?}", outcome.usage);
    }
}

#[tokio::test]
async fn a200_a_long_call_that_got_no_turn_is_not_the_guests_fault() {
    let house = House::with(|settings| settings.long_calls = 1);
    let spinner = house.load(&module("", "", SPIN)).await.unwrap();
    let patient = CallLimits { cpu: Duration::from_secs(30), ..limits() };
    let [scope, fresh]: [Arc<Scope>; 2] = Default::default();
    let mut first = Box::pin(spinner.on_request(request(b""), &scope, &patient, MIB));
    // The end of its first tick, and the turn for the next one.
    for _ in 0..2 {
        assert!(poll_once(first.as_mut()).is_pending());
    }
    let hurried = CallLimits { wall: Duration::from_millis(50), ..patient };
    let second = call_with(&spinner, b"", &hurried).await;
    assert_eq!(second.result, Err(CallFault::Capacity));
    drop(first);
    let second = call_with(&spinner, b"", &hurried).await;
    assert_eq!(second.result, Err(CallFault::Budget(Budget::Wall)));
    // A short call needs no turn, unless the tick comes when half of one has passed.
    let mut first = Box::pin(spinner.on_request(request(b""), &fresh, &patient, MIB));
    for _ in 0..2 {
        assert!(poll_once(first.as_mut()).is_pending());
    }
    let echo = house.guest("echo").await;
    let hurried = CallLimits { wall: Duration::from_millis(50), ..limits() };
    let mut answered = false;
    for _ in 0..20 {
        answered |= call_with(&echo, b"", &hurried).await.result.is_ok();
    }
    assert!(answered);
}

#[tokio::test]
async fn a200_a_heavy_tenant_waits_for_a_turn_before_a_call_begins() {
    let house = House::with(|settings| settings.long_calls = 1);
    let spinner = house.load(&module("", "", SPIN)).await.unwrap();
    let [heavy, third]: [Arc<Scope>; 2] = Default::default();
    let patient = CallLimits { cpu: Duration::from_secs(30), ..limits() };
    // As much as is remembered: half a second makes it good.
    let long = CallLimits { cpu: Duration::from_millis(64), ..limits() };
    let ended = spinner.on_request(request(b""), &heavy, &long, MIB).await;
    assert_eq!(ended.result, Err(CallFault::Budget(Budget::Cpu)));

    let holding = Arc::default();
    let mut holder = Box::pin(spinner.on_request(request(b""), &holding, &patient, MIB));
    for _ in 0..2 {
        assert!(poll_once(holder.as_mut()).is_pending());
    }
    let hurried = CallLimits { wall: Duration::from_millis(50), ..patient };
    let begins = async |scope| {
        let outcome = spinner.on_request(request(b""), scope, &hurried, MIB).await;
        assert_eq!(outcome.result, Err(CallFault::Capacity), "nobody got the turn");
        outcome.usage.cpu > Duration::ZERO
    };
    assert!(!begins(&heavy).await);
    assert!(begins(&third).await, "others begin at once");
    while !begins(&heavy).await {}
}

/// Fills 50 MB of fresh memory, which no tick interrupts.
const FILL: &str = "(drop (memory.grow (i32.const 800)))
    (memory.fill (i32.const 131072) (i32.const 1) (i32.const 50000000))";

#[tokio::test]
async fn a200_what_no_tick_interrupts_is_timed_all_the_same() {
    let house = House::new();
    let filler = house.load(&module("", "", &format!("{FILL} {}", respond("(i32.const 204)")))).await.unwrap();
    let scope: Arc<Scope> = Arc::default();
    let patient = CallLimits { cpu: Duration::from_secs(30), ..limits() };
    let mut longest = Duration::ZERO;
    for _ in 0..4 {
        let filled = filler.on_request(request(b""), &scope, &patient, MIB).await;
        assert_eq!(status(&filled), 204);
        longest = longest.max(filled.usage.cpu);
    }
    // However fast a machine is, it does not fill 50 MB of fresh memory within two ticks.
    assert!(longest > Duration::from_millis(2), "{longest:?}");
}

#[tokio::test]
async fn a200_what_was_given_up_is_on_its_tenants_account() {
    let house = House::with(|settings| settings.long_calls = 1);
    // No tick comes before the loop. Half a second makes good what the fills take.
    let body = format!("{} {SPIN}", FILL.repeat(12));
    let filler = house.load(&module("", "", &body)).await.unwrap();
    let [scope, holding]: [Arc<Scope>; 2] = Default::default();
    let patient = CallLimits { cpu: Duration::from_secs(30), ..limits() };
    let hurried = CallLimits { wall: Duration::from_millis(50), ..patient };
    let mut holder = Box::pin(filler.on_request(request(b""), &holding, &patient, MIB));
    for _ in 0..2 {
        assert!(poll_once(holder.as_mut()).is_pending());
    }
    // The first one may be timed by a tick alone; none of them comes to its end.
    for _ in 0..3 {
        assert!(poll_once(pin!(filler.on_request(request(b""), &scope, &patient, MIB))).is_pending());
    }
    let next = filler.on_request(request(b""), &scope, &hurried, MIB).await;
    assert_eq!((next.result, next.usage.cpu), (Err(CallFault::Capacity), Duration::ZERO));
}

#[tokio::test]
async fn a199_a_component_that_nobody_holds_is_unloaded() {
    let house = House::new();
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(house.artefacts().to_str().unwrap())).count()
    };
    assert_eq!(mapped(), 0);
    let texts = [module("", "", &respond("(i32.const 201)")), module("", "", &respond("(i32.const 202)"))];
    for round in 0..20 {
        let plugin = house.load(&texts[round % 2]).await.unwrap();
        assert_eq!(usize::from(status(&call(&plugin).await)), 201 + round % 2);
        assert!(mapped() > 0);
        drop(plugin);
        assert_eq!(mapped(), 0, "round {round}");
    }
}

/// What is in flight finishes on the version that it began with.
#[tokio::test]
async fn a199_a_call_outlives_its_plugin_and_its_sandbox() {
    let house = House::new();
    let plugin = house.load(&module("", "", SPIN)).await.unwrap();
    // Long enough to be under way at its first poll on a machine that does other things as well.
    let limits = CallLimits { cpu: Duration::from_millis(500), ..limits() };
    let running = async move { call_with(&plugin, b"", &limits).await };
    let mut running = Box::pin(running);
    assert!(poll_once(running.as_mut()).is_pending());
    drop(house);
    assert_eq!(running.await.result, Err(CallFault::Budget(Budget::Cpu)));
}
