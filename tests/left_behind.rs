//! What somebody left behind counts only while they could make it again. A row of the table in `docs/operations.md` for each test.

use hourpass::domain::api_key::RawApiKey;
use serde_json::{Value, json};

use sqlx::Connection;

use crate::propagation::{Other, me};
use crate::status::ended;
use crate::support::{Answer, Client, Engine, TestApp, eventually, on_both_engines};

const USERS: &str = "/api/v1/users";
const ACCOUNTS: &str = "/api/v1/service_accounts";
const PASSWORD: &str = "correct horse battery";
const OTHER_PASSWORD: &str = "twelve purple monkeys";

/// An Organization Admin who turns out to be a rogue: a person, or a service account with its key.
struct Rogue {
    client: Client,
    /// The path of the rogue.
    path: String,
    /// The path of the key that a service account uses.
    key_path: String,
    key: String,
}

impl Rogue {
    async fn person(app: &TestApp, email: &str) -> Self {
        let admin = app.admin_client();
        let invitation = text(&admin.post(USERS, &json!({ "email": email })).await.expect(201), "invitation");
        accept(app, &invitation, PASSWORD).await.expect(200);
        admin.post("/api/v1/role_assignments", &json!({ "user": email, "role": "Organization Admin" })).await.expect(201);
        Self { client: sign_in(app, email, PASSWORD).await, path: format!("{USERS}/{email}"), key_path: String::new(), key: String::new() }
    }

    async fn account(app: &TestApp, name: &str) -> Self {
        let key = app.issue_key("default", name, &["Organization Admin"], None).await;
        let keys = app.admin_client().get(&format!("{ACCOUNTS}/{name}/api_keys")).await.expect(200);
        let key_path = format!("{ACCOUNTS}/{name}/api_keys/{}", text(&keys["items"][0], "id"));
        Self { client: app.anyone().with(&key), path: format!("{ACCOUNTS}/{name}"), key_path, key }
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}")).to_owned()
}

async fn sign_in(app: &TestApp, email: &str, password: &str) -> Client {
    app.anyone().with(&app.anyone().post_form("/auth/login", &[("username", email), ("password", password)]).await.token())
}

async fn accept(app: &TestApp, invitation: &str, password: &str) -> Answer {
    app.anyone().post("/api/v1/invitations/accept", &json!({ "invitation": invitation, "password": password })).await
}

/// Makes an account, and returns a key that `maker` made for it: its path and its value.
async fn key_for(app: &TestApp, maker: &Client, account: &str, role: Option<&str>) -> (String, String) {
    let admin = app.admin_client();
    if admin.get(&format!("{ACCOUNTS}/{account}")).await.status == 404 {
        admin.post(ACCOUNTS, &json!({ "name": account })).await.expect(201);
        if let Some(role) = role {
            admin.post("/api/v1/role_assignments", &json!({ "service_account": account, "role": role })).await.expect(201);
        }
    }
    let number = admin.get(&format!("{ACCOUNTS}/{account}/api_keys")).await.expect(200)["items"].as_array().unwrap().len();
    let made = maker.post(&format!("{ACCOUNTS}/{account}/api_keys"), &json!({ "name": format!("key-{number}") })).await.expect(201);
    (format!("{ACCOUNTS}/{account}/api_keys/{}", text(&made, "id")), text(&made, "key"))
}

/// An invitation of the boss, an Organization Admin, made by `maker`.
async fn invite_boss(app: &TestApp, maker: &Client) -> String {
    let admin = app.admin_client();
    if admin.get(&format!("{USERS}/boss@example.com")).await.status == 404 {
        admin.post(USERS, &json!({ "email": "boss@example.com" })).await.expect(201);
        admin.post("/api/v1/role_assignments", &json!({ "user": "boss@example.com", "role": "Organization Admin" })).await.expect(201);
    }
    text(&maker.call(&format!("{USERS}/boss@example.com/invite")).await.expect(200), "invitation")
}

fn no_invitation() -> (u16, String) {
    (400, "invalid_invitation".to_owned())
}

