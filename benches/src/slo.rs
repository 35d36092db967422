//! Pass lines: `p99<25ms,error<0.1%,lost=0`.
