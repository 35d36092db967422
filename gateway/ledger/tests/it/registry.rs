//! The tenants' plugins: versions are immutable and complete, rollouts outlive the process, and all of it is audited.

use std::path::Path;
use std::sync::Arc;

use sluis_ledger::clock::ManualClock;
use sluis_ledger::{Actor, Ledger, NewVersion, PluginId, Registry, RegistryError, UploadPolicy};
use sluis_model::rollout::{Order, RolloutFault, Version};

use crate::support::{NEW_YEAR, open};

const ROOM: UploadPolicy = UploadPolicy { max_bytes: 1_000, max_versions: 5, only_newer: false };
/// The same where versions only grow.
const GROWING: UploadPolicy = UploadPolicy { only_newer: true, ..ROOM };

fn plugin(tenant: &str) -> PluginId {
    PluginId { tenant: tenant.to_owned(), name: "orders".to_owned() }
}

fn by(reason: &str) -> Actor {
    Actor { name: "erin".to_owned(), reason: reason.to_owned() }
}

fn v(n: u64) -> Version {
    Version::new(1, n, 0)
}

fn version(n: u64, component: &[u8]) -> NewVersion {
    let digest = *blake3::hash(component).as_bytes();
    NewVersion { version: v(n), digest, bytes: component.len() as u64, report: "{}".to_owned() }
}

async fn registry(dir: &Path) -> (Arc<Ledger>, Registry) {
    let ledger = open(&dir.join("ledger"), &ManualClock::at(NEW_YEAR));
    let registry = Registry::open(ledger.clone(), &dir.join("components")).await.unwrap();
    (ledger, registry)
}

async fn add(registry: &Registry, tenant: &str, n: u64, component: &[u8]) -> Result<bool, RegistryError> {
    add_by(registry, tenant, n, component, ROOM).await
}

async fn add_by(
    registry: &Registry,
    tenant: &str,
    n: u64,
    component: &[u8],
    policy: UploadPolicy,
) -> Result<bool, RegistryError> {
    registry.add(plugin(tenant), version(n, component), component.to_vec().into(), by(""), policy).await
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("components")).unwrap().count()
}

#[tokio::test]
async fn a_version_is_immutable_and_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, registry) = registry(dir.path()).await;
    assert_eq!(add(&registry, "acme", 1, b"one").await, Ok(true));
    assert_eq!(add(&registry, "acme", 1, b"one").await, Ok(false), "the same again is no change");
    assert_eq!(add(&registry, "acme", 1, b"other").await, Err(RegistryError::VersionExists));
    assert_eq!(add(&registry, "globex", 1, b"one").await, Ok(true));
    assert_eq!(files(dir.path()), 1, "the refused one left nothing, the shared one is kept once");
    assert_eq!(registry.component(blake3::hash(b"one").as_bytes()).await, Ok(b"one".to_vec()));
    assert_eq!(registry.component(&[7; 32]).await, Err(RegistryError::NoSuchVersion));
    registry.remove(plugin("acme"), v(1), by("")).await.unwrap();
    assert_eq!(files(dir.path()), 1, "another tenant has it still");
    registry.remove(plugin("globex"), v(1), by("")).await.unwrap();
    assert_eq!(files(dir.path()), 0);
    assert_eq!(registry.remove(plugin("globex"), v(1), by("")).await, Err(RegistryError::NoSuchVersion));
}

#[tokio::test]
async fn a164_a_tenants_versions_have_a_number_and_a_size() {
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, registry) = registry(dir.path()).await;
    assert_eq!(add(&registry, "acme", 0, &[0; 999]).await, Ok(true));
    assert_eq!(add(&registry, "acme", 1, &[1; 2]).await, Err(RegistryError::TooManyBytes));
    for n in 0..5 {
        assert_eq!(add(&registry, "globex", n, &[0; 10]).await, Ok(true));
    }
    assert_eq!(add(&registry, "globex", 5, &[0; 10]).await, Err(RegistryError::TooManyVersions));
    assert_eq!(files(dir.path()), 2);
}

#[tokio::test]
async fn a165_where_versions_only_grow_the_newest_counts_although_it_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, opened) = registry(dir.path()).await;
    let older = |n| -> Result<bool, RegistryError> { Err(RegistryError::Older(v(n))) };
    assert_eq!(add(&opened, "acme", 2, b"two").await, Ok(true));
    assert_eq!(add_by(&opened, "acme", 1, b"one", GROWING).await, older(2), "however the newest came");
    assert_eq!(add_by(&opened, "acme", 4, b"four", GROWING).await, Ok(true));
    assert_eq!(add_by(&opened, "acme", 3, b"three", GROWING).await, older(4));
    opened.remove(plugin("acme"), v(4), by("")).await.unwrap();
    assert_eq!(add_by(&opened, "acme", 3, b"three", GROWING).await, older(4));
    drop((ledger, opened));
    let (_ledger, reopened) = registry(dir.path()).await;
    assert_eq!(add_by(&reopened, "acme", 3, b"three", GROWING).await, older(4));
    assert_eq!(add_by(&reopened, "acme", 4, b"four", GROWING).await, Ok(true), "it is not older");
    assert_eq!(add_by(&reopened, "acme", 4, b"four", GROWING).await, Ok(false));
    assert_eq!(add_by(&reopened, "acme", 5, b"five", GROWING).await, Ok(true));
    assert_eq!(add_by(&reopened, "globex", 1, b"one", GROWING).await, Ok(true), "it is acme's alone");
    assert_eq!(add(&reopened, "acme", 3, b"three").await, Ok(true), "where they need not grow");
    assert_eq!(files(dir.path()), 5, "what was refused left nothing");
}

