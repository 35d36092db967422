//! Mutated components through the whole path (catalogue 171): whatever is taken is called, whatever is refused is refused
//! with a word, and the process lives.
#![allow(clippy::print_stdout, reason = "what came of the mutants is the catalogue's answer")]

use std::collections::BTreeMap;

use sluis_sandbox::LoadError;

use crate::support::*;

/// How many by default; `SLUIS_MUTANTS=10000` is the catalogue's number.
const MUTANTS: usize = 600;

/// What a component can be refused for; the rest is the gateway's own trouble, which a component must not cause.
const REFUSALS: [&str; 13] = [
    "not-a-component",
    "wrong-world",
    "undeclared-capability",
    "capability-not-granted",
    "feature-disabled",
    "too-complex",
    "too-large",
    "does-not-fit",
    "init-timeout",
    "init-trap",
    "compile-timeout",
    "compile-memory",
    "compile-crash",
];

/// Numbers that repeat from run to run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    /// One to three changes of a byte, a bit, or a slice.
    fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.roll(3) {
            let at = self.roll(bytes.len());
            let most = (bytes.len() - at).min(32);
            let length = 1 + self.roll(most);
            let from = self.roll(bytes.len() - length + 1);
            let other = bytes[from..from + length].to_vec();
            match self.roll(8) {
                0 => bytes[at] = self.roll(256) as u8,
                1 => bytes[at] ^= 1 << self.roll(8),
                // Values that are common in the file are the ones that mean something.
                2 | 3 => bytes[at] = other[0],
                4 => drop(bytes.drain(at..at + length)),
                5 => drop(bytes.splice(at..at, other)),
                6 => bytes[at..at + length].copy_from_slice(&other),
                _ => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.roll(5)],
            }
            if bytes.is_empty() {
                return bytes;
            }
        }
        bytes
    }
}

#[tokio::test]
async fn a171_mutants_are_refused_or_called() {
    let house = House::new();
    let mutants = std::env::var("SLUIS_MUTANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(MUTANTS);
    let seeds = [
        component("request", &guest("echo")),
        component("request", &module(LOG, "(table 4 funcref)", &respond("(i32.const 201)"))),
        component("request", &module(CONFIG, "(data (i32.const 64) \"key\")", &respond("(i32.const 202)"))),
    ];
    let mut dice = Dice(0x5_1015);
    let mut came_of: BTreeMap<&str, usize> = BTreeMap::new();
    for n in 0..mutants {
        let mutant = dice.mutate(&seeds[n % seeds.len()]);
        let word = match house.sandbox.load_bytes("mutant", mutant.into(), &ALL).await {
            Ok(plugin) => match call(&plugin).await.result {
                Ok(_) => "answered",
                Err(fault) => fault.label(),
            },
            Err(refused) => code_of(&refused),
        };
        *came_of.entry(word).or_default() += 1;
    }
    println!("{mutants} mutants: {came_of:?}");
    let of = |words: &[&str]| words.iter().filter_map(|word| came_of.get(word)).sum::<usize>();
    assert!(of(&["answered"]) > mutants / 50, "some are harmless: {came_of:?}");
    assert!(of(&["not-a-component"]) > mutants / 50, "some are no component: {came_of:?}");
    // The sandbox works as ever.
    let plugin = house.load_bytes("echo.wasm", &seeds[1], &ALL).await.unwrap();
    assert_eq!(status(&call(&plugin).await), 201);
}

fn code_of(refused: &LoadError) -> &'static str {
    let code = refused.code();
    assert!(REFUSALS.contains(&code), "{refused}");
    assert!(refused.to_string().len() < 2_048 && !refused.to_string().contains(char::is_control), "{refused}");
    code
}
