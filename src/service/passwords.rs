//! People's passwords: Argon2id, a few at a time.
//!
//! A hash costs 19 MiB and some 30 ms of a core on purpose. Unbounded, a few hundred sign-ins at once would take the machine from everyone else; so a fixed
//! number of them run, each with a block of memory that is kept and used again, and the others wait in a queue or are told to come back.
//!
//! They run on threads of their own, which the kernel schedules after the threads that answer requests: a flood of sign-ins takes what exchanges leave.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Sources;
use crate::domain::name::is_common;

const OUTPUT_LENGTH: usize = 32;
const SALT_LENGTH: usize = 16;
/// The niceness of the threads: each gets a tenth of what a thread of the server gets while both want the same core.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Why a password was not hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many others are being hashed.
    #[error("too many sign-ins at once")]
    Busy,
    /// It is one of those that are tried first.
    #[error("is one of those that are tried first, or like them; choose another, such as four words that have nothing to do with each other")]
    Common,
    /// The stored hash or the hasher is broken.
    #[error("a password cannot be hashed or compared: {0}")]
    Broken(String),
}

fn broken(error: impl ToString) -> PasswordError {
    PasswordError::Broken(error.to_string())
}

/// Hashes and compares passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    sources: Sources,
    params: Params,
    permits: Arc<Semaphore>,
    threads: Arc<Threads>,
    queue_timeout: Duration,
}

/// Work for a thread, which lends its memory.
type Job = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

/// Threads that hash. They start with the first password, and end when this is dropped.
#[derive(Debug)]
struct Threads {
    number: usize,
    jobs: OnceLock<Result<Sender<Job>, String>>,
}

impl Threads {
    /// Does some work on one of the threads.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static) -> Result<T, PasswordError> {
        let (sender, done) = oneshot::channel();
        let job: Job = Box::new(move |memory| drop(sender.send(work(memory))));
        let jobs = self.jobs.get_or_init(|| self.start()).as_ref().map_err(broken)?;
        jobs.send(job).map_err(broken)?;
        done.await.map_err(broken)
    }

    fn start(&self) -> Result<Sender<Job>, String> {
        let (sender, jobs) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..self.number {
            let jobs = Arc::clone(&jobs);
            let thread = std::thread::Builder::new().name("passwords".to_owned());
            thread.spawn(move || work_off(&jobs)).map_err(|error| error.to_string())?;
        }
        Ok(sender)
    }
}

/// Does one job after the other until there can be no more.
fn work_off(jobs: &Mutex<Receiver<Job>>) {
    // On Linux, this is the niceness of the calling thread, and not of the process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "the threads that hash passwords keep the priority of the others");
    }
    let mut memory = Vec::new();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A thread that were to end with its job would be missing from then on.
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut memory)));
        if caught.is_err() {
            memory = Vec::new();
        }
    }
}

impl Passwords {
    /// New hashes cost `params`. At most `concurrency` hashes at once; others wait for `queue_timeout`.
    #[must_use]
    pub fn new(sources: Sources, params: Params, concurrency: usize, queue_timeout: Duration) -> Self {
        let threads = Arc::new(Threads { number: concurrency, jobs: OnceLock::new() });
        Self { sources, params, permits: Arc::new(Semaphore::new(concurrency)), threads, queue_timeout }
    }

    /// Hashes a password that someone chose, unless it is one of those that are tried first.
    ///
    /// # Errors
    /// [`PasswordError::Common`], and [`PasswordError::Busy`] where no turn came in time.
    pub async fn hash_chosen(&self, password: &SecretString) -> Result<SecretString, PasswordError> {
        let (permit, chosen) = (self.turn().await?, password.clone());
        let looking = self.threads.run(move |_| {
            let _permit = permit;
            is_common(&chosen)
        });
        if looking.await? { Err(PasswordError::Common) } else { self.hash(password).await }
    }

    /// Hashes a password, as a PHC string with its salt and parameters.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] where no turn came in time.
    pub async fn hash(&self, password: &SecretString) -> Result<SecretString, PasswordError> {
        let mut salt = [0; SALT_LENGTH];
        self.sources.random().fill(&mut salt);
        let output = self.compute(password, salt.to_vec(), self.params.clone()).await?;
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params).map_err(broken)?,
            salt: Some(Salt::new(&salt).map_err(broken)?),
            hash: Some(Output::new(&output).map_err(broken)?),
        };
        Ok(hash.to_string().into())
    }

    /// Whether `password` is the one that was hashed. Without a hash (no such person) it is not, after the same work.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] where no turn came in time.
    pub async fn matches(&self, password: &SecretString, hash: Option<&SecretString>) -> Result<bool, PasswordError> {
        // Without a password yet, the hash is empty.
        let Some(hash) = hash.filter(|hash| !hash.expose_secret().is_empty()) else {
            self.compute(password, vec![0; SALT_LENGTH], self.params.clone()).await?;
            return Ok(false);
        };
        let hash = PasswordHash::new(hash.expose_secret()).map_err(broken)?;
        let (Some(salt), Some(expected)) = (hash.salt.as_ref(), hash.hash.as_ref()) else { return Err(broken("the hash has no salt or no output")) };
        if hash.algorithm != ARGON2ID_IDENT || expected.as_bytes().len() != OUTPUT_LENGTH {
            return Err(broken("the hash is not Argon2id with 32 bytes"));
        }
        let params = Params::try_from(&hash).map_err(broken)?;
        let output = self.compute(password, salt.as_ref().to_vec(), params).await?;
        Ok(verify_slices_are_equal(&output, expected.as_bytes()).is_ok())
    }

    /// Whether a hash cost less than new ones do.
    #[must_use]
    pub fn is_outdated(&self, hash: &SecretString) -> bool {
        let params = PasswordHash::new(hash.expose_secret()).ok().and_then(|hash| Params::try_from(&hash).ok());
        params.is_some_and(|params| {
            params.m_cost() < self.params.m_cost() || params.t_cost() < self.params.t_cost() || params.p_cost() < self.params.p_cost()
        })
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, PasswordError> {
        let turn = tokio::time::timeout(self.queue_timeout, Arc::clone(&self.permits).acquire_owned()).await;
        turn.map_err(|_| PasswordError::Busy)?.map_err(broken)
    }

    async fn compute(&self, password: &SecretString, salt: Vec<u8>, params: Params) -> Result<[u8; OUTPUT_LENGTH], PasswordError> {
        let permit = self.turn().await?;
        let password = password.clone();
        let hashing = self.threads.run(move |memory| {
            // Held here and not by the waiting request, which may be given up while the work goes on.
            let _permit = permit;
            let blocks = params.block_count();
            if memory.len() < blocks {
                memory.resize(blocks, Block::new());
            }
            let mut output = [0; OUTPUT_LENGTH];
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let done = argon2.hash_password_into_with_memory(password.expose_secret().as_bytes(), &salt, &mut output, memory.as_mut_slice());
            done.map(|()| output).map_err(broken)
        });
        hashing.await?
    }
}
