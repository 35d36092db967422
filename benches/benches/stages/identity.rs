//! From a credential to an identity: known tokens, and new ones whose ES256 signature is verified.

use std::cell::Cell;
use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use sluis_edge::clock::Clock;

use crate::house::{House, TENANT};

pub fn bench(criterion: &mut Criterion, house: &House) {
    let generation = house.app.generation.load_full();
    let tokens = &generation.tokens;
    let known = format!("Bearer {}", house.issuer.token(TENANT, "user-0").unwrap());

    let mut group = criterion.benchmark_group("tokens");
    group.bench_function("known", |b| {
        b.to_async(&house.runtime).iter(|| async {
            black_box(tokens.identify(known.as_bytes(), &[0], Clock::unix_seconds()).await.unwrap())
        });
    });
    // A token of its own for every turn, signed before the clock runs.
    let subject = Cell::new(0_u64);
    let fresh = || {
        subject.set(subject.get() + 1);
        format!("Bearer {}", house.issuer.token(TENANT, &format!("user-{}", subject.get())).unwrap())
    };
    let before = house.app.token_cache.counts();
    group.bench_function("new, ES256", |b| {
        b.to_async(&house.runtime).iter_batched(
            fresh,
            |token| async move { tokens.identify(token.as_bytes(), &[0], Clock::unix_seconds()).await.unwrap() },
            BatchSize::SmallInput,
        );
    });
    let misses = house.app.token_cache.counts().misses - before.misses;
    assert_eq!(misses, subject.get(), "a new token came out of the cache");
    group.finish();
}