#[tokio::test]
async fn what_was_taken_by_no_rule_and_removed_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, registry) = registry(dir.path()).await;
    assert_eq!(add(&registry, "acme", 9, b"nine").await, Ok(true));
    registry.remove(plugin("acme"), v(9), by("")).await.unwrap();
    assert_eq!(add_by(&registry, "acme", 1, b"one", GROWING).await, Ok(true));
    assert_eq!(add(&registry, "acme", 9, b"nine").await, Ok(true));
    assert_eq!(add_by(&registry, "acme", 9, b"nine", GROWING).await, Ok(false), "now it was taken by it");
    registry.remove(plugin("acme"), v(9), by("")).await.unwrap();
    assert_eq!(add_by(&registry, "acme", 2, b"two", GROWING).await, Err(RegistryError::Older(v(9))));
}

#[tokio::test]
async fn a165_of_versions_that_come_at_once_none_is_taken_after_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, registry) = registry(dir.path()).await;
    let policy = UploadPolicy { max_versions: 100, ..GROWING };
    let registry = Arc::new(registry);
    let mut coming = tokio::task::JoinSet::new();
    for n in [5, 2, 7, 1, 6, 8, 3] {
        let registry = registry.clone();
        coming.spawn(async move { add_by(&registry, "acme", n, &n.to_le_bytes(), policy).await });
    }
    let answers = coming.join_all().await;
    let taken = answers.iter().filter(|answer| **answer == Ok(true)).count();
    assert!(answers.iter().all(|answer| matches!(answer, Ok(true) | Err(RegistryError::Older(_)))), "{answers:?}");
    let mut audit = registry.audit("acme", None, 100).await.unwrap();
    audit.reverse();
    let order: Vec<_> = audit.iter().map(|entry| entry.version.clone().unwrap()).collect();
    assert!(order.len() == taken && order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn what_serves_outlives_the_process_and_so_does_who_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, opened) = registry(dir.path()).await;
    for n in 1..=3 {
        add(&opened, "acme", n, &[n as u8; 10]).await.unwrap();
    }
    let deploy = |n| Order::Deploy(v(n));
    assert_eq!(opened.roll(plugin("acme"), deploy(9), by("")).await, Err(RegistryError::NoSuchVersion));
    opened.roll(plugin("acme"), deploy(1), by("first")).await.unwrap();
    let rollout = opened.roll(plugin("acme"), deploy(2), by("second")).await.unwrap();
    let refused = opened.roll(plugin("acme"), deploy(2), by("again")).await;
    assert_eq!(refused, Err(RegistryError::Rollout(RolloutFault::Serves)));
    assert_eq!(opened.remove(plugin("acme"), v(1), by("")).await, Err(RegistryError::InUse));
    opened.remove(plugin("acme"), v(3), by("")).await.unwrap();
    drop((ledger, opened));
    let (_ledger, reopened) = registry(dir.path()).await;
    assert_eq!(reopened.rollout(&plugin("acme")).await, Ok(rollout.clone()));
    assert_eq!(reopened.rollouts().await, Ok(vec![(plugin("acme"), rollout)]));
    assert_eq!(reopened.rollout(&plugin("globex")).await.map(|rollout| rollout.stable), Ok(None));
    let versions = reopened.versions(&plugin("acme")).await.unwrap();
    assert_eq!(versions.iter().map(|kept| kept.version.version.clone()).collect::<Vec<_>>(), [v(2), v(1)]);
    assert_eq!((versions[0].uploaded_at, &*versions[0].uploaded_by), (NEW_YEAR, "erin"));
    let audit = reopened.audit("acme", None, 3).await.unwrap();
    let said = |entry: &sluis_ledger::AuditEntry| {
        format!("{} {} {}", entry.action, entry.version.as_deref().unwrap_or(""), entry.actor.reason)
    };
    assert_eq!(
        audit.iter().map(said).collect::<Vec<_>>(),
        ["remove 1.3.0 ", "deploy 1.2.0 second", "deploy 1.1.0 first"]
    );
    let before = reopened.audit("acme", Some(audit[2].seq), 10).await.unwrap();
    assert_eq!(before.len(), 3, "the three uploads");
    assert_eq!(reopened.audit("globex", None, 10).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a166_an_upload_that_was_cut_off_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, opened) = registry(dir.path()).await;
    add(&opened, "acme", 1, b"one").await.unwrap();
    drop((ledger, opened));
    let components = dir.path().join("components");
    std::fs::write(components.join(format!("{}.wasm", blake3::hash(b"two").to_hex())), b"two").unwrap();
    std::fs::write(components.join(format!("{}.new", blake3::hash(b"three").to_hex())), b"th").unwrap();
    let (_ledger, reopened) = registry(dir.path()).await;
    assert_eq!(files(dir.path()), 1);
    assert_eq!(add(&reopened, "acme", 2, b"two").await, Ok(true), "another try works");
}

#[tokio::test]
async fn a_damaged_component_is_not_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, registry) = registry(dir.path()).await;
    add(&registry, "acme", 1, b"one").await.unwrap();
    let file = std::fs::read_dir(dir.path().join("components")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, b"0ne").unwrap();
    assert_eq!(registry.component(blake3::hash(b"one").as_bytes()).await, Err(RegistryError::Unavailable));
}
