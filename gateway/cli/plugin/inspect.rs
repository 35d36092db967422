//! What a component is: where it fits, what it imports, what it weighs.

use std::path::PathBuf;

use sluis_sandbox::Facts;

use super::project::Project;
use super::test::load;
use crate::failure::Failure;

/// Say what a component exports and imports, and whether the gateway would take it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component; what was built of the plugin in this folder where absent
    component: Option<PathBuf>,
}

/// Loads it as the gateway would, and prints what that showed.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let component = match &args.component {
        Some(component) => component.clone(),
        None => Project::open(&PathBuf::from("."))?.component(),
    };
    let plugin = load(&component).await?;
    let hooks: Vec<&str> = plugin.hooks().names().collect();
    let Facts { size, compiled } = plugin.facts();
    crate::say(&format!("digest    {}", plugin.digest()))?;
    crate::say(&format!("size      {size} bytes"))?;
    crate::say(&format!("hooks     {}", hooks.join(", ")))?;
    for import in plugin.imports() {
        crate::say(&format!("imports   {import}"))?;
    }
    if let Some(compiled) = compiled {
        crate::say(&format!("compiled  in {} ms", compiled.as_millis()))?;
    }
    Ok(())
}
