//! People: invited or made, their passwords, deactivated, deleted; and the last administrator.

use serde_json::{Value, json};

use crate::support::{Answer, Client, TestApp, on_both_engines};

const USERS: &str = "/api/v1/users";
const PASSWORD: &str = "correct horse battery";

async fn sign_in(app: &TestApp, email: &str, password: &str) -> Answer {
    app.anyone().post_form("/auth/login", &[("username", email), ("password", password)]).await
}

async fn signed_in(app: &TestApp, email: &str, password: &str) -> Client {
    app.anyone().with(&sign_in(app, email, password).await.token())
}

async fn accept(app: &TestApp, invitation: &str, password: &str) -> Answer {
    app.anyone().post("/api/v1/invitations/accept", &json!({ "invitation": invitation, "password": password })).await
}

async fn give(app: &TestApp, body: Value) -> String {
    app.admin_client().post("/api/v1/role_assignments", &body).await.expect(201)["id"].as_str().unwrap().to_owned()
}

on_both_engines! {
    async fn a_person_is_invited(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let made = admin.post(USERS, &json!({ "email": "Ada@Example.com", "name": "Ada Lovelace" })).await.expect(201);
        let invitation = made["invitation"].as_str().unwrap();
        let expected = json!({
            "id": made["id"], "organization_id": made["organization_id"], "email": "ada@example.com", "name": "Ada Lovelace", "active": true, "invited": true,
            "created_at": "2026-01-01T00:00:00Z", "invitation": invitation, "invitation_expires_at": "2026-01-08T00:00:00Z",
        });
        assert_eq!(made, expected);
        assert_eq!(sign_in(&app, "ada@example.com", "").await.problem().0, 400);
        assert_eq!(sign_in(&app, "ada@example.com", PASSWORD).await.problem(), (401, "invalid_credentials".to_owned()));
        assert_eq!(admin.get(&format!("{USERS}?invited=true")).await.expect(200)["items"].as_array().unwrap().len(), 1);

        assert_eq!(accept(&app, "hp_invite_nothing", PASSWORD).await.problem(), (400, "invalid_invitation".to_owned()));
        for bad in ["short", "justinbieber", "123456789012", "nul\0in the middle"] {
            let status = if bad.contains('\0') { (400, "invalid_request".to_owned()) } else { (422, "validation_failed".to_owned()) };
            assert_eq!(accept(&app, invitation, bad).await.problem(), status, "{bad}");
        }
        assert_eq!(accept(&app, invitation, PASSWORD).await.expect(200)["invited"], false);
        assert_eq!(accept(&app, invitation, PASSWORD).await.problem(), (400, "invalid_invitation".to_owned()));
        assert_eq!(sign_in(&app, "ada@example.com", PASSWORD).await.status, 200);
        let event = admin.get("/api/v1/audit_events?action=user.set_password").await.expect(200)["items"][0].clone();
        assert_eq!((&event["actor_name"], &event["target_name"]), (&json!("ada@example.com"), &json!("ada@example.com")));
        let trail = admin.get("/api/v1/audit_events/export").await.text;
        assert!(!trail.contains("hp_invite_") && !trail.contains(PASSWORD));

        // An invitation is over after its time, and when there is a newer one.
        let again = async || admin.call(&format!("{USERS}/ada@example.com/invite")).await.expect(200)["invitation"].as_str().unwrap().to_owned();
        let (old, new) = (again().await, again().await);
        assert_eq!(accept(&app, &old, PASSWORD).await.problem().0, 400);
        app.clock.advance_seconds(7 * 86_400 - 1);
        assert_eq!(sign_in(&app, "ada@example.com", PASSWORD).await.status, 200);
        let session = signed_in(&app, "ada@example.com", PASSWORD).await;
        assert_eq!(accept(&app, &new, "another horse battery").await.status, 200);
        assert_eq!(session.get("/users/me").await.problem().0, 401);
        assert_eq!(sign_in(&app, "ada@example.com", PASSWORD).await.problem().0, 401);
        let late = again().await;
        app.clock.advance_seconds(7 * 86_400);
        assert_eq!(accept(&app, &late, PASSWORD).await.problem().0, 400);
        // Nor does it count while they are deactivated.
        let now = again().await;
        admin.patch(&format!("{USERS}/ada@example.com"), &json!({ "active": false })).await.expect(200);
        assert_eq!(accept(&app, &now, PASSWORD).await.problem(), (400, "invalid_invitation".to_owned()));
        assert_eq!(admin.call(&format!("{USERS}/ada@example.com/invite")).await.problem(), (409, "in_use".to_owned()));
    }

    async fn a_kept_invitation_is_no_way_in(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = app.issue_key("default", "clerk", &[], None).await;
        give(&app, json!({ "service_account": "clerk", "permissions": ["users.manage", "users.read", "nodes.read"] })).await;
        let clerk = app.anyone().with(&key);
        let invite = async |client: &Client, email: &str| client.post(USERS, &json!({ "email": email })).await.expect(201)["invitation"].as_str().unwrap().to_owned();
        // The person may do more by now than whoever made the link.
        let kept = invite(&clerk, "ada@example.com").await;
        let role = give(&app, json!({ "user": "ada@example.com", "role": "Organization Member" })).await;
        assert_eq!(accept(&app, &kept, PASSWORD).await.problem(), (400, "invalid_invitation".to_owned()));
        admin.delete(&format!("/api/v1/role_assignments/{role}")).await;
        give(&app, json!({ "user": "ada@example.com", "permissions": ["nodes.read"] })).await;
        assert_eq!(accept(&app, &kept, PASSWORD).await.status, 200);
        // Who holds as much may go on, whatever the person was given meanwhile.
        let by_admin = invite(&admin, "boss@example.com").await;
        give(&app, json!({ "user": "boss@example.com", "role": "Organization Admin" })).await;
        assert_eq!(accept(&app, &by_admin, PASSWORD).await.status, 200);
        // Or whoever made it is gone.
        let orphaned = invite(&clerk, "eve@example.com").await;
        give(&app, json!({ "user": "eve@example.com", "permissions": ["nodes.read"] })).await;
        admin.delete("/api/v1/service_accounts/clerk").await;
        assert_eq!(accept(&app, &orphaned, PASSWORD).await.problem().0, 400);

        // It went to another address; and nothing from before comes back with the person.
        for change in [vec![json!({ "email": "right@example.com" })], vec![json!({ "active": false }), json!({ "active": true })]] {
            let made = admin.post(USERS, &json!({ "email": "typo@example.com" })).await.expect(201);
            for one in change {
                admin.patch(&format!("{USERS}/{}", made["id"].as_str().unwrap()), &one).await.expect(200);
            }
            assert_eq!(accept(&app, made["invitation"].as_str().unwrap(), PASSWORD).await.problem().0, 400);
            admin.delete(&format!("{USERS}/{}", made["id"].as_str().unwrap())).await;
        }
    }

    async fn an_old_password_is_not_tried_out(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post(USERS, &json!({ "email": "ada@example.com", "password": PASSWORD })).await.expect(201);
        let ada = signed_in(&app, "ada@example.com", PASSWORD).await;
        let body = json!({ "old_password": "wrong horse battery", "password": "another horse battery" });
        let mut refused = 0;
        while ada.post("/users/me/password", &body).await.problem() == (403, "wrong_password".to_owned()) {
            refused += 1;
        }
        assert!((10..14).contains(&refused), "{refused}");
        assert_eq!(ada.post("/users/me/password", &body).await.problem(), (429, "too_many_requests".to_owned()));
        let events = admin.get("/api/v1/audit_events?action=user.change_password&outcome=denied").await.expect(200);
        assert_eq!((events["items"].as_array().unwrap().len(), &events["items"][0]["reason"]), (refused, &json!("wrong_password")));
    }

    async fn a_person_changes_their_password(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let made = admin.post(USERS, &json!({ "email": "ada@example.com", "password": PASSWORD })).await.expect(201);
        assert_eq!((&made["invited"], made.get("invitation")), (&json!(false), None));
        let (here, there) = (signed_in(&app, "ada@example.com", PASSWORD).await, signed_in(&app, "ada@example.com", PASSWORD).await);
        let change = async |client: &Client, old: &str, new: &str| client.post("/users/me/password", &json!({ "old_password": old, "password": new })).await;
        assert_eq!(change(&here, "wrong horse battery", "another horse battery").await.problem(), (403, "wrong_password".to_owned()));
        assert_eq!(change(&here, PASSWORD, "short").await.problem(), (422, "validation_failed".to_owned()));
        assert_eq!(change(&admin, PASSWORD, "another horse battery").await.problem(), (403, "not_a_person".to_owned()));
        assert_eq!(change(&here, PASSWORD, "another horse battery").await.status, 204);
        // Here they go on, elsewhere they do not.
        assert_eq!(here.get("/users/me").await.status, 200);
        assert_eq!(there.get("/users/me").await.problem(), (401, "invalid_credentials".to_owned()));
        assert_eq!(sign_in(&app, "ada@example.com", PASSWORD).await.problem().0, 401);
        assert_eq!(sign_in(&app, "ada@example.com", "another horse battery").await.status, 200);
        assert_eq!(admin.get("/api/v1/audit_events?action=user.change_password&outcome=granted").await.expect(200)["items"].as_array().unwrap().len(), 1);
    }

    async fn a_person_is_changed_deactivated_and_deleted(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post(USERS, &json!({ "email": "ada@example.com", "password": PASSWORD })).await.expect(201);
        assert_eq!(admin.post(USERS, &json!({ "email": "ADA@example.com" })).await.problem(), (409, "name_taken".to_owned()));
        assert_eq!(admin.post(USERS, &json!({ "email": "ada" })).await.problem(), (422, "validation_failed".to_owned()));
        let changed = admin.patch(&format!("{USERS}/ada@example.com"), &json!({ "email": "countess@example.com", "name": "Ada" })).await.expect(200);
        assert_eq!((&changed["email"], &changed["name"]), (&json!("countess@example.com"), &json!("Ada")));
        assert_eq!(admin.patch(&format!("{USERS}/countess@example.com"), &json!({ "email": "admin@localhost" })).await.problem(), (409, "name_taken".to_owned()));
        let ada = signed_in(&app, "countess@example.com", PASSWORD).await;
        give(&app, json!({ "user": "countess@example.com", "role": "Organization Member" })).await;
        assert_eq!(ada.get(USERS).await.status, 200);
        admin.patch(&format!("{USERS}/countess@example.com"), &json!({ "active": false })).await.expect(200);
        assert_eq!(ada.get("/users/me").await.problem().0, 401);
        assert_eq!(sign_in(&app, "countess@example.com", PASSWORD).await.problem(), (401, "user_inactive".to_owned()));
        admin.patch(&format!("{USERS}/countess@example.com"), &json!({ "active": true })).await.expect(200);
        // No token from before comes back.
        assert_eq!(ada.get("/users/me").await.problem().0, 401);
        let ada = signed_in(&app, "countess@example.com", PASSWORD).await;
        assert_eq!(admin.delete(&format!("{USERS}/countess@example.com")).await.status, 204);
        assert_eq!(ada.get("/users/me").await.problem().0, 401);
        assert_eq!(admin.get(&format!("{USERS}/countess@example.com")).await.problem().0, 404);
        // What they did stays on record, with the name and without the link.
        let events = admin.get("/api/v1/audit_events?target=countess@example.com&action=user").await.expect(200);
        assert!(events["items"].as_array().unwrap().iter().all(|event| event["target_id"].is_null()));
        admin.post(USERS, &json!({ "email": "countess@example.com" })).await.expect(201);
    }

    async fn the_last_administrator_stays(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let assignments = admin.get("/api/v1/role_assignments?user=admin@localhost&role=organization-admin").await.expect(200);
        let only = assignments["items"][0]["id"].as_str().unwrap().to_owned();
        let last = (409, "last_administrator".to_owned());
        let ways = async || {
            [
                admin.delete(&format!("/api/v1/role_assignments/{only}")).await,
                admin.patch(&format!("{USERS}/admin@localhost"), &json!({ "active": false })).await,
                admin.delete(&format!("{USERS}/admin@localhost")).await,
            ]
        };
        for answer in ways().await {
            assert_eq!(answer.problem(), last);
        }
        // Somebody who was only invited is none who could take over.
        let invited = admin.post(USERS, &json!({ "email": "ada@example.com" })).await.expect(201);
        give(&app, json!({ "user": "ada@example.com", "role": "Organization Admin" })).await;
        for answer in ways().await {
            assert_eq!(answer.problem(), last);
        }
        accept(&app, invited["invitation"].as_str().unwrap(), PASSWORD).await.expect(200);
        // Of two at once, one stays.
        let (one, other) = (app.admin_client(), app.admin_client());
        let removed = tokio::join!(
            tokio::spawn(async move { one.delete(&format!("{USERS}/admin@localhost")).await }),
            tokio::spawn(async move { other.delete(&format!("{USERS}/ada@example.com")).await }),
        );
        let mut statuses = [removed.0.unwrap().status, removed.1.unwrap().status];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409]);
        let left = admin.get(USERS).await.expect(200)["items"][0]["email"].as_str().unwrap().to_owned();

        // Through a team, it is the team and the membership that stay.
        admin.post("/api/v1/teams", &json!({ "name": "admins" })).await.expect(201);
        let team = give(&app, json!({ "team": "admins", "role": "Organization Admin" })).await;
        let member = admin.post("/api/v1/teams/admins/members", &json!({ "user": left })).await.expect(201)["id"].as_str().unwrap().to_owned();
        let direct = admin.get(&format!("/api/v1/role_assignments?user={left}&role=organization-admin")).await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(admin.delete(&format!("/api/v1/role_assignments/{direct}")).await.status, 204);
        for path in [format!("role_assignments/{team}"), "teams/admins".to_owned(), format!("teams/admins/members/{member}")] {
            assert_eq!(admin.delete(&format!("/api/v1/{path}")).await.problem(), last, "{path}");
        }
    }

    async fn two_administrators_against_each_other(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for email in ["a@example.com", "b@example.com"] {
            admin.post(USERS, &json!({ "email": email, "password": PASSWORD })).await.expect(201);
            give(&app, json!({ "user": email, "role": "Organization Admin" })).await;
        }
        for _ in 0..4 {
            let (a, b) = (signed_in(&app, "a@example.com", PASSWORD).await, signed_in(&app, "b@example.com", PASSWORD).await);
            let (one, other) = tokio::join!(
                tokio::spawn(async move { a.patch(&format!("{USERS}/b@example.com"), &json!({ "active": false })).await }),
                tokio::spawn(async move { b.patch(&format!("{USERS}/a@example.com"), &json!({ "active": false })).await }),
            );
            let mut statuses = [one.unwrap().status, other.unwrap().status];
            statuses.sort_unstable();
            // Whoever came first; the other was no one any more.
            assert_eq!(statuses, [200, 401]);
            for email in ["a@example.com", "b@example.com"] {
                admin.patch(&format!("{USERS}/{email}"), &json!({ "active": true })).await.expect(200);
            }
        }
    }

    async fn hashes_follow_the_settings(engine: Engine) {
        let app = TestApp::start(engine).await;
        app.admin_client().post(USERS, &json!({ "email": "ada@example.com", "password": PASSWORD })).await.expect(201);
        let hash = async || {
            let email = hourpass::domain::name::Email::parse("ada@example.com").unwrap();
            secrecy::ExposeSecret::expose_secret(&app.store.find_password(&email).await.unwrap().unwrap().hash).to_owned()
        };
        let before = hash().await;
        assert!(before.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{before}");
        assert_eq!(sign_in(&app, "ada@example.com", PASSWORD).await.status, 200);
        assert_eq!(hash().await, before);

        let raised = [("HOURPASS_PASSWORDS__PASSES", "3"), ("HOURPASS_SERVER__PUBLIC_URL", app.url.as_str()), ("HOURPASS_PASSWORDS__QUEUE_TIMEOUT", "10s")];
        let other = app.build_another(&raised).await.unwrap();
        let there = Client::new(other.url());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(other.run_until(async { drop(stopped.await) }));
        let fields = [("username", "ada@example.com"), ("password", PASSWORD)];
        // At once, and none of them is told that the password is wrong.
        let (one, two, three) = tokio::join!(there.post_form("/auth/login", &fields), there.post_form("/auth/login", &fields), there.post_form("/auth/login", &fields));
        assert_eq!([one.status, two.status, three.status], [200, 200, 200]);
        assert!(hash().await.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"));
        let after = hash().await;
        assert_eq!(there.post_form("/auth/login", &fields).await.status, 200);
        // Nor is it made weaker again.
        assert_eq!(sign_in(&app, "ada@example.com", PASSWORD).await.status, 200);
        assert_eq!(hash().await, after);
        drop(stop);
        running.await.unwrap().unwrap();
    }
}
