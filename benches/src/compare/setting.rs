//! What two sides differ in beside their figures.

use crate::result::{Ended, RunResult};

/// Said before any figure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Why the figures may not be held against each other, or do not stand at all.
    pub loud: Vec<String>,
    /// What is usually the point of a comparison: other versions, other configurations.
    pub quiet: Vec<String>,
    /// Whether a run's generator was its limit: then no gate can be judged.
    pub invalid: bool,
    /// Whether a run did not come to its end, or was only a part of its load: then none can either.
    pub incomplete: bool,
}

impl Differences {
    pub(super) fn between(before: &[RunResult], after: &[RunResult]) -> Self {
        let mut found = Differences::default();
        let mut differ = |quiet: bool, what: &str, of: &dyn Fn(&RunResult) -> String| {
            let (one, other) = (values(before, of), values(after, of));
            if one != other || one.len() > 1 {
                let text = format!("{what}: {} → {}", one.join(", "), other.join(", "));
                if quiet { found.quiet.push(text) } else { found.loud.push(text) }
            }
        };
        let unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        differ(false, "processor", &|run| run.environment.cpu.clone());
        differ(false, "cores", &|run| run.environment.cores.to_string());
        differ(false, "kernel", &|run| run.environment.kernel.clone());
        differ(false, "memory, MiB", &|run| run.environment.memory_mib.to_string());
        differ(false, "load and gateway on one machine", &|run| run.environment.same_machine.to_string());
        differ(false, "schedule", &|run| run.plan.schedule.clone());
        differ(false, "protocol", &|run| run.plan.protocol.clone());
        differ(false, "connections", &|run| run.plan.connections.to_string());
        differ(false, "mix", &|run| run.plan.mix.clone());
        differ(false, "plan", &|run| run.plan.digest.chars().take(12).collect());
        differ(true, "generator", &|run| run.environment.program.clone());
        differ(true, "gateway", &|run| unknown(&run.environment.gateway));
        differ(true, "configuration", &|run| unknown(&run.environment.config_digest).chars().take(12).collect());
        for run in before.iter().chain(after) {
            found.look_at(run);
        }
        found
    }

    fn look_at(&mut self, run: &RunResult) {
        let name = format!("{} of {}", run.name, run.started);
        for reason in &run.generator.invalid {
            self.invalid = true;
            self.loud.push(format!("{name} is invalid: {reason}"));
        }
        self.incomplete |= run.ended != Ended::Complete;
        match &run.ended {
            Ended::Complete => {}
            Ended::Partial { why } => self.loud.push(format!("{name} is partial: {why}")),
            Ended::Interrupted => self.loud.push(format!("{name} was interrupted")),
            Ended::Aborted { why } => self.loud.push(format!("{name} was aborted: {why}")),
        }
    }
}

fn values(runs: &[RunResult], of: &dyn Fn(&RunResult) -> String) -> Vec<String> {
    let mut values: Vec<String> = runs.iter().map(of).collect();
    values.sort();
    values.dedup();
    values
}
