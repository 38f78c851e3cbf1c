//! The pages that tell what was done and what holds: the overview with its chart, the audit trail, signing keys, organizations, and one's own sessions.

use std::time::Duration;

use hourpass::domain::id::ServiceAccountId;
use hourpass::domain::time::Timestamp;
use hourpass::store::Tally;
use serde_json::json;

use crate::support::{Answer, Client, TestApp, on_both_engines};

const PASSWORD: &str = "correct horse battery";
const HOUR: i64 = 3_600;

/// The page, which has to be one, without anything that the policy would block.
#[track_caller]
fn page(answer: Answer, status: u16) -> String {
    assert_eq!((answer.status, answer.header("content-type")), (status, "text/html; charset=utf-8"), "{}", answer.text);
    for forbidden in [" style=", "<style", "<script>", "javascript:", "<i>"] {
        assert!(!answer.text.contains(forbidden), "{forbidden}");
    }
    answer.text
}

#[track_caller]
fn sent_on(answer: &Answer, to: &str) {
    assert_eq!((answer.status, answer.header("location")), (303, to), "{}", answer.text);
}

async fn shown(client: &Client, path: &str) -> String {
    page(client.get(path).await, 200)
}

#[track_caller]
fn holds(text: &str, wanted: &[&str], unwanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    for part in unwanted {
        assert!(!text.contains(part), "{part} is there in {text}");
    }
}

/// What is between two texts.
#[track_caller]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before} is missing in {text}"));
    rest.split_once(after).unwrap().0
}

/// A person who may do nothing yet, signed in with a browser.
async fn person(app: &TestApp, email: &str) -> Client {
    app.admin_client().post("/api/v1/users", &json!({ "email": email, "password": PASSWORD })).await.expect(201);
    sign_in(app, email, PASSWORD).await
}

async fn sign_in(app: &TestApp, email: &str, password: &str) -> Client {
    let browser = app.anyone().browser();
    browser.keeping(&browser.post_form("/auth/login", &[("username", email), ("password", password)]).await)
}

