//! From a credential to an identity: known tokens, and new ones whose ES256 signature is verified.

use std::hint::black_box;
use std::sync::Arc;

use sluis_edge::clock::Clock;
use sluis_edge::state::Generation;

use crate::house::{House, TENANT};
use crate::stage::{Prepared, Stage, Turns, async_turns};

pub fn stages() -> Vec<Stage> {
    vec![
        Stage::new("tokens/known", |house| known(house)),
        Stage::new("tokens/new, ES256", |house| Box::new(New::before_any(house))),
    ]
}

fn known(house: &House) -> Prepared<'_> {
    let generation = house.app.generation.load_full();
    let known = format!("Bearer {}", house.issuer.token(TENANT, "user-0").unwrap());
    async_turns(&house.runtime, async move || {
        black_box(generation.tokens.identify(known.as_bytes(), &[0], Clock::unix_seconds()).await.unwrap());
    })
}

/// A token of its own for every turn.
struct New<'h> {
    house: &'h House,
    generation: Arc<Generation>,
    /// Signed, and not shown yet.
    tokens: Vec<String>,
    /// Signed so far.
    signed: u64,
}

impl<'h> New<'h> {
    fn before_any(house: &'h House) -> Self {
        New { house, generation: house.app.generation.load_full(), tokens: Vec::new(), signed: 0 }
    }

    fn sign(&mut self) -> String {
        self.signed += 1;
        let token = self.house.issuer.token(TENANT, &format!("user-new-{}", self.signed)).unwrap();
        format!("Bearer {token}")
    }
}

impl Turns for New<'_> {
    fn ready(&mut self, turns: u64) {
        self.tokens = (0..turns).map(|_| self.sign()).collect();
    }

    fn take(&mut self, turns: u64) {
        let New { house, generation, tokens, .. } = self;
        let before = house.app.token_cache.counts().misses;
        house.runtime.block_on(async {
            for token in tokens.iter() {
                let now = Clock::unix_seconds();
                black_box(generation.tokens.identify(token.as_bytes(), &[0], now).await.unwrap());
            }
        });
        assert_eq!(house.app.token_cache.counts().misses - before, turns, "a new token came out of the cache");
    }
}
