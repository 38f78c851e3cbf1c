//! People's passwords: Argon2id, a few at a time.
//!
//! A hash costs 19 MiB and some 30 ms of a core on purpose. Unbounded, a few hundred sign-ins at once would take the machine from everyone else; so a fixed
//! number of them run, each with a block of memory that is kept and used again, and the others wait in a queue or are told to come back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Sources;
use crate::domain::name::is_common;

const OUTPUT_LENGTH: usize = 32;
const SALT_LENGTH: usize = 16;

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
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
    queue_timeout: Duration,
}

impl Passwords {
    /// New hashes cost `params`. At most `concurrency` hashes at once; others wait for `queue_timeout`.
    #[must_use]
    pub fn new(sources: Sources, params: Params, concurrency: usize, queue_timeout: Duration) -> Self {
        Self { sources, params, permits: Arc::new(Semaphore::new(concurrency)), memory: Arc::default(), queue_timeout }
    }

    /// Hashes a password that someone chose, unless it is one of those that are tried first.
    ///
    /// # Errors
    /// [`PasswordError::Common`], and [`PasswordError::Busy`] where no turn came in time.
    pub async fn hash_chosen(&self, password: &SecretString) -> Result<SecretString, PasswordError> {
        let (permit, chosen) = (self.turn().await?, password.clone());
        let looking = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            is_common(&chosen)
        });
        if looking.await.map_err(broken)? { Err(PasswordError::Common) } else { self.hash(password).await }
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
        let pool = Arc::clone(&self.memory);
        let hashing = tokio::task::spawn_blocking(move || {
            // Held here and not by the waiting request, which may be given up while the work goes on.
            let _permit = permit;
            let free = || pool.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = free().pop().unwrap_or_default();
            let blocks = params.block_count();
            if memory.len() < blocks {
                memory.resize(blocks, Block::new());
            }
            let mut output = [0; OUTPUT_LENGTH];
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let done = argon2.hash_password_into_with_memory(password.expose_secret().as_bytes(), &salt, &mut output, memory.as_mut_slice());
            free().push(memory);
            done.map(|()| output).map_err(broken)
        });
        hashing.await.map_err(broken)?
    }
}
