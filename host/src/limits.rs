//! What the host may hold at once: counted permits that die with their holder, and a budget of buffered bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// At most so many of something at once.
#[derive(Debug)]
pub(crate) struct Permits {
    held: AtomicUsize,
    most: AtomicUsize,
}

/// The right to exist, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permits {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), most: AtomicUsize::new(most) })
    }

    /// At most so many from now on; what is held above that stays held.
    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// A permit, or `None` when all are held.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Permit> {
        if self.held.fetch_add(1, Ordering::Relaxed) >= self.most.load(Ordering::Relaxed) {
            self.held.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(Arc::clone(self)))
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes buffered by all connections together.
#[derive(Debug)]
pub(crate) struct BufferBudget {
    held: AtomicU64,
    most: AtomicU64,
}

impl BufferBudget {
    pub(crate) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { held: AtomicU64::new(0), most: AtomicU64::new(most) })
    }

    /// At most so many bytes from now on.
    pub(crate) fn set_most(&self, most: u64) {
        self.most.store(most, Ordering::Relaxed);
    }

    fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }

    /// Bytes held now.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether more is held than may be: no request is taken of those who hold some of it, and whoever lets replies
    /// wait is not kept once there are more.
    pub(crate) fn is_spent(&self) -> bool {
        self.held() >= self.most()
    }
}

/// One holder's part of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct BudgetShare {
    budget: Arc<BufferBudget>,
    held: u64,
}

/// A share moves in steps of this many bytes, and the first step is free: a connection with small frames never
/// touches the shared counter.
const STEP: u64 = 16 * 1024;

impl BudgetShare {
    pub(crate) fn new(budget: &Arc<BufferBudget>) -> Self {
        Self { budget: Arc::clone(budget), held: 0 }
    }

    /// Holds `bytes` from now on, more or less than before, whether or not the budget has them.
    pub(crate) fn set(&mut self, bytes: u64) {
        let wanted = bytes / STEP * STEP;
        if wanted > self.held {
            self.budget.held.fetch_add(wanted - self.held, Ordering::Relaxed);
        } else if wanted < self.held {
            self.budget.held.fetch_sub(self.held - wanted, Ordering::Relaxed);
        }
        self.held = wanted;
    }

    /// Whether it holds anything but what is free.
    pub(crate) fn is_held(&self) -> bool {
        self.held > 0
    }

    /// Holds `bytes` from now on if the budget has them; else nothing changes.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let wanted = bytes / STEP * STEP;
        if wanted > self.held && self.budget.held() + (wanted - self.held) > self.budget.most() {
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
    fn permits_come_back() {
        let permits = Permits::new(2);
        let first = permits.take().unwrap();
        let _second = permits.take().unwrap();
        assert!(permits.take().is_none());
        assert_eq!(permits.held(), 2);
        drop(first);
        assert!(permits.take().is_some());
    }

    #[test]
    fn a_share_is_given_back_and_bounded() {
        let budget = BufferBudget::new(4 * STEP);
        let mut one = BudgetShare::new(&budget);
        assert!(one.grow(STEP - 1));
        assert_eq!(budget.held(), 0, "the first step is free");
        assert!(one.grow(3 * STEP));
        let mut other = BudgetShare::new(&budget);
        assert!(!other.grow(2 * STEP));
        other.set(2 * STEP);
        assert!(budget.is_spent());
        drop(one);
        assert_eq!(budget.held(), 2 * STEP);
        drop(other);
        assert_eq!(budget.held(), 0);
    }
}
