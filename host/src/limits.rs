//! Bounds for what the host holds at once: counted permits that are returned when dropped, and a
//! budget of buffered bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A bounded number of permits.
#[derive(Debug)]
pub(crate) struct Permits {
    held: AtomicUsize,
    limit: AtomicUsize,
}

/// The right to hold one unit of a limited resource, returned when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permits {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), limit: AtomicUsize::new(limit) })
    }

    /// Changes the limit. Permits that are held above it stay valid.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes a permit; `None` if all are held.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Permit> {
        if self.held.fetch_add(1, Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed) {
            self.held.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(Arc::clone(self)))
    }

    /// Returns the number of permits that are held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bytes that all connections together may buffer.
#[derive(Debug)]
pub(crate) struct BufferBudget {
    held: AtomicU64,
    limit: AtomicU64,
}

impl BufferBudget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { held: AtomicU64::new(0), limit: AtomicU64::new(limit) })
    }

    /// Changes the limit, in bytes.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes that are held.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns whether the whole budget is held. From then on, connections that hold a share of it
    /// get no request accepted, and a connection whose peer does not read its replies is closed
    /// when more replies arrive.
    pub(crate) fn is_spent(&self) -> bool {
        self.held() >= self.limit()
    }
}

/// One holder's part of the budget, returned when dropped.
#[derive(Debug)]
pub(crate) struct BudgetShare {
    budget: Arc<BufferBudget>,
    held: u64,
}

/// A share changes in steps of this many bytes, and the first step is free: a connection with small
/// frames never touches the shared counter.
const STEP: u64 = 16 * 1024;

impl BudgetShare {
    pub(crate) fn new(budget: &Arc<BufferBudget>) -> Self {
        Self { budget: Arc::clone(budget), held: 0 }
    }

    /// Sets the share to `bytes`, whether or not the budget has them.
    pub(crate) fn set(&mut self, bytes: u64) {
        let wanted = bytes / STEP * STEP;
        if wanted > self.held {
            self.budget.held.fetch_add(wanted - self.held, Ordering::Relaxed);
        } else if wanted < self.held {
            self.budget.held.fetch_sub(self.held - wanted, Ordering::Relaxed);
        }
        self.held = wanted;
    }

    /// Returns whether the share exceeds the first step, which is free.
    pub(crate) fn is_held(&self) -> bool {
        self.held > 0
    }

    /// Sets the share to `bytes` if the budget has them, and returns whether it does. Otherwise
    /// nothing changes.
    pub(crate) fn try_set(&mut self, bytes: u64) -> bool {
        let wanted = bytes / STEP * STEP;
        if wanted > self.held && self.budget.held() + (wanted - self.held) > self.budget.limit() {
            return false;
        }
        self.set(bytes);
        true
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_permits_up_to_the_limit_and_takes_them_back() {
        let permits = Permits::new(2);
        let first = permits.take().unwrap();
        let _second = permits.take().unwrap();
        assert!(permits.take().is_none());
        assert_eq!(permits.held(), 2);
        drop(first);
        assert!(permits.take().is_some());
    }

    #[test]
    fn keeps_held_permits_when_the_limit_is_lowered() {
        let permits = Permits::new(2);
        let held = [permits.take(), permits.take()];
        permits.set_limit(1);
        assert_eq!(permits.held(), 2);
        assert!(permits.take().is_none());
        drop(held);
        assert!(permits.take().is_some());
    }

    #[test]
    fn bounds_the_shares_by_the_budget_and_takes_them_back() {
        let budget = BufferBudget::new(4 * STEP);
        let mut one = BudgetShare::new(&budget);
        assert!(one.try_set(STEP - 1));
        assert_eq!(budget.held(), 0, "the first step is not free");
        assert!(one.try_set(3 * STEP));

        let mut other = BudgetShare::new(&budget);
        assert!(!other.try_set(2 * STEP));
        other.set(2 * STEP);
        assert!(budget.is_spent());

        drop(one);
        assert_eq!(budget.held(), 2 * STEP);
        drop(other);
        assert_eq!(budget.held(), 0);
    }
}
