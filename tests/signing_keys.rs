//! Signing keys take turns, and no token that should count is refused for it.

use std::time::Duration;

use hourpass::domain::signing::SigningAlgorithm;
use serde_json::{Value, json};

use crate::propagation::me;
use crate::support::{Answer, Client, TestApp, claims, eventually, header, hourpass, on_both_engines};

const DAY: i64 = 86_400;

fn kid(token: &str) -> String {
    header(token)["kid"].as_str().unwrap().to_owned()
}

async fn published(client: &Client) -> Vec<String> {
    let keys = client.get("/.well-known/jwks.json").await.expect(200);
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The states of the keys, the oldest first.
async fn states(admin: &Client) -> Vec<(String, String)> {
    let listed = admin.get("/api/v1/signing_keys").await.expect(200);
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    listed["items"].as_array().unwrap().iter().map(|key| (text(key, "kid"), text(key, "state"))).collect()
}

async fn events(admin: &Client) -> Vec<(String, String)> {
    let listed = admin.get("/api/v1/audit_events?action=signing_key").await.expect(200);
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    listed["items"].as_array().unwrap().iter().map(|event| (text(event, "action"), text(event, "target_name"))).collect()
}

async fn rotate(admin: &Client, body: Value) -> Answer {
    admin.post("/api/v1/signing_keys/rotate", &body).await
}

on_both_engines! {
    async fn they_take_turns_by_themselves(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let first = anyone.login(app.admin_key()).await.token();
        app.clock.advance_seconds(29 * DAY - 1);
        app.upkeep.take_turns().await.unwrap();
        assert_eq!(published(&anyone).await, [kid(&first)]);
        // Published a day ahead.
        app.clock.advance_seconds(1);
        app.upkeep.take_turns().await.unwrap();
        let both = published(&anyone).await;
        assert_eq!(both.len(), 2);
        let ahead = anyone.login(app.admin_key()).await.token();
        assert_eq!(kid(&ahead), kid(&first));
        assert_eq!(states(&admin).await.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(), ["current", "next"]);
        // Nothing more happens until its turn.
        app.upkeep.take_turns().await.unwrap();
        assert_eq!(published(&anyone).await, both);
        app.clock.advance_seconds(DAY - 1);
        let last = anyone.login(app.admin_key()).await.token();
        assert_eq!(kid(&last), kid(&first));
        app.clock.advance_seconds(1);
        let next = anyone.login(app.admin_key()).await.token();
        assert!(kid(&next) != kid(&first) && both.contains(&kid(&next)));
        assert_eq!(kid(&anyone.get("/status-lists/0").await.text), kid(&next));
        // What the old one signed goes on counting until it expires.
        app.clock.advance_seconds(3_600 - 2);
        app.upkeep.take_turns().await.unwrap();
        assert_eq!(me(&anyone, &last).await.status, 200);
        assert_eq!(states(&admin).await.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(), ["previous", "current"]);
        app.clock.advance_seconds(5 * 60 + 2);
        app.upkeep.take_turns().await.unwrap();
        assert_eq!(published(&anyone).await, [kid(&next)]);
        assert_eq!(states(&admin).await[0], (kid(&first), "retired".to_owned()));
    }

    async fn nodes_agree_on_one(engine: Engine) {
        let app = TestApp::start(engine).await;
        let other = app.build_another(&[("HOURPASS_SERVER__PUBLIC_URL", &app.url)]).await.unwrap();
        app.clock.advance_seconds(29 * DAY);
        let (one, two) = tokio::join!(app.upkeep.take_turns(), other.upkeep().take_turns());
        // The second to come finds that it was done.
        assert!(one.is_ok() || two.is_ok());
        app.settle().await;
        assert_eq!(states(&app.admin_client()).await.len(), 2);
    }

    async fn in_an_emergency_the_old_one_counts_no_more(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let old = anyone.login(app.admin_key()).await.token();
        app.clock.advance_seconds(1);
        let done = rotate(&admin, json!({ "now": true })).await.expect(200);
        assert_eq!((&done["withdrawn"], &done["tokens_ended_at_most"]), (&json!([kid(&old)]), &json!(1)));
        assert_eq!(done["propagation"], json!({ "live_nodes": 1, "confirmed": 1 }));
        assert_eq!(me(&anyone, &old).await.problem().0, 401);
        app.clock.advance_seconds(1);
        assert_eq!(json!(published(&anyone).await), json!([done["kid"]]));
        let new = anyone.login(app.admin_key()).await.token();
        assert_eq!(json!(kid(&new)), done["kid"]);
        assert_eq!(me(&anyone, &new).await.status, 200);
        assert_eq!(kid(&anyone.get("/status-lists/0").await.text), kid(&new));
        let mut recorded = events(&admin).await;
        recorded.sort();
        assert_eq!(recorded, [("signing_key.create".to_owned(), kid(&new)), ("signing_key.withdraw".to_owned(), kid(&old))]);
        // One that was published ahead lay where the other did, and goes with it.
        let next = rotate(&admin, json!({})).await.expect(200);
        assert_eq!(next["withdrawn"], json!([]));
        assert_eq!(rotate(&admin, json!({})).await.expect(200)["kid"], next["kid"]);
        let at_once = rotate(&admin, json!({ "now": true })).await.expect(200);
        assert!(at_once["kid"] != next["kid"]);
        assert_eq!(at_once["withdrawn"], json!([kid(&new), next["kid"]]));
        assert_eq!(me(&anyone, &new).await.status, 401);
    }

    async fn of_many_that_need_one_at_once_one_makes_it(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        // Beside the servers, so that no key is made with it.
        app.add_workspace("default", "ed", None, SigningAlgorithm::EdDsa, Duration::from_hours(1)).await;
        let other = app.build_another(&[("HOURPASS_SERVER__PUBLIC_URL", &app.url)]).await.unwrap();
        let there = Client::new(other.url());
        let running = tokio::spawn(other.run_until(std::future::pending()));
        let login = async |client: &Client| client.post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "ed")]).await;
        let (here, there) = (app.anyone(), there);
        let (a, b) = tokio::join!(
            futures_util::future::join_all((0..6).map(|_| login(&here))),
            futures_util::future::join_all((0..6).map(|_| login(&there))),
        );
        assert!(a.iter().chain(&b).all(|answer| answer.problem() == (503, "signing_key_not_yet_published".to_owned())));
        let made = states(&admin).await.into_iter().filter(|(_, state)| state == "next").collect::<Vec<_>>();
        assert_eq!(made.len(), 1, "{made:?}");
        app.clock.advance_seconds(75);
        for client in [&here, &there] {
            assert_eq!(kid(&login(client).await.token()), made[0].0);
        }
        assert!(states(&admin).await.iter().all(|(_, state)| state == "current"));
        running.abort();
    }

    async fn what_a_workspace_signed_with_before_stays_published(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        admin.post("/api/v1/workspaces", &json!({ "slug": "ed", "audience": "urn:ed", "signing_algorithm": "EdDSA" })).await.expect(201);
        app.clock.advance_seconds(75);
        let token = anyone.post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "ed")]).await.token();
        admin.patch("/api/v1/workspaces/ed", &json!({ "signing_algorithm": "ES256" })).await.expect(200);
        app.clock.advance_seconds(3_600);
        assert!(published(&anyone).await.contains(&kid(&token)));
        app.clock.advance_seconds(5 * 60 + 75);
        assert!(!published(&anyone).await.contains(&kid(&token)));
    }

    async fn an_operator_rotates_beside_the_server(engine: Engine) {
        let app = TestApp::start(engine).await;
        let anyone = app.anyone();
        let old = anyone.login(app.admin_key()).await.token();
        let run = |arguments: &[&str]| {
            let output = hourpass(app.database.folder.path())
                .env("HOURPASS_DATABASE__URL", &app.database.url)
                .env("HOURPASS_SIGNING__MASTER_KEY_FILE", app.database.folder.path().join("master.key"))
                .args(["admin", "rotate-signing-key"])
                .args(arguments)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            (String::from_utf8(output.stdout).unwrap().trim().to_owned(), String::from_utf8(output.stderr).unwrap())
        };
        let (kid_made, said) = run(&["--now"]);
        assert!(said.contains(&format!("withdrawn: key {}", kid(&old))) && said.contains("what stops working"), "{said}");
        // The server finds out by itself.
        eventually(async || me(&anyone, &old).await.status == 401).await;
        let token = anyone.login(app.admin_key()).await.token();
        assert_eq!(kid(&token), kid_made);
        // Whoever runs this Hourpass sees it in the audit trail.
        assert!(events(&app.admin_client()).await.contains(&("signing_key.withdraw".to_owned(), kid(&old))));
        let (next, said) = run(&[]);
        assert!(said.contains("nothing stops working") && next != kid_made, "{said}");
    }

    async fn only_for_who_runs_it(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let organization_admin = app.issue_key("default", "org", &["organization-admin"], None).await;
        for answer in [rotate(&anyone.with(&organization_admin), json!({})).await, anyone.with(&organization_admin).get("/api/v1/signing_keys").await] {
            assert_eq!(answer.problem(), (403, "permission_denied".to_owned()));
        }
        for (body, expected) in [
            (json!({ "algorithm": "HS256" }), (422, "validation_failed")), (json!({ "algorithm": "RS256" }), (422, "validation_failed")),
            (json!({ "now": "yes" }), (400, "invalid_request")), (json!({ "key": "x" }), (400, "invalid_request")),
        ] {
            let (status, code) = rotate(&admin, body.clone()).await.problem();
            assert_eq!((status, code.as_str()), expected, "{body}");
        }
        // Each algorithm for itself.
        admin.post("/api/v1/workspaces", &json!({ "slug": "rs", "audience": "urn:rs", "signing_algorithm": "RS256" })).await.expect(201);
        app.clock.advance_seconds(75);
        let login = async || anyone.post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "rs")]).await.token();
        let (old, own) = (login().await, anyone.login(app.admin_key()).await.token());
        app.clock.advance_seconds(1);
        rotate(&admin, json!({ "algorithm": "rs256", "now": true })).await.expect(200);
        assert_ne!(kid(&login().await), kid(&old));
        assert_eq!((me(&anyone, &own).await.status, claims(&old)["aud"].as_str()), (200, Some("urn:rs")));
    }
}
