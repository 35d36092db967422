//! The allocator of the whole program, C libraries included. jemalloc costs a fresh sandbox less than glibc's, and SQLite
//! an accept; the figures stand in `benches/README.md`. Build with `--no-default-features` for the system's.

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
