//! The search for the knee and the highest rate that holds the pass lines.
