//! The result as a page: one HTML file with its plots, opened without a network.
