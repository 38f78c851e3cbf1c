//! What is asked before an account or a key stops: a page that names it, says what will happen and who uses it, with one button that does it.

use actix_web::HttpResponse;
use askama::Template;

use super::super::error::ApiError;
use super::chart::grouped;
use super::frame::Frame;
use super::used::Used;
use super::visit::Visit;
use crate::domain::entity::{KeyDetails, ServiceAccount};
use crate::domain::id::Reference;
use crate::service::{LeftBehindCount, Page};
use crate::store::KeyFilter;

/// As many keys as are named; an account has few.
const NAMED: Page = Page { after: uuid::Uuid::nil(), limit: 50 };

/// A way to stop something.
pub(super) struct Ending {
    /// With `{}` for the name.
    what: &'static str,
    icon: &'static str,
    /// What will happen, a sentence each.
    about: &'static [&'static str],
    /// What becomes of that which was made with it for others.
    others: Others,
}

/// What becomes of that which was made with something for others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    /// It goes on working.
    Stay,
    /// It ends, unless the visitor keeps it.
    EndOrKeep,
    /// It ends.
    End,
}

pub(super) const DEACTIVATE_ACCOUNT: Ending = Ending {
    what: "Deactivate {}",
    icon: "ban",
    about: &[
        "Its keys are refused at once, and none of its tokens counts any more: every resource service knows within seconds.",
        "You can activate it again. Its keys work then as before; tokens from before stay ended.",
    ],
    others: Others::EndOrKeep,
};

pub(super) const DELETE_ACCOUNT: Ending = Ending {
    what: "Delete {}",
    icon: "trash",
    about: &[
        "The account is deleted for good, with its keys, roles and memberships of teams, and none of its tokens counts any more.",
        "The audit trail keeps what it did. To stop it for a while only, deactivate it instead.",
    ],
    others: Others::EndOrKeep,
};

pub(super) const END_TOKENS_OF_ACCOUNT: Ending = Ending {
    what: "End all tokens of {}",
    icon: "turn",
    about: &[
        "All tokens that were obtained with its keys are refused from now on.",
        "Its keys go on working: whatever holds one gets a new token at its next exchange.",
    ],
    others: Others::Stay,
};

pub(super) const DEACTIVATE_KEY: Ending = Ending {
    what: "Deactivate {}",
    icon: "ban",
    about: &[
        "The key is refused at once, and the tokens obtained with it count no more. The account's other keys go on working.",
        "You can activate it again. Tokens from before stay ended.",
    ],
    others: Others::EndOrKeep,
};

pub(super) const DELETE_KEY: Ending = Ending {
    what: "Delete {}",
    icon: "trash",
    about: &[
        "The key is deleted for good, and the tokens obtained with it count no more. The account's other keys go on working.",
        "What was made with it for others goes on working. If somebody else may have the key, mark it as compromised instead.",
        "To stop it for a while only, deactivate it instead.",
    ],
    others: Others::Stay,
};

pub(super) const END_TOKENS_OF_KEY: Ending = Ending {
    what: "End all tokens of {}",
    icon: "turn",
    about: &[
        "All tokens that were obtained with this key are refused from now on.",
        "The key goes on working: whatever holds it gets a new token at its next exchange.",
    ],
    others: Others::Stay,
};

pub(super) const COMPROMISE_KEY: Ending = Ending {
    what: "Mark {} as compromised",
    icon: "alert",
    about: &[
        "For a key that somebody else may have seen. It is refused at once, with its old value and all tokens obtained with it.",
        "It can never be activated again. Make a new key for whatever used this one.",
    ],
    others: Others::End,
};

#[derive(Template)]
#[template(path = "ending.html")]
struct View<'a> {
    frame: &'a Frame,
    title: String,
    button: String,
    icon: &'static str,
    about: &'static [&'static str],
    back: String,
    account: &'a ServiceAccount,
    /// Of an account: its keys that work.
    keys: Vec<String>,
    uses: Uses,
    left: LeftBehindCount,
    may_keep: bool,
}

/// Who uses it.
struct Uses {
    exchanges: String,
    addresses: i64,
    /// For whom, and how many each.
    receivers: Vec<(String, String)>,
    tokens: String,
    used: Option<Used>,
    /// Whether nobody was seen to use it.
    quiet: bool,
}

impl Ending {
    /// Asks whether the account is to stop, or one of its keys.
    pub(super) async fn ask(&self, visit: &Visit, account: &ServiceAccount, key: Option<&KeyDetails>) -> Result<HttpResponse, ApiError> {
        let named = |name: &str| self.what.replace("{}", name);
        let what = key.map_or_else(|| named(account.name.as_str()), |details| named(details.key.name.as_str()));
        let left = match self.others {
            Others::Stay => LeftBehindCount::default(),
            Others::EndOrKeep | Others::End => {
                let key = key.map(|details| Reference::Id(details.key.id.0));
                let (caller, id) = (&visit.call.caller, Reference::Id(account.id.0));
                visit.management().left_by_account(caller, &id, key.as_ref(), self.others == Others::End).await?
            }
        };
        let keys = if key.is_some() { Vec::new() } else { keys_that_work(visit, account).await? };
        visit.show(&View {
            frame: &visit.frame,
            title: format!("{what}?"),
            button: what,
            icon: self.icon,
            about: self.about,
            back: format!("/service-accounts/{}", account.id),
            account,
            keys,
            uses: uses(visit, account, key).await?,
            left,
            may_keep: self.others == Others::EndOrKeep,
        })
    }
}

async fn keys_that_work(visit: &Visit, account: &ServiceAccount) -> Result<Vec<String>, ApiError> {
    let filter = KeyFilter { active: Some(true), ..KeyFilter::default() };
    let found = visit.management().list_keys(&visit.call.caller, &Reference::Id(account.id.0), &filter, NAMED).await?;
    let works = |details: &KeyDetails| details.current.expires_at.is_none_or(|expiry| expiry > visit.now);
    Ok(found.into_iter().filter(works).map(|details| details.key.name.to_string()).collect())
}

async fn uses(visit: &Visit, account: &ServiceAccount, key: Option<&KeyDetails>) -> Result<Uses, ApiError> {
    let key = key.map(|details| Reference::Id(details.key.id.0));
    let impact = visit.management().impact(&visit.call.caller, &Reference::Id(account.id.0), key.as_ref()).await?;
    let name = |kind: &str, name: String| if kind == "hourpass" { "Hourpass itself".to_owned() } else { name };
    Ok(Uses {
        exchanges: grouped(impact.exchanges.count),
        addresses: impact.exchanges.addresses,
        receivers: impact.exchanges.receivers.into_iter().map(|it| (name(&it.kind, it.name), grouped(it.exchanges))).collect(),
        tokens: grouped(impact.outstanding_tokens),
        quiet: impact.exchanges.count == 0 && impact.outstanding_tokens == 0,
        used: Used::new(visit, impact.last_use.as_ref()),
    })
}
