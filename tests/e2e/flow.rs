//! How requests run: order, routes, and who waits for whom.
