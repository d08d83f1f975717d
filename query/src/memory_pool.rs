//! The engine's memory on the account that merging draws on, so that one ceiling holds for a query as a whole.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use table_format::env::{MemoryBudget, Reservation};

/// Sorts, joins and aggregations spill to disk when this refuses them more.
#[derive(Debug)]
pub(crate) struct BudgetPool {
    budget: MemoryBudget,
    held: Mutex<Reservation>,
}

impl BudgetPool {
    pub(crate) fn new(budget: &MemoryBudget) -> Self {
        Self {
            budget: budget.clone(),
            held: Mutex::new(budget.book(0)),
        }
    }

    /// A panic while it was held leaves a number behind that is as good as any.
    fn held(&self) -> MutexGuard<'_, Reservation> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for BudgetPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "budget({} bytes)", self.budget.ceiling_bytes())
    }
}

impl MemoryPool for BudgetPool {
    fn name(&self) -> &'static str {
        "budget"
    }

    fn grow(&self, _: &MemoryReservation, additional: usize) {
        let mut held = self.held();
        let bytes = held.bytes() + additional as u64;
        held.resize(bytes);
    }

    fn shrink(&self, _: &MemoryReservation, shrink: usize) {
        let mut held = self.held();
        let bytes = held.bytes().saturating_sub(shrink as u64);
        held.resize(bytes);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if self.held().try_grow(additional as u64) {
            return Ok(());
        }
        Err(resources_datafusion_err!(
            "{} needs {additional} bytes more, and {} of {} are taken: give the query more memory",
            reservation.consumer().name(),
            self.budget.used_bytes(),
            self.budget.ceiling_bytes()
        ))
    }

    fn reserved(&self) -> usize {
        usize::try_from(self.held().bytes()).unwrap_or(usize::MAX)
    }

    fn memory_limit(&self) -> MemoryLimit {
        let bytes = usize::try_from(self.budget.ceiling_bytes()).unwrap_or(usize::MAX);
        MemoryLimit::Finite(bytes)
    }
}
