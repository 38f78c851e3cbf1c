//! How many exchanges a service account may make.

use serde_json::{Value, json};

use crate::support::{Client, TestApp, on_both_engines};

const CI: &str = "/api/v1/service_accounts/ci";
const LIMIT: &str = "HOURPASS_API_KEYS__EXCHANGES_PER_MINUTE";

async fn account(admin: &Client, name: &str, most: Value) -> String {
    let made = admin.post("/api/v1/service_accounts", &json!({ "name": name, "default_key": true, "exchanges_per_minute": most })).await.expect(201);
    assert_eq!(made["exchanges_per_minute"], most);
    made["key"].as_str().unwrap().to_owned()
}

/// How many of so many exchanges were granted; the others are refused because of the limit.
async fn granted(app: &TestApp, key: &str, of: usize) -> usize {
    let mut granted = 0;
    for _ in 0..of {
        let answer = app.anyone().login(key).await;
        if answer.status == 200 {
            granted += 1;
        } else {
            assert_eq!(answer.problem(), (429, "exchange_rate_limited".to_owned()));
        }
    }
    granted
}

on_both_engines! {
    async fn an_account_makes_no_more_exchanges_than_it_may(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (key, other) = (account(&admin, "ci", json!(3)).await, account(&admin, "other", Value::Null).await);
        assert_eq!(granted(&app, &key, 5).await, 3);
        let refused = app.anyone().login(&key).await;
        let body = refused.json();
        assert_eq!((&body["error"], refused.header("retry-after")), (&json!("temporarily_unavailable"), "21"));
        assert_eq!(body["error_description"], body["detail"]);
        assert!(body["detail"].as_str().unwrap().contains("3 exchanges a minute"), "{body}");
        // All of its keys count together, and for whomever the tokens are; nobody else is concerned.
        let second = admin.post(&format!("{CI}/api_keys"), &json!({ "name": "second" })).await.expect(201)["key"].as_str().unwrap().to_owned();
        assert_eq!(granted(&app, &second, 1).await, 0);
        assert_eq!(app.anyone().post_form("/api/v1/login", &[("password", &key), ("workspace", "default")]).await.status, 429);
        assert_eq!(granted(&app, &other, 20).await, 20);
        // What it has goes on working: this is no exchange.
        app.anyone().with(&key).get("/users/me").await.expect(200);
        // It comes back evenly.
        app.clock.advance_seconds(20);
        assert_eq!(granted(&app, &key, 2).await, 1);
        app.clock.advance_seconds(3_600);
        assert_eq!(granted(&app, &key, 5).await, 3);
        let metrics = app.anyone().get("/metrics").await.text;
        assert!(metrics.lines().any(|line| line.contains("http_requests_total") && line.contains("code=\"exchange_rate_limited\"") && line.contains("/auth/login")), "{metrics}");
    }

    async fn a_limit_is_changed_at_once_and_taken_back(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = account(&admin, "ci", json!(1)).await;
        assert_eq!(granted(&app, &key, 2).await, 1);
        assert_eq!(admin.patch(CI, &json!({ "exchanges_per_minute": 1_000_000 })).await.expect(200)["exchanges_per_minute"], 1_000_000);
        assert_eq!(granted(&app, &key, 5).await, 5);
        let event = admin.get("/api/v1/audit_events?action=service_account.update").await.expect(200)["items"][0].clone();
        assert_eq!(event["details"], json!({ "exchanges_per_minute": { "from": 1, "to": 1_000_000 } }));
        assert_eq!(admin.patch(CI, &json!({ "exchanges_per_minute": null })).await.expect(200)["exchanges_per_minute"], Value::Null);
        assert_eq!(granted(&app, &key, 5).await, 5);
        // Left out, it stays.
        admin.patch(CI, &json!({ "exchanges_per_minute": 7 })).await.expect(200);
        assert_eq!(admin.patch(CI, &json!({ "description": "x" })).await.expect(200)["exchanges_per_minute"], 7);
        for wrong in [0, -1, 1_000_001] {
            assert_eq!(admin.patch(CI, &json!({ "exchanges_per_minute": wrong })).await.problem(), (422, "validation_failed".to_owned()), "{wrong}");
        }
        assert_eq!(admin.get(CI).await.expect(200)["exchanges_per_minute"], 7);
    }

    async fn a_limit_of_the_server_is_for_accounts_without_their_own(engine: Engine) {
        let app = TestApp::start_with(engine.database().await, &[(LIMIT, "2")]).await;
        let admin = app.admin_client();
        let (key, own) = (account(&admin, "ci", Value::Null).await, account(&admin, "own", json!(4)).await);
        assert_eq!((granted(&app, &key, 6).await, granted(&app, &own, 6).await), (2, 4));
        // Someone who signs in with a password is limited otherwise.
        let password = app.admin_password().to_owned();
        for _ in 0..5 {
            app.anyone().post_form("/auth/login", &[("username", "admin@localhost"), ("password", &password)]).await.token();
        }
    }

    async fn refusals_leave_one_record_a_minute_that_says_how_many_there_were(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = account(&admin, "ci", json!(1)).await;
        let refusals = async || {
            let found = admin.get("/api/v1/audit_events?outcome=denied&actor=ci").await.expect(200)["items"].as_array().unwrap().clone();
            found.iter().map(|event| (event["reason"].clone(), event["details"]["refused_since_the_last_record"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(granted(&app, &key, 11).await, 1);
        let limited = |count: u64| (json!("exchange_rate_limited"), json!(count));
        assert_eq!(refusals().await, [limited(0)]);
        app.clock.advance_seconds(60);
        assert_eq!(granted(&app, &key, 4).await, 1);
        assert_eq!(refusals().await, [limited(9), limited(0)]);
        // Nor is the trail filled with exchanges for what the account may not have.
        app.clock.advance_seconds(3_600);
        for _ in 0..5 {
            app.anyone().post_form("/auth/login", &[("password", &key), ("scope", "nothing.such")]).await;
        }
        assert_eq!(refusals().await.len(), 4);
    }

    async fn whoever_has_a_key_that_does_not_work_uses_up_nothing_and_fills_nothing(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let old = account(&admin, "ci", json!(3)).await;
        let good = admin.post(&format!("{CI}/api_keys"), &json!({ "name": "good" })).await.expect(201)["key"].as_str().unwrap().to_owned();
        admin.patch(&format!("{CI}/api_keys/default"), &json!({ "active": false })).await.expect(200);
        let codes: Vec<_> = {
            let mut codes = Vec::new();
            for _ in 0..10 {
                codes.push(app.anyone().login(&old).await.problem().1);
            }
            codes
        };
        assert_eq!((&codes[..3], &codes[3..]), (&["api_key_inactive"; 3].map(str::to_owned)[..], &["exchange_rate_limited"; 7].map(str::to_owned)[..]));
        assert_eq!(admin.get("/api/v1/audit_events?outcome=denied").await.expect(200)["items"].as_array().unwrap().len(), 4);
        assert_eq!(granted(&app, &good, 5).await, 3);
    }

    async fn who_asks_why_a_key_does_not_work_is_told_of_the_limit(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = account(&admin, "ci", json!(2)).await;
        let explain = async || admin.post("/api/v1/explain", &json!({ "credential": key })).await.expect(200);
        assert_eq!(granted(&app, &key, 1).await, 1);
        assert_eq!(explain().await["code"], "works");
        assert_eq!(granted(&app, &key, 1).await, 1);
        let answer = explain().await;
        assert_eq!((&answer["works"], &answer["code"]), (&json!(false), &json!("exchange_rate_limited")));
        assert!(answer["detail"].as_str().unwrap().contains("2 exchanges a minute"), "{answer}");
        // To ask counts for nothing.
        app.clock.advance_seconds(30);
        assert_eq!(explain().await["code"], "works");
        assert_eq!(granted(&app, &key, 2).await, 1);
    }

    async fn the_limit_is_shown_and_changed_on_the_page(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        account(&admin, "ci", json!(600)).await;
        let signed_in = app.anyone().browser().login(app.admin_key()).await;
        let browser = app.anyone().keeping(&signed_in);
        assert!(browser.get("/service-accounts/ci").await.text.contains("<dt>Exchanges a minute</dt><dd>600</dd>"));
        assert!(browser.get("/service-accounts/ci/edit").await.text.contains("name=\"exchanges_per_minute\" type=\"text\" value=\"600\""));
        let save = async |text: &str| browser.post_form("/service-accounts/ci/edit", &[("exchanges_per_minute", text)]).await.status;
        let stored = async || admin.get(CI).await.expect(200)["exchanges_per_minute"].clone();
        assert_eq!((save(" 50 ").await, stored().await), (303, json!(50)));
        for wrong in ["many", "0", "-3", "1000001"] {
            assert_eq!((save(wrong).await, stored().await), (422, json!(50)), "{wrong}");
        }
        assert_eq!((save("").await, stored().await), (303, Value::Null));
        assert!(!browser.get("/service-accounts/ci").await.text.contains("Exchanges a minute"));
    }
}
