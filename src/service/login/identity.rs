//! Who presents a credential.

use secrecy::SecretString;

use super::{Login, LoginError, Presented, Subject};
use crate::domain::access::Access;
use crate::domain::audit::Origin;
use crate::domain::credential::UserCredential;
use crate::domain::name::Email;
use crate::service::makers::password_counts;
use crate::store::Holder;

/// Why nobody was identified, and whom the caller claimed to be, where that is someone.
pub(super) struct Unidentified {
    pub(super) error: LoginError,
    pub(super) claimed: Option<UserCredential>,
}

impl<E: Into<LoginError>> From<E> for Unidentified {
    fn from(error: E) -> Self {
        Self { error: error.into(), claimed: None }
    }
}

impl Login {
    pub(super) async fn identify(&self, presented: Presented, origin: &Origin) -> Result<Subject, Unidentified> {
        match presented {
            Presented::ApiKey(key) => {
                if !key.may_exist(&self.context.prefix) {
                    return Err(LoginError::NoKey.into());
                }
                let found = self.context.memory.key(key.hash()).await?;
                found.map(Subject::Key).ok_or(LoginError::UnknownKey.into())
            }
            // Apart, as it is large: whoever waits for an exchange carries its size along.
            Presented::Password { email, password } => Box::pin(self.identify_person(email, password, origin)).await,
        }
    }

    async fn identify_person(&self, email: String, password: SecretString, origin: &Origin) -> Result<Subject, Unidentified> {
        self.context.memory.believe()?;
        let guessed = Email::parse(&email).ok().map(|email| (email, origin.network()));
        let stored = match &guessed {
            Some((email, _)) => self.context.store.find_password(email).await?,
            None => None,
        };
        if let Some(guessed) = &guessed {
            self.guesses.count(guessed.clone(), self.context.sources.now())?;
        }
        let compared = self.passwords.matches(&password, stored.as_ref().map(|stored| &stored.hash)).await;
        if let (Some(guessed), Err(_)) = (&guessed, &compared) {
            self.guesses.take_back(guessed);
        }
        let matches = compared?;
        match stored {
            Some(mut stored) if matches => {
                if let Some(guessed) = &guessed {
                    self.guesses.forget(guessed);
                }
                let user = stored.holder.user.id;
                if stored.holder.user.password_by_other {
                    let store = &self.context.store;
                    let owners = Access::of(&store.list_assignments(Holder::User(user)).await?);
                    let makers = store.list_makers(user.0).await?;
                    stored.holder.left_behind = !password_counts(owners, &makers, async |holder| store.list_assignments(holder).await).await?;
                }
                // Another time will do where there is no turn now.
                let outdated = self.passwords.is_outdated(&stored.hash);
                let rehashed = if outdated { self.passwords.hash(&password).await.ok() } else { None };
                Ok(Subject::User { stored: Box::new(stored), rehashed })
            }
            stored => Err(Unidentified { error: LoginError::WrongPassword, claimed: stored.map(|stored| stored.holder) }),
        }
    }
}
