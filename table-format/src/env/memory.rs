//! One budget of bytes for decode buffers, batches, file writers and merges.
//!
//! Who needs memory that can wait calls [`MemoryBudget::reserve`]; who can spill or flush instead calls
//! [`MemoryBudget::try_reserve`]; memory that is already there (a row that has just arrived) is booked with
//! [`MemoryBudget::book`], after which the holder is expected to bring the budget below its ceiling again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, RecordBatch};
use tokio::sync::Notify;

/// Bytes that the values of a batch take. Rows that were read back from disk share one buffer between their columns, which
/// [`RecordBatch::get_array_memory_size`] counts once for each.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter().map(|column| {
        let sliced = column.to_data().get_slice_memory_size();
        sliced.unwrap_or_else(|_| column.get_array_memory_size())
    });
    columns.sum()
}

/// A ceiling in bytes and what is drawn of it; clones share the account.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Account>);

#[derive(Debug)]
struct Account {
    ceiling_bytes: u64,
    used_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    released: Notify,
}

/// Bytes drawn from a [`MemoryBudget`]; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of `ceiling_bytes`.
    pub fn new(ceiling_bytes: u64) -> Self {
        Self(Arc::new(Account {
            ceiling_bytes,
            used_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            released: Notify::new(),
        }))
    }

    /// The ceiling.
    pub fn ceiling_bytes(&self) -> u64 {
        self.0.ceiling_bytes
    }

    /// What is drawn now.
    pub fn used_bytes(&self) -> u64 {
        self.0.used_bytes.load(Ordering::Relaxed)
    }

    /// The most that was ever drawn.
    pub fn peak_bytes(&self) -> u64 {
        self.0.peak_bytes.load(Ordering::Relaxed)
    }

    /// Draws `bytes` if they fit under the ceiling.
    pub fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        let drawn = self
            .0
            .used_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                let after = used.checked_add(bytes)?;
                // A single holder may take more than the ceiling: it could never go on otherwise.
                (after <= self.0.ceiling_bytes || used == 0).then_some(after)
            });
        let used = drawn.ok()?;
        self.0.peak_bytes.fetch_max(used + bytes, Ordering::Relaxed);
        Some(Reservation {
            budget: self.clone(),
            bytes,
        })
    }

    /// Waits until `bytes` fit under the ceiling.
    pub async fn reserve(&self, bytes: u64) -> Reservation {
        loop {
            let released = self.0.released.notified();
            if let Some(reservation) = self.try_reserve(bytes) {
                return reservation;
            }
            released.await;
        }
    }

    /// Draws `bytes` at once, past the ceiling if need be.
    pub fn book(&self, bytes: u64) -> Reservation {
        let used = self.0.used_bytes.fetch_add(bytes, Ordering::AcqRel) + bytes;
        self.0.peak_bytes.fetch_max(used, Ordering::Relaxed);
        Reservation {
            budget: self.clone(),
            bytes,
        }
    }

    fn release(&self, bytes: u64) {
        self.0.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.0.released.notify_waiters();
    }
}

impl Reservation {
    /// What this reservation holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sets what is held, past the ceiling if need be (see [`MemoryBudget::book`]).
    pub fn resize(&mut self, bytes: u64) {
        if bytes > self.bytes {
            let grown = self.budget.book(bytes - self.bytes);
            std::mem::forget(grown);
        } else {
            self.budget.release(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Grows by `bytes` if they fit under the ceiling; says whether they did.
    #[must_use]
    pub fn try_grow(&mut self, bytes: u64) -> bool {
        match self.budget.try_reserve(bytes) {
            Some(grown) => {
                std::mem::forget(grown);
                self.bytes += bytes;
                true
            }
            None => false,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_until_bytes_are_given_back() {
        let budget = MemoryBudget::new(100);
        let first = budget.reserve(80).await;
        assert!(budget.try_reserve(30).is_none());
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve(30).await.bytes() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(waiting.await.unwrap(), 30);
        assert_eq!((budget.used_bytes(), budget.peak_bytes()), (0, 80));
    }

    #[test]
    fn resizing_moves_the_account() {
        let budget = MemoryBudget::new(100);
        let mut held = budget.book(10);
        held.resize(150);
        assert_eq!(budget.used_bytes(), 150);
        assert!(!held.try_grow(1));
        held.resize(20);
        assert!(held.try_grow(80));
        drop(held);
        assert_eq!(budget.used_bytes(), 0);
    }
}
