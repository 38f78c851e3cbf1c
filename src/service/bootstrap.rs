//! The first start on an empty database.

use std::time::Duration;

use secrecy::SecretString;

use super::administration::{Administration, AdministrationError};
use super::management::{FoundHolder, NewAccount, NewKey, NewKeyValue, NewWorkspace, Spot};
use crate::domain::api_key::RawApiKey;
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::audit::{Action, Actor, Origin, Target};
use crate::domain::name::{Email, Name, Slug};
use crate::domain::random::Random;
use crate::domain::role::{BUILT_IN, ORGANIZATION_ADMIN, PLATFORM_ADMIN};
use crate::domain::signing::SigningAlgorithm;
use crate::store::Holder;

const DEFAULT: &str = "default";

/// What the first start made, to be shown once.
#[derive(Debug)]
pub struct FirstStart {
    /// The administrator.
    pub admin_email: Email,
    /// Their password, where it was not set by the configuration.
    pub admin_password: Option<SecretString>,
    /// The key of the service account `bootstrap`.
    pub api_key: RawApiKey,
}

impl Administration {
    /// On an empty database: makes the organization and workspace `default`, an administrator, and the service account `bootstrap` with a key. Nothing on any
    /// other; of several nodes that start at once, one does it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn bootstrap(&self, admin_email: &Email, admin_password: Option<&SecretString>) -> Result<Option<FirstStart>, AdministrationError> {
        if self.store.find_organization(DEFAULT).await?.is_some() {
            return Ok(None);
        }
        let generated = admin_password.is_none().then(|| generate_password(self.sources.random()));
        let Some(password) = admin_password.or(generated.as_ref()) else { return Ok(None) };
        let hash = self.passwords.hash(password).await?;

        let organization = self.management.new_organization(Slug::from_stored(DEFAULT.to_owned()), Some(Name::from_stored("Default".to_owned())));
        let mut tx = self.store.begin().await?;
        if !tx.insert_first_organization(&organization).await? {
            return Ok(None);
        }
        self.management.furnish(&mut tx, &organization, Actor::system(), Origin::default()).await?;
        let workspace = NewWorkspace {
            slug: Slug::from_stored(DEFAULT.to_owned()),
            name: Some(Name::from_stored("Default".to_owned())),
            url: None,
            audience: None,
            signing_algorithm: SigningAlgorithm::Es256,
            token_lifetime: Duration::from_hours(1),
            labels: Labels::default(),
            claims: CustomClaims::default(),
        };
        self.management.insert_workspace(&mut tx, &organization, workspace, Actor::system(), Origin::default()).await?;

        let roles = || BUILT_IN.iter().filter(|role| [PLATFORM_ADMIN, ORGANIZATION_ADMIN].contains(&role.id));
        let given = || roles().map(|role| (role.clone(), if role.id == PLATFORM_ADMIN { Spot::PLATFORM } else { Spot::ORGANIZATION })).collect();
        let user = self.insert_user(&mut tx, organization.id, admin_email.clone(), &hash, Actor::system()).await?;
        let holder = FoundHolder { holder: Holder::User(user.id), target: Target::from(&user) };
        self.assign(&mut tx, organization.id, &holder, given(), Actor::system()).await?;
        let account = NewAccount {
            name: Name::from_stored("bootstrap".to_owned()),
            description: "made at the first start".to_owned(),
            labels: Labels::default(),
            claims: CustomClaims::default(),
            exchanges_per_minute: None,
        };
        let account = self.management.insert_account(&mut tx, organization.id, account, Actor::system(), Origin::default()).await?;
        let holder = FoundHolder { holder: Holder::ServiceAccount(account.id), target: Target::from(&account) };
        self.assign(&mut tx, organization.id, &holder, given(), Actor::system()).await?;
        let api_key = self.management.generate_key();
        let (key, value) = (NewKey { name: Name::from_stored(DEFAULT.to_owned()), expires_in_days: None }, NewKeyValue::from(&api_key));
        let policy = organization.key_policy;
        self.management.insert_key(&mut tx, &account, key, value, policy, Action::ApiKeyCreate, None, Actor::system(), Origin::default()).await?;
        tx.commit().await?;
        Ok(Some(FirstStart { admin_email: admin_email.clone(), admin_password: generated, api_key }))
    }
}

/// A password of 120 random bits in 24 characters that are hard to confuse.
#[must_use]
pub fn generate_password(random: &dyn Random) -> SecretString {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = zeroize::Zeroizing::new([0; 24]);
    random.fill(bytes.as_mut());
    bytes.iter().map(|byte| char::from(ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or(b'a'))).collect::<String>().into()
}
