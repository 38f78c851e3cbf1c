//! The page of a service account, and the forms that its life is led by.

use serde_json::{Value, json};

use crate::support::{Answer, Client, TestApp, on_both_engines};

const SCRIPT: &str = "<script>alert(1)</script>";

#[track_caller]
fn page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    for forbidden in ["<style", " style=", "<script>", "javascript:"] {
        assert!(!answer.text.contains(forbidden), "{forbidden}: {}", answer.text);
    }
}

#[track_caller]
fn sent_on(answer: &Answer, path: &str) {
    assert_eq!((answer.status, answer.header("location")), (303, path), "{}", answer.text);
}

#[track_caller]
fn says(answer: &Answer, texts: &[&str], not: &[&str]) {
    for text in texts {
        assert!(answer.text.contains(text), "{text} is missing in {}", answer.text);
    }
    for text in not {
        assert!(!answer.text.contains(text), "{text} is in {}", answer.text);
    }
}

/// The account `ci` with a key `default`: its path, the path of the key, and the key.
async fn account(app: &TestApp) -> (String, String, String) {
    let made = app.admin_client().post("/api/v1/service_accounts", &json!({ "name": "ci", "default_key": true })).await.expect(201);
    let path = format!("/service-accounts/{}", made["id"].as_str().unwrap());
    (path.clone(), format!("{path}/keys/{}", made["api_key_id"].as_str().unwrap()), made["key"].as_str().unwrap().to_owned())
}

async fn keys(admin: &Client) -> Vec<Value> {
    admin.get("/api/v1/service_accounts/ci/api_keys").await.expect(200)["items"].as_array().unwrap().clone()
}

/// The key that a page shows.
#[track_caller]
fn shown(answer: &Answer) -> String {
    let (_, rest) = answer.text.split_once("<code>hp_live_").unwrap();
    format!("hp_live_{}", rest.split_once('<').unwrap().0)
}

