//! The allocator of the whole program. jemalloc costs a fresh sandbox less than glibc's; the figures stand in
//! `benches/README.md`. Build with `--no-default-features` for the system's.

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
