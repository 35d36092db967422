//! The engine's settings, one place for both sides: what the worker compiles must be what the gateway runs.

use std::num::NonZeroUsize;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::SandboxError;

/// Part of every artefact's key: raise it when a setting below changes what compiled code looks like.
pub(crate) const SETTINGS_VERSION: u32 = 1;

/// Stack of the guest's own frames; the rest of [`ASYNC_STACK`] is for the host functions that it calls. Never set
/// them close together: a host function without stack aborts the process. Nor much further apart than they need to be:
/// the whole stack is wiped after every call.
pub(crate) const WASM_STACK: usize = 512 << 10;
const ASYNC_STACK: usize = 1 << 20;
/// Frames of a backtrace.
const BACKTRACE_FRAMES: usize = 8;

/// Core instances in one component: guest modules, and the small ones that `wit-component` puts around them.
pub(crate) const CORE_INSTANCES: u32 = 48;
/// Linear memories in one component.
pub(crate) const MEMORIES: u32 = 3;
/// Tables in one component.
pub(crate) const TABLES: u32 = 8;
/// Tables that one of its modules defines.
const TABLES_PER_MODULE: u32 = 4;
/// Elements of one table.
pub(crate) const TABLE_ELEMENTS: usize = 10_000;

/// A slot keeps so much of its memory resident between calls; what was touched past it is given back to the system.
const MEMORY_KEEP_RESIDENT: usize = 256 << 10;
const STACK_KEEP_RESIDENT: usize = 4 << 10;
const TABLE_KEEP_RESIDENT: usize = 8 << 10;

/// The engine that runs guests; it cannot compile. `memory` is the largest linear memory in bytes.
pub(crate) fn serving(instances: u32, memory: usize) -> Result<Engine, SandboxError> {
    let mut pool = pool(instances, memory);
    // Resetting only what a call dirtied halves its cost; kernels before 6.7 cannot tell, and reset the lot.
    let scan = PoolingAllocationConfig::is_pagemap_scan_available();
    pool.pagemap_scan(if scan { Enabled::Yes } else { Enabled::No });
    if !scan {
        tracing::info!("this kernel has no PAGEMAP_SCAN (Linux 6.7): plugin calls cost more here");
        pool.linear_memory_keep_resident(0);
    }
    let mut config = common();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    #[cfg(feature = "compiler")]
    config.enable_compiler(false);
    Engine::new(&config).map_err(|error| SandboxError::Engine(format!("{error:#}")))
}

/// The engine that compiles, in the worker process only. It allocates on demand: a pool would not fit under the
/// worker's limit on address space.
#[cfg(feature = "compiler")]
pub(crate) fn compiling() -> wasmtime::Result<Engine> {
    let mut config = common();
    config.strategy(wasmtime::Strategy::Cranelift);
    Engine::new(&config)
}

fn common() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .async_stack_zeroing(true)
        .memory_init_cow(true)
        .guard_before_linear_memory(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES));
    // Multiple memories stay on: the adapters that the compiler makes between instances may import two. Guest modules
    // cannot use them, see `ceilings`.
    config.wasm_memory64(false).wasm_relaxed_simd(false).wasm_tail_call(false).wasm_custom_page_sizes(false);
    config
}

fn pool(instances: u32, memory: usize) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    // Slots are address space, not memory; a component may need several of one kind.
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_tables(instances.saturating_mul(TABLES))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memory_size(memory)
        .max_tables_per_module(TABLES_PER_MODULE)
        .table_elements(TABLE_ELEMENTS)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        // A slot that last held the same component needs no remapping: keep as many as there are.
        .max_unused_warm_slots(instances.saturating_mul(MEMORIES))
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT);
    pool
}