/// The hidden field of the form for a rotation.
async fn of(admin: &Client, key: &str) -> String {
    let form = admin.get(&format!("{key}/rotate")).await;
    page(&form, 200);
    let (_, rest) = form.text.split_once("name=\"of\" value=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

async fn works(app: &TestApp, key: &str) -> u16 {
    app.anyone().login(key).await.status
}

on_both_engines! {
    async fn an_account_is_shown_with_all_that_is_its(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (path, key, raw) = account(&app).await;
        let claims = json!({ "https://example.com/tier": SCRIPT });
        let change = json!({ "description": SCRIPT, "labels": { "team": SCRIPT }, "claims": claims });
        admin.patch("/api/v1/service_accounts/ci", &change).await.expect(200);
        admin.post("/api/v1/teams", &json!({ "name": SCRIPT })).await.expect(201);
        admin.post(&format!("/api/v1/teams/{}/members", "%3Cscript%3Ealert(1)%3C%2Fscript%3E"), &json!({ "service_account": "ci" })).await.expect(201);
        admin.post("/api/v1/role_assignments", &json!({ "role": "Workspace Viewer", "service_account": "ci", "workspace": "default" })).await.expect(201);
        admin.post("/api/v1/role_assignments", &json!({ "permissions": ["nodes.read"], "team": SCRIPT })).await.expect(201);
        let used = app.anyone().request(reqwest::Method::POST, "/auth/login").header("user-agent", format!("{SCRIPT}/1.0")).form(&[("password", &raw)]);
        assert_eq!(Answer::of(used).await.status, 200);
        app.upkeep.flush(true).await.unwrap();
        let whole = admin.get(&path).await;
        page(&whole, 200);
        let id = path.rsplit('/').next().unwrap();
        let texts = ["BOT", "Active", "127.0.0.1", "Workspace Viewer", "Workspace default", "nodes.read", "Whole organization", "&#60;script&#62;", "asked for a token for",
            "made the API key", "https://example.com/tier", &format!("/audit?actor={id}"), "role-assignments/new?service_account=", "Exchanges"];
        says(&whole, &texts, &["No keys yet"]);
        for link in ["/edit", "/end-tokens", "/deactivate", "/delete", "/keys/new", "/teams/new"] {
            assert!(whole.text.contains(&format!("href=\"{path}{link}\"")), "{link}");
        }
        for link in ["/rotate", "/deactivate", "/delete", "/edit", "/end-tokens", "/compromised"] {
            assert!(whole.text.contains(&format!("href=\"{key}{link}\"")), "{link}");
        }
        // By its name, too.
        page(&admin.get("/service-accounts/ci").await, 200);
        let bare = admin.post("/api/v1/service_accounts", &json!({ "name": "bare" })).await.expect(201);
        let bare = admin.get(&format!("/service-accounts/{}", bare["id"].as_str().unwrap())).await;
        says(&bare, &["No keys yet", "It holds nothing itself, and nothing through teams", "It is in no team"], &[]);
    }

    async fn what_was_done_is_found_after_a_renaming(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (path, _, raw) = account(&app).await;
        app.anyone().login(&raw).await.expect(200);
        admin.patch("/api/v1/service_accounts/ci", &json!({ "name": "deployer" })).await.expect(200);
        let user = admin.post("/api/v1/users", &json!({ "email": "old@example.com", "password": "correct horse battery" })).await.expect(201);
        admin.patch("/api/v1/users/old@example.com", &json!({ "email": "new@example.com" })).await.expect(200);
        let person = format!("/people/{}", user["id"].as_str().unwrap());
        for (path, link, told) in [(&path, "actor", "asked for a token for"), (&path, "target", "made the service account"), (&person, "target", "old@example.com")] {
            let shown = admin.get(path).await;
            let (_, rest) = shown.text.split_once(&format!("href=\"/audit?{link}=")).unwrap();
            let found = admin.get(&format!("/audit?{link}={}", rest.split_once('"').unwrap().0)).await;
            page(&found, 200);
            says(&found, &[told], &["Nothing found"]);
        }
    }

    async fn an_account_is_edited(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (path, _, _) = account(&app).await;
        let edit = format!("{path}/edit");
        let form = [("name", "deployer"), ("description", "deploys"), ("labels", "team=data\r\nstage = live"), ("claims", "{\"https://example.com/tier\": 1}")];
        sent_on(&admin.post_form(&edit, &form).await, &format!("{path}?notice=saved"));
        let now = admin.get("/api/v1/service_accounts/deployer").await.expect(200);
        assert_eq!((&now["description"], &now["labels"]), (&json!("deploys"), &json!({ "team": "data", "stage": "live" })));
        assert_eq!(now["claims"], json!({ "https://example.com/tier": 1 }));
        let form = admin.get(&edit).await;
        page(&form, 200);
        says(&form, &["stage=live\nteam=data", "deployer"], &[]);
        for (field, value, status, text) in [
            ("name", " ", 422, "Must not be empty"),
            ("name", "bootstrap", 409, "Is taken"),
            ("labels", "team", 422, "Must be name=value"),
            ("labels", "a b=c", 422, "Has a name that is not"),
            ("claims", "[1]", 422, "Must be a JSON object"),
            ("claims", "{\"sub\": 1}", 422, "only Hourpass sets"),
        ] {
            let mut form = vec![("name", "deployer"), ("labels", ""), ("claims", "")];
            form.retain(|(name, _)| *name != field);
            form.push((field, value));
            let again = admin.post_form(&edit, &form).await;
            page(&again, status);
            says(&again, &[text, "role=\"alert\""], &[]);
        }
        sent_on(&admin.post_form(&edit, &[("name", "deployer"), ("description", ""), ("labels", ""), ("claims", "")]).await, &format!("{path}?notice=saved"));
        let now = admin.get("/api/v1/service_accounts/deployer").await.expect(200);
        assert_eq!((&now["labels"], &now["claims"], &now["description"]), (&json!({}), &json!({}), &json!("")));
    }

    async fn an_account_is_stopped_and_deleted(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (path, _, key) = account(&app).await;
        let quiet = admin.get(&format!("{path}/deactivate")).await;
        page(&quiet, 200);
        says(&quiet, &["No exchanges in the last 24 hours", "Deactivate ci</button>", "<span class=\"chip\">default</span>"], &[]);
        let token = app.anyone().login(&key).await.token();
        app.upkeep.flush(true).await.unwrap();
        for ending in ["deactivate", "end-tokens", "delete"] {
            let asked = admin.get(&format!("{path}/{ending}")).await;
            page(&asked, 200);
            says(&asked, &["It is in use", "1 exchange from 1 address<", "Hourpass itself", "127.0.0.1"], &[]);
        }
        sent_on(&admin.post_form(&format!("{path}/end-tokens"), &[]).await, &format!("{path}?notice=revoked"));
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 401);
        assert_eq!(works(&app, &key).await, 200);
        sent_on(&admin.post_form(&format!("{path}/deactivate"), &[]).await, &format!("{path}?notice=deactivated"));
        assert_eq!(works(&app, &key).await, 401);
        let off = admin.get(&format!("{path}?notice=deactivated")).await;
        says(&off, &["This account is deactivated", "Its keys and tokens count no more", &format!("action=\"{path}/activate\"")], &["/keys/new", "/rotate"]);
        // One cannot be made for it, either.
        let refused = admin.post_form(&format!("{path}/keys/new"), &[("name", "x"), ("expires", "30")]).await;
        page(&refused, 409);
        sent_on(&admin.post_form(&format!("{path}/activate"), &[]).await, &format!("{path}?notice=activated"));
        assert_eq!(works(&app, &key).await, 200);
        sent_on(&admin.post_form(&format!("{path}/delete"), &[]).await, "/service-accounts?notice=deleted");
        assert_eq!(works(&app, &key).await, 401);
        page(&admin.get(&path).await, 404);
        page(&admin.post_form(&format!("{path}/delete"), &[]).await, 404);
    }

    async fn keys_are_made_and_imported(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (path, _, _) = account(&app).await;
        let offered = admin.get(&format!("{path}/keys/new")).await;
        page(&offered, 200);
        says(&offered, &["Create API key", "/keys/import"], &[]);
        let made = admin.post_form(&format!("{path}/keys/new"), &[("name", "deploy"), ("expires", "60")]).await;
        page(&made, 201);
        assert_eq!(works(&app, &shown(&made)).await, 200);
        // The time stands still, so that they are in any order.
        assert!(keys(&admin).await.iter().any(|key| key["name"] == "deploy" && key["expires_at"] == "2026-03-02T00:00:00Z"));
        // The form sent again makes no second one.
        page(&admin.post_form(&format!("{path}/keys/new"), &[("name", "deploy"), ("expires", "60")]).await, 409);
        for (form, text) in [
            ([("name", ""), ("expires", "30")], "Must not be empty"),
            ([("name", "a"), ("expires", "custom")], "Must be a number of days"),
            ([("name", SCRIPT), ("expires", "custom")], "Must be a number of days"),
        ] {
            let again = admin.post_form(&format!("{path}/keys/new"), &form).await;
            page(&again, 422);
            says(&again, &[text], &[]);
        }
        let old = "vf_live_0123456789abcdef0123456789abcdef0123456789abcdef";
        let hash = "21659bdd49ad74b4f595e61c3065b42cdccc6ede192e0e1eed8d4b39eb859376";
        page(&admin.get(&format!("{path}/keys/import")).await, 200);
        let form = [("name", "moved"), ("sha256", hash), ("hint", "vf_live_0123"), ("expires", "never")];
        sent_on(&admin.post_form(&format!("{path}/keys/import"), &form).await, &format!("{path}?notice=imported"));
        assert_eq!(works(&app, old).await, 200);
        says(&admin.get(&path).await, &["<code>vf_live_0123</code>"], &[]);
        for (field, value, status, text) in
            [("sha256", "xyz", 422, "64 hexadecimal digits"), ("hint", "much-too-long-hint", 422, "At most 12"), ("name", "again", 409, "known already")]
        {
            let mut form = vec![("name", "other"), ("sha256", hash), ("expires", "30")];
            form.retain(|(name, _)| *name != field);
            form.push((field, value));
            let again = admin.post_form(&format!("{path}/keys/import"), &form).await;
            page(&again, status);
            assert!(again.text.to_lowercase().contains(&text.to_lowercase()), "{text}: {}", again.text);
        }
    }

    async fn a_key_is_rotated_and_its_old_value_ended(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (path, key, first) = account(&app).await;
        let value = of(&admin, &key).await;
        let form = [("of", value.as_str()), ("retain", "60"), ("expires", "")];
        let rotated = admin.post_form(&format!("{key}/rotate"), &form).await;
        page(&rotated, 200);
        let second = shown(&rotated);
        says(&rotated, &["Your new API key", "in 1 hour"], &[&first]);
        assert_eq!((works(&app, &first).await, works(&app, &second).await), (200, 200));
        // The form sent again does not rotate away what was just copied.
        let again = admin.post_form(&format!("{key}/rotate"), &form).await;
        page(&again, 409);
        says(&again, &["This key has another value already: perhaps this form was sent twice.", "Rotating again ends it now"], &[]);
        assert_eq!((works(&app, &first).await, works(&app, &second).await), (200, 200));
        app.upkeep.flush(true).await.unwrap();
        let account = admin.get(&path).await;
        says(&account, &["The old value <code>", "was last used", &format!("{key}/retained#end")], &[]);
        // More time, and never beyond what the server allows.
        page(&admin.get(&format!("{key}/retained")).await, 200);
        sent_on(&admin.post_form(&format!("{key}/retained"), &[("retain", "1440")]).await, &format!("{path}?notice=old_extended"));
        assert_eq!(keys(&admin).await[0]["retained_until"], "2026-01-02T00:00:00Z");
        let custom = [("retain", "custom"), ("retain_minutes", "90")];
        sent_on(&admin.post_form(&format!("{key}/retained"), &custom).await, &format!("{path}?notice=old_extended"));
        assert_eq!(keys(&admin).await[0]["retained_until"], "2026-01-01T01:30:00Z");
        for form in [[("retain", "custom"), ("retain_minutes", "99999999")], [("retain", "custom"), ("retain_minutes", "x")], [("retain", "-1"), ("retain_minutes", "")]] {
            let again = admin.post_form(&format!("{key}/retained"), &form).await;
            page(&again, 422);
            says(&again, &["Must be a number of minutes from 0 to 43200"], &[]);
            page(&admin.post_form(&format!("{key}/rotate"), &form).await, 422);
        }
        sent_on(&admin.post_form(&format!("{key}/retained"), &[("retain", "0")]).await, &format!("{path}?notice=old_ended"));
        assert_eq!((works(&app, &first).await, works(&app, &second).await), (401, 200));
        says(&admin.get(&path).await, &[], &["The old value"]);
        let nothing = admin.get(&format!("{key}/retained")).await;
        says(&nothing, &["There is no old value that still works"], &["<form method=\"post\" class"]);
        page(&admin.post_form(&format!("{key}/retained"), &[("retain", "60")]).await, 409);
        // Without retention the old value ends with the rotation.
        let value = of(&admin, &key).await;
        let third = admin.post_form(&format!("{key}/rotate"), &[("of", value.as_str()), ("retain", "0"), ("expires", "30")]).await;
        page(&third, 200);
        says(&third, &["works no more"], &[]);
        assert_eq!((works(&app, &second).await, works(&app, &shown(&third)).await), (401, 200));
        assert_eq!(keys(&admin).await[0]["expires_at"], "2026-01-31T00:00:00Z");
    }

    async fn a_key_is_changed_and_ended(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (path, key, raw) = account(&app).await;
        page(&admin.get(&format!("{key}/edit")).await, 200);
        sent_on(&admin.post_form(&format!("{key}/edit"), &[("name", "main"), ("expires", "30")]).await, &format!("{path}?notice=saved"));
        let now = keys(&admin).await;
        assert_eq!((&now[0]["name"], &now[0]["expires_at"]), (&json!("main"), &json!("2026-01-31T00:00:00Z")));
        says(&admin.get(&path).await, &["Expires soon"], &[]);
        sent_on(&admin.post_form(&format!("{key}/edit"), &[("name", "main"), ("expires", "never")]).await, &format!("{path}?notice=saved"));
        sent_on(&admin.post_form(&format!("{key}/edit"), &[("name", "main"), ("expires", "")]).await, &format!("{path}?notice=saved"));
        assert_eq!(keys(&admin).await[0]["expires_at"], Value::Null);
        page(&admin.post_form(&format!("{key}/edit"), &[("name", " "), ("expires", "")]).await, 422);
        let token = app.anyone().login(&raw).await.token();
        for ending in ["deactivate", "end-tokens", "compromised", "delete"] {
            let asked = admin.get(&format!("{key}/{ending}")).await;
            page(&asked, 200);
            says(&asked, &["main", "It is in use"], &[]);
        }
        sent_on(&admin.post_form(&format!("{key}/end-tokens"), &[]).await, &format!("{path}?notice=revoked"));
        assert_eq!((app.anyone().with(&token).get("/users/me").await.status, works(&app, &raw).await), (401, 200));
        sent_on(&admin.post_form(&format!("{key}/deactivate"), &[]).await, &format!("{path}?notice=key_deactivated"));
        assert_eq!(works(&app, &raw).await, 401);
        says(&admin.get(&path).await, &["Deactivated", &format!("action=\"{key}/activate\"")], &[&format!("{key}/rotate")]);
        sent_on(&admin.post_form(&format!("{key}/activate"), &[]).await, &format!("{path}?notice=activated"));
        assert_eq!(works(&app, &raw).await, 200);
        sent_on(&admin.post_form(&format!("{key}/compromised"), &[]).await, &format!("{path}?notice=compromised"));
        says(&admin.get(&path).await, &["Compromised"], &[&format!("{key}/activate"), &format!("{key}/compromised")]);
        page(&admin.post_form(&format!("{key}/activate"), &[]).await, 409);
        sent_on(&admin.post_form(&format!("{key}/delete"), &[]).await, &format!("{path}?notice=key_deleted"));
        assert!(keys(&admin).await.is_empty());
        page(&admin.get(&format!("{key}/edit")).await, 404);
    }

    async fn an_account_joins_and_leaves_teams(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (path, _, _) = account(&app).await;
        says(&admin.get(&format!("{path}/teams/new")).await, &["No team to add it to"], &[]);
        let team = admin.post("/api/v1/teams", &json!({ "name": "data" })).await.expect(201);
        let team = team["id"].as_str().unwrap();
        let powers = admin.post("/api/v1/teams", &json!({ "name": "powers" })).await.expect(201);
        admin.post("/api/v1/role_assignments", &json!({ "role": "Organization Admin", "team": "powers" })).await.expect(201);
        let offered = admin.get(&format!("{path}/teams/new")).await;
        page(&offered, 200);
        says(&offered, &[">data</option>", ">powers</option>"], &[]);
        page(&admin.post_form(&format!("{path}/teams/new"), &[("team", "")]).await, 422);
        page(&admin.post_form(&format!("{path}/teams/new"), &[("team", "gone")]).await, 422);
        sent_on(&admin.post_form(&format!("{path}/teams/new"), &[("team", team)]).await, &format!("{path}?notice=added"));
        page(&admin.post_form(&format!("{path}/teams/new"), &[("team", team)]).await, 409);
        says(&admin.get(&path).await, &[&format!("/teams/{team}/remove")], &[]);
        // Nobody is offered a team that may do more than they.
        let limited = app.anyone().with(&app.issue_key("default", "limited", &[], None).await);
        let permissions = ["teams.manage", "teams.read", "service_accounts.read"];
        admin.post("/api/v1/role_assignments", &json!({ "service_account": "limited", "permissions": permissions })).await.expect(201);
        says(&limited.get(&format!("{path}/teams/new")).await, &["No team to add it to"], &["powers"]);
        let refused = limited.post_form(&format!("{path}/teams/new"), &[("team", powers["id"].as_str().unwrap())]).await;
        page(&refused, 403);
        let asked = admin.get(&format!("{path}/teams/{team}/remove")).await;
        page(&asked, 200);
        says(&asked, &["Remove ci from data?"], &[]);
        sent_on(&admin.post_form(&format!("{path}/teams/{team}/remove"), &[]).await, &format!("{path}?notice=removed"));
        says(&admin.get(&path).await, &["It is in no team"], &[]);
        page(&admin.post_form(&format!("{path}/teams/{team}/remove"), &[]).await, 404);
    }

    async fn what_a_visitor_may_not_do_is_not_offered(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (path, key, raw) = account(&app).await;
        let reader = app.anyone().with(&app.issue_key("default", "reader", &[], None).await);
        admin.post("/api/v1/role_assignments", &json!({ "service_account": "reader", "permissions": ["service_accounts.read"] })).await.expect(201);
        let seen = reader.get(&path).await;
        page(&seen, 200);
        says(&seen, &["default", "Exchanges"], &["/edit\"", "/delete", "/keys/new", "Roles and permissions", "Teams</h2>", "Activity", "method=\"post\" action=\"/service"]);
        for own in ["edit", "deactivate", "activate", "end-tokens", "delete", "keys/new", "keys/import"] {
            page(&reader.post_form(&format!("{path}/{own}"), &[("name", "x")]).await, 403);
        }
        for own in ["rotate", "retained", "edit", "deactivate", "activate", "end-tokens", "compromised", "delete"] {
            page(&reader.post_form(&format!("{key}/{own}"), &[("name", "x"), ("retain", "0")]).await, 403);
        }
        assert_eq!(works(&app, &raw).await, 200);
        // Who may less than the account, ends its keys and gives it none.
        admin.post("/api/v1/role_assignments", &json!({ "service_account": "ci", "role": "Organization Admin" })).await.expect(201);
        let permissions = ["service_accounts.manage", "api_keys.manage"];
        admin.post("/api/v1/role_assignments", &json!({ "service_account": "reader", "permissions": permissions })).await.expect(201);
        let seen = reader.get(&path).await;
        says(&seen, &[&format!("{key}/deactivate"), &format!("{path}/deactivate")], &["/rotate", "/keys/new"]);
        page(&reader.post_form(&format!("{path}/keys/new"), &[("name", "x"), ("expires", "30")]).await, 403);
        page(&reader.post_form(&format!("{key}/rotate"), &[("retain", "0")]).await, 403);
        sent_on(&reader.post_form(&format!("{key}/deactivate"), &[]).await, &format!("{path}?notice=key_deactivated"));
        says(&reader.get(&path).await, &[], &[&format!("{key}/activate")]);
        page(&reader.post_form(&format!("{key}/activate"), &[]).await, 403);
        // In another organization none of it is there.
        app.create_organization("other").await;
        let stranger = app.anyone().with(&app.issue_key("other", "stranger", &["organization-admin"], None).await);
        page(&stranger.get(&path).await, 404);
        for own in ["edit", "deactivate", "activate", "end-tokens", "delete", "keys/new", "keys/import", "teams/new"] {
            page(&stranger.post_form(&format!("{path}/{own}"), &[("name", "x")]).await, 404);
        }
        for own in ["rotate", "retained", "edit", "deactivate", "activate", "end-tokens", "compromised", "delete"] {
            page(&stranger.post_form(&format!("{key}/{own}"), &[("name", "x"), ("retain", "0")]).await, 404);
        }
    }

    async fn the_notice_says_how_many_servers_know(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (path, _, _) = account(&app).await;
        let shown = app.admin_client().get(&format!("{path}?notice=deactivated&confirmed=2&servers=2")).await;
        says(&shown, &["2 of 2 servers confirmed it."], &[]);
        says(&app.admin_client().get(&format!("{path}?notice=deactivated&confirmed=all&servers=2")).await, &[], &["servers confirmed"]);
    }
}
