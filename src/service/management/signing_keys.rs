//! The keys that tokens are signed with: whoever runs this Hourpass sees them and has them rotated.

use super::{Management, ManagementError, require};
use crate::domain::access::Place;
use crate::domain::audit::Origin;
use crate::domain::name::Invalid;
use crate::domain::permission::Permission;
use crate::domain::signing::SigningAlgorithm;
use crate::service::idempotency::Uncommitted;
use crate::service::{Caller, KeyInfo, Rotated, RotatedBy, Signing};

impl Management {
    /// Lists the signing keys, those that are published no more among them.
    ///
    /// # Errors
    /// Where the caller may not.
    pub async fn list_signing_keys(&self, caller: &Caller, signing: &Signing) -> Result<Vec<KeyInfo>, ManagementError> {
        require(caller, &Permission::SIGNING_KEYS_MANAGE, Place::Platform)?;
        Ok(signing.list().await?)
    }

    /// Has another key sign: published ahead, or at once, which withdraws the one that signs now and ends every token that it signed.
    ///
    /// # Errors
    /// Where the caller may not, nothing signs with this algorithm, or somebody else did so at the same moment.
    pub async fn rotate_signing_key(
        &self,
        caller: &Caller,
        signing: &Signing,
        algorithm: SigningAlgorithm,
        at_once: bool,
        origin: Origin,
    ) -> Result<Uncommitted<Rotated>, ManagementError> {
        require(caller, &Permission::SIGNING_KEYS_MANAGE, Place::Platform)?;
        let in_use = signing.keys().await?.algorithms();
        if !in_use.contains(&algorithm) {
            let names: Vec<_> = in_use.iter().map(|algorithm| algorithm.as_str()).collect();
            return Err(ManagementError::OutOfRange("algorithm", Invalid(format!("is one that nothing signs with; in use: {}", names.join(", ")))));
        }
        let made = signing.prepare(algorithm).await?;
        let (mut tx, caller) = self.begin(caller, &Permission::SIGNING_KEYS_MANAGE, Place::Platform, &[]).await?;
        let claim = self.claim(&mut tx, &caller).await?;
        let by = RotatedBy { actor: caller.actor(), organization: Some(caller.organization().id), origin };
        let rotated = signing.rotate_in(&mut tx, made, signing.turn(at_once), &by).await?;
        let done = rotated.clone();
        Ok(Uncommitted::new(tx, claim, rotated).afterwards(move || done.tell()))
    }
}
