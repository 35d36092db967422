//! Two results against each other: better, worse, or noise.
