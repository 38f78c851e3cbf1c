//! Pages: who is let in, what they hold, and what their forms do. What a browser makes of them is tested in a browser.

mod access;
mod accounts;
mod changes;
mod links;
mod records;

use hourpass::http::{Needs, PAGES};
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Client, TestApp, on_both_engines};

/// The fields of a form, and the status and the text of the answer.
type Case = (&'static [(&'static str, &'static str)], u16, &'static str);

fn lacks(answer: &Answer, text: &str) -> bool {
    !answer.text.contains(text)
}

#[track_caller]
fn page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    assert_eq!(answer.header("referrer-policy"), "same-origin");
    for forbidden in ["<style", " style=", "<script>", " onclick=", "javascript:"] {
        assert!(lacks(answer, forbidden), "{forbidden}");
    }
}

async fn visit(client: &Client, method: &str, path: &str) -> Answer {
    let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
    Answer::of(if method == "POST" { request.form(&[("x", "y")]) } else { request }).await
}

on_both_engines! {
    async fn each_page_needs_what_the_table_says(engine: Engine) {
        let app = TestApp::start(engine).await;
        let nobody = app.anyone().with(&app.issue_key("default", "nobody", &[], None).await);
        for spec in PAGES.iter().filter(|spec| spec.needs != Needs::Nothing) {
            let path = spec.path.replace(['{', '}'], "");
            let about = format!("{} {}", spec.method, spec.path);
            for client in [app.anyone(), app.anyone().with("hp_live_x")] {
                let answer = visit(&client, spec.method, &path).await;
                assert_eq!(answer.status, 303, "{about}");
                assert!(answer.header("location").starts_with("/sign-in?next=%2F"), "{about}");
            }
            if let Needs::Permission(permission) = &spec.needs {
                let refused = visit(&nobody, spec.method, &path).await;
                page(&refused, 403);
                assert!(refused.text.contains(permission.as_str()) && refused.text.contains(refused.header("x-request-id")), "{about}");
            }
        }
    }

    async fn accounts_are_found(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for (name, days) in [("CI-deploy", Some(10)), ("ci-test", Some(80)), ("backup_%", None)] {
            let body = json!({ "name": name, "description": "<b>bold</b>", "default_key": true, "expires_in_days": days });
            admin.post("/api/v1/service_accounts", &body).await.expect(201);
        }
        admin.patch("/api/v1/service_accounts/ci-test", &json!({ "active": false })).await.expect(200);
        admin.post("/api/v1/role_assignments", &json!({ "role": "Workspace Viewer", "service_account": "CI-deploy", "workspace": "default" })).await.expect(201);
        let found = async |query: &str| {
            let answer = admin.get(&format!("/service-accounts{query}")).await;
            page(&answer, 200);
            assert!(lacks(&answer, "<b>bold"));
            ["bootstrap", "CI-deploy", "ci-test", "backup_%"].into_iter().filter(|name| answer.text.contains(&format!("\">{name}</a>"))).collect::<Vec<_>>()
        };
        assert_eq!(found("").await, ["bootstrap", "CI-deploy", "ci-test", "backup_%"]);
        assert_eq!(found("?search=ci-").await, ["CI-deploy", "ci-test"]);
        assert_eq!(found("?search=%25").await, ["backup_%"]);
        assert_eq!(found("?search=_%25").await, ["backup_%"]);
        assert_eq!(found("?search=CI&show=inactive").await, ["ci-test"]);
        assert_eq!(found("?show=expiring").await, ["CI-deploy"]);
        app.upkeep.flush(true).await.unwrap();
        assert_eq!(found("?search=zzz").await, [""; 0]);
        let api = admin.get("/api/v1/service_accounts?search=DEPLOY").await.expect(200);
        assert_eq!((api["items"].as_array().unwrap().len(), &api["items"][0]["name"]), (1, &json!("CI-deploy")));
        assert!(admin.get("/service-accounts").await.text.contains("<span class=\"chip\">default</span>"));
    }

    async fn accounts_that_need_a_look_are_counted_and_listed_alike(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let make = async |name: &str, days: &[u16]| {
            admin.post("/api/v1/service_accounts", &json!({ "name": name })).await.expect(201);
            for days in days {
                let key = json!({ "name": format!("in {days} days"), "expires_in_days": days });
                admin.post(&format!("/api/v1/service_accounts/{name}/api_keys"), &key).await.expect(201);
            }
        };
        // What each of the two says: the number on the overview, and the names in the list.
        let looked = async |show: &str, label: &str| {
            let (overview, list) = (admin.get("/").await, admin.get(&format!("/service-accounts?show={show}")).await);
            page(&list, 200);
            let (before, _) = overview.text.split_once(&format!("</b><span>{label}")).unwrap();
            let count: usize = before.rsplit_once("<b>").unwrap().1.parse().unwrap();
            let names: Vec<_> = ["bootstrap", "dead", "both", "late"].into_iter().filter(|name| list.text.contains(&format!("\">{name}</a>"))).collect();
            assert_eq!(count, names.len(), "{show}: {names:?}");
            (names, list.text)
        };
        let (unused, expiring) = (async || looked("unused", "unused for 90 days").await, async || looked("expiring", "with a key that expires").await);
        make("dead", &[10]).await;
        make("both", &[10, 50]).await;
        assert_eq!(unused().await.0, [""; 0]);
        let (names, text) = expiring().await;
        assert_eq!((names, text.contains("in 10 days")), (vec!["dead", "both"], true));
        // One has expired, and hides neither itself nor the next.
        app.clock.advance_seconds(30 * 86_400);
        let (names, text) = expiring().await;
        assert_eq!((names, text.contains("in 20 days"), text.contains("Expired")), (vec!["both"], true, false));
        let all = admin.get("/service-accounts?search=dead").await;
        assert!(all.text.contains("Expired"), "{}", all.text);
        app.clock.advance_seconds(61 * 86_400);
        make("late", &[]).await;
        // Whoever looks is using their own.
        app.upkeep.flush(true).await.unwrap();
        assert_eq!(unused().await.0, ["dead", "both"]);
        assert_eq!(expiring().await.0, [""; 0]);
        // The filter of the API is as it was.
        let api = admin.get("/api/v1/service_accounts?unused_since=2026-01-02T00:00:00Z").await.expect(200);
        assert_eq!(api["items"].as_array().unwrap().len(), 3);
    }

    async fn a_list_has_pages(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for number in 0..50 {
            admin.post("/api/v1/service_accounts", &json!({ "name": format!("ci-{number}") })).await.expect(201);
        }
        let first = admin.get("/service-accounts?search=ci").await;
        assert!(lacks(&first, "rel=\"next\""));
        let first = admin.get("/service-accounts").await;
        let (_, rest) = first.text.split_once("href=\"/service-accounts?cursor=").unwrap();
        let second = admin.get(&format!("/service-accounts?cursor={}", rest.split_once('"').unwrap().0)).await;
        page(&second, 200);
        // The time stands still, so that they are in any order.
        let rows = |answer: &Answer| answer.text.matches("<td class=\"lead\">").count();
        assert_eq!((rows(&first), rows(&second)), (50, 1));
        assert!(second.text.contains("First page") && lacks(&second, "rel=\"next\""));
    }

    async fn an_account_is_made_with_its_key_and_access(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let form = [("name", "ci"), ("description", "deploys"), ("access", "permissions"), ("workspace", "default"), ("permissions", "nodes.read"),
            ("permissions", "secrets.read"), ("default_key", "true"), ("expires", "30")];
        let made = admin.post_form("/service-accounts/new", &form).await;
        page(&made, 201);
        let (_, rest) = made.text.split_once("<code>hp_live_").unwrap();
        let key = format!("hp_live_{}", rest.split_once('<').unwrap().0);
        assert_eq!(app.anyone().with(&key).get("/users/me").await.expect(200)["name"], "ci");
        let token = app.anyone().post_form("/auth/login", &[("password", &key), ("workspace", "default")]).await.expect(200);
        assert_eq!(crate::support::claims(token["access_token"].as_str().unwrap())["scope"], "nodes.read secrets.read");
        assert_eq!(admin.get("/api/v1/service_accounts/ci/api_keys").await.expect(200)["items"][0]["expires_at"], "2026-01-31T00:00:00Z");
        // Without a key one goes on to the account.
        let without = admin.post_form("/service-accounts/new", &[("name", "other"), ("access", "role"), ("role", "Workspace Viewer"), ("workspace", "default")]).await;
        assert_eq!(without.status, 303);
        assert!(without.header("location").starts_with("/service-accounts/") && without.header("location").ends_with("?notice=created"));
        let given = admin.get("/api/v1/role_assignments?service_account=other").await.expect(200);
        assert_eq!((&given["items"][0]["role"], &given["items"][0]["workspace"]), (&json!("Workspace Viewer"), &json!("default")));
    }

    async fn a_form_with_mistakes_is_shown_again(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.patch("/api/v1/organizations/default", &json!({ "api_key_max_days": 60 })).await.expect(200);
        let offered = admin.get("/service-accounts/new").await;
        page(&offered, 200);
        assert!(offered.text.contains("at most 60 days") && lacks(&offered, "value=\"90\"") && lacks(&offered, "value=\"never\""));
        let cases: &[Case] = &[
            (&[("name", " "), ("description", "<i>x</i>")], 422, "Must not be empty."),
            (&[("name", "bootstrap"), ("description", "<i>x</i>")], 409, "Is taken; choose another."),
            (&[("name", "a"), ("default_key", "true"), ("expires", "90")], 422, "Must be at most 60"),
            (&[("name", "a"), ("default_key", "true"), ("expires", "never")], 422, "keys that never expire are not allowed"),
            (&[("name", "a"), ("default_key", "true"), ("expires", "custom"), ("expires_in_days", "x")], 422, "Must be a number of days"),
            (&[("name", "a"), ("access", "permissions"), ("workspace", "default")], 422, "Must be chosen: at least one."),
            (&[("name", "a"), ("access", "permissions"), ("permissions", "nodes.read")], 422, "Workspace must be chosen."),
            (&[("name", "a"), ("access", "role")], 422, "Must be chosen."),
            (&[("name", "a"), ("access", "role"), ("role", "Workspace Viewer")], 422, "name the workspace"),
            (&[("name", "a"), ("access", "role"), ("role", "Workspace Viewer"), ("workspace", "gone")], 422, "There is no workspace gone"),
        ];
        for (form, status, text) in cases {
            let again = admin.post_form("/service-accounts/new", form).await;
            page(&again, *status);
            assert!(again.text.contains(text) && again.text.contains("role=\"alert\"") && lacks(&again, "<i>x"), "{text}: {}", again.text);
            assert!(again.text.contains(&format!("value=\"{}\"", form[0].1)), "{text}");
        }
        assert_eq!(admin.get("/api/v1/service_accounts").await.expect(200)["items"].as_array().unwrap().len(), 1);
        let keys_only = app.anyone().with(&app.issue_key("default", "limited", &[], None).await);
        admin.post("/api/v1/role_assignments", &json!({ "service_account": "limited", "permissions": ["service_accounts.manage"] })).await.expect(201);
        let offered = keys_only.get("/service-accounts/new").await;
        page(&offered, 200);
        assert!(lacks(&offered, "default_key") && lacks(&offered, "name=\"access\""));
        page(&keys_only.post_form("/service-accounts/new", &[("name", "b"), ("default_key", "true"), ("expires", "30")]).await, 403);
        let role = [("name", "b"), ("access", "role"), ("role", "Organization Admin")];
        page(&keys_only.post_form("/service-accounts/new", &role).await, 403);
    }
}

