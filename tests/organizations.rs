//! Organizations, workspaces and projects.

use serde_json::json;

use crate::support::{TestApp, claims, hourpass, on_both_engines};

on_both_engines! {
    async fn an_organization_from_nothing(engine: Engine) {
        let app = TestApp::start(engine).await;
        let platform = app.admin_client();
        // Lists are in the order of time.
        app.clock.advance_seconds(1);
        let made = platform.post("/api/v1/organizations", &json!({ "slug": "acme", "name": "Acme", "admin_email": "ada@acme.example.com" })).await.expect(201);
        let invitation = made["invitation"].as_str().unwrap().to_owned();
        assert!(invitation.starts_with("hp_invite_"));
        assert_eq!(platform.post("/api/v1/organizations", &json!({ "slug": "acme" })).await.problem(), (409, "name_taken".to_owned()));
        assert_eq!(platform.post("/api/v1/organizations", &json!({ "slug": "Acme!" })).await.problem(), (422, "validation_failed".to_owned()));

        let password = "correct horse battery";
        app.anyone().post("/api/v1/invitations/accept", &json!({ "invitation": invitation, "password": password })).await.expect(200);
        let token = app.anyone().post_form("/auth/login", &[("username", "ada@acme.example.com"), ("password", password)]).await.token();
        let ada = app.anyone().with(&token);
        assert_eq!(ada.get("/users/me").await.expect(200)["organization"], "acme");
        ada.post("/api/v1/workspaces", &json!({ "slug": "prod" })).await.expect(201);
        assert_eq!(ada.get("/api/v1/permissions").await.expect(200)["items"].as_array().unwrap().len(), 9);
        assert_eq!(ada.post("/api/v1/organizations", &json!({ "slug": "mine" })).await.problem(), (403, "permission_denied".to_owned()));

        // Who manages the platform sees that it is there, and nothing inside.
        let all = platform.get("/api/v1/organizations").await.expect(200);
        assert_eq!(all["items"].as_array().unwrap().iter().map(|it| it["slug"].as_str().unwrap()).collect::<Vec<_>>(), ["default", "acme"]);
        assert_eq!(ada.get("/api/v1/organizations").await.expect(200)["items"].as_array().unwrap().len(), 1);
        assert_eq!(platform.patch("/api/v1/organizations/acme", &json!({ "name": "x" })).await.problem(), (403, "permission_denied".to_owned()));
        assert_eq!(platform.get("/api/v1/workspaces/prod").await.problem().0, 404);
        assert_eq!(platform.delete("/api/v1/organizations/acme").await.problem(), (409, "in_use".to_owned()));
        assert_eq!(platform.delete("/api/v1/organizations/default").await.problem(), (409, "in_use".to_owned()));
        assert_eq!(ada.delete("/api/v1/workspaces/prod").await.status, 204);
        assert_eq!(platform.delete("/api/v1/organizations/acme").await.status, 204);
        assert_eq!(ada.get("/users/me").await.problem(), (401, "invalid_credentials".to_owned()));
        let event = platform.get("/api/v1/audit_events?action=organization.delete").await.expect(200)["items"][0].clone();
        assert_eq!((&event["target_name"], &event["actor_name"]), (&json!("acme"), &json!("bootstrap")));
        // The slug and the address are free again.
        platform.post("/api/v1/organizations", &json!({ "slug": "acme", "admin_email": "ada@acme.example.com" })).await.expect(201);
    }

    async fn an_organization_goes_while_its_people_work(engine: Engine) {
        let app = TestApp::start(engine).await;
        let platform = app.admin_client();
        for round in 0..3 {
            let (slug, email) = (format!("acme-{round}"), format!("ada@acme-{round}.example.com"));
            let made = platform.post("/api/v1/organizations", &json!({ "slug": slug, "admin_email": email })).await.expect(201);
            let (invitation, password) = (&made["invitation"], "correct horse battery");
            app.anyone().post("/api/v1/invitations/accept", &json!({ "invitation": invitation, "password": password })).await.expect(200);
            let ada = app.anyone().with(&app.anyone().post_form("/auth/login", &[("username", email.as_str()), ("password", password)]).await.token());
            let busy: Vec<_> = (0..4).map(|number| { let ada = ada.clone(); tokio::spawn(async move {
                let mut seen = Vec::new();
                for again in 0..4 {
                    seen.push(ada.post("/api/v1/teams", &json!({ "name": format!("team {number} {again}") })).await.status);
                }
                seen
            }) }).collect();
            assert_eq!(platform.delete(&format!("/api/v1/organizations/{slug}")).await.status, 204);
            for one in busy {
                let seen = one.await.unwrap();
                assert!(seen.iter().all(|status| [201, 401, 403].contains(status)), "{seen:?}");
            }
        }
    }

    async fn a_workspace_lives_and_dies(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let made = admin.post("/api/v1/workspaces", &json!({ "slug": "prod", "url": "https://prod.example.com", "token_lifetime_seconds": 60, "signing_algorithm": "EdDSA" })).await.expect(201);
        let expected = json!({
            "id": made["id"], "organization_id": made["organization_id"], "slug": "prod", "name": "prod", "url": "https://prod.example.com",
            "audience": "https://prod.example.com", "token_lifetime_seconds": 60, "signing_algorithm": "EdDSA", "labels": {}, "claims": {},
            "signing_algorithm_effective_at": "2026-01-01T00:01:15Z", "created_at": "2026-01-01T00:00:00Z",
        });
        assert_eq!(made, expected);
        app.clock.advance_seconds(75);
        let login = async || app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "prod")]).await.expect(200);
        let answer = login().await;
        let said = claims(answer["access_token"].as_str().unwrap());
        assert_eq!((&answer["expires_in"], &said["aud"]), (&json!(60), &json!("https://prod.example.com")));

        let changed = admin.patch("/api/v1/workspaces/prod", &json!({ "name": "Production", "url": null, "audience": "urn:acme:prod", "token_lifetime_seconds": 3600, "signing_algorithm": "RS256" })).await.expect(200);
        assert_eq!((&changed["url"], &changed["audience"]), (&json!(null), &json!("urn:acme:prod")));
        assert_eq!(claims(login().await["access_token"].as_str().unwrap())["aud"], "urn:acme:prod");
        let event = admin.get("/api/v1/audit_events?action=workspace.update").await.expect(200)["items"][0].clone();
        assert_eq!(event["details"]["audience"], json!({ "from": "https://prod.example.com", "to": "urn:acme:prod" }));

        for (body, field) in [
            (json!({ "token_lifetime_seconds": 59 }), "token_lifetime_seconds"), (json!({ "token_lifetime_seconds": 3601 }), "token_lifetime_seconds"),
            (json!({ "signing_algorithm": "HS256" }), "signing_algorithm"), (json!({ "signing_algorithm": "none" }), "signing_algorithm"),
            (json!({ "url": "https://a/b" }), "url"), (json!({ "audience": "prod" }), "audience"), (json!({ "audience": app.url }), "audience"),
        ] {
            let answer = admin.patch("/api/v1/workspaces/prod", &body).await;
            assert_eq!((answer.problem().0, &answer.json()["errors"][0]["field"]), (422, &json!(field)), "{body}");
            let mut create = body;
            create["slug"] = json!("new");
            assert_eq!(admin.post("/api/v1/workspaces", &create).await.problem().0, 422, "{create}");
        }
        assert_eq!(admin.patch("/api/v1/workspaces/prod", &json!({ "slug": "other" })).await.problem(), (400, "invalid_request".to_owned()));
        for body in [json!({ "slug": "prod" }), json!({ "slug": "new", "audience": "urn:acme:prod" })] {
            assert_eq!(admin.post("/api/v1/workspaces", &body).await.problem(), (409, "name_taken".to_owned()), "{body}");
        }

        let project = admin.post("/api/v1/workspaces/prod/projects", &json!({ "slug": "etl", "description": "loads" })).await.expect(201);
        let expected = json!({
            "id": project["id"], "organization_id": made["organization_id"], "workspace_id": made["id"], "slug": "etl", "name": "etl", "description": "loads",
            "created_at": "2026-01-01T00:01:15Z",
        });
        assert_eq!(project, expected);
        assert_eq!(admin.post("/api/v1/workspaces/prod/projects", &json!({ "slug": "etl" })).await.problem(), (409, "name_taken".to_owned()));
        admin.post("/api/v1/workspaces/default/projects", &json!({ "slug": "etl" })).await.expect(201);
        assert_eq!(admin.patch("/api/v1/workspaces/prod/projects/etl", &json!({ "name": "ETL" })).await.expect(200)["name"], "ETL");
        app.issue_key("default", "ci", &[], None).await;
        let given = admin.post("/api/v1/role_assignments", &json!({ "role": "Project Viewer", "service_account": "ci", "workspace": "prod", "project": "etl" })).await.expect(201);

        // From the outside in, each says what still depends on it.
        for path in ["workspaces/prod", "workspaces/prod/projects/etl"] {
            assert_eq!(admin.delete(&format!("/api/v1/{path}")).await.problem(), (409, "in_use".to_owned()), "{path}");
        }
        for path in [format!("role_assignments/{}", given["id"].as_str().unwrap()), "workspaces/prod/projects/etl".to_owned(), "workspaces/prod".to_owned()] {
            assert_eq!(admin.delete(&format!("/api/v1/{path}")).await.status, 204, "{path}");
            assert_eq!(admin.delete(&format!("/api/v1/{path}")).await.problem().0, 404, "{path}");
        }
        let refused = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "prod")]).await;
        assert_eq!(refused.problem(), (400, "invalid_target".to_owned()));
        // Of the same slug, it is another.
        assert_ne!(admin.post("/api/v1/workspaces", &json!({ "slug": "prod" })).await.expect(201)["id"], made["id"]);
    }

    async fn labels_find_and_claims_travel(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let account = json!({
            "name": "ci", "default_key": true, "labels": { "team": "data", "env": "prod" },
            "claims": { "https://acme.example.com/tier": "gold", "https://acme.example.com/who": "account" },
        });
        let made = admin.post("/api/v1/service_accounts", &account).await.expect(201);
        assert_eq!((&made["labels"], &made["claims"]), (&account["labels"], &account["claims"]));
        app.clock.advance_seconds(1);
        admin.post("/api/v1/service_accounts", &json!({ "name": "other", "labels": { "team": "ml" } })).await.expect(201);
        let found = async |label: &str| {
            let list = admin.get(&format!("/api/v1/service_accounts?label={label}")).await.expect(200);
            list["items"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((found("team=data").await, found("team=ml").await, found("team=").await), (vec!["ci".to_owned()], vec!["other".to_owned()], vec![]));
        assert_eq!(found("team=data&name=other").await, Vec::<String>::new());
        assert_eq!(found("team=data&active=true&name=ci").await, ["ci"]);
        assert_eq!(admin.get("/api/v1/service_accounts?label=team").await.problem(), (422, "validation_failed".to_owned()));
        admin.patch("/api/v1/service_accounts/ci", &json!({ "labels": { "team": "ml" } })).await.expect(200);
        assert_eq!((found("team=data").await, found("team=ml").await, found("env=prod").await), (vec![], vec!["ci".to_owned(), "other".to_owned()], vec![]));

        admin.patch("/api/v1/workspaces/default", &json!({ "labels": { "region": "eu" }, "claims": { "https://acme.example.com/who": "workspace" } })).await.expect(200);
        assert_eq!(admin.get("/api/v1/workspaces?label=region=eu").await.expect(200)["items"].as_array().unwrap().len(), 1);
        assert_eq!(admin.get("/api/v1/workspaces?label=region=us").await.expect(200)["items"].as_array().unwrap().len(), 0);
        admin.post("/api/v1/role_assignments", &json!({ "role": "Workspace Viewer", "service_account": "ci", "workspace": "default" })).await.expect(201);
        let key = made["key"].as_str().unwrap();
        let said = claims(&app.anyone().post_form("/auth/login", &[("password", key), ("workspace", "default")]).await.token());
        assert_eq!((&said["https://acme.example.com/tier"], &said["https://acme.example.com/who"]), (&json!("gold"), &json!("workspace")));
        let said = claims(&app.anyone().login(key).await.token());
        assert_eq!(said["https://acme.example.com/who"], "account");
        // The token still works here, with claims of others in it.
        let token = app.anyone().login(key).await.token();
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 200);

        for name in ["sub", "scope", "exp", "status", "tier", "urn:acme:tier"] {
            let answer = admin.patch("/api/v1/service_accounts/ci", &json!({ "claims": { name: 1 } })).await;
            assert_eq!((answer.problem().0, &answer.json()["errors"][0]["field"]), (422, &json!("claims")), "{name}");
        }
        let huge = json!({ "claims": { "https://acme.example.com/x": "x".repeat(2_048) } });
        assert_eq!(admin.patch("/api/v1/workspaces/default", &huge).await.problem().0, 422);
        assert_eq!(admin.delete("/api/v1/service_accounts/ci").await.status, 204);
        assert_eq!(found("team=ml").await, ["other"]);
    }

    async fn audience_that_looks_like_another_is_refused_by_api_pages_and_command(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for bad in [
            "https://prod\u{200b}.example.com", "https://pr\u{43e}d.example.com", "https://prod.example.com@evil.example", "https://PROD.example.com", "https://prod.example.com.",
            "https://prod.example.com:443", "https://prod.example.com/", "https://prod.example.com/a/../b", "https://prod.example.com/%7Ea", "https://prod.example.com#a",
        ] {
            let answer = admin.post("/api/v1/workspaces", &json!({ "slug": "prod", "audience": bad })).await;
            assert_eq!((answer.problem().0, &answer.json()["errors"][0]["field"]), (422, &json!("audience")), "{bad:?}");
            assert_eq!(admin.patch("/api/v1/workspaces/default", &json!({ "audience": bad })).await.problem().0, 422, "{bad:?}");
            let output = hourpass(app.database.folder.path())
                .env("HOURPASS_DATABASE__URL", &app.database.url)
                .args(["admin", "create-workspace", "--organization", "default", "--slug", "prod", "--audience", bad])
                .output()
                .unwrap();
            assert!(!output.status.success(), "{bad:?}");
        }
        assert_eq!(admin.get("/api/v1/workspaces?slug=prod").await.expect(200)["items"], json!([]));
    }

    async fn audience_of_before_goes_on_working_and_cannot_be_set_again(engine: Engine) {
        const OLD: &str = "https://Prod.example.com:443/";
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post("/api/v1/workspaces", &json!({ "slug": "prod", "audience": "urn:prod" })).await.expect(201);
        // As a version of before took it.
        let sql = "UPDATE workspaces SET audience = $1 WHERE slug = 'prod'";
        match app.store.pool() {
            hourpass::store::Db::Sqlite(pool) => drop(sqlx::query(sql).bind(OLD).execute(pool).await.unwrap()),
            hourpass::store::Db::Postgres(pool) => drop(sqlx::query(sql).bind(OLD).execute(pool).await.unwrap()),
        }
        for (field, value) in [("workspace", "prod"), ("audience", OLD)] {
            let token = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), (field, value)]).await.token();
            assert_eq!(claims(&token)["aud"], OLD);
        }
        // It may be changed in other things, and be sent as it is.
        for body in [json!({ "name": "Production" }), json!({ "name": "Prod", "audience": OLD })] {
            let changed = admin.patch("/api/v1/workspaces/prod", &body).await.expect(200);
            assert_eq!((&changed["audience"], &changed["name"]), (&json!(OLD), &body["name"]));
        }
        assert_eq!(admin.patch("/api/v1/workspaces/default", &json!({ "audience": OLD })).await.problem().0, 422);
        admin.patch("/api/v1/workspaces/prod", &json!({ "audience": "urn:prod" })).await.expect(200);
        assert_eq!(admin.patch("/api/v1/workspaces/prod", &json!({ "audience": OLD })).await.problem().0, 422);
    }

    async fn text_with_invisible_characters_is_refused_in_every_field(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post("/api/v1/service_accounts", &json!({ "name": "ci" })).await.expect(201);
        admin.post("/api/v1/workspaces/default/projects", &json!({ "slug": "etl" })).await.expect(201);
        for hidden in ["\u{200b}", "\u{202e}", "\u{feff}", "\u{3164}", "\u{e0061}"] {
            let text = format!("a{hidden}b");
            for (method, path, body) in [
                ("POST", "/api/v1/service_accounts", json!({ "name": text })),
                ("PATCH", "/api/v1/service_accounts/ci", json!({ "name": text })),
                ("PATCH", "/api/v1/service_accounts/ci", json!({ "description": text })),
                ("PATCH", "/api/v1/service_accounts/ci", json!({ "labels": { "team": text } })),
                ("PATCH", "/api/v1/service_accounts/ci", json!({ "labels": { &text: "x" } })),
                ("PATCH", "/api/v1/service_accounts/ci", json!({ "claims": { "https://example.com/team": text } })),
                ("PATCH", "/api/v1/service_accounts/ci", json!({ "claims": { "https://example.com/team": { &text: 1 } } })),
                ("PATCH", "/api/v1/service_accounts/ci", json!({ "claims": { format!("https://example.com/{text}"): 1 } })),
                ("POST", "/api/v1/service_accounts/ci/api_keys", json!({ "name": text })),
                ("PATCH", "/api/v1/workspaces/default", json!({ "name": text })),
                ("PATCH", "/api/v1/workspaces/default", json!({ "url": format!("https://{text}.example.com") })),
                ("PATCH", "/api/v1/workspaces/default", json!({ "audience": format!("urn:{text}") })),
                ("PATCH", "/api/v1/workspaces/default", json!({ "labels": { "team": text } })),
                ("PATCH", "/api/v1/workspaces/default/projects/etl", json!({ "name": text })),
                ("PATCH", "/api/v1/workspaces/default/projects/etl", json!({ "description": text })),
                ("POST", "/api/v1/permissions", json!({ "name": format!("rockets.{text}") })),
                ("POST", "/api/v1/permissions", json!({ "name": "rockets.launch", "description": text })),
                ("POST", "/api/v1/roles", json!({ "name": text, "level": "workspace", "permissions": [] })),
                ("POST", "/api/v1/roles", json!({ "name": "r", "description": text, "level": "workspace", "permissions": [] })),
                ("POST", "/api/v1/teams", json!({ "name": text })),
                ("POST", "/api/v1/teams", json!({ "name": "t", "description": text })),
                ("POST", "/api/v1/users", json!({ "email": format!("{text}@example.com"), "password": "correct horse battery" })),
                ("POST", "/api/v1/organizations", json!({ "slug": text })),
                ("POST", "/api/v1/organizations", json!({ "slug": "other", "name": text })),
            ] {
                let answer = if method == "POST" { admin.post(path, &body).await } else { admin.patch(path, &body).await };
                assert_eq!(answer.problem(), (422, "validation_failed".to_owned()), "{method} {path} {body}");
            }
        }
    }
}
