//! What no setting changes: the ceilings of a component and of an instance, from the constants that hold them.

use crate::ceilings::{
    BLOCK_DEPTH, BR_TABLE_TARGETS, FUNCTION_BYTES, FUNCTIONS, LOCALS, NESTING, PARAMETERS, SECTION_ENTRIES, SECTIONS,
    STACK_HEIGHT,
};
use crate::engine::{CORE_INSTANCES, MEMORIES, TABLE_ELEMENTS, TABLES, WASM_STACK};
use crate::limiter::TABLE_ELEMENTS as ALL_TABLE_ELEMENTS;
use crate::load::{INIT_CPU, INIT_WALL};
use crate::state::{HANDLES, HOSTCALL_BYTES, STDIO_BYTES};

/// A number that nothing goes past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// Of what.
    pub what: &'static str,
    /// The number.
    pub most: u64,
    /// `bytes`, `ms`, or empty for a count.
    pub unit: &'static str,
}

const fn count(what: &'static str, most: u64) -> Ceiling {
    Ceiling { what, most, unit: "" }
}

const fn bytes(what: &'static str, most: usize) -> Ceiling {
    Ceiling { what, most: most as u64, unit: "bytes" }
}

/// Of a component, past which it is refused as `too-complex` or `does-not-fit`.
pub const OF_A_COMPONENT: [Ceiling; 14] = [
    count("functions", FUNCTIONS as u64),
    bytes("a function", FUNCTION_BYTES),
    count("parameters or results of a function", PARAMETERS as u64),
    count("locals of a function", LOCALS as u64),
    count("blocks in one another", BLOCK_DEPTH as u64),
    count("operands on the stack of a function", STACK_HEIGHT as u64),
    count("targets of a `br_table`", BR_TABLE_TARGETS as u64),
    count("components in one another", NESTING as u64),
    count("sections", SECTIONS as u64),
    count("entries of a section", SECTION_ENTRIES as u64),
    count("core instances", CORE_INSTANCES as u64),
    count("memories", MEMORIES as u64),
    count("tables", TABLES as u64),
    count("elements of a table", TABLE_ELEMENTS as u64),
];

/// Of an instance, past which a call ends, or is told that there is no more.
pub const OF_AN_INSTANCE: [Ceiling; 7] = [
    bytes("stack", WASM_STACK),
    count("elements of all tables", ALL_TABLE_ELEMENTS as u64),
    count("resource handles", HANDLES as u64),
    bytes("data of one host call", HOSTCALL_BYTES),
    bytes("printed or told before a trap", STDIO_BYTES),
    Ceiling { what: "CPU of its start, when it is loaded", most: INIT_CPU.as_millis() as u64, unit: "ms" },
    Ceiling { what: "the same by the wall's clock", most: INIT_WALL.as_millis() as u64, unit: "ms" },
];
