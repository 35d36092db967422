//! Load from several machines: agents that send, a coordinator that merges.
