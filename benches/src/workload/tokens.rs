//! Tokens, all signed beforehand: a good one for each user, and a few of each flaw that is asked for.

use std::num::NonZeroUsize;

use http::HeaderValue;

use super::draw::{Draw, Pick};
use crate::Error;
use crate::issuer::{Algorithm, Flaw, Issuer, Subject};

/// Tokens of a tenant with one flaw: several, so that remembering a refusal is of little use.
const FLAWED: usize = 16;
/// The same where there are many tenants.
const FLAWED_OF_MANY: usize = 2;
/// Many.
const MANY: usize = 100;

/// Values of `authorization`, by tenant.
pub struct Tokens {
    tenants: Vec<OfTenant>,
}

struct OfTenant {
    good: Box<[HeaderValue]>,
    /// By [`Flaw`], in the order of [`Flaw::ALL`].
    flawed: [Box<[HeaderValue]>; Flaw::ALL.len()],
}

/// Which tokens to sign.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Algorithms and their weights.
    pub algorithms: Vec<(Algorithm, f64)>,
    /// The claim `scope`.
    pub scope: String,
    /// Flaws that are asked for.
    pub flaws: Vec<Flaw>,
    /// By tenant: the claim `tenant`, and its number of users; none for those that go without a token.
    pub tenants: Vec<(String, usize)>,
    /// Decides which user signs how.
    pub seed: u64,
}

impl Tokens {
    /// Signs them on all cores.
    pub fn mint(issuer: &Issuer, wanted: &Wanted) -> Result<Tokens, Error> {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let jobs: Vec<Job> = wanted.tenants.iter().enumerate().flat_map(|(n, _)| Job::of(n, wanted)).collect();
        let part = jobs.len().div_ceil(cores).max(1);
        let signed: Result<Vec<Vec<HeaderValue>>, Error> = std::thread::scope(|scope| {
            let threads: Vec<_> = jobs
                .chunks(part)
                .map(|jobs| scope.spawn(move || jobs.iter().map(|job| job.sign(issuer, wanted)).collect()))
                .collect();
            threads.into_iter().map(|thread| thread.join().map_err(|_| "signing panicked")?).collect()
        });
        let mut signed = signed?.into_iter().flatten();
        let tenants = wanted.tenants.iter().map(|(_, users)| OfTenant {
            good: signed.by_ref().take(*users).collect(),
            flawed: Flaw::ALL.map(|flaw| signed.by_ref().take(wanted.flawed(*users, flaw)).collect()),
        });
        Ok(Tokens { tenants: tenants.collect() })
    }

    /// The token of one of a tenant's users, drawn; none for a tenant without any.
    pub fn draw(&self, tenant: usize, flaw: Option<Flaw>, draw: &mut Draw) -> Option<&HeaderValue> {
        let tenant = self.tenants.get(tenant)?;
        let from = match flaw {
            None => &tenant.good,
            Some(flaw) => &tenant.flawed[flaw as usize],
        };
        from.get(draw.below(from.len() as u64) as usize)
    }
}

impl Wanted {
    fn flawed(&self, users: usize, flaw: Flaw) -> usize {
        if !self.flaws.contains(&flaw) {
            return 0;
        }
        users.min(if self.tenants.len() > MANY { FLAWED_OF_MANY } else { FLAWED })
    }
}

/// One token to sign.
struct Job {
    tenant: usize,
    user: usize,
    flaw: Option<Flaw>,
}

impl Job {
    /// A tenant's, in the order in which they are handed out again.
    fn of(tenant: usize, wanted: &Wanted) -> impl Iterator<Item = Job> {
        let users = wanted.tenants[tenant].1;
        let good = (0..users).map(move |user| Job { tenant, user, flaw: None });
        let flawed = Flaw::ALL.into_iter().flat_map(move |flaw| {
            (0..wanted.flawed(users, flaw)).map(move |user| Job { tenant, user, flaw: Some(flaw) })
        });
        good.chain(flawed)
    }

    fn sign(&self, issuer: &Issuer, wanted: &Wanted) -> Result<HeaderValue, Error> {
        let weights: Vec<f64> = wanted.algorithms.iter().map(|(_, weight)| *weight).collect();
        let place = (self.tenant as u64) << 32 | self.user as u64;
        let (algorithm, _) = wanted.algorithms[Pick::by(&weights).at(Draw::of(wanted.seed, place).bits())];
        let name = format!("user-{}", self.user);
        let subject = Subject { tenant: Some(&wanted.tenants[self.tenant].0), name: &name, scope: &wanted.scope };
        let token = issuer.sign(algorithm, subject, self.flaw)?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}
