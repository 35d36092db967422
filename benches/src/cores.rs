//! Which cores of the machine a process runs on.

use std::process::Command;

use crate::Error;

/// Binds a process, all of its threads and whatever it starts from now on, to a core. Fails where there is no `taskset`
/// or no such core.
pub fn bind(process: u32, core: usize) -> Result<(), Error> {
    let (core, process) = (core.to_string(), process.to_string());
    let bound = Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", &core, &process]).output();
    let bound = bound.map_err(|error| format!("taskset: {error}; get it: apt install util-linux"))?;
    if bound.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&bound.stderr).into_owned().into()) }
}
