//! A request that is repeated with its Idempotency-Key is answered as it was, and nothing is done twice. That every route that makes something takes one is shown in `events`.

use hourpass::store::Db;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Database, TestApp, on_both_engines};

const ACCOUNTS: &str = "/api/v1/service_accounts";

async fn post(client: &Client, key: &str, path: &str, body: &Value) -> Answer {
    Answer::of(client.request(Method::POST, path).header("idempotency-key", key).json(body)).await
}

#[track_caller]
fn assert_repeats(first: &Answer, second: &Answer) {
    assert!([200, 201].contains(&first.status), "{}", first.text);
    assert_eq!((first.status, &first.text), (second.status, &second.text));
    assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), ("", "true"));
}

fn shown<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_else(|| panic!("{body}"))
}

fn outdated() -> (u16, String) {
    (409, "idempotency_outdated".to_owned())
}

/// A row of the kept answers.
type Row = (Vec<u8>, Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// Every column of the kept answers.
async fn kept(app: &TestApp) -> Vec<Row> {
    const SQL: &str = "SELECT id, fingerprint, sealed, secret_hash FROM answers";
    match app.store.pool() {
        Db::Sqlite(pool) => sqlx::query_as(SQL).fetch_all(pool).await.unwrap(),
        Db::Postgres(pool) => sqlx::query_as(SQL).fetch_all(pool).await.unwrap(),
    }
}

/// Stops a server. Its database and its master key stay.
fn stop(app: TestApp) -> Database {
    app.database
}

on_both_engines! {
    async fn report_that_is_repeated_is_answered_alike(engine: Engine) {
        let app = TestApp::start(engine).await;
        let made = app.admin_client().post(ACCOUNTS, &json!({ "name": "ci", "default_key": true })).await.expect(201);
        let report = async || app.anyone().post("/api/v1/api_keys/report", &json!({ "key": made["key"] })).await;
        let (first, second) = (report().await, report().await);
        assert_eq!((first.status, &first.text), (200, &second.text));
        let events = app.admin_client().get("/api/v1/audit_events?action=api_key.compromise").await.expect(200);
        assert_eq!(events["items"].as_array().unwrap().len(), 1);
    }

    async fn repeat_is_answered_as_the_first_request_was(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let body = json!({ "name": "ci", "default_key": true });
        let first = post(&admin, "one", ACCOUNTS, &body).await;
        assert_repeats(&first, &post(&admin, "one", ACCOUNTS, &body).await);
        // As a string of structured fields, in quotes, it is the same.
        assert_repeats(&first, &post(&admin, "\"one\"", ACCOUNTS, &body).await);
        app.anyone().login(shown(&first.json(), "key")).await.token();
        let events = admin.get("/api/v1/audit_events?action=service_account.create").await.expect(200);
        assert_eq!(events["items"].as_array().unwrap().iter().filter(|event| event["target_name"] == "ci").count(), 1);
        // A rotation twice would end the value that was just copied.
        let rotate = format!("{ACCOUNTS}/ci/api_keys/default/rotate");
        let rotated = post(&admin, "two", &rotate, &json!({})).await;
        assert_repeats(&rotated, &post(&admin, "two", &rotate, &json!({})).await);
        assert_ne!(shown(&rotated.json(), "key"), shown(&first.json(), "key"));
        app.anyone().login(shown(&rotated.json(), "key")).await.token();
        // Without a key each is a request of its own.
        let again = admin.post(&rotate, &json!({})).await.expect(200);
        assert_ne!(shown(&again, "key"), shown(&rotated.json(), "key"));
    }

    async fn key_of_another_request_is_refused(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        post(&admin, "one", ACCOUNTS, &json!({ "name": "ci" })).await.expect(201);
        let reused = (422, "idempotency_key_reused".to_owned());
        assert_eq!(post(&admin, "one", ACCOUNTS, &json!({ "name": "cd" })).await.problem(), reused);
        assert_eq!(post(&admin, "one", "/api/v1/teams", &json!({ "name": "ci" })).await.problem(), reused);
        assert_eq!(post(&admin, "one", &format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": "ci" })).await.problem(), reused);
        // Nothing of it was done.
        assert_eq!(admin.get(&format!("{ACCOUNTS}/cd")).await.status, 404);
        for bad in ["", "   ", "\"\"", &"x".repeat(256)] {
            assert_eq!(post(&admin, bad, ACCOUNTS, &json!({ "name": "cd" })).await.problem(), (400, "invalid_request".to_owned()), "{bad}");
        }
        let two = admin.request(Method::POST, ACCOUNTS).header("idempotency-key", "a").header("idempotency-key", "b").json(&json!({ "name": "cd" }));
        assert_eq!(Answer::of(two).await.problem(), (400, "invalid_request".to_owned()));
        post(&admin, &"x".repeat(255), ACCOUNTS, &json!({ "name": "cd" })).await.expect(201);
    }

    async fn refusal_is_not_kept(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let body = json!({ "name": "data" });
        admin.post("/api/v1/teams", &body).await.expect(201);
        assert_eq!(post(&admin, "one", "/api/v1/teams", &body).await.problem(), (409, "name_taken".to_owned()));
        assert_eq!(admin.delete("/api/v1/teams/data").await.status, 204);
        let made = post(&admin, "one", "/api/v1/teams", &body).await;
        assert_repeats(&made, &post(&admin, "one", "/api/v1/teams", &body).await);
    }

    async fn same_key_of_another_principal_is_another_key(engine: Engine) {
        let app = TestApp::start(engine).await;
        let other = app.anyone().with(&app.issue_key("default", "other", &["organization-admin"], None).await);
        let first = post(&app.admin_client(), "one", ACCOUNTS, &json!({ "name": "ci", "default_key": true })).await.expect(201);
        assert_eq!(post(&other, "one", ACCOUNTS, &json!({ "name": "ci", "default_key": true })).await.problem(), (409, "name_taken".to_owned()));
        let second = post(&other, "one", ACCOUNTS, &json!({ "name": "cd", "default_key": true })).await.expect(201);
        assert_ne!(first["key"], second["key"]);
    }

    async fn caller_who_may_no_longer_gets_no_repeat(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let manager = app.anyone().with(&app.issue_key("default", "manager", &[], None).await);
        let given = json!({ "service_account": "manager", "permissions": ["service_accounts.manage", "api_keys.manage", "users.manage"] });
        let given = admin.post("/api/v1/role_assignments", &given).await.expect(201);
        let (account, user) = (json!({ "name": "ci", "default_key": true }), json!({ "email": "ada@example.com" }));
        let first = post(&manager, "one", ACCOUNTS, &account).await;
        assert_repeats(&first, &post(&manager, "one", ACCOUNTS, &account).await);
        let invited = post(&manager, "two", "/api/v1/users", &user).await;
        assert_repeats(&invited, &post(&manager, "two", "/api/v1/users", &user).await);
        let rotate = format!("{ACCOUNTS}/ci/api_keys/default/rotate");
        post(&manager, "three", &rotate, &json!({})).await.expect(200);
        // What was made holds more by now than who made it: its secret is not theirs to have.
        admin.post("/api/v1/role_assignments", &json!({ "service_account": "ci", "role": "organization-admin" })).await.expect(201);
        admin.post("/api/v1/role_assignments", &json!({ "user": "ada@example.com", "role": "organization-admin" })).await.expect(201);
        let denied = (403, "permission_denied".to_owned());
        assert_eq!(post(&manager, "three", &rotate, &json!({})).await.problem(), denied);
        assert_eq!(post(&manager, "two", "/api/v1/users", &user).await.problem(), denied);
        // Or who made it holds nothing.
        assert_eq!(admin.delete(&format!("/api/v1/role_assignments/{}", shown(&given, "id"))).await.status, 204);
        assert_eq!(post(&manager, "one", ACCOUNTS, &account).await.problem(), denied);
        admin.patch(&format!("{ACCOUNTS}/manager"), &json!({ "active": false })).await.expect(200);
        assert_eq!(post(&manager, "one", ACCOUNTS, &account).await.problem(), (401, "service_account_inactive".to_owned()));
    }

    async fn secret_that_works_no_more_is_not_shown_again(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let make = async |name: &str| {
            let body = json!({ "name": name, "default_key": true });
            post(&admin, name, ACCOUNTS, &body).await.expect(201);
            body
        };
        let key = |name: &str| format!("{ACCOUNTS}/{name}/api_keys/default");
        for name in ["rotated", "deactivated", "deleted", "compromised", "account"] {
            let body = make(name).await;
            match name {
                // Also while the old value still works: who repeats expects the value to last.
                "rotated" => drop(admin.post(&format!("{}/rotate", key(name)), &json!({ "retain_minutes": 60 })).await.expect(200)),
                "deactivated" => drop(admin.patch(&key(name), &json!({ "active": false })).await.expect(200)),
                "deleted" => assert_eq!(admin.delete(&key(name)).await.status, 204),
                "compromised" => drop(admin.call(&format!("{}/compromised", key(name))).await.expect(200)),
                _ => drop(admin.patch(&format!("{ACCOUNTS}/{name}"), &json!({ "active": false })).await.expect(200)),
            }
            assert_eq!(post(&admin, name, ACCOUNTS, &body).await.problem(), outdated(), "{name}");
        }
        let body = make("expires").await;
        admin.patch(&key("expires"), &json!({ "expires_in_days": 1 })).await.expect(200);
        app.clock.advance_seconds(86_400);
        // The answer is over at the same moment, and the name is still taken.
        assert_eq!(post(&admin, "expires", ACCOUNTS, &body).await.problem(), (409, "name_taken".to_owned()));

        let users = "/api/v1/users";
        for name in ["used", "replaced", "inactive"] {
            let body = json!({ "email": format!("{name}@example.com") });
            let invited = post(&admin, name, users, &body).await.expect(201);
            match name {
                "used" => {
                    let accepted = json!({ "invitation": invited["invitation"], "password": "correct horse battery" });
                    drop(app.anyone().post("/api/v1/invitations/accept", &accepted).await.expect(200));
                }
                "replaced" => drop(admin.call(&format!("{users}/{name}@example.com/invite")).await.expect(200)),
                _ => drop(admin.patch(&format!("{users}/{name}@example.com"), &json!({ "active": false })).await.expect(200)),
            }
            assert_eq!(post(&admin, name, users, &body).await.problem(), outdated(), "{name}");
        }
    }

    async fn twenty_at_once_on_two_nodes_make_one(engine: Engine) {
        let app = TestApp::start(engine).await;
        let second = app.build_another(&[]).await.unwrap();
        let other = Client::new(second.url()).with(app.admin_key());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(async move { Box::pin(second.run_until(async { drop(stopped.await) })).await });
        let (admin, body) = (app.admin_client(), json!({ "name": "ci", "default_key": true }));
        let requests = (0..20).map(|number| {
            let (client, body) = (if number % 2 == 0 { admin.clone() } else { other.clone() }, body.clone());
            tokio::spawn(async move { post(&client, "one", ACCOUNTS, &body).await })
        });
        let mut answers = Vec::new();
        for request in requests.collect::<Vec<_>>() {
            answers.push(request.await.unwrap());
        }
        let first: Vec<_> = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).collect();
        assert_eq!(first.len(), 1, "{answers:#?}");
        assert!(answers.iter().all(|answer| answer.status == 201 && answer.text == first[0].text));
        app.anyone().login(shown(&first[0].json(), "key")).await.token();
        assert_eq!(admin.get(&format!("{ACCOUNTS}/ci/api_keys")).await.expect(200)["items"].as_array().unwrap().len(), 1);
        drop(stop);
        running.await.unwrap().unwrap();
    }

    async fn answer_is_kept_for_a_day(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, body) = (app.admin_client(), json!({ "name": "data" }));
        let first = post(&admin, "one", "/api/v1/teams", &body).await;
        app.clock.advance_seconds(86_399);
        assert_repeats(&first, &post(&admin, "one", "/api/v1/teams", &body).await);
        assert_eq!(app.upkeep.forget_answers().await.unwrap(), 0);
        app.clock.advance_seconds(1);
        assert_eq!(post(&admin, "one", "/api/v1/teams", &body).await.problem(), (409, "name_taken".to_owned()));
        assert_eq!(app.upkeep.forget_answers().await.unwrap(), 1);
        assert!(kept(&app).await.is_empty());
    }

    async fn database_does_not_hold_what_was_shown(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let account = post(&admin, "known-idempotency-key", ACCOUNTS, &json!({ "name": "ci", "default_key": true })).await.expect(201);
        let user = json!({ "email": "ada@example.com", "password": "correct horse battery" });
        post(&admin, "another-idempotency-key", "/api/v1/users", &user).await.expect(201);
        let rows = kept(&app).await;
        assert_eq!(rows.len(), 2);
        let mut text: Vec<u8> = rows.into_iter().flat_map(|(id, fingerprint, sealed, _)| [id, fingerprint, sealed].concat()).collect();
        if let Ok(files) = std::fs::read_dir(app.database.folder.path()) {
            // With SQLite, all that there is on the disk.
            text.extend(files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default()));
        }
        for secret in [shown(&account, "key"), "correct horse battery", "known-idempotency-key", "another-idempotency-key"] {
            assert!(!text.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
        }
    }

    async fn repeat_after_a_restart_is_answered_as_before(engine: Engine) {
        let app = TestApp::start(engine).await;
        let body = json!({ "name": "ci", "default_key": true });
        let first = post(&app.admin_client(), "one", ACCOUNTS, &body).await;
        let key = app.admin_key().to_owned();
        let restarted = TestApp::start_with(stop(app), &[]).await;
        assert_repeats(&first, &post(&restarted.anyone().with(&key), "one", ACCOUNTS, &body).await);
    }
}
