//! The `max_in_flight` limits of the routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Route;
use crate::limits::Permits;

/// The permits of the routes that limit their requests in flight, by pattern. They outlive a
/// routing table: a request that was accepted by one table counts in the next.
#[derive(Default)]
pub(crate) struct RoutePermits(BTreeMap<String, Arc<Permits>>);

impl RoutePermits {
    /// Applies the limits of these routes, and removes those of all other routes.
    pub(crate) fn update(&mut self, routes: &[Route]) {
        let limited =
            routes.iter().filter_map(|route| Some((route.method.to_string(), route.max_in_flight?)));
        let limited: BTreeMap<_, _> = limited.collect();

        self.0.retain(|pattern, _| limited.contains_key(pattern));
        for (pattern, limit) in limited {
            self.0.entry(pattern).or_insert_with(|| Permits::new(limit)).set_limit(limit);
        }
    }

    /// Returns the permits of a route; `None` if the route has no limit.
    pub(super) fn of(&self, route: &Route) -> Option<Arc<Permits>> {
        self.0.get(&route.method.to_string()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(pattern: &str, max_in_flight: Option<usize>) -> Route {
        Route { max_in_flight, ..Route::to(pattern.parse().unwrap(), "p") }
    }

    #[test]
    fn counts_held_permits_against_a_changed_limit() {
        let mut permits = RoutePermits::default();
        permits.update(&[route("a.*", Some(2))]);
        let held = permits.of(&route("a.*", None)).unwrap().take().unwrap();

        permits.update(&[route("a.*", Some(1)), route("b.c", Some(5))]);
        let changed = permits.of(&route("a.*", None)).unwrap();
        assert!(changed.take().is_none());
        drop(held);
        assert!(changed.take().is_some());
    }

    #[test]
    fn removes_the_permits_of_a_route_without_a_limit() {
        let mut permits = RoutePermits::default();
        permits.update(&[route("a.*", Some(1))]);
        permits.update(&[route("a.*", None)]);
        assert!(permits.of(&route("a.*", None)).is_none());
    }
}