#[tokio::test]
async fn errors_are_pages_where_pages_are_and_problems_elsewhere() {
    let app = TestApp::start(crate::support::Engine::Sqlite).await;
    let html = |path: &str| app.admin_client().request(Method::GET, path).header("accept", "text/html,*/*;q=0.8");
    page(&Answer::of(html("/nowhere")).await, 404);
    page(&app.admin_client().get("/service-accounts/a/b/c/d").await, 404);
    assert_eq!(app.anyone().get("/nowhere").await.problem(), (404, "not_found".to_owned()));
    assert_eq!(Answer::of(html("/api/v1/service_accounts/none")).await.problem(), (404, "not_found".to_owned()));
    let sign_in = app.anyone().get("/sign-in?next=//example.com").await;
    page(&sign_in, 200);
    assert!(sign_in.text.contains("name=\"next\" value=\"/\""));
    assert!(app.anyone().get("/sign-in?next=/teams%3Fa%3Db").await.text.contains("value=\"/teams?a=b\""));
    let (_, rest) = sign_in.text.split_once("href=\"/static/app.css").unwrap();
    let css = app.anyone().get(&format!("/static/app.css{}", rest.split_once('"').unwrap().0)).await;
    assert_eq!((css.status, css.header("content-type")), (200, "text/css; charset=utf-8"));
    assert_eq!(css.header("cache-control"), "public, max-age=31536000, immutable");
}
