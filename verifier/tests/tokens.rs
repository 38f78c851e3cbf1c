//! What a verified token says, and what it lets its holder do.

use std::time::Duration;

use hourpass_verifier::{PrincipalType, Verifier, VerifyError};
use serde_json::{Value, json};

use crate::support::world::{AUDIENCE, START, World};

#[tokio::test]
async fn claims_are_read() {
    let world = World::start().await;
    let token = world.token_with(|claims| claims["team"] = json!({"size": 3}));
    let token = world.verifier().await.verify(&token).await.unwrap();
    assert_eq!((token.subject(), token.name(), token.id()), ("0199-account", "ci", "0199-token"));
    assert_eq!((token.issuer(), token.audiences()), (world.issuer.url.as_str(), &[AUDIENCE.to_owned()][..]));
    assert_eq!((token.client_id(), token.organization_id()), (Some("0199-account"), Some("0199-organization")));
    assert_eq!((token.workspace_id(), token.api_key_id(), token.session_id()), (Some("0199-workspace"), Some("0199-key"), Some("0199-session")));
    assert_eq!(token.principal_type(), Some(PrincipalType::ServiceAccount));
    assert_eq!((token.issued_at(), token.expires_at(), token.not_before()), (1_800_000_000, 1_800_003_600, None));
    assert_eq!(token.scopes().collect::<Vec<_>>(), ["pipelines.read", "pipelines.deploy"]);
    assert_eq!(token.custom("team"), Some(&json!({"size": 3})));
    assert_eq!(token.custom("sub"), None);
    assert_eq!(token.claims::<Value>().unwrap()["team"]["size"], 3);
    assert_eq!(token.status().unwrap().idx, 0);
}

#[tokio::test]
async fn permissions_hold_where_they_are_given() {
    let world = World::start().await;
    let token = world.verifier().await.verify(&world.token()).await.unwrap();
    assert!(token.require("pipelines.deploy").is_ok());
    assert!(!token.has("pipelines"));
    assert!(!token.has(""));
    assert!(!token.has("models.write"), "held in one project only");
    for project in ["models", "0199-project"] {
        assert!(token.require_in_project(project, "models.write").is_ok());
        assert!(token.require_in_project(project, "models.delete").is_err());
    }
    assert!(token.require_in_project("other", "pipelines.deploy").is_ok(), "held everywhere");
    assert!(token.require_in_project("other", "models.write").is_err());
    let error = token.require("models.write").unwrap_err();
    assert_eq!(error, VerifyError::InsufficientScope { scope: "models.write".to_owned() });
    assert_eq!(error.status(), 403);
    let challenge = r#"Bearer realm="hourpass", error="insufficient_scope", error_description="the permission models.write is missing; ask an administrator of the organization for it", scope="models.write""#;
    assert_eq!(error.www_authenticate().unwrap(), challenge);
}

#[tokio::test]
async fn other_authorization_details_give_nothing() {
    let world = World::start().await;
    let token = world.token_with(|claims| {
        claims["authorization_details"] = json!([
            {"type": "workspace", "identifier": "models", "slug": "models", "actions": ["models.write"]},
            {"type": "payment", "amount": 3, "actions": ["models.write"]},
            {"type": "project", "identifier": "", "slug": "", "actions": ["models.write"]},
        ]);
    });
    let token = world.verifier().await.verify(&token).await.unwrap();
    assert_eq!(token.authorization_details().len(), 3);
    assert_eq!(token.authorization_details()[1].other["amount"], 3);
    assert!(!token.has_in_project("models", "models.write"));
    assert!(!token.has_in_project("", "models.write"));
}

#[tokio::test]
async fn several_audiences_are_this_receiver() {
    let world = World::start().await;
    let verifier = world.builder().audience("https://second.example.com").build().await.unwrap();
    for audience in [json!("https://second.example.com"), json!(["https://else.example.com", AUDIENCE])] {
        verifier.verify(&world.token_with(|claims| claims["aud"] = audience)).await.unwrap();
    }
    let other = verifier.verify(&world.token_with(|claims| claims["aud"] = json!("https://pipelines.example.com/"))).await;
    assert_eq!(other.unwrap_err(), VerifyError::WrongAudience);
}

#[tokio::test]
async fn leeway_is_for_clocks_that_differ() {
    let world = World::start().await;
    let verifier = world.builder().leeway(Duration::from_secs(3)).cache_entries(0).build().await.unwrap();
    let at = |name: &'static str, time: u64| world.token_with(|claims| claims[name] = time.into());
    verifier.verify(&at("exp", START - 2)).await.unwrap();
    assert_eq!(verifier.verify(&at("exp", START - 3)).await.unwrap_err(), VerifyError::Expired);
    for name in ["nbf", "iat"] {
        verifier.verify(&at(name, START + 3)).await.unwrap();
        assert_eq!(verifier.verify(&at(name, START + 4)).await.unwrap_err(), VerifyError::NotYetValid);
    }
}

#[tokio::test]
async fn options_out_of_their_range_are_refused() {
    let build = |builder: hourpass_verifier::VerifierBuilder| async move { builder.build().await.unwrap_err().to_string() };
    let some = || Verifier::builder("https://id.example.com").audience(AUDIENCE);
    assert!(build(Verifier::builder("https://id.example.com")).await.contains("audience"));
    assert!(build(some().leeway(Duration::from_secs(61))).await.contains("leeway"));
    assert!(build(some().refresh_interval(Duration::ZERO)).await.contains("flood"));
    for issuer in ["http://id.example.com", "ftp://id.example.com", "https://id.example.com?x", "https://u:p@id.example.com", "id.example.com"] {
        assert!(build(Verifier::builder(issuer).audience(AUDIENCE)).await.contains("issuer"), "{issuer}");
    }
}

#[tokio::test]
async fn tokens_without_status_are_an_option() {
    let world = World::start().await;
    let token = world.token_with(|claims| drop(claims.as_object_mut().unwrap().remove("status")));
    assert_eq!(world.verifier().await.verify(&token).await.unwrap_err(), VerifyError::NoStatus);
    world.builder().allow_tokens_without_status().build().await.unwrap().verify(&token).await.unwrap();
}

#[tokio::test]
async fn the_type_can_be_another() {
    let world = World::start().await;
    let verifier = world.builder().token_type("vnd.example+jwt").build().await.unwrap();
    let token = world.signer.sign(&world.signer.header("application/vnd.example+JWT").to_string(), &world.claims().to_string());
    verifier.verify(&token).await.unwrap();
    assert_eq!(verifier.verify(&world.token()).await.unwrap_err(), VerifyError::WrongType);
}

#[tokio::test]
async fn nothing_shows_a_token() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let token = world.token();
    let caller = verifier.verify(&token).await.unwrap();
    let shown = format!("{caller:?} {verifier:?} {:?}", world.builder());
    assert!(!shown.contains("0199-session") && !shown.contains(&token[..20]), "{shown}");
    let altered = format!("{token}x");
    let error = verifier.verify(&altered).await.unwrap_err();
    for text in [format!("{error} {error:?}"), error.problem(), error.www_authenticate().unwrap()] {
        assert!(!text.contains("eyJ"), "{text}");
    }
}
