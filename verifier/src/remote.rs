//! Keeps what is held fresh: reads the issuer's metadata, keys and status lists, in the background and when a token needs them.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use reqwest::{Client, StatusCode};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use url::{Host, Url};

use crate::core::{Core, HeldKeys, Tracked};
use crate::error::{BuildError, VerifyError};
use crate::fetch::{self, FetchError};
use crate::flight::Flight;
use crate::key::KeySet;
use crate::options::Options;
use crate::stats::count;
use crate::status_list::{ListError, StatusList};
use crate::strict_json;

/// Metadata and keys are no larger than this, in bytes.
const MAX_DOCUMENT: usize = 1024 * 1024;
/// A list that no token has asked for in this long is followed no more.
const MAX_IDLE: Duration = Duration::from_hours(1);

/// The way to the issuer.
pub(crate) struct Remote {
    pub(crate) client: Client,
    pub(crate) handle: Handle,
    jwks_uri: Url,
    flight: Arc<Flight>,
    /// Ends with the verifier.
    tasks: Mutex<JoinSet<()>>,
}

/// Checks the issuer's address, reads its metadata (RFC 8414) and its keys.
pub(crate) async fn discover(options: &Options, client: Client, plain_http: bool) -> Result<(Remote, HeldKeys), BuildError> {
    let issuer = issuer_url(&options.issuer, plain_http)?;
    let fetch = |what| move |source| BuildError::Fetch { what, source };
    let metadata_uri = format!("{}/.well-known/oauth-authorization-server", options.base());
    let metadata_uri = Url::parse(&metadata_uri).map_err(|_| BuildError::Options("the issuer is not a URL"))?;
    let answer = fetch::get(&client, &metadata_uri, "application/json", None, MAX_DOCUMENT).await.map_err(fetch("the issuer's metadata"))?;
    let metadata = strict_json::object(&answer.body).map_err(|_| BuildError::Answer("the issuer's metadata are not a JSON object"))?;
    if metadata.get("issuer").is_none_or(|it| *it != options.issuer) {
        return Err(BuildError::WrongIssuer);
    }
    let jwks_uri = metadata.get("jwks_uri").and_then(|it| Url::parse(it.as_str()?).ok());
    let jwks_uri = jwks_uri.filter(|it| it.origin() == issuer.origin()).ok_or(BuildError::Answer("jwks_uri is not an address of the issuer"))?;
    let keys = read_keys(&client, &jwks_uri, options).await.map_err(|error| match error {
        Some(error) => fetch("the issuer's keys")(error),
        None => BuildError::Answer("the issuer's keys are not a JWK Set"),
    })?;
    if keys.set.is_empty() {
        return Err(BuildError::Answer("the issuer publishes no key of an algorithm that is accepted"));
    }
    Ok((Remote { client, handle: Handle::current(), jwks_uri, flight: Arc::default(), tasks: Mutex::default() }, keys))
}

/// The issuer's address: HTTPS, but for this very machine (RFC 8414, section 2).
pub(crate) fn issuer_url(issuer: &str, plain_http: bool) -> Result<Url, BuildError> {
    let url = Url::parse(issuer).map_err(|_| BuildError::Options("the issuer is not a URL"))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(BuildError::Options("the issuer has more than scheme, host, port and path"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback || plain_http => Ok(url),
        _ => Err(BuildError::Options("the issuer must be an https URL; plain http is for loopback, or by allow_plain_http")),
    }
}

/// `Err(None)` where what came is no JWK Set.
async fn read_keys(client: &Client, uri: &Url, options: &Options) -> Result<HeldKeys, Option<FetchError>> {
    // The age of a view counts from when its reading began.
    let read_at = Some(options.now());
    let answer = fetch::get(client, uri, "application/jwk-set+json, application/json", None, MAX_DOCUMENT).await.map_err(Some)?;
    let set = KeySet::parse(&answer.body).ok_or(None)?;
    let jwks = String::from_utf8(answer.body).map_err(|_| None)?;
    Ok(HeldKeys { set, jwks, read_at })
}

/// Refreshes the keys from time to time, until the verifier is dropped.
pub(crate) fn start(core: &Arc<Core>) {
    spawn(core, |core, interval| async move {
        let mut pause = interval;
        loop {
            tokio::time::sleep(jittered(pause)).await;
            let Some(core) = core.upgrade() else { return };
            pause = if refresh_keys(&core, true).await { interval } else { core.options.provoked_refresh_interval.min(interval) };
        }
    });
}

fn spawn<F: Future<Output = ()> + Send + 'static>(core: &Arc<Core>, task: impl FnOnce(Weak<Core>, Duration) -> F) {
    if let Some(remote) = &core.remote {
        let task = task(Arc::downgrade(core), core.options.refresh_interval);
        let mut tasks = remote.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &remote.handle);
    }
}

