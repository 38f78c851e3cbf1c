//! The status lists say of every token whether it still counts.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::{GzDecoder, ZlibDecoder};
use hourpass::domain::name::Email;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::propagation::{Subject, changes, me};
use crate::support::{Answer, Client, Engine, TestApp, claims, header, on_both_engines};

const LIST: &str = "/status-lists/0";

/// Where a token says that its status is.
fn index(token: &str) -> (u64, String) {
    let status = &claims(token)["status"]["status_list"];
    (status["idx"].as_u64().unwrap(), status["uri"].as_str().unwrap().to_owned())
}

async fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = client.request(reqwest::Method::GET, path);
    Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

/// The bits of a list.
fn bits(list: &str) -> Vec<u8> {
    let compressed = URL_SAFE_NO_PAD.decode(claims(list)["status_list"]["lst"].as_str().unwrap()).unwrap();
    let mut bits = Vec::new();
    ZlibDecoder::new(compressed.as_slice()).read_to_end(&mut bits).unwrap();
    bits
}

/// Whether a list says that a token counts no more.
pub async fn ended(client: &Client, token: &str) -> bool {
    let (index, uri) = index(token);
    let list = get(client, &uri[uri.find("/status-lists").unwrap()..], &[]).await;
    assert_eq!(list.status, 200, "{}", list.text);
    assert_eq!(claims(&list.text)["sub"], uri.as_str());
    bits(&list.text)[usize::try_from(index / 8).unwrap()] >> (index % 8) & 1 == 1
}

