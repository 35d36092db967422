//! What a tenant's plugins said last, for the tenant to read: its log lines and its faults. Bounded, in memory, gone
//! with the process; the operator's log has all of it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

/// Bytes of text kept for a tenant.
const KEPT: usize = 32 << 10;
/// What a line counts beside its text, bytes.
const LINE: usize = 64;

/// A line that a plugin logged, or a fault of its.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counts a tenant's lines from 1, in this process.
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub at: u64,
    /// The plugin, with its version where it has one.
    pub plugin: Arc<str>,
    /// `debug`, `info`, `warn`, `error`, or `fault`.
    pub level: &'static str,
    /// Of the request.
    pub correlation_id: Arc<str>,
    /// Escaped.
    pub message: String,
}

/// The last lines of one tenant.
#[derive(Debug, Default)]
pub struct TenantLog(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    last: u64,
    bytes: usize,
    kept: VecDeque<Line>,
}

impl TenantLog {
    /// Keeps a line; the oldest make room.
    pub fn push(&self, at: u64, plugin: &Arc<str>, level: &'static str, correlation_id: &str, message: &str) {
        let mut lines = self.0.lock();
        lines.last += 1;
        let line = Line {
            seq: lines.last,
            at,
            plugin: plugin.clone(),
            level,
            correlation_id: correlation_id.into(),
            message: message.to_owned(),
        };
        lines.bytes += cost(&line);
        lines.kept.push_back(line);
        while lines.bytes > KEPT
            && let Some(oldest) = lines.kept.pop_front()
        {
            lines.bytes -= cost(&oldest);
        }
    }

    /// Lines after `seq`, the oldest first.
    pub fn after(&self, seq: u64) -> Vec<Line> {
        self.0.lock().kept.iter().filter(|line| line.seq > seq).cloned().collect()
    }
}

fn cost(line: &Line) -> usize {
    LINE + line.correlation_id.len() + line.message.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_make_room() {
        let log = TenantLog::default();
        let plugin = Arc::from("p@1.0.0");
        for n in 0..1_000 {
            log.push(n, &plugin, "info", "c", &"x".repeat(n as usize));
        }
        let kept = log.after(0);
        assert!(kept.iter().map(cost).sum::<usize>() <= KEPT);
        assert!((20..40).contains(&kept.len()), "{}", kept.len());
        assert_eq!((kept[kept.len() - 1].seq, kept[kept.len() - 1].at), (1_000, 999));
        assert_eq!(log.after(998).iter().map(|line| line.seq).collect::<Vec<_>>(), [999, 1_000]);
        assert_eq!(log.after(1_000), []);
    }

    #[test]
    fn a_line_larger_than_all_room_is_not_kept() {
        let log = TenantLog::default();
        log.push(0, &Arc::from("p"), "info", "c", &"x".repeat(KEPT));
        assert_eq!(log.after(0), []);
        log.push(0, &Arc::from("p"), "info", "c", "short");
        assert_eq!(log.after(0).len(), 1);
    }
}