/// Reads the keys anew; because it is time, or because a token names one that is not known: then no more often than the options say.
/// Returns whether the last reading succeeded.
pub(crate) async fn refresh_keys(core: &Arc<Core>, is_due: bool) -> bool {
    let Some(remote) = &core.remote else { return true };
    let wanted = || is_due || remote.flight.wait(core.options.now()).is_zero();
    if wanted() {
        remote.flight.run(&remote.handle, wanted, fetch_keys(Arc::clone(core))).await;
    }
    !remote.flight.failed()
}

async fn fetch_keys(core: Arc<Core>) {
    let Some(remote) = &core.remote else { return };
    count(&core.counters.key_fetches);
    let outcome = read_keys(&remote.client, &remote.jwks_uri, &core.options).await;
    let succeeded = outcome.is_ok();
    match outcome {
        Ok(keys) => core.replace_keys(keys),
        Err(_) => count(&core.counters.key_fetch_failures),
    }
    remote.flight.settle(succeeded, core.options.now(), core.options.provoked_refresh_interval);
}

/// Reads the list now, unless that has failed just before; from then on it is followed.
pub(crate) async fn refresh_list(core: &Arc<Core>, tracked: &Arc<Tracked>) {
    let Some(remote) = &core.remote else { return };
    let wanted = || tracked.flight.wait(core.options.now()).is_zero();
    if !wanted() {
        return;
    }
    let (core, list) = (Arc::clone(core), Arc::clone(tracked));
    let work = async move {
        fetch_list(Arc::clone(&core), Arc::clone(&list)).await;
        if list.flight.is_first() {
            spawn(&core, |core, _| follow(core, list));
        }
    };
    tracked.flight.run(&remote.handle, wanted, work).await;
}

/// Reads the list every `ttl`, whether it is asked for or not: a revocation arrives without a request.
async fn follow(core: Weak<Core>, tracked: Arc<Tracked>) {
    loop {
        let pause = match core.upgrade() {
            Some(core) => until_next(&tracked, core.options.now()),
            None => return,
        };
        tokio::time::sleep(pause).await;
        let Some(core) = core.upgrade() else { return };
        // Where nothing can be had, what is held may be all that there is.
        if tracked.idle(core.options.now()) > MAX_IDLE && !tracked.flight.failed() {
            core.forget(&tracked.uri);
            return;
        }
        if let Some(remote) = &core.remote {
            tracked.flight.run(&remote.handle, || true, fetch_list(Arc::clone(&core), Arc::clone(&tracked))).await;
        }
    }
}

fn until_next(tracked: &Tracked, now: Duration) -> Duration {
    match tracked.held() {
        Some(list) if !tracked.flight.failed() => {
            // A list whose `ttl` reaches past its `exp` must be renewed before.
            let left = list.expires_at().saturating_sub(now) / 2;
            jittered(list.ttl().min(left.max(Duration::from_secs(1))))
        }
        _ => tracked.flight.wait(now).clamp(Duration::from_millis(100), Duration::from_secs(30)),
    }
}

async fn fetch_list(core: Arc<Core>, tracked: Arc<Tracked>) {
    count(&core.counters.list_fetches);
    let succeeded = read_list(&core, &tracked).await.is_some();
    if !succeeded {
        count(&core.counters.list_fetch_failures);
    }
    tracked.flight.settle(succeeded, core.options.now(), Duration::ZERO);
}

/// `None` where none came, or one that does not count; what is held stays.
async fn read_list(core: &Arc<Core>, tracked: &Tracked) -> Option<()> {
    let (remote, options) = (core.remote.as_ref()?, &core.options);
    let url = Url::parse(&tracked.uri).ok()?;
    // Where the list held does not count any more, "not modified" would be no help.
    let counts = tracked.held().is_some_and(|list| !list.is_stale(options.now()) && core.keys().set.trusts(list.key()));
    let etag = tracked.etag.read().unwrap_or_else(PoisonError::into_inner).clone().filter(|_| counts);
    let answer = fetch::get(&remote.client, &url, "application/statuslist+jwt", etag.as_deref(), options.max_list_size).await.ok()?;
    if answer.status == StatusCode::NOT_MODIFIED {
        return Some(());
    }
    let jwt = String::from_utf8(answer.body).ok()?.trim_ascii().to_owned();
    let verify = |jwt| StatusList::verify(jwt, &tracked.uri, &options.issuer, &core.keys().set, options.max_list_size);
    let list = match verify(jwt.clone()) {
        // The issuer may have begun to sign with a key that is new.
        Err(ListError::Token(VerifyError::UnknownKey)) => {
            refresh_keys(core, false).await;
            verify(jwt).ok()?
        }
        list => list.ok()?,
    };
    let now = options.now();
    if list.is_early(now, options.leeway) || list.is_stale(now) || !tracked.replace(list.received(now), now, options.leeway) {
        return None;
    }
    *tracked.etag.write().unwrap_or_else(PoisonError::into_inner) = answer.etag;
    Some(())
}

/// Up to a tenth more or less, so that receivers do not ask all at once.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 1];
    let tenths = if SystemRandom::new().fill(&mut random).is_ok() { f64::from(random[0]) / 1275.0 } else { 0.1 };
    pause.mul_f64(0.9 + tenths)
}