on_both_engines! {
    async fn what_ends_a_token_is_published(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let bystander = anyone.login(app.admin_key()).await.token();
        for (number, change) in changes().iter().enumerate() {
            let subject = Subject::make(&admin, number).await;
            let token = anyone.login(&subject.key).await.token();
            assert!(!ended(&anyone, &token).await, "{}", change.name);
            subject.change(&admin, change).await;
            // As Hourpass itself has it.
            assert_eq!(ended(&anyone, &token).await, change.token.0 == 401, "{}", change.name);
            assert_eq!(me(&anyone, &token).await.status, change.token.0, "{}", change.name);
            if change.key.0 == 200 {
                let next = anyone.login(&subject.key).await.token();
                assert!(!ended(&anyone, &next).await, "{}: a token from after it", change.name);
            }
        }
        assert!(!ended(&anyone, &bystander).await);
    }

    async fn what_was_ended_stays_ended(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let made = admin.post("/api/v1/service_accounts", &json!({ "name": "ci", "default_key": true })).await.expect(201);
        let key = made["key"].as_str().unwrap();
        let path = format!("/api/v1/service_accounts/ci/api_keys/{}", made["api_key_id"].as_str().unwrap());
        let mut tokens = vec![anyone.login(key).await.token()];
        for path in ["/api/v1/service_accounts/ci", &path] {
            for active in [false, true] {
                admin.patch(path, &json!({ "active": active })).await.expect(200);
            }
            tokens.push(anyone.login(key).await.token());
        }
        assert_eq!((ended(&anyone, &tokens[0]).await, ended(&anyone, &tokens[1]).await, ended(&anyone, &tokens[2]).await), (true, true, false));
        // A key whose time was over, and that gets more, does not bring back what it yielded before.
        admin.patch(&path, &json!({ "expires_in_days": 1 })).await.expect(200);
        app.clock.advance_seconds(86_400 - 60);
        let last = anyone.login(key).await.token();
        app.clock.advance_seconds(60);
        assert!(ended(&anyone, &last).await);
        admin.patch(&path, &json!({ "expires_in_days": 30 })).await.expect(200);
        let next = anyone.login(key).await.token();
        assert_eq!((ended(&anyone, &last).await, ended(&anyone, &next).await), (true, false));
        assert_eq!((me(&anyone, &last).await.status, me(&anyone, &next).await.status), (401, 200));
    }

    async fn a_retained_value_ends_to_the_second(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let made = admin.post("/api/v1/service_accounts", &json!({ "name": "ci", "default_key": true })).await.expect(201);
        let token = anyone.login(made["key"].as_str().unwrap()).await.token();
        let path = format!("/api/v1/service_accounts/ci/api_keys/{}", made["api_key_id"].as_str().unwrap());
        admin.post(&format!("{path}/rotate"), &json!({ "retain_minutes": 5 })).await.expect(200);
        app.clock.advance_seconds(299);
        assert!(!ended(&anyone, &token).await);
        app.clock.advance_seconds(1);
        assert!(ended(&anyone, &token).await);
        // And longer or shorter, where somebody says so.
        let made = admin.post("/api/v1/service_accounts", &json!({ "name": "other", "default_key": true })).await.expect(201);
        let token = anyone.login(made["key"].as_str().unwrap()).await.token();
        let path = format!("/api/v1/service_accounts/other/api_keys/{}", made["api_key_id"].as_str().unwrap());
        admin.post(&format!("{path}/rotate"), &json!({ "retain_minutes": 5 })).await.expect(200);
        admin.patch(&path, &json!({ "retain_minutes": 10 })).await.expect(200);
        app.clock.advance_seconds(301);
        assert!(!ended(&anyone, &token).await);
        admin.patch(&path, &json!({ "retain_minutes": 0 })).await.expect(200);
        assert!(ended(&anyone, &token).await);
    }

    async fn of_people_too(engine: Engine) {
        const PASSWORD: &str = "correct horse battery";
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let sign_in = async |email: &str, password: &str| anyone.post_form("/auth/login", &[("username", email), ("password", password)]).await.token();
        for (number, how) in ["out", "password", "deactivated", "deleted"].into_iter().enumerate() {
            let email = format!("p{number}@example.com");
            let user = format!("/api/v1/users/{email}");
            admin.post("/api/v1/users", &json!({ "email": email, "password": PASSWORD })).await.expect(201);
            let (token, other) = (sign_in(&email, PASSWORD).await, sign_in(&email, PASSWORD).await);
            let caller = anyone.with(&token);
            match how {
                "out" => assert_eq!(caller.post("/auth/logout", &json!({})).await.status, 204),
                "password" => {
                    let changed = caller.post("/users/me/password", &json!({ "old_password": PASSWORD, "password": "correct horse staple" })).await;
                    assert!(changed.status < 300, "{}", changed.text);
                }
                "deactivated" => drop(admin.patch(&user, &json!({ "active": false })).await.expect(200)),
                _ => assert_eq!(admin.delete(&user).await.status, 204),
            }
            // Whoever signs out leaves the others in; whoever changes the password stays in, alone.
            let expected = match how { "out" => (true, false), "password" => (false, true), _ => (true, true) };
            assert_eq!((ended(&anyone, &token).await, ended(&anyone, &other).await), expected, "{how}");
        }
        let token = sign_in("admin@localhost", app.admin_password()).await;
        app.admin.reset_password(&Email::parse("admin@localhost").unwrap(), &"correct horse staple".into()).await.unwrap();
        app.settle().await;
        assert!(ended(&anyone, &token).await);
    }

    async fn an_index_is_another_s_only_after_every_token_has_expired(engine: Engine) {
        let app = TestApp::start(engine).await;
        let anyone = app.anyone();
        let sign_in = async || anyone.post_form("/auth/login", &[("username", "admin@localhost"), ("password", app.admin_password())]).await.token();
        let first = sign_in().await;
        assert_eq!(anyone.with(&first).post("/auth/logout", &json!({})).await.status, 204);
        // Long after it was shown the last time, and not before.
        app.clock.advance_seconds(27 * 3_600);
        let second = sign_in().await;
        assert_ne!(index(&second).0, index(&first).0);
        assert!(!ended(&anyone, &second).await);
        app.clock.advance_seconds(1);
        let third = sign_in().await;
        assert_eq!(index(&third).0, index(&first).0);
        assert!(!ended(&anyone, &third).await);
        assert_eq!(me(&anyone, &third).await.status, 200);
    }

    async fn a_clock_that_was_ahead_hides_nothing(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        app.clock.advance_seconds(3 * 3_600);
        assert_eq!(anyone.login(app.admin_key()).await.status, 200);
        get(&anyone, LIST, &[]).await;
        app.clock.advance_seconds(-3 * 3_600);
        let made = admin.post("/api/v1/service_accounts", &json!({ "name": "ci", "default_key": true })).await.expect(201);
        let token = anyone.login(made["key"].as_str().unwrap()).await.token();
        admin.patch("/api/v1/service_accounts/ci", &json!({ "active": false })).await.expect(200);
        assert!(ended(&anyone, &token).await);
    }

    async fn a_value_without_a_place_gets_one(engine: Engine) {
        let app = TestApp::start(engine).await;
        let made = app.admin_client().post("/api/v1/service_accounts", &json!({ "name": "ci", "default_key": true })).await.expect(201);
        // As a node of an earlier version leaves it that runs beside this one.
        let sql = "DELETE FROM status_entries WHERE idx = (SELECT max(idx) FROM status_entries)";
        match app.store.pool() {
            hourpass::store::Db::Sqlite(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
            hourpass::store::Db::Postgres(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        }
        let key = made["key"].as_str().unwrap();
        let anyone = app.anyone();
        let (one, two) = tokio::join!(anyone.login(key), anyone.login(key));
        for answer in [one, two] {
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        let token = app.anyone().login(key).await.token();
        assert!(!ended(&app.anyone(), &token).await);
        app.admin_client().patch("/api/v1/service_accounts/ci", &json!({ "active": false })).await.expect(200);
        assert!(ended(&app.anyone(), &token).await);
    }

    async fn a_list_is_what_the_draft_says(engine: Engine) {
        let app = TestApp::start(engine).await;
        let anyone = app.anyone();
        let (_, uri) = index(&anyone.login(app.admin_key()).await.token());
        assert_eq!(uri, format!("{}{LIST}", app.url));
        app.clock.advance_seconds(10);
        let list = get(&anyone, LIST, &[]).await;
        assert_eq!(list.status, 200);
        for (name, value) in [
            ("content-type", "application/statuslist+jwt"), ("access-control-allow-origin", "*"), ("cache-control", "public, max-age=5"),
            ("vary", "Accept-Encoding"), ("access-control-expose-headers", "ETag"),
        ] {
            assert_eq!(list.header(name), value, "{name}");
        }
        let (head, said) = (header(&list.text), claims(&list.text));
        assert_eq!((&head["typ"], &head["alg"]), (&json!("statuslist+jwt"), &json!("ES256")));
        let now = 1_767_225_600 + 10;
        // It names no issuer, and nobody but itself as audience, or it would pass for an access token at some receivers.
        assert_eq!((said.get("iss"), &said["aud"], &said["sub"]), (None, &json!(uri), &json!(uri)));
        assert_eq!((&said["iat"], &said["exp"], &said["ttl"]), (&json!(now), &json!(now + 300), &json!(5)));
        assert_eq!((&said["status_list"]["bits"], &said["status_list"]["aggregation_uri"]), (&json!(1), &json!(format!("{}/status-lists", app.url))));
        assert_eq!(bits(&list.text).len(), 131_072);
        // Signed by a key that is published.
        let keys: JwkSet = serde_json::from_str(&anyone.get("/.well-known/jwks.json").await.text).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.set_audience(&[&uri]);
        let key = DecodingKey::from_jwk(keys.find(head["kid"].as_str().unwrap()).unwrap()).unwrap();
        jsonwebtoken::decode::<Value>(&list.text, &key, &validation).unwrap();

        // Asked again, it is the same, and need not be sent.
        let tag = list.header("etag").to_owned();
        app.clock.advance_seconds(2);
        let again = get(&anyone, LIST, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", tag.as_str()));
        assert_eq!((again.header("cache-control"), again.header("vary")), ("public, max-age=3", "Accept-Encoding"));
        assert_eq!(get(&anyone, LIST, &[("if-none-match", &format!("\"x\", {}", tag.trim_start_matches("W/")))]).await.status, 304);
        let zipped = anyone.request(reqwest::Method::GET, LIST).header("accept-encoding", "br, gzip;q=0.8").send().await.unwrap();
        assert_eq!(zipped.headers()["content-encoding"], "gzip");
        let mut text = String::new();
        GzDecoder::new(&*zipped.bytes().await.unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, list.text);
        for refused in ["gzip;q=0", "gzip; q=0.000", "br"] {
            assert_eq!(get(&anyone, LIST, &[("accept-encoding", refused)]).await.header("content-encoding"), "", "{refused}");
        }
        // After its ttl it is another, and as soon as anything changed.
        app.clock.advance_seconds(3);
        let later = get(&anyone, LIST, &[("if-none-match", &tag)]).await;
        assert_eq!((later.status, &claims(&later.text)["iat"]), (200, &json!(now + 5)));
        app.clock.advance_seconds(1);
        app.admin_client().post("/api/v1/service_accounts/bootstrap/revoke_tokens", &json!({})).await.expect(200);
        let changed = get(&anyone, LIST, &[]).await;
        assert_eq!(claims(&changed.text)["iat"], json!(now + 6));
        assert_ne!(bits(&changed.text), bits(&later.text));

        for (path, headers, expected) in [
            ("/status-lists/2", &[][..], (404, "not_found")), ("/status-lists/-1", &[], (404, "not_found")), ("/status-lists/x", &[], (404, "not_found")), ("/status-lists/+0", &[], (404, "not_found")), ("/status-lists/00", &[], (404, "not_found")),
            (LIST, &[("accept", "application/statuslist+jwt;q=0")], (406, "not_acceptable")),
            (LIST, &[("accept", "application/statuslist+cwt")], (406, "not_acceptable")), ("/status-lists/0?time=1", &[], (501, "not_implemented")),
        ] {
            let (status, code) = get(&anyone, path, headers).await.problem();
            assert_eq!((status, code.as_str()), expected, "{path}");
        }
        assert_eq!(get(&anyone, LIST, &[("accept", "application/statuslist+jwt, text/html;q=0.1")]).await.status, 200);
        assert_eq!(anyone.get("/status-lists").await.expect(200), json!({ "status_lists": [uri, format!("{}/status-lists/1", app.url)] }));
        let metadata = anyone.get("/.well-known/oauth-authorization-server").await.expect(200);
        assert_eq!(metadata["status_list_aggregation_endpoint"], format!("{}/status-lists", app.url));
    }

    async fn the_second_list_begins_where_the_first_is_full(engine: Engine) {
        let app = TestApp::start(engine).await;
        let anyone = app.anyone();
        // As if a million had been given out.
        let sql = "INSERT INTO status_entries (idx, grant_id) VALUES (1048579, $1)";
        let id = uuid::Uuid::from_u128(1);
        match app.store.pool() {
            hourpass::store::Db::Sqlite(pool) => drop(sqlx::query(sql).bind(id).execute(pool).await.unwrap()),
            hourpass::store::Db::Postgres(pool) => {
                sqlx::query("INSERT INTO status_entries (idx, grant_id) OVERRIDING SYSTEM VALUE VALUES (1048579, $1)").bind(id).execute(pool).await.unwrap();
                sqlx::query("ALTER TABLE status_entries ALTER COLUMN idx RESTART WITH 1048580").execute(pool).await.unwrap();
            }
        }
        let made = app.admin_client().post("/api/v1/service_accounts", &json!({ "name": "ci", "default_key": true })).await.expect(201);
        let token = anyone.login(made["key"].as_str().unwrap()).await.token();
        assert_eq!(index(&token), (4, format!("{}/status-lists/1", app.url)));
        assert!(!ended(&anyone, &token).await);
        app.admin_client().patch("/api/v1/service_accounts/ci", &json!({ "active": false })).await.expect(200);
        assert!(ended(&anyone, &token).await);
        assert_eq!(anyone.get("/status-lists").await.expect(200)["status_lists"].as_array().unwrap().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_database_makes_no_list_look_fresh() {
    let database = Engine::Postgres.database().await;
    let (proxy, through) = database.behind_a_proxy().await;
    let settings = [("HOURPASS_DATABASE__TIMEOUT", "300ms"), ("HOURPASS_STATUS_LIST__TTL", "2s"), ("HOURPASS_STATUS_LIST__LIFETIME", "1m")];
    let app = TestApp::start_at(database, &through, &settings).await;
    let anyone = app.anyone();
    let before = get(&anyone, LIST, &[]).await;
    proxy.set_open(false);
    app.clock.advance_seconds(59);
    let cut = get(&anyone, LIST, &[]).await;
    assert_eq!((cut.status, &cut.text), (200, &before.text));
    assert_eq!(cut.header("cache-control"), "public, max-age=0");
    // Past its end it would be of no use to anybody.
    app.clock.advance_seconds(1);
    assert_eq!(get(&anyone, LIST, &[]).await.problem(), (503, "unavailable".to_owned()));
    assert_eq!(get(&anyone, "/status-lists", &[]).await.status, 503);
    proxy.set_open(true);
    crate::support::eventually(async || {
        app.clock.advance_seconds(2);
        get(&anyone, LIST, &[]).await.status == 200
    })
    .await;
    assert!(claims(&get(&anyone, LIST, &[]).await.text)["iat"].as_i64() > claims(&before.text)["iat"].as_i64());
}