on_both_engines! {
    async fn invitation_ends_with_its_maker_and_does_not_come_back(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for rogue in [Rogue::person(&app, "rogue@example.com").await, Rogue::account(&app, "rogue").await] {
            // A good maker: the link works.
            accept(&app, &invite_boss(&app, &rogue.client).await, PASSWORD).await.expect(200);
            let kept = invite_boss(&app, &rogue.client).await;
            admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
            assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation(), "{}", rogue.path);
            admin.patch(&rogue.path, &json!({ "active": true })).await.expect(200);
            assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation(), "{}", rogue.path);
        }
        for rogue in [Rogue::person(&app, "other@example.com").await, Rogue::account(&app, "other").await] {
            let kept = invite_boss(&app, &rogue.client).await;
            assert_eq!(admin.delete(&rogue.path).await.status, 204);
            assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation(), "{}", rogue.path);
        }
        sign_in(&app, "boss@example.com", PASSWORD).await;
    }

    async fn invitation_ends_with_the_key_it_was_made_with(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        for (number, how) in ["deactivated", "compromised", "reported", "deleted", "tokens of the key", "tokens of the account"].into_iter().enumerate() {
            let rogue = Rogue::account(&app, &format!("rogue-{number}")).await;
            // The account itself stays as it was, with another key.
            app.issue_key("default", &format!("rogue-{number}"), &[], None).await;
            let kept = invite_boss(&app, &rogue.client).await;
            match how {
                "deactivated" => drop(admin.patch(&rogue.key_path, &json!({ "active": false })).await.expect(200)),
                "compromised" => drop(admin.call(&format!("{}/compromised", rogue.key_path)).await.expect(200)),
                "reported" => drop(anyone.post("/api/v1/api_keys/report", &json!({ "key": rogue.key })).await.expect(200)),
                "deleted" => assert_eq!(admin.delete(&rogue.key_path).await.status, 204),
                "tokens of the key" => drop(admin.call(&format!("{}/revoke_tokens", rogue.key_path)).await.expect(200)),
                _ => drop(admin.call(&format!("{}/revoke_tokens", rogue.path)).await.expect(200)),
            }
            assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation(), "{how}");
        }
        // Rotating a good key is nothing against what was made with it.
        let good = Rogue::account(&app, "good").await;
        let kept = invite_boss(&app, &good.client).await;
        admin.post(&format!("{}/rotate", good.key_path), &json!({})).await.expect(200);
        accept(&app, &kept, OTHER_PASSWORD).await.expect(200);
    }

    async fn invitation_ends_with_the_sessions_of_its_maker_and_not_with_their_end(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let again = async || sign_in(&app, "rogue@example.com", PASSWORD).await;
        // Ended for cause.
        let elsewhere = again().await;
        let kept = invite_boss(&app, &elsewhere).await;
        rogue.client.post("/users/me/sessions/end_others", &json!({})).await;
        assert_eq!(elsewhere.get("/users/me").await.status, 401);
        assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation(), "other sign-ins ended");
        let elsewhere = again().await;
        let kept = invite_boss(&app, &elsewhere).await;
        let sessions = elsewhere.get("/users/me/sessions").await.expect(200);
        let session = text(sessions["items"].as_array().unwrap().iter().find(|session| session["current"] == true).unwrap(), "id");
        assert_eq!(rogue.client.delete(&format!("/users/me/sessions/{session}")).await.status, 204);
        assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation(), "that sign-in ended from another");
        let kept = invite_boss(&app, &again().await).await;
        let change = async |old: &str, new: &str| {
            let changed = rogue.client.post("/users/me/password", &json!({ "old_password": old, "password": new })).await;
            assert_eq!(changed.status, 204, "{}", changed.text);
        };
        change(PASSWORD, OTHER_PASSWORD).await;
        assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation(), "password changed");
        change(OTHER_PASSWORD, PASSWORD).await;
        let kept = invite_boss(&app, &again().await).await;
        let link = text(&admin.call(&format!("{USERS}/rogue@example.com/invite")).await.expect(200), "invitation");
        accept(&app, &link, PASSWORD).await.expect(200);
        assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation(), "password set by a link");
        let kept = invite_boss(&app, &again().await).await;
        app.admin.reset_password(&hourpass::domain::name::Email::parse("rogue@example.com").unwrap(), &PASSWORD.into()).await.unwrap();
        app.settle().await;
        assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation(), "password reset");
        // Signed out, or expired: nothing is wrong with the maker.
        let maker = again().await;
        let kept = invite_boss(&app, &maker).await;
        assert_eq!(maker.post("/auth/logout", &json!({})).await.status, 204);
        accept(&app, &kept, OTHER_PASSWORD).await.expect(200);
        let kept = invite_boss(&app, &again().await).await;
        app.clock.advance_seconds(3 * 86_400);
        accept(&app, &kept, OTHER_PASSWORD).await.expect(200);
    }

    async fn invitation_ends_when_its_maker_may_no_longer_invite(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let kept = text(&rogue.client.post(USERS, &json!({ "email": "ada@example.com" })).await.expect(201), "invitation");
        let assignment = admin.get("/api/v1/role_assignments?user=rogue@example.com").await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(admin.delete(&format!("/api/v1/role_assignments/{assignment}")).await.status, 204);
        // Ada holds nothing, so that covering her is no question.
        assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation());
    }

    async fn key_made_for_another_ends_with_its_maker(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        for (number, rogue) in [Rogue::person(&app, "rogue@example.com").await, Rogue::account(&app, "rogue").await].into_iter().enumerate() {
            let (path, key) = key_for(&app, &rogue.client, &format!("terraform-{number}"), Some("Organization Admin")).await;
            let (chained_path, chained) = key_for(&app, &anyone.with(&key), &format!("deploy-{number}"), Some("Organization Member")).await;
            let (_, bystander) = key_for(&app, &admin, &format!("deploy-{number}"), None).await;
            let tokens = [anyone.login(&key).await.token(), anyone.login(&chained).await.token()];
            let kept = anyone.login(&bystander).await.token();
            admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
            for (key, token) in [&key, &chained].into_iter().zip(&tokens) {
                assert_eq!(anyone.login(key).await.problem(), (401, "api_key_inactive".to_owned()));
                assert_eq!(me(&anyone, token).await.status, 401);
                assert!(ended(&anyone, token).await);
            }
            assert_eq!((anyone.login(&bystander).await.status, ended(&anyone, &kept).await), (200, false));
            // The maker coming back brings nothing back.
            admin.patch(&rogue.path, &json!({ "active": true })).await.expect(200);
            for path in [&path, &chained_path] {
                assert_eq!(admin.get(path).await.expect(200)["active"], false);
            }
        }
    }

    async fn invitation_into_another_organization_ends_with_whoever_manages_the_platform(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let role = admin.post("/api/v1/role_assignments", &json!({ "user": "rogue@example.com", "role": "Platform Admin" })).await.expect(201);
        let mut kept = Vec::new();
        for slug in ["one", "two", "three"] {
            let made = rogue.client.post("/api/v1/organizations", &json!({ "slug": slug, "admin_email": format!("boss@{slug}.example.com") })).await.expect(201);
            kept.push(text(&made, "invitation"));
        }
        accept(&app, &kept[0], PASSWORD).await.expect(200);
        // Managing the platform no longer is enough, and being deactivated is.
        assert_eq!(admin.delete(&format!("/api/v1/role_assignments/{}", text(&role, "id"))).await.status, 204);
        assert_eq!(accept(&app, &kept[1], PASSWORD).await.problem(), no_invitation());
        admin.post("/api/v1/role_assignments", &json!({ "user": "rogue@example.com", "role": "Platform Admin" })).await.expect(201);
        admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        assert_eq!(accept(&app, &kept[2], PASSWORD).await.problem(), no_invitation());
    }

    async fn invitation_made_with_a_key_that_is_left_behind_ends(engine: Engine) {
        let app = TestApp::start(engine).await;
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let (_, key) = key_for(&app, &rogue.client, "terraform", Some("Organization Admin")).await;
        let kept = invite_boss(&app, &app.anyone().with(&key)).await;
        app.admin_client().patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        assert_eq!(accept(&app, &kept, PASSWORD).await.problem(), no_invitation());
    }

    async fn invitation_of_the_operator_stays(engine: Engine) {
        let app = TestApp::start(engine).await;
        // As one from before makers were noted: without what it was made with.
        let kept = invite_boss(&app, &app.admin_client()).await;
        let sql = "UPDATE invitations SET maker_kind = NULL, maker_id = NULL, made_with = NULL, made_with_key = NULL";
        match app.store.pool() {
            hourpass::store::Db::Sqlite(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
            hourpass::store::Db::Postgres(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        }
        accept(&app, &kept, PASSWORD).await.expect(200);
    }

    async fn accepting_and_deactivating_at_once_never_lets_a_link_outlive_its_maker(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for round in 0..6 {
            let rogue = Rogue::person(&app, &format!("rogue-{round}@example.com")).await;
            let kept = invite_boss(&app, &rogue.client).await;
            let (client, path) = (admin.clone(), rogue.path.clone());
            let (accepted, deactivated) = tokio::join!(
                accept(&app, &kept, PASSWORD),
                tokio::spawn(async move { client.patch(&path, &json!({ "active": false })).await }),
            );
            deactivated.unwrap().expect(200);
            assert!([200, 400].contains(&accepted.status), "{}", accepted.text);
            assert_eq!(accept(&app, &kept, OTHER_PASSWORD).await.problem(), no_invitation());
        }
    }

    async fn what_was_made_with_a_leaked_key_ends_with_it(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        for (number, how) in ["compromised", "reported", "deactivated", "deleted", "rotated"].into_iter().enumerate() {
            let rogue = Rogue::account(&app, &format!("rogue-{number}")).await;
            // The account goes on with another key.
            let other = app.issue_key("default", &format!("rogue-{number}"), &[], None).await;
            let (path, key) = key_for(&app, &rogue.client, &format!("deploy-{number}"), Some("Organization Member")).await;
            let (own_path, own) = key_for(&app, &rogue.client, &format!("rogue-{number}"), None).await;
            let (imported, imported_key) = (format!("vf_live_{number}{}", "0".repeat(47)), format!("{ACCOUNTS}/deploy-{number}/api_keys"));
            rogue.client.post(&imported_key, &json!({ "name": "imported", "sha256": sha256(&imported) })).await.expect(201);
            let tokens = [anyone.login(&key).await.token(), anyone.login(&own).await.token(), anyone.login(&imported).await.token()];
            match how {
                "compromised" => drop(admin.call(&format!("{}/compromised", rogue.key_path)).await.expect(200)),
                "reported" => drop(anyone.post("/api/v1/api_keys/report", &json!({ "key": rogue.key })).await.expect(200)),
                "deactivated" => drop(admin.patch(&rogue.key_path, &json!({ "active": false })).await.expect(200)),
                "deleted" => assert_eq!(admin.delete(&rogue.key_path).await.status, 204),
                _ => drop(admin.post(&format!("{}/rotate", rogue.key_path), &json!({})).await.expect(200)),
            }
            // Deleting and rotating a good key is hygiene. A key of the same account is under the same eyes, unless the key leaked.
            let (others_end, own_ends) = (number < 3, number < 2);
            for (token, key, ends) in [(&tokens[0], &key, others_end), (&tokens[1], &own, own_ends), (&tokens[2], &imported, others_end)] {
                assert_eq!(ended(&anyone, token).await, ends, "{how}");
                assert_eq!(me(&anyone, token).await.status, if ends { 401 } else { 200 }, "{how}");
                assert_eq!(anyone.login(key).await.status, if ends { 401 } else { 200 }, "{how}");
            }
            assert_eq!(anyone.login(&other).await.status, 200, "{how}");
            // No key that is bad is deleted to bring back what it made.
            if others_end {
                assert_eq!(admin.delete(&rogue.key_path).await.status, 204);
                assert_eq!(admin.get(&path).await.expect(200)["active"], false);
                assert_eq!(admin.get(&own_path).await.expect(200)["active"], !own_ends);
            }
        }
    }

    async fn what_was_made_outlives_a_deleted_key_and_not_its_maker(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let (first_path, first) = key_for(&app, &rogue.client, "terraform", Some("Organization Admin")).await;
        // Made with a key that the rogue knows: another of the same account, a value by rotation, and one of another account.
        let terraform = anyone.with(&first);
        let (own_path, own) = key_for(&app, &terraform, "terraform", None).await;
        let rotated = text(&terraform.post(&format!("{own_path}/rotate"), &json!({})).await.expect(200), "key");
        let (_, deploy) = key_for(&app, &terraform, "deploy", Some("Organization Member")).await;
        // The rogue covers the tracks.
        assert_eq!(anyone.with(&rotated).delete(&first_path).await.status, 204);
        for key in [&rotated, &deploy] {
            assert_eq!(anyone.login(key).await.status, 200);
        }
        assert_eq!(anyone.login(&own).await.status, 401);
        admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        for key in [&rotated, &deploy] {
            assert_eq!(anyone.login(key).await.problem(), (401, "api_key_inactive".to_owned()));
        }
    }

    async fn value_ends_with_whoever_rotated_it_and_the_old_one_with_its_own_maker(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        // A rogue rotates a key of another, keeping the value.
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let (path, old) = key_for(&app, &admin, "ci", None).await;
        let new = text(&rogue.client.post(&format!("{path}/rotate"), &json!({ "retain_minutes": 60 })).await.expect(200), "key");
        let token = anyone.login(&new).await.token();
        admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        assert_eq!((anyone.login(&new).await.status, ended(&anyone, &token).await), (401, true));
        assert_eq!(anyone.login(&old).await.status, 401);
        // The other way around: what the rogue made is rotated out, and its old value ends before its time.
        let rogue = Rogue::person(&app, "other@example.com").await;
        let (path, old) = key_for(&app, &rogue.client, "ci", None).await;
        let new = text(&admin.post(&format!("{path}/rotate"), &json!({ "retain_minutes": 60 })).await.expect(200), "key");
        let tokens = [anyone.login(&old).await.token(), anyone.login(&new).await.token()];
        admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        assert_eq!(anyone.login(&old).await.problem(), (401, "api_key_rotated".to_owned()));
        assert_eq!(anyone.login(&new).await.status, 200);
        assert_eq!((ended(&anyone, &tokens[0]).await, ended(&anyone, &tokens[1]).await), (true, false));
        assert_eq!((me(&anyone, &tokens[0]).await.status, me(&anyone, &tokens[1]).await.status), (401, 200));
    }

    async fn what_was_made_with_a_leaked_old_value_ends_with_it(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let rogue = Rogue::account(&app, "robot").await;
        let (_, before) = key_for(&app, &rogue.client, "deploy", None).await;
        let new = text(&admin.post(&format!("{}/rotate", rogue.key_path), &json!({ "retain_minutes": 60 })).await.expect(200), "key");
        let (_, after) = key_for(&app, &anyone.with(&new), "deploy", None).await;
        anyone.post("/api/v1/api_keys/report", &json!({ "key": rogue.key })).await.expect(200);
        assert_eq!((anyone.login(&before).await.status, anyone.login(&after).await.status, anyone.login(&new).await.status), (401, 200, 200));
    }

    async fn a_key_whose_maker_may_not_make_it_any_more_is_refused(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let (path, key) = key_for(&app, &rogue.client, "terraform", Some("Organization Admin")).await;
        let (_, chained) = key_for(&app, &anyone.with(&key), "deploy", Some("Organization Member")).await;
        let token = anyone.login(&key).await.token();
        let refused = (401, "api_key_left_behind".to_owned());
        let assignment = text(&admin.get("/api/v1/role_assignments?user=rogue@example.com").await.expect(200)["items"][0], "id");
        assert_eq!(admin.delete(&format!("/api/v1/role_assignments/{assignment}")).await.status, 204);
        for key in [&key, &chained] {
            assert_eq!(anyone.login(key).await.problem(), refused);
            assert_eq!(me(&anyone, key).await.problem(), refused);
            let told = admin.post("/api/v1/explain", &json!({ "credential": key })).await.expect(200);
            assert_eq!((&told["works"], &told["code"]), (&json!(false), &json!("api_key_left_behind")));
        }
        assert_eq!(me(&anyone, &token).await.problem(), refused);
        assert_eq!(anyone.with(&token).post(ACCOUNTS, &json!({ "name": "more" })).await.problem().0, 401);
        // Whoever may as much adopts it by activating it, though it is active. What was made with it follows.
        admin.patch(&path, &json!({ "active": true })).await.expect(200);
        for key in [&key, &chained] {
            assert_eq!(anyone.login(key).await.status, 200);
        }
        let event = admin.get("/api/v1/audit_events?action=api_key.update").await.expect(200)["items"][0].clone();
        assert!(event["details"]["maker"].is_object(), "{event}");
        // The rights come back to the maker, who is none any more: nothing hangs on them.
        admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        assert_eq!(anyone.login(&key).await.status, 200);
    }

    async fn a_key_does_no_more_than_its_maker_may(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        // A maker of keys, who holds as much as the account does.
        app.issue_key("default", "provisioner", &[], None).await;
        let give = async |body: Value| text(&admin.post("/api/v1/role_assignments", &body).await.expect(201), "id");
        let own = give(json!({ "service_account": "provisioner", "permissions": ["api_keys.manage", "service_accounts.read", "users.read", "teams.read"] })).await;
        let maker = anyone.with(&app.issue_key("default", "provisioner", &[], None).await);
        admin.post(ACCOUNTS, &json!({ "name": "deploy" })).await.expect(201);
        give(json!({ "service_account": "deploy", "permissions": ["users.read", "teams.read"] })).await;
        let (path, key) = key_for(&app, &maker, "deploy", None).await;
        let made = admin.get(&path).await.expect(200);
        assert_eq!(made["made_by_kind"], "service_account");
        let holds = async |credential: &str, permission: &str| me(&anyone, credential).await.text.contains(permission);
        let token = anyone.login(&key).await.token();
        assert!(holds(&key, "users.read").await && holds(&token, "teams.read").await);
        // A stronger administrator gives the account more: the maker, who knows the key, gains nothing, and nothing stops.
        give(json!({ "service_account": "deploy", "role": "Organization Admin" })).await;
        for credential in [&key, &token] {
            assert!(holds(credential, "users.read").await && !holds(credential, "users.manage").await);
            assert_eq!(anyone.with(credential).post(USERS, &json!({ "email": "eve@example.com" })).await.problem(), (403, "permission_denied".to_owned()));
        }
        let exchanged = anyone.login(&key).await.token();
        let scope = crate::support::claims(&exchanged)["scope"].as_str().unwrap().to_owned();
        assert!(scope.contains("users.read") && !scope.contains("users.manage"), "{scope}");
        assert_eq!(anyone.post_form("/auth/login", &[("password", &key), ("workspace", "default")]).await.problem(), (401, "api_key_left_behind".to_owned()));
        let told = admin.post("/api/v1/explain", &json!({ "credential": key, "permission": "users.manage" })).await.expect(200);
        assert_eq!((&told["works"], &told["code"]), (&json!(false), &json!("api_key_left_behind")));
        assert_eq!(admin.post("/api/v1/explain", &json!({ "credential": key, "permission": "users.read" })).await.expect(200)["works"], true);
        // The maker loses something: the key does, too.
        give(json!({ "service_account": "provisioner", "permissions": ["api_keys.manage", "users.read"] })).await;
        assert_eq!(admin.delete(&format!("/api/v1/role_assignments/{own}")).await.status, 204);
        assert!(holds(&key, "users.read").await && !holds(&key, "teams.read").await);
        // Rotated by the stronger one, it does all that the account may.
        let new = text(&admin.post(&format!("{path}/rotate"), &json!({})).await.expect(200), "key");
        assert!(holds(&new, "users.manage").await);
    }

    async fn a_leaver_s_keys_are_kept_by_whoever_may_as_much(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        for (number, how) in ["user deactivated", "user deleted", "account deactivated", "account deleted", "key deactivated"].into_iter().enumerate() {
            let leaver = if number < 2 { Rogue::person(&app, &format!("leaver-{number}@example.com")).await } else { Rogue::account(&app, &format!("leaver-{number}")).await };
            let (path, key) = key_for(&app, &leaver.client, &format!("ci-{number}"), Some("Organization Admin")).await;
            let (_, chained) = key_for(&app, &anyone.with(&key), &format!("deploy-{number}"), Some("Organization Member")).await;
            let token = anyone.login(&key).await.token();
            let impact = if number < 4 { format!("{}/impact", leaver.path) } else { format!("{}/impact", leaver.key_path) };
            assert_eq!(admin.get(&impact).await.expect(200)["api_keys_made_for_others"], 2, "{how}");
            // Someone who may less than the account does not keep it.
            let clerk = app.issue_key("default", &format!("clerk-{number}"), &[], None).await;
            let permissions = json!(["users.manage", "users.read", "service_accounts.manage", "service_accounts.read", "api_keys.manage"]);
            admin.post("/api/v1/role_assignments", &json!({ "service_account": format!("clerk-{number}"), "permissions": permissions })).await.expect(201);
            let body = json!({ "active": false, "keep_credentials": true });
            let keep = async |client: &Client| match how {
                "user deleted" | "account deleted" => client.delete(&format!("{}?keep_credentials=true", leaver.path)).await,
                "key deactivated" => client.patch(&leaver.key_path, &body).await,
                _ => client.patch(&leaver.path, &body).await,
            };
            assert_eq!(keep(&anyone.with(&clerk)).await.problem(), (403, "permission_denied".to_owned()), "{how}");
            // Nor does the leaver, by a key that they know.
            assert_eq!(keep(&anyone.with(&key)).await.problem(), (403, "permission_denied".to_owned()), "{how}");
            let kept = keep(&admin).await;
            assert!(kept.status < 300, "{how}: {}", kept.text);
            for key in [&key, &chained] {
                assert_eq!(anyone.login(key).await.status, 200, "{how}");
            }
            assert!(!ended(&anyone, &token).await, "{how}");
            assert_eq!(admin.get("/api/v1/audit_events?action=credential.adopt").await.expect(200)["items"].as_array().unwrap().len(), number + 1);
            assert_ne!(admin.get(&path).await.expect(200)["made_by_id"], Value::Null);
        }
    }

    async fn the_page_that_asks_says_what_stops_and_keeps_it(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let form = [("username", "admin@localhost"), ("password", app.admin_password())];
        let browser = anyone.keeping(&anyone.browser().post_form("/auth/login", &form).await);
        let leavers = [Rogue::person(&app, "leaver@example.com").await, Rogue::account(&app, "leaver").await];
        for (number, leaver) in leavers.into_iter().enumerate() {
            let (_, key) = key_for(&app, &leaver.client, &format!("ci-{number}"), None).await;
            let id = text(&admin.get(&leaver.path).await.expect(200), "id");
            let path = if number == 0 { format!("/people/{id}") } else { format!("/service-accounts/{id}") };
            for way in ["deactivate", "delete"] {
                let page = browser.get(&format!("{path}/{way}")).await;
                assert_eq!(page.status, 200);
                assert!(page.text.contains("1 API key of other service accounts") && page.text.contains("keep_credentials"), "{}", page.text);
            }
            assert_eq!(browser.post_form(&format!("{path}/deactivate"), &[("keep_credentials", "true")]).await.status, 303);
            assert_eq!(anyone.login(&key).await.status, 200);
        }
        // A key that is refused because of its maker says so, and is taken over.
        let maker = Rogue::person(&app, "maker@example.com").await;
        let (key_path, key) = key_for(&app, &maker.client, "ci-2", None).await;
        let assignment = text(&admin.get("/api/v1/role_assignments?user=maker@example.com").await.expect(200)["items"][0], "id");
        assert_eq!(admin.delete(&format!("/api/v1/role_assignments/{assignment}")).await.status, 204);
        assert_eq!(anyone.login(&key).await.problem(), (401, "api_key_left_behind".to_owned()));
        let account = format!("/service-accounts/{}", text(&admin.get(&format!("{ACCOUNTS}/ci-2")).await.expect(200), "id"));
        let page = browser.get(&account).await.text;
        assert!(page.contains("Maker may no longer") && page.contains("Take over"), "{page}");
        let take_over = format!("{account}/keys/{}/activate", key_path.rsplit('/').next().unwrap());
        assert_eq!(browser.post_form(&take_over, &[]).await.status, 303);
        assert_eq!(anyone.login(&key).await.status, 200);
        assert!(!browser.get(&account).await.text.contains("Take over"));
    }

    async fn a_key_that_was_left_behind_goes_on_with_another_maker(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let (path, key) = key_for(&app, &rogue.client, "ci", Some("Organization Member")).await;
        let token = anyone.login(&key).await.token();
        admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        admin.patch(&path, &json!({ "active": true })).await.expect(200);
        assert_eq!((anyone.login(&key).await.status, me(&anyone, &token).await.status, ended(&anyone, &token).await), (200, 401, true));
        let event = admin.get("/api/v1/audit_events?action=credential.end").await.expect(200)["items"][0].clone();
        assert_eq!((&event["target_name"], &event["details"]["api_keys"]), (&json!("rogue@example.com"), &json!(1)));
        assert!(path.ends_with(event["details"]["api_key_ids"][0].as_str().unwrap()), "{event}");
        // The first maker is nothing to it now.
        assert_eq!(admin.delete(&rogue.path).await.status, 204);
        assert_eq!(anyone.login(&key).await.status, 200);
    }

    async fn the_next_node_follows_what_was_left_behind(engine: Engine) {
        let app = TestApp::start_with(engine.database().await, &[("HOURPASS_STALENESS__CONFIRM_WAIT", "10s")]).await;
        let other = Other::beside(&app, &[]).await;
        let admin = app.admin_client();
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let (_, key) = key_for(&app, &rogue.client, "terraform", Some("Organization Admin")).await;
        let (_, chained) = key_for(&app, &app.anyone().with(&key), "deploy", Some("Organization Member")).await;
        for key in [&key, &chained] {
            eventually(async || me(&other.client, key).await.status == 200).await;
        }
        let token = other.client.login(&chained).await.token();
        // First a right, and back; then the maker.
        let assignment = text(&admin.get("/api/v1/role_assignments?user=rogue@example.com").await.expect(200)["items"][0], "id");
        assert_eq!(admin.delete(&format!("/api/v1/role_assignments/{assignment}")).await.status, 204);
        for key in [&key, &chained] {
            eventually(async || other.client.login(key).await.status == 401).await;
        }
        admin.post("/api/v1/role_assignments", &json!({ "user": "rogue@example.com", "role": "Organization Admin" })).await.expect(201);
        eventually(async || me(&other.client, &token).await.status == 200).await;
        admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        for credential in [&key, &chained, &token] {
            eventually(async || me(&other.client, credential).await.status == 401).await;
        }
        eventually(async || ended(&other.client, &token).await).await;
        other.stop().await;
    }

    async fn a_session_ends_with_the_key_that_was_left_behind(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let (_, key) = key_for(&app, &rogue.client, "terraform", Some("Organization Admin")).await;
        let begun = anyone.browser().post_form("/auth/login", &[("password", &key)]).await;
        let browser = anyone.keeping(&begun);
        let token = begun.token();
        assert_eq!(browser.get("/users/me").await.status, 200);
        admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        assert_eq!((browser.get("/users/me").await.status, me(&anyone, &token).await.status, ended(&anyone, &token).await), (401, 401, true));
    }

    async fn a_password_ends_with_whoever_set_it_for_another(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        for (number, rogue) in [Rogue::person(&app, "rogue@example.com").await, Rogue::account(&app, "rogue").await].into_iter().enumerate() {
            let emails = ["known", "own"].map(|name| format!("{name}-{number}@example.com"));
            for email in &emails {
                rogue.client.post(USERS, &json!({ "email": email, "password": PASSWORD })).await.expect(201);
            }
            // The one takes it as it is, the other sets one of their own.
            let (known, own) = (sign_in(&app, &emails[0], PASSWORD).await, sign_in(&app, &emails[1], PASSWORD).await);
            own.post("/users/me/password", &json!({ "old_password": PASSWORD, "password": OTHER_PASSWORD })).await;
            let token = anyone.post_form("/auth/login", &[("username", &emails[0]), ("password", PASSWORD)]).await.token();
            admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
            let wrong = (401, "invalid_credentials".to_owned());
            assert_eq!(anyone.post_form("/auth/login", &[("username", &emails[0]), ("password", PASSWORD)]).await.problem(), wrong);
            assert_eq!((known.get("/users/me").await.status, ended(&anyone, &token).await), (401, true));
            assert_eq!(own.get("/users/me").await.status, 200);
            // A link brings them back.
            let link = text(&admin.call(&format!("{USERS}/{}/invite", emails[0])).await.expect(200), "invitation");
            accept(&app, &link, OTHER_PASSWORD).await.expect(200);
            sign_in(&app, &emails[0], OTHER_PASSWORD).await;
        }
    }

    async fn what_a_known_password_made_ends_with_it(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        rogue.client.post(USERS, &json!({ "email": "puppet@example.com", "password": PASSWORD })).await.expect(201);
        rogue.client.post("/api/v1/role_assignments", &json!({ "user": "puppet@example.com", "role": "Organization Admin" })).await.expect(201);
        let puppet = sign_in(&app, "puppet@example.com", PASSWORD).await;
        let (_, key) = key_for(&app, &puppet, "terraform", Some("Organization Admin")).await;
        let kept = invite_boss(&app, &puppet).await;
        admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        assert_eq!(anyone.login(&key).await.status, 401);
        assert_eq!(accept(&app, &kept, PASSWORD).await.problem(), no_invitation());
    }

    async fn a_password_that_its_maker_could_not_set_now_is_refused(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        app.issue_key("default", "clerk", &[], None).await;
        admin.post("/api/v1/role_assignments", &json!({ "service_account": "clerk", "permissions": ["users.manage", "users.read"] })).await.expect(201);
        let clerk = anyone.with(&app.issue_key("default", "clerk", &[], None).await);
        clerk.post(USERS, &json!({ "email": "ada@example.com", "password": PASSWORD })).await.expect(201);
        let ada = sign_in(&app, "ada@example.com", PASSWORD).await;
        // She may do more by now than the clerk, who knows her password.
        admin.post("/api/v1/role_assignments", &json!({ "user": "ada@example.com", "role": "Organization Admin" })).await.expect(201);
        let refused = (401, "password_left_behind".to_owned());
        assert_eq!(anyone.post_form("/auth/login", &[("username", "ada@example.com"), ("password", PASSWORD)]).await.problem(), refused);
        assert_eq!(ada.get("/users/me").await.problem(), refused);
        assert_eq!(ada.post("/users/me/password", &json!({ "old_password": PASSWORD, "password": OTHER_PASSWORD })).await.problem(), refused);
        let link = text(&admin.call(&format!("{USERS}/ada@example.com/invite")).await.expect(200), "invitation");
        accept(&app, &link, OTHER_PASSWORD).await.expect(200);
        sign_in(&app, "ada@example.com", OTHER_PASSWORD).await;
    }

    async fn an_export_breaks_off_when_its_reader_is_deactivated(engine: Engine) {
        const EVENTS: usize = 30_000;
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        // Far more than fits into any buffer on the way.
        match app.store.pool() {
            hourpass::store::Db::Sqlite(pool) => {
                let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) INSERT INTO audit_events \
                           (id, organization_id, occurred_at, actor_kind, actor_name, action, resource, target_kind, target_name, outcome, details) \
                           SELECT unhex(printf('%032x', i)), (SELECT id FROM organizations), 1, 'user', 'x', 'user.update', 'user', 'user', 'x', 'granted', \
                           '{\"x\":\"' || hex(zeroblob(500)) || '\"}' FROM n";
                sqlx::query(sql).execute(pool).await.unwrap();
            }
            hourpass::store::Db::Postgres(pool) => {
                let sql = "INSERT INTO audit_events \
                           (id, organization_id, occurred_at, actor_kind, actor_name, action, resource, target_kind, target_name, outcome, details) \
                           SELECT lpad(to_hex(i), 32, '0')::uuid, (SELECT id FROM organizations), 1, 'user', 'x', 'user.update', 'user', 'user', 'x', 'granted', \
                           '{\"x\":\"' || repeat('0', 1000) || '\"}' FROM generate_series(1, 30000) i";
                sqlx::query(sql).execute(pool).await.unwrap();
            }
        }
        let reader = anyone.with(&app.issue_key("default", "reader", &["Organization Auditor"], None).await);
        let read = async |end: bool| {
            let mut answer = reader.request(reqwest::Method::GET, "/api/v1/audit_events/export").send().await.unwrap();
            let mut lines = answer.chunk().await.unwrap().unwrap().split(|byte| *byte == b'\n').count();
            if end {
                admin.patch(&format!("{ACCOUNTS}/reader"), &json!({ "active": false })).await.expect(200);
            }
            while let Ok(Some(chunk)) = answer.chunk().await {
                lines += chunk.split(|byte| *byte == b'\n').count() - 1;
            }
            lines
        };
        assert!(read(false).await > EVENTS);
        let lines = read(true).await;
        assert!(lines < EVENTS, "{lines}");
    }

    async fn a_key_of_an_unknown_maker_stays(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        // Of `hourpass admin`, and one from before makers were noted.
        let operators = app.issue_key("default", "ci", &["Organization Member"], None).await;
        let rogue = Rogue::person(&app, "rogue@example.com").await;
        let (_, older) = key_for(&app, &rogue.client, "ci", None).await;
        let sql = "DELETE FROM makers";
        match app.store.pool() {
            hourpass::store::Db::Sqlite(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
            hourpass::store::Db::Postgres(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        }
        admin.patch(&rogue.path, &json!({ "active": false })).await.expect(200);
        for key in [&operators, &older] {
            assert_eq!(anyone.login(key).await.status, 200);
        }
    }

    async fn making_and_deactivating_at_once_leaves_nothing_that_works(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        for round in 0..6 {
            let rogue = Rogue::person(&app, &format!("rogue-{round}@example.com")).await;
            let (_, first) = key_for(&app, &rogue.client, &format!("terraform-{round}"), Some("Organization Admin")).await;
            admin.post(ACCOUNTS, &json!({ "name": format!("deploy-{round}") })).await.expect(201);
            // Of the rogue themselves, of the key that they made, and a session that begins with it.
            let keys = format!("{ACCOUNTS}/deploy-{round}/api_keys");
            let (one, two) = (rogue.client.clone(), anyone.with(&first));
            let (body_one, body_two) = (json!({ "name": "one" }), json!({ "name": "two" }));
            let (browser, form) = (anyone.browser(), [("password", first.as_str())]);
            let (off, client, path) = (json!({ "active": false }), admin.clone(), rogue.path.clone());
            let (by_rogue, by_key, session, deactivated) =
                tokio::join!(one.post(&keys, &body_one), two.post(&keys, &body_two), browser.post_form("/auth/login", &form), client.patch(&path, &off));
            deactivated.expect(200);
            for made in [by_rogue, by_key] {
                assert!([201, 401].contains(&made.status), "{}", made.text);
                if made.status == 201 {
                    assert_eq!(anyone.login(made.json()["key"].as_str().unwrap()).await.status, 401, "round {round}");
                }
            }
            assert!([200, 401, 503].contains(&session.status), "{}", session.text);
            if session.status == 200 {
                let token = session.token();
                assert_eq!((me(&anyone, &token).await.status, ended(&anyone, &token).await), (401, true), "round {round}");
            }
        }
    }
}

fn sha256(text: &str) -> String {
    RawApiKey::from_presented(text.to_owned()).hash().0.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The maker is being deactivated while their link is accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepting_waits_for_whoever_is_deactivating_the_maker() {
    let app = TestApp::start(Engine::Postgres).await;
    let rogue = Rogue::person(&app, "rogue@example.com").await;
    let kept = invite_boss(&app, &rogue.client).await;
    let mut deactivating = sqlx::PgConnection::connect(&app.database.url).await.unwrap();
    sqlx::raw_sql("BEGIN; UPDATE users SET active = FALSE WHERE email = 'rogue@example.com'").execute(&mut deactivating).await.unwrap();
    let accepting = tokio::spawn({
        let (anyone, body) = (app.anyone(), json!({ "invitation": kept, "password": PASSWORD }));
        async move { anyone.post("/api/v1/invitations/accept", &body).await }
    });
    let mut watching = sqlx::PgConnection::connect(&app.database.url).await.unwrap();
    let mut waits = false;
    while !waits && !accepting.is_finished() {
        let sql = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        waits = sqlx::query_scalar(sql).fetch_one(&mut watching).await.unwrap();
    }
    assert!(waits, "it did not wait for the maker");
    sqlx::raw_sql("COMMIT").execute(&mut deactivating).await.unwrap();
    assert_eq!(accepting.await.unwrap().problem(), no_invitation());
}
