//! Gateways as processes: started on a core, asked for their CPU time and memory, and ended, children included.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sluis_bench::Error;
use sluis_bench::memory::Memory;

use crate::peer::{self, Peer};

/// Longest wait for a gateway that was asked to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Hundredths of a second: what Linux counts CPU time in, towards programs (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A gateway that was started; ended when dropped.
pub struct Started {
    child: Child,
    log: PathBuf,
}

impl Started {
    /// Starts it in `dir` on one core. What it says goes to a file there.
    pub fn start(peer: &Peer, core: usize, dir: &Path) -> Result<Self, Error> {
        if std::net::TcpStream::connect(("127.0.0.1", peer.port)).is_ok() {
            return Err(format!("{peer}: somebody else listens on 127.0.0.1:{}", peer.port).into());
        }
        let name = peer.program.file_name().unwrap_or_default().to_string_lossy();
        let log = dir.join(format!("{name}-{}.log", peer.work.name()));
        let file = File::create(&log)?;
        // It executes the program, so the process is the gateway's own.
        let child = Command::new("taskset")
            .args(["--cpu-list", &core.to_string()])
            .arg(&peer.program)
            .args(&peer.args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Started { child, log })
    }

    /// CPU time that it and its children had so far.
    pub fn cpu(&self) -> Result<Duration, Error> {
        Ok(Processes::read()?.cpu(self.child.id()))
    }

    /// Resident memory of it and its children, bytes.
    pub fn memory(&self) -> Result<u64, Error> {
        let tree = Processes::read()?.tree(self.child.id());
        Ok(tree.into_iter().filter_map(|pid| Memory::of(pid).ok()).map(|memory| memory.rss).sum())
    }

    /// Whether it ended by itself.
    pub fn is_over(&self) -> bool {
        !Processes::read().is_ok_and(|processes| processes.is_running(self.child.id()))
    }

    /// The end of what it said.
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Ends it, and waits for that.
    pub fn stop(self) {}
}

impl Drop for Started {
    fn drop(&mut self) {
        let tree = Processes::read().map(|processes| processes.tree(self.child.id())).unwrap_or_default();
        send(self.child.id(), Signal::TERM);
        let until = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            peer::pause();
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            tree.into_iter().for_each(|pid| send(pid, Signal::KILL));
        }
        let _ = self.child.wait();
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// Everything that runs at a moment, by process id (proc(5)).
pub struct Processes(HashMap<u32, Process>);

struct Process {
    parent: u32,
    zombie: bool,
    /// Its own, and that of its children that ended.
    cpu: Duration,
}

impl Processes {
    /// Reads `/proc`. Whatever ends meanwhile is left out.
    pub fn read() -> Result<Self, Error> {
        let mut processes = HashMap::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let stat = std::fs::read_to_string(entry.path().join("stat"));
            if let Some(process) = stat.ok().as_deref().and_then(process) {
                processes.insert(pid, process);
            }
        }
        Ok(Processes(processes))
    }

    /// A process and all that descend from it.
    pub fn tree(&self, root: u32) -> Vec<u32> {
        let mut tree = vec![root];
        let mut at = 0;
        while let Some(parent) = tree.get(at).copied() {
            tree.extend(self.0.iter().filter(|(_, process)| process.parent == parent).map(|(pid, _)| pid));
            at += 1;
        }
        tree
    }

    /// CPU time of a process and all that descend from it.
    pub fn cpu(&self, root: u32) -> Duration {
        self.tree(root).iter().filter_map(|pid| self.0.get(pid)).map(|process| process.cpu).sum()
    }

    fn is_running(&self, pid: u32) -> bool {
        self.0.get(&pid).is_some_and(|process| !process.zombie)
    }

    /// CPU time that all cores of this machine gave to anybody so far.
    pub fn machine() -> Result<Duration, Error> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        busy(&stat).ok_or_else(|| "no CPU time in /proc/stat".into())
    }
}

/// A line of `/proc/PID/stat`. The name may hold anything, so fields are counted from behind it.
fn process(stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        zombie: *fields.first()? == "Z",
        cpu: TICK * (ticks(11)? + ticks(12)? + ticks(13)? + ticks(14)?),
    })
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, and what is stolen, which is no work
/// of this machine.
fn busy(stat: &str) -> Option<Duration> {
    let ticks: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let busy = ticks.get(..3)?.iter().chain(ticks.get(5..7)?).sum::<u64>();
    Some(Duration::from_millis(busy * 10))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194560 113 0 0 0 5 6 70 80 20 0 1 0 123 1000 10";
        let process = process(stat).unwrap();
        assert_eq!((process.parent, process.zombie), (7, false));
        assert_eq!(process.cpu, Duration::from_millis(1_610));
        assert!(super::process("42 (a) S 7").is_none());
    }

    #[test]
    fn neither_idle_nor_stolen_time_is_work() {
        let stat = "cpu  1 2 3 1000 500 6 7 800 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(busy(stat), Some(Duration::from_millis(190)));
    }

    #[test]
    fn a_tree_has_all_that_descend() {
        let process = |parent| Process { parent, zombie: false, cpu: TICK };
        let all =
            Processes([(1, process(0)), (2, process(1)), (3, process(2)), (4, process(1)), (9, process(8))].into());
        let mut tree = all.tree(2);
        tree.sort_unstable();
        assert_eq!(tree, [2, 3]);
        assert_eq!(all.cpu(1), TICK * 4);
    }
}
