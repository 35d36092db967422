//! The lean runtime of a guest: an allocator that moves forward and a panic handler that says why.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::panic::PanicInfo;

use crate::arena::{Arena, Short};

const PAGE: usize = 65_536;
/// Memory grows by at least this many pages: each growth costs the host a system call.
const GROWTH: usize = 16;
/// Bytes of a message that one call tells.
const NOTE: usize = 120;
/// Longest panic message, bytes: the host shows no more.
const MESSAGE: usize = 4 * NOTE;

unsafe extern "C" {
    static __heap_base: u8;
}

// Only for memcmp and its like, which the compiler calls; nothing in it that needs WASI is linked.
#[link(name = "c", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

/// An allocator that only moves forward: an instance serves one request, and its memory goes with it.
/// The last block can grow, shrink and come back, which serves growing buffers.
pub struct Bump(UnsafeCell<Option<Arena>>);

// SAFETY: a guest has one thread; threads are not part of the contract.
unsafe impl Sync for Bump {}

impl Bump {
    /// Starts behind the program's data.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// SAFETY: the caller holds no other reference; one thread, and no allocation happens while one is held.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    unsafe fn arena(&self) -> &mut Arena {
        let start = || Arena { next: (&raw const __heap_base).addr(), end: wasm32::memory_size(0) * PAGE };
        unsafe { (*self.0.get()).get_or_insert_with(start) }
    }
}

/// Grows the memory until `end` reaches `short.until`. False where the host refuses.
#[cold]
fn grow(arena: &mut Arena, short: Short) -> bool {
    let Some(until) = short.until else { return false };
    let needed = (until - arena.end).div_ceil(PAGE);
    [needed.max(GROWTH), needed].into_iter().any(|pages| {
        let grown = wasm32::memory_grow(0, pages) != usize::MAX;
        if grown {
            arena.end += pages * PAGE;
        }
        grown
    })
}

// SAFETY: blocks come from `Arena`, which hands out each address once until it is given back, aligned, inside memory.
unsafe impl GlobalAlloc for Bump {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let arena = unsafe { self.arena() };
        loop {
            match arena.take(layout.size(), layout.align()) {
                Ok(start) => return start as *mut u8,
                Err(short) if grow(arena, short) => {}
                Err(_) => return core::ptr::null_mut(),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { self.arena() }.give_back(block.addr(), layout.size());
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let arena = unsafe { self.arena() };
        let last = arena.is_last(block.addr(), layout.size());
        if size <= layout.size() {
            if last {
                arena.next = block.addr() + size;
            }
            return block;
        }
        if last {
            let more = unsafe { self.alloc(Layout::from_size_align_unchecked(size - layout.size(), 1)) };
            return if more.is_null() { more } else { block };
        }
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                core::ptr::copy_nonoverlapping(block, new, layout.size());
            }
            new
        }
    }
}

/// `cabi_realloc` of the canonical ABI: traps where memory ends.
///
/// # Safety
/// As the canonical ABI calls it: `old` is null or a block of `old_len` from here, `align` is a power of two.
#[inline]
pub unsafe fn realloc_for_host(heap: &Bump, old: *mut u8, old_len: usize, align: usize, new_len: usize) -> *mut u8 {
    let block = unsafe {
        match (old_len, new_len) {
            (0, 0) => return align as *mut u8,
            (0, _) => heap.alloc(Layout::from_size_align_unchecked(new_len, align)),
            _ => heap.realloc(old, Layout::from_size_align_unchecked(old_len, align), new_len),
        }
    };
    if block.is_null() {
        wasm32::unreachable();
    }
    block
}

/// Tells the host what panicked and where, then traps. Needs no heap: it may just have run out.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    let mut line = Line { bytes: [0; MESSAGE], len: 0 };
    let _ = match info.location() {
        Some(at) => write!(line, "panicked at {}:{}:{}: {}", at.file(), at.line(), at.column(), info.message()),
        None => write!(line, "panicked: {}", info.message()),
    };
    line.bytes[..line.len].chunks(NOTE).for_each(note);
    wasm32::unreachable()
}

/// At most [`NOTE`] bytes, as numbers: see `wit/panic.wit`.
fn note(bytes: &[u8]) {
    let word = |n: usize| {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(bytes.iter().skip(8 * n)) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    };
    let w = core::array::from_fn::<u64, 15, _>(word);
    let text = (w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14]);
    crate::bindings::request::sluis::plugin::panic::note(bytes.len() as u8, text);
}

/// A message on the stack, cut at its end.
struct Line {
    bytes: [u8; MESSAGE],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = text.floor_char_boundary(MESSAGE - self.len);
        self.bytes[self.len..self.len + room].copy_from_slice(&text.as_bytes()[..room]);
        self.len += room;
        if room < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
