//! Lengths and numbers: accepted up to the documented limit, refused right above it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Client, TestApp, on_both_engines};

/// Creates one thing at the limit, and is refused one above it in `field`.
async fn limited(client: &Client, path: &str, field: &str, at: Value, above: Value) {
    let accepted = client.post(&format!("/api/v1/{path}"), &at).await;
    assert_eq!(accepted.status, 201, "{path} {field}: {}", accepted.text);
    let refused = client.post(&format!("/api/v1/{path}"), &above).await;
    assert_eq!(refused.problem().0, 422, "{path} {field}: {}", refused.text);
    assert!(refused.text.contains(field), "the answer does not name {field}: {}", refused.text);
}

/// A URI of `length` bytes.
fn uri(length: usize) -> String {
    let start = "https://audience.example.com/";
    format!("{start}{}", "a".repeat(length - start.len()))
}

/// An email address of `length` bytes.
fn email(length: usize) -> String {
    let end = "@example.com";
    format!("{}{end}", "a".repeat(length - end.len()))
}

/// Labels with names of their own.
fn labels(number: usize) -> BTreeMap<String, String> {
    (0..number).map(|index| (format!("label-{index}"), String::new())).collect()
}

/// Claims with names of their own.
fn claims(number: usize) -> BTreeMap<String, u8> {
    (0..number).map(|index| (format!("https://example.com/{index}"), 0)).collect()
}

/// One claim, of `bytes` as JSON with its name.
fn claim(bytes: usize) -> Value {
    let name = "https://example.com/large";
    let around = json!({ name: "" }).to_string().len();
    json!({ name: "x".repeat(bytes - around) })
}

/// One claim whose name has `bytes`.
fn claim_named(bytes: usize) -> Value {
    let start = "https://example.com/";
    json!({ format!("{start}{}", "n".repeat(bytes - start.len())): 1 })
}

on_both_engines! {
    async fn text_at_its_limit_is_accepted_and_above_it_is_refused(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        // Characters, not bytes.
        limited(&admin, "service_accounts", "name", json!({ "name": "é".repeat(100) }), json!({ "name": "è".repeat(101) })).await;
        limited(&admin, "teams", "name", json!({ "name": "t".repeat(100) }), json!({ "name": "u".repeat(101) })).await;
        limited(&admin, "workspaces", "slug", json!({ "slug": "s".repeat(63) }), json!({ "slug": "t".repeat(64) })).await;
        limited(&admin, "workspaces", "audience", json!({ "slug": "a1", "audience": uri(500) }), json!({ "slug": "a2", "audience": uri(501) })).await;
        limited(&admin, "users", "email", json!({ "email": email(254) }), json!({ "email": email(255) })).await;
        let described = |name: &str, length: usize| json!({ "name": name, "description": "é".repeat(length) });
        limited(&admin, "service_accounts", "description", described("d1", 1_000), described("d2", 1_001)).await;
        let described = admin.get("/api/v1/service_accounts/d1").await.expect(200);
        assert_eq!(described["description"], "é".repeat(1_000));
    }

    async fn labels_and_claims_at_their_limits_are_accepted_and_above_them_are_refused(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let cases = [
            ("labels", json!(labels(50)), json!(labels(51))),
            ("labels", json!({ "n".repeat(63): "" }), json!({ "n".repeat(64): "" })),
            ("labels", json!({ "name": "é".repeat(200) }), json!({ "name": "é".repeat(201) })),
            ("labels", json!({ "name": "visible" }), json!({ "name": "line\nbreak" })),
            ("claims", json!(claims(20)), json!(claims(21))),
            ("claims", claim(2_048), claim(2_049)),
            ("claims", claim_named(200), claim_named(201)),
        ];
        for (index, (field, at, above)) in cases.into_iter().enumerate() {
            let account = |name: &str, value: Value| json!({ "name": format!("{name}-{index}"), field: value });
            limited(&admin, "service_accounts", field, account("at", at.clone()), account("above", above)).await;
            let stored = admin.get(&format!("/api/v1/service_accounts/at-{index}")).await.expect(200);
            assert_eq!(stored[field], at);
        }
    }

    async fn password_at_its_limits_is_accepted_and_beyond_them_is_refused(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let password = |length: usize| "correct horse battery staple, twice and thrice; ".repeat(40).chars().take(length).collect::<String>();
        for (index, (at, beyond)) in [(12, 11), (1_000, 1_001)].into_iter().enumerate() {
            let user = |name: &str, length: usize| json!({ "email": format!("{name}-{index}@example.com"), "password": password(length) });
            limited(&admin, "users", "password", user("at", at), user("beyond", beyond)).await;
            let fields = [("username", format!("at-{index}@example.com")), ("password", password(at))];
            let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
            assert_eq!(app.anyone().post_form("/auth/login", &fields).await.status, 200);
        }
    }
}