on_both_engines! {
    async fn the_overview_counts_what_needs_a_look(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        holds(&shown(&admin, "/").await, &["First steps", "No key expires within 30 days.", "Nobody was refused anything.", "Up to date", app.url.as_str()], &[]);
        let body = json!({ "name": "<i>ci", "default_key": true, "expires_in_days": 10 });
        let made = admin.post("/api/v1/service_accounts", &body).await.expect(201);
        let key = made["key"].as_str().or_else(|| made["default_key"]["key"].as_str()).unwrap();
        admin.post("/api/v1/service_accounts", &json!({ "name": "idle", "default_key": true, "expires_in_days": 80 })).await.expect(201);
        app.anyone().login(key).await.expect(200);
        app.anyone().login(key).await.expect(200);
        let id = made["id"].as_str().unwrap();
        admin.patch(&format!("/api/v1/service_accounts/{id}"), &json!({ "active": false })).await.expect(200);
        app.anyone().login(key).await.problem();
        let text = shown(&admin, "/").await;
        holds(&text, &["<b>2</b><span>active", "<b>1</b><span>deactivated", "<b>0</b><span>with a key", "<b>2</b> granted", "<b>1</b> refused"], &["First steps"]);
        holds(&text, &["Service account deactivated", "asked for a token for Hourpass", "&#60;i&#62;ci"], &[]);
        admin.patch(&format!("/api/v1/service_accounts/{id}"), &json!({ "active": true })).await.expect(200);
        let text = shown(&admin, "/?chart=30-days").await;
        holds(&text, &["<b>1</b><span>with a key", "in 10 days", "Key default.", "by the day: 2 granted, 1 refused.", "1 January 2026 UTC"], &["No key expires"]);
    }

    async fn the_chart_counts_exchanges_alone_and_each_once(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, start) = (app.admin_client(), Timestamp::from_seconds(app.clock.seconds()));
        let mut keys = Vec::new();
        for name in ["one", "two"] {
            keys.push((app.issue_key("default", name, &["Organization Admin"], None).await, admin.get(&format!("/api/v1/service_accounts/{name}")).await.expect(200)));
        }
        app.anyone().login(&keys[0].0).await.expect(200);
        app.clock.advance_seconds(HOUR);
        for (key, _) in &keys {
            app.anyone().login(key).await.expect(200);
        }
        // A change is none, whoever made it.
        app.anyone().with(&keys[0].0).post("/api/v1/teams", &json!({ "name": "team" })).await.expect(201);
        let refused = [("password", keys[1].0.as_str()), ("workspace", "default"), ("scope", "nothing.at_all")];
        assert_eq!(app.anyone().post_form("/auth/login", &refused).await.status, 400);
        let organization = app.store.find_organization("default").await.unwrap().unwrap().id;
        let until = start.plus(Duration::from_hours(48));
        let tally = async |index: Option<usize>| {
            let account = index.map(|index: usize| ServiceAccountId(keys[index].1["id"].as_str().unwrap().parse().unwrap()));
            app.store.tally_exchanges(organization, account, (start, until)).await.unwrap()
        };
        assert_eq!(tally(None).await, Tally { granted: 3, refused: 1 });
        assert_eq!(tally(Some(0)).await, Tally { granted: 2, refused: 0 });
        assert_eq!(tally(Some(1)).await, Tally { granted: 1, refused: 1 });
        let chart = async |path: &str| between(&shown(&admin, path).await, "<desc id=\"exchanges-desc\">Exchanges in the last ", ".</desc>").to_owned();
        assert_eq!(chart("/").await, "24 hours, by the hour: 3 granted, 1 refused");
        // What is over is held; what comes is counted.
        app.clock.advance_seconds(2 * HOUR);
        assert_eq!(chart("/").await, "24 hours, by the hour: 3 granted, 1 refused");
        app.anyone().login(&keys[0].0).await.expect(200);
        assert_eq!(chart("/").await, "24 hours, by the hour: 4 granted, 1 refused");
        assert_eq!(chart("/?chart=30-days").await, "30 days, by the day: 4 granted, 1 refused");
        app.clock.advance_seconds(21 * HOUR);
        assert_eq!(chart("/").await, "24 hours, by the hour: 3 granted, 1 refused");
        app.clock.advance_seconds(24 * HOUR);
        assert_eq!(chart("/").await, "24 hours, by the hour: 0 granted, 0 refused");
        assert_eq!(chart("/?chart=30-days").await, "30 days, by the day: 4 granted, 1 refused");
        app.clock.advance_seconds(30 * 24 * HOUR);
        assert_eq!(chart("/?chart=30-days").await, "30 days, by the day: 0 granted, 0 refused");
    }

    async fn whoever_holds_little_sees_what_is_theirs(engine: Engine) {
        let app = TestApp::start(engine).await;
        let nobody = app.anyone().with(&app.issue_key("default", "nobody", &[], None).await);
        holds(&shown(&nobody, "/").await, &["You hold no permissions"], &["Exchanges", "Last refusals", "First steps", "Up to date", "New service account"]);
        let reader = app.anyone().with(&app.issue_key("default", "reader", &["Organization Member"], None).await);
        holds(&shown(&reader, "/").await, &["Exchanges", "service_accounts.read"], &["Last refusals", "Up to date", "New service account"]);
        holds(&shown(&reader, "/organization").await, &["API keys live at most"], &["<button type=\"submit\" class=\"button primary\"", "All organizations"]);
        for path in ["/audit", "/signing-keys", "/organizations", "/organizations/new", "/signing-keys/ES256/withdraw"] {
            page(reader.get(path).await, 403);
        }
        page(reader.post_form("/organization", &[("name", "x")]).await, 403);
        page(reader.post_form("/signing-keys/ES256/withdraw", &[]).await, 403);
    }

    async fn events_are_filtered_paged_and_taken_away(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post("/api/v1/teams", &json!({ "name": "<i>team" })).await.expect(201);
        app.clock.advance_seconds(HOUR);
        for number in 0..51 {
            // Of one moment, they would be in any order.
            app.clock.advance_seconds(1);
            admin.post("/api/v1/service_accounts", &json!({ "name": format!("ci-{number}") })).await.expect(201);
        }
        let text = shown(&admin, "/audit").await;
        holds(&text, &[">ci-50</a>", "made the service account", "Look for newer", "127.0.0.1", "href=\"/api/v1/audit_events/export\""], &["ci-0<", "&#60;i&#62;team"]);
        let (_, next) = text.split_once("\" rel=\"next\"").unwrap().0.rsplit_once("href=\"").unwrap();
        holds(&shown(&admin, &next.replace("&#38;", "&")).await, &[">ci-0</a>", "made the team", "&#60;i&#62;team", "First page"], &["ci-50", "Look for newer"]);
        let text = shown(&admin, "/audit?actor=bootstrap&target=&action=team&outcome=granted&since=2026-01-01T00%3A00&until=2026-01-01T00%3A30").await;
        holds(&text, &["&#60;i&#62;team", "value=\"2026-01-01T00:30\"", "<option value=\"team\" selected>"], &[">ci-0</a>"]);
        let export = between(&text, "<a class=\"button\" href=\"/api/v1/audit_events/export", "\" download").replace("&#38;", "&");
        assert_eq!(export, "?actor=bootstrap&action=team&outcome=granted&since=2026-01-01T00%3A00%3A00Z&until=2026-01-01T00%3A30%3A00Z");
        assert_eq!(admin.get(&format!("/api/v1/audit_events/export{export}")).await.text.lines().count(), 1);
        holds(&shown(&admin, "/audit?actor=who").await, &["Nothing found", "value=\"who\"", "Show all"], &[]);
        let wrong = page(admin.get("/audit?since=yesterday&outcome=maybe&actor=%3Ci%3E").await, 422);
        holds(&wrong, &["Since must be a day and a time", "Outcome must be granted or denied.", "value=\"&#60;i&#62;\""], &[]);
        app.create_organization("other").await;
        let other = app.anyone().with(&app.issue_key("other", "auditor", &["Organization Auditor"], None).await);
        holds(&shown(&other, "/audit").await, &[">auditor</a>"], &["ci-5", "bootstrap"]);
    }

    async fn signing_keys_are_rotated_and_withdrawn(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        holds(&shown(&admin, "/signing-keys").await, &["ES256", "Signs</span>", "The next rotation is", "Rotate ES256"], &["Signs next", "Retired"]);
        sent_on(&admin.post_form("/signing-keys/ES256/rotate", &[]).await, "/signing-keys?notice=published");
        let text = shown(&admin, "/signing-keys?notice=published").await;
        holds(&text, &["Signs next", "is published and takes over", "nothing stops"], &["Rotate ES256"]);
        holds(&shown(&admin, "/signing-keys/es256/withdraw").await, &["Every token that was signed with ES256 ends", "Withdraw the ES256 key</button>", "No token"], &[]);
        let token = app.anyone().login(app.admin_key()).await.token();
        holds(&shown(&admin, "/signing-keys/ES256/withdraw").await, &["At most 1 token counts now"], &[]);
        sent_on(&admin.post_form("/signing-keys/ES256/withdraw", &[]).await, "/signing-keys?notice=withdrawn");
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 401);
        holds(&shown(&admin, "/signing-keys").await, &["Signs</span>", "Retired"], &["Signs next"]);
        page(admin.post_form("/signing-keys/RS256/rotate", &[]).await, 422);
        page(admin.post_form("/signing-keys/HS256/rotate", &[]).await, 404);
    }

    async fn an_organization_says_how_long_keys_live(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let form = [("name", "<i>Acme"), ("api_key_max_days", "90"), ("api_key_default_days", "30")];
        sent_on(&admin.post_form("/organization", &form).await, "/organization?notice=saved");
        let text = shown(&admin, "/organization?notice=saved").await;
        holds(&text, &["value=\"90\"", "value=\"30\"", "&#60;i&#62;Acme", "Your changes are saved.", "keep their expiry", "live longer than that: 1."], &[]);
        for (name, max, default, why) in [
            ("Acme", "10", "30", "Must be at most 10"),
            ("Acme", "x", "30", "Must be a number of days from 1 to 3650, or empty."),
            ("Acme", "0", "", "Must be a number of days from 1 to 3650, or empty."),
            ("", "", "", "Must not be empty."),
        ] {
            let form = [("name", name), ("api_key_max_days", max), ("api_key_default_days", default)];
            holds(&page(admin.post_form("/organization", &form).await, 422), &[why, "Nothing was done.", &format!("value=\"{max}\"")], &[]);
        }
        sent_on(&admin.post_form("/organization", &[("name", "Acme"), ("api_key_max_days", ""), ("api_key_default_days", "")]).await, "/organization?notice=saved");
        let organization = admin.get("/api/v1/organizations/default").await.expect(200);
        assert_eq!((&organization["name"], &organization["api_key_max_days"], &organization["api_key_default_days"]), (&json!("Acme"), &json!(null), &json!(null)));
    }

    async fn whoever_manages_the_platform_makes_and_deletes_organizations(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for (form, status, why) in [
            ([("slug", "default"), ("admin_email", "")], 409, "Is taken; choose another."),
            ([("slug", "Not a slug"), ("admin_email", "")], 422, "Slug must"),
            ([("slug", "acme"), ("admin_email", "nobody")], 422, "First administrator must"),
        ] {
            holds(&page(admin.post_form("/organizations/new", &form).await, status), &[why, &format!("value=\"{}\"", form[0].1)], &[]);
        }
        sent_on(&admin.post_form("/organizations/new", &[("slug", "plain")]).await, "/organizations?notice=created");
        let made = page(admin.post_form("/organizations/new", &[("slug", "acme"), ("name", "<i>Acme"), ("admin_email", "ada@acme.example")]).await, 201);
        holds(&made, &["&#60;i&#62;Acme", "ada@acme.example"], &[]);
        let secret = between(&made, "/invitation#", "</code>");
        let accepted = app.anyone().post("/api/v1/invitations/accept", &json!({ "invitation": secret, "password": PASSWORD })).await;
        assert_eq!(accepted.expect(200)["email"], "ada@acme.example");
        holds(&shown(&admin, "/organizations").await, &["<code>acme</code>", "<code>plain</code>", "yours"], &[]);
        // Its administrator sees their own, and no other.
        let ada = sign_in(&app, "ada@acme.example", PASSWORD).await;
        holds(&shown(&ada, "/organization").await, &["&#60;i&#62;Acme"], &["All organizations"]);
        page(ada.get("/organizations").await, 403);
        page(ada.get("/organizations/default/delete").await, 403);
        holds(&shown(&admin, "/organizations/acme/delete").await, &["Delete &#60;i&#62;Acme</button>", "for good"], &[]);
        sent_on(&admin.post_form("/organizations/acme/delete", &[]).await, "/organizations?notice=deleted");
        assert_eq!(ada.get("/users/me").await.status, 401);
        page(admin.get("/organizations/acme/delete").await, 404);
        page(admin.post_form("/organizations/default/delete", &[]).await, 409);
    }

    async fn sessions_are_listed_and_ended(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (ada, bob) = (person(&app, "ada@example.com").await, person(&app, "bob@example.com").await);
        let second = sign_in(&app, "ada@example.com", PASSWORD).await;
        let text = shown(&ada, "/sessions").await;
        holds(&text, &["this one", "In a browser", "End all others", "Change password"], &[]);
        let other = between(&text, "href=\"/sessions/0", "/end\"");
        let other = format!("/sessions/0{other}/end");
        page(bob.get(&other).await, 404);
        page(bob.post_form(&other, &[]).await, 404);
        holds(&shown(&ada, &other).await, &["End the session of", "signs in anew"], &[]);
        sent_on(&ada.post_form(&other, &[]).await, "/sessions?notice=ended");
        assert_eq!(second.get("/users/me").await.status, 401);
        let third = sign_in(&app, "ada@example.com", PASSWORD).await;
        holds(&shown(&ada, "/sessions/end-others").await, &["All your sessions but this one"], &[]);
        sent_on(&ada.post_form("/sessions/end-others", &[]).await, "/sessions?notice=others_ended");
        assert_eq!((third.get("/users/me").await.status, ada.get("/users/me").await.status), (401, 200));
        holds(&shown(&ada, "/sessions").await, &["this one"], &["End all others"]);
        // A service account called with its key: it has no session, and no password.
        holds(&shown(&app.admin_client(), "/sessions").await, &["No sessions"], &["Change password"]);
    }

    async fn a_password_is_changed_and_every_session_ends(engine: Engine) {
        let app = TestApp::start(engine).await;
        let ada = person(&app, "ada@example.com").await;
        let second = sign_in(&app, "ada@example.com", PASSWORD).await;
        let new = "staple of another battery";
        for (old, password, again, status, why) in [
            ("not the old one", new, new, 422, "Is not your password."),
            (PASSWORD, "short", "short", 422, "Must have at least 12 characters."),
            (PASSWORD, new, "something else entirely", 422, "Must be the same as the new password."),
            (PASSWORD, "passwordpassword", "passwordpassword", 422, "role=\"alert\""),
        ] {
            let form = [("username", "ada@example.com"), ("old_password", old), ("password", password), ("password_again", again)];
            let text = page(ada.post_form("/sessions/password", &form).await, status);
            holds(&text, &[why, "Nothing was done."], &[old, "staple"]);
        }
        let form = [("old_password", PASSWORD), ("password", new), ("password_again", new)];
        let changed = ada.post_form("/sessions/password", &form).await;
        sent_on(&changed, "/sign-in?notice=password_changed");
        assert!(changed.header("set-cookie").contains("Max-Age=0"), "{changed:?}");
        for ended in [&ada, &second] {
            assert_eq!(ended.get("/users/me").await.status, 401);
        }
        holds(&page(app.anyone().get("/sign-in?notice=password_changed").await, 200), &["Your password is changed"], &[]);
        sign_in(&app, "ada@example.com", new).await;
        page(app.admin_client().post_form("/sessions/password", &form).await, 403);
    }
}
