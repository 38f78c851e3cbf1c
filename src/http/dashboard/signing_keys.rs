//! `/signing-keys`: what tokens are signed with, when the next key takes over, and having that done sooner.

use actix_web::HttpResponse;
use actix_web::web::Path;
use askama::Template;

use super::super::error::ApiError;
use super::chart::grouped;
use super::confirm::Question;
use super::frame::Frame;
use super::moment::Moment;
use super::visit::{Visit, to};
use crate::domain::signing::{KeyState, SigningAlgorithm};
use crate::service::KeyInfo;

const PATH: &str = "/signing-keys";

#[derive(Template)]
#[template(path = "signing_keys.html")]
struct View<'a> {
    frame: &'a Frame,
    groups: Vec<Group>,
    /// Where the public keys are.
    jwks: String,
}

/// The keys of an algorithm, the newest first.
struct Group {
    algorithm: SigningAlgorithm,
    /// Whether anything is signed with it.
    in_use: bool,
    /// When the next key takes over, where that is known.
    next: Option<Moment>,
    /// Whether that key is published already.
    published: bool,
    keys: Vec<Row>,
}

struct Row {
    kid: String,
    badge: &'static str,
    state: &'static str,
    created: Moment,
    from: Moment,
    until: Option<Moment>,
}

pub(super) async fn list(visit: Visit) -> Result<HttpResponse, ApiError> {
    let state = &visit.call.state;
    let keys = visit.management().list_signing_keys(&visit.call.caller, &state.signing).await?;
    let in_use = state.signing.keys().await?.algorithms();
    let groups = SigningAlgorithm::ALL.into_iter().filter_map(|algorithm| {
        let of_algorithm: Vec<_> = keys.iter().rev().filter(|key| key.algorithm == algorithm).collect();
        let current = of_algorithm.iter().find(|key| key.state == KeyState::Current);
        (!of_algorithm.is_empty()).then(|| Group {
            algorithm,
            in_use: in_use.contains(&algorithm),
            next: match current {
                Some(current) => current.active_until,
                // The first one: nothing signs with the algorithm yet.
                None => of_algorithm.iter().find(|key| key.state == KeyState::Next).map(|key| key.active_from),
            }
            .map(|at| visit.moment(at)),
            published: of_algorithm.iter().any(|key| key.state == KeyState::Next),
            keys: of_algorithm.iter().map(|key| row(&visit, key)).collect(),
        })
    });
    let jwks = format!("{}/.well-known/jwks.json", state.issuer.trim_end_matches('/'));
    visit.show(&View { frame: &visit.frame, groups: groups.collect(), jwks })
}

fn row(visit: &Visit, key: &KeyInfo) -> Row {
    let (badge, state) = match key.state {
        KeyState::Next => ("info", "Signs next"),
        KeyState::Current => ("good", "Signs"),
        KeyState::Previous => ("warning", "Signed before"),
        KeyState::Retired => ("off", "Retired"),
    };
    // What was withdrawn ended before its turn was over.
    let until = [key.retired_at, key.active_until].into_iter().flatten().min();
    Row {
        kid: key.kid.clone(),
        badge,
        state,
        created: visit.moment(key.created_at),
        from: visit.moment(key.active_from),
        until: until.map(|at| visit.moment(at)),
    }
}

fn parse(algorithm: &str) -> Result<SigningAlgorithm, ApiError> {
    algorithm.parse().map_err(|_| ApiError::new("not_found", format!("there is no algorithm {algorithm}")))
}

pub(super) async fn rotate(visit: Visit, algorithm: Path<String>) -> Result<HttpResponse, ApiError> {
    have_rotated(visit, &algorithm, false, "published").await
}

pub(super) async fn ask_to_withdraw(visit: Visit, algorithm: Path<String>) -> Result<HttpResponse, ApiError> {
    let algorithm = parse(&algorithm)?;
    if !visit.call.state.signing.keys().await?.algorithms().contains(&algorithm) {
        return Err(ApiError::new("not_found", format!("nothing is signed with {algorithm}")));
    }
    let count = match visit.call.state.signing.count_outstanding().await {
        Some(0) => "No token that was issued counts now.".to_owned(),
        Some(1) => "At most 1 token counts now.".to_owned(),
        Some(count) => format!("At most {} tokens count now, those signed with other keys among them.", grouped(count)),
        None => "How many tokens count now could not be found out in time: many.".to_owned(),
    };
    Question {
            title: format!("Withdraw the {algorithm} key?"),
            about: vec![
                format!(
                    "Do this only where the private half of the key that signs now, or the master key, may be in wrong hands. A new {algorithm} key signs at once."
                ),
                format!(
                    "Every token that was signed with {algorithm} ends, of all organizations: at Hourpass at once, at resource services as soon as they read the public keys again. \
                     Machines that exchange their API keys again get new tokens; API keys and sessions in browsers stay. \
                     Resource services refuse tokens of the new key until they have read the public keys again: up to a minute behind a cache."
                ),
                count,
            ],
            button: format!("Withdraw the {algorithm} key"),
            back: PATH.to_owned(), back_label: "Signing keys".to_owned(), danger: true,
        }.ask(&visit)
}

pub(super) async fn withdraw(visit: Visit, algorithm: Path<String>) -> Result<HttpResponse, ApiError> {
    have_rotated(visit, &algorithm, true, "withdrawn").await
}

async fn have_rotated(mut visit: Visit, algorithm: &str, at_once: bool, notice: &str) -> Result<HttpResponse, ApiError> {
    visit.optional_form().await?;
    let call = &visit.call;
    let made = call.state.management.rotate_signing_key(&call.caller, &call.state.signing, parse(algorithm)?, at_once, call.origin.clone()).await;
    visit.commit(made, notice, |_| to(PATH)).await
}
