//! Reachability in a graph.

use std::collections::{BTreeMap, BTreeSet};

/// Returns the nodes that at least one edge leads to from one of the nodes `from`.
pub(crate) fn reachable<N: Ord + Copy>(
    edges: &BTreeMap<N, BTreeSet<N>>,
    from: impl IntoIterator<Item = N>,
) -> BTreeSet<N> {
    let mut found = BTreeSet::new();
    let mut next: Vec<N> = from.into_iter().collect();

    while let Some(node) = next.pop() {
        let targets = edges.get(&node).into_iter().flatten().copied();
        next.extend(targets.filter(|&target| found.insert(target)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_a_start_only_if_an_edge_leads_back_to_it() {
        let edges = BTreeMap::from([(1, BTreeSet::from([2])), (2, BTreeSet::from([3, 2]))]);
        assert_eq!(reachable(&edges, [1]), BTreeSet::from([2, 3]));
        assert_eq!(reachable(&edges, [2]), BTreeSet::from([2, 3]));
        assert_eq!(reachable(&edges, [3]), BTreeSet::new());
    }
}
