//! The program's allocator: mimalloc, which gives large blocks back to the system, and in front of it a store of large blocks that
//! keeps them while a network trains.
//!
//! Every step of a training asks for blocks of the same sizes in the same order. From the system each comes back as pages that
//! are cleared as they are touched, which took a quarter of the time of a wide network. What is kept goes back when the training
//! ends, so a worker's memory is flat over its candidates.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller blocks are mimalloc's business, which is good at them.
const LEAST: usize = 1 << 20;
/// Blocks and bytes that are kept at most.
const MOST_BLOCKS: usize = 512;
const MOST_BYTES: usize = 1 << 30;

/// The allocator: a program that names it as its global one keeps large blocks while networks train.
pub struct Recycler;

unsafe extern "C" {
    /// Of `allocator.c`, as the next one.
    safe fn eliteloop_keep_freed_pages();
    #[cfg(test)]
    safe fn eliteloop_purge_delay() -> std::ffi::c_long;
}

/// Keeps freed memory for the next step of a training, of the LLM or of a network, instead of giving it back to the system and having
/// it cleared again, which took a fifth of a step's time. To be called as a process starts that has [`Recycler`].
pub fn keep_freed_memory() {
    eliteloop_keep_freed_pages();
}

static INNER: mimalloc::MiMalloc = mimalloc::MiMalloc;
/// Trainings that run.
static TRAININGS: AtomicUsize = AtomicUsize::new(0);
static STORE: Mutex<Store> = Mutex::new(Store { blocks: [(null_mut(), 0); MOST_BLOCKS], count: 0, bytes: 0 });

/// Free blocks of [`INNER`] with their sizes, aligned as it aligns by itself.
struct Store {
    blocks: [(*mut u8, usize); MOST_BLOCKS],
    count: usize,
    bytes: usize,
}

// SAFETY: the blocks are free memory, which belongs to no thread.
unsafe impl Send for Store {}

impl Store {
    fn take(&mut self, size: usize) -> Option<*mut u8> {
        let place = self.blocks[..self.count].iter().rposition(|block| block.1 == size)?;
        let block = self.blocks[place].0;
        self.count -= 1;
        self.blocks[place] = self.blocks[self.count];
        self.bytes -= size;
        Some(block)
    }

    fn put(&mut self, block: *mut u8, size: usize) -> bool {
        if self.count == MOST_BLOCKS || self.bytes + size > MOST_BYTES {
            return false;
        }
        self.blocks[self.count] = (block, size);
        self.count += 1;
        self.bytes += size;
        true
    }

    fn release(&mut self) {
        for &(block, size) in &self.blocks[..self.count] {
            // SAFETY: the block came from `INNER` with this size and this alignment, and no one else has it.
            unsafe { INNER.dealloc(block, Layout::from_size_align_unchecked(size, ALIGNMENT)) };
        }
        (self.count, self.bytes) = (0, 0);
    }
}

/// The alignment that kept blocks have been asked for at most.
const ALIGNMENT: usize = 16;

fn store() -> MutexGuard<'static, Store> {
    // Locking does not allocate.
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_kept(layout: Layout) -> bool {
    layout.size() >= LEAST && layout.align() <= ALIGNMENT && TRAININGS.load(Ordering::Relaxed) > 0
}

/// Keeps large blocks for as long as it lives.
pub struct Kept(());

/// Call before a training. Where the program does not use [`Recycler`] it does nothing.
#[must_use]
pub fn keep() -> Kept {
    TRAININGS.fetch_add(1, Ordering::Relaxed);
    Kept(())
}

impl Drop for Kept {
    fn drop(&mut self) {
        if TRAININGS.fetch_sub(1, Ordering::Relaxed) == 1 {
            store().release();
        }
    }
}

// SAFETY: blocks come from `INNER` and go back to it; one that is kept is handed out once, for its own size, with its own alignment.
unsafe impl GlobalAlloc for Recycler {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_kept(layout)
            && let Some(block) = store().take(layout.size())
        {
            return block;
        }
        // SAFETY: the caller's promise.
        let block = unsafe { INNER.alloc(layout) };
        if block.is_null() && layout.size() >= LEAST {
            store().release();
            // SAFETY: as above.
            return unsafe { INNER.alloc(layout) };
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_kept(layout) {
            // SAFETY: the caller's promise; a block that is there has the size that is cleared.
            unsafe {
                let block = self.alloc(layout);
                if !block.is_null() {
                    block.write_bytes(0, layout.size());
                }
                return block;
            }
        }
        // SAFETY: the caller's promise.
        unsafe { INNER.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_kept(layout) && store().put(block, layout.size()) {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { INNER.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { INNER.realloc(block, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_pages_are_kept_for_ever() {
        keep_freed_memory();
        assert_eq!(eliteloop_purge_delay(), -1);
    }

    #[test]
    fn a_block_comes_back_for_its_size_alone_and_what_does_not_fit_is_refused() {
        let mut store = Store { blocks: [(null_mut(), 0); MOST_BLOCKS], count: 0, bytes: 0 };
        let block = |n: usize| n as *mut u8;
        assert!(store.put(block(1), 100) && store.put(block(2), 200) && store.put(block(3), 100));
        assert_eq!(store.take(150), None);
        assert_eq!((store.take(100), store.take(100), store.take(100)), (Some(block(3)), Some(block(1)), None));
        assert!(!store.put(block(4), MOST_BYTES));
        assert_eq!((store.count, store.bytes), (1, 200));
        assert!((1..MOST_BLOCKS).all(|n| store.put(block(n), 1)) && !store.put(block(9), 1));
    }
}
