//! Every change leaves its event: each route and page of the tables that changes something is used, and the events of that request are those that it has to leave. A new row in a
//! table has to be used here, too. What takes an Idempotency-Key is sent twice: the repeat is answered the same, and leaves no event.

use std::collections::BTreeSet;

use hourpass::domain::audit::Action;
use hourpass::domain::name::Email;
use hourpass::http::{PAGES, ROUTES};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestApp, hourpass, on_both_engines};

const PASSWORD: &str = "correct horse battery";

/// Routes that change nothing that belongs on record.
const NO_CHANGE: &[&str] = &["POST /api/v1/explain"];

/// What the events say of credentials that somebody left behind.
const LEFT_BEHIND: &str = "api_key_ids,api_keys,invitations,old_value_api_key_ids,old_values,passwords,user_ids";

/// Verbs of what is to be done once, however often it is sent.
const ONCE: &[&str] = &["create", "import", "rotate", "invite", "assign", "add_member"];

/// The path in a table that a path is of: the one with the fewest parameters.
fn pattern<'a>(method: &str, path: &str, rows: impl Iterator<Item = (&'static str, &'static str)> + 'a) -> &'static str {
    let path = path.split('?').next().unwrap();
    let fits = |pattern: &str| {
        let (wanted, there): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        wanted.len() == there.len() && wanted.iter().zip(&there).all(|(wanted, there)| wanted == there || wanted.starts_with('{'))
    };
    let fitting = rows.filter(|(of, pattern)| *of == method && fits(pattern)).map(|(_, pattern)| pattern);
    fitting.min_by_key(|pattern| pattern.matches('{').count()).unwrap_or_else(|| panic!("{method} {path} is in no table"))
}

/// `action target_kind/target_name fields of the details`, of an event.
fn written(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let mut fields: Vec<_> = event["details"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    fields.sort_unstable();
    // Their names are random.
    if ["signing_key", "database"].contains(&text("target_kind")) {
        return format!("{} {}", text("action"), fields.join(","));
    }
    let denied = if event["outcome"] == "denied" { " denied" } else { "" };
    format!("{}{denied} {}/{} {}", text("action"), text("target_kind"), text("target_name"), fields.join(","))
}

struct World {
    app: TestApp,
    admin: Client,
    done: BTreeSet<String>,
    actions: BTreeSet<String>,
    wrong: Vec<String>,
    number: u32,
}

impl World {
    async fn events(&self, answer: &Answer) -> Vec<Value> {
        let request = answer.header("x-request-id");
        let found = self.admin.get("/api/v1/audit_events?limit=50").await.expect(200);
        found["items"].as_array().unwrap().iter().filter(|event| event["request_id"] == request).cloned().collect()
    }

    /// Compares the events of a request with those that it has to leave, in any order.
    async fn compare(&mut self, row: String, answer: &Answer, actor: &str, expected: &[&str]) {
        if answer.status >= 400 {
            self.wrong.push(format!("{row}: {} {}", answer.status, answer.text));
        }
        let events = self.events(answer).await;
        let mut found: Vec<_> = events.iter().map(written).collect();
        let mut expected: Vec<_> = expected.iter().map(|event| (*event).to_owned()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        if found != expected {
            self.wrong.push(format!("{row}: left {found:#?} and not {expected:#?}"));
        }
        for event in &events {
            if event["actor_name"] != actor || event["actor_id"].is_null() {
                self.wrong.push(format!("{row}: by {} and not {actor}", event["actor_name"]));
            }
            self.actions.insert(event["action"].as_str().unwrap().to_owned());
        }
        self.done.insert(row);
    }

    fn next_key(&mut self) -> String {
        // Events are in the order of time, which stands still.
        self.app.clock.advance_seconds(1);
        self.number += 1;
        format!("key number {}", self.number)
    }

    /// Uses a route, and returns the body of the answer. What has to be done once is sent twice.
    async fn api(&mut self, who: (&Client, &str), method: &str, path: &str, body: Value, expected: &[&str]) -> Value {
        let key = self.next_key();
        let pattern = pattern(method, path, ROUTES.iter().map(|route| (route.method, route.path)));
        let row = format!("{method} {pattern}");
        let send = async || {
            let request = who.0.request(Method::from_bytes(method.as_bytes()).unwrap(), path).header("idempotency-key", &key);
            Answer::of(if body.is_null() { request } else { request.json(&body) }).await
        };
        let first = send().await;
        self.compare(row.clone(), &first, who.1, expected).await;
        let takes_key = ROUTES.iter().any(|route| route.path == pattern && route.method == method && route.takes_idempotency_key());
        let makes = expected.iter().any(|event| ONCE.contains(&event.split([' ', '.']).nth(1).unwrap()));
        if makes != takes_key {
            self.wrong.push(format!("{row}: makes something: {makes}; takes an Idempotency-Key: {takes_key}"));
        }
        if takes_key {
            let second = send().await;
            let same = (second.status, &second.text, second.header("location")) == (first.status, &first.text, first.header("location"));
            if !same || second.header("idempotency-replayed") != "true" || !self.events(&second).await.is_empty() {
                self.wrong.push(format!("{row}: the repeat is answered with {second:?}, and the first was with {first:?}"));
            }
        }
        serde_json::from_str(&first.text).unwrap_or_default()
    }

    /// Sends the form of a page. What has to be done once is sent twice.
    async fn page(&mut self, who: (&Client, &str), path: &str, fields: &[(&str, &str)], expected: &[&str]) -> Answer {
        let key = self.next_key();
        let row = format!("POST {}", pattern("POST", path, PAGES.iter().map(|page| (page.method, page.path))));
        let makes = expected.iter().any(|event| ONCE.contains(&event.split([' ', '.']).nth(1).unwrap()));
        let once = [("idempotency_key", key.as_str())];
        let fields = if makes { [fields, &once].concat() } else { fields.to_vec() };
        if makes {
            let form = match path {
                "/signing-keys/ES256/rotate" => "/signing-keys",
                path => path.strip_suffix("/members").unwrap_or(path),
            };
            let (form, action) = (who.0.get(form).await.text, path.rsplit('/').next().unwrap());
            // The form of this path, or the only one beside that of the frame, which signs out.
            let of_path = form
                .split("<form ")
                .skip(2)
                .find(|form| form.split('>').next().unwrap().contains(action) || !form.split('>').next().unwrap().contains("action="));
            if !of_path.is_some_and(|form| form.split("</form>").next().unwrap().contains("name=\"idempotency_key\"")) {
                self.wrong.push(format!("{row}: its form has no idempotency_key"));
            }
        }
        let first = who.0.post_form(path, &fields).await;
        self.compare(row.clone(), &first, who.1, expected).await;
        if makes {
            let second = who.0.post_form(path, &fields).await;
            let same = (second.status, &second.text, second.header("location")) == (first.status, &first.text, first.header("location"));
            if !same || !self.events(&second).await.is_empty() {
                self.wrong.push(format!("{row}: the repeat is answered with {second:?}, and the first was with {first:?}"));
            }
        }
        first
    }

    /// Events that belong to no request.
    async fn beside(&mut self, expected: &str) {
        let action = expected.split(' ').next().unwrap();
        let found = self.admin.get(&format!("/api/v1/audit_events?action={action}&limit=1")).await.expect(200);
        let found = found["items"].as_array().unwrap().first().map(written).unwrap_or_default();
        if found != expected {
            self.wrong.push(format!("{action}: left {found:?} and not {expected:?}"));
        }
        self.actions.insert(action.to_owned());
    }

    async fn id(&self, path: &str) -> String {
        self.admin.get(path).await.expect(200)["id"].as_str().unwrap().to_owned()
    }
}

/// A person who signed in with a browser, and without one.
async fn signed_in(app: &TestApp, email: &str, password: &str) -> (Client, Client) {
    let browser = app.anyone().browser();
    let form = [("username", email), ("password", password)];
    let answer = browser.post_form("/auth/login", &form).await;
    (browser.keeping(&answer), app.anyone().with(&app.anyone().post_form("/auth/login", &form).await.token()))
}

async fn world(engine: crate::support::Engine) -> World {
    let app = TestApp::start(engine).await;
    // Who may do everything, also what concerns the whole platform.
    let key = app.issue_key("default", "boss", &["organization-admin", "platform-admin"], None).await;
    let admin = app.anyone().with(&key);
    World { app, admin, done: BTreeSet::new(), actions: BTreeSet::new(), wrong: Vec::new(), number: 0 }
}

#[expect(clippy::too_many_lines, reason = "it has a line for each route")]
async fn use_routes(w: &mut World) {
    let admin = w.admin.clone();
    let boss = (&admin, "boss");
    let v1 = |path: &str| format!("/api/v1/{path}");
    // Organizations. What happens in the new one is on record there.
    w.api(
        boss,
        "POST",
        &v1("organizations"),
        json!({ "slug": "acme", "admin_email": "first@example.com" }),
        &["organization.create organization/acme name,slug"],
    )
    .await;
    w.api(
        boss,
        "PATCH",
        &v1("organizations/default"),
        json!({ "name": "Acme Corp", "api_key_max_days": 900 }),
        &["organization.update organization/default api_key_max_days,name"],
    )
    .await;
    w.api(boss, "DELETE", &v1("organizations/acme"), Value::Null, &["organization.delete organization/acme name,slug"]).await;
    // Workspaces and projects.
    w.api(
        boss,
        "POST",
        &v1("workspaces"),
        json!({ "slug": "ml" }),
        &["workspace.create workspace/ml audience,claims,labels,name,signing_algorithm,slug,token_lifetime_seconds,url"],
    )
    .await;
    w.api(boss, "PATCH", &v1("workspaces/ml"), json!({ "name": "ML", "labels": { "a": "b" } }), &["workspace.update workspace/ml labels,name"]).await;
    w.api(boss, "POST", &v1("workspaces/ml/projects"), json!({ "slug": "etl" }), &["project.create project/etl description,name,slug,workspace"])
        .await;
    w.api(boss, "PATCH", &v1("workspaces/ml/projects/etl"), json!({ "description": "new" }), &["project.update project/etl description"]).await;
    w.api(boss, "DELETE", &v1("workspaces/ml/projects/etl"), Value::Null, &["project.delete project/etl slug,workspace"]).await;
    w.api(boss, "DELETE", &v1("workspaces/ml"), Value::Null, &["workspace.delete workspace/ml audience,slug"]).await;
    // Service accounts and their keys.
    w.api(
        boss,
        "POST",
        &v1("service_accounts"),
        json!({ "name": "ci", "default_key": true, "workspace": "default", "permissions": ["pipelines.read"] }),
        &[
            "service_account.create service_account/ci claims,description,exchanges_per_minute,labels,name",
            "role.assign service_account/ci level,permissions,project,role,workspace",
            "api_key.create api_key/default expires_at,hint,name,service_account",
        ],
    )
    .await;
    w.api(boss, "PATCH", &v1("service_accounts/ci"), json!({ "description": "builds" }), &["service_account.update service_account/ci description"])
        .await;
    w.api(boss, "POST", &v1("service_accounts/ci/revoke_tokens"), Value::Null, &["service_account.revoke_tokens service_account/ci "]).await;
    w.api(
        boss,
        "POST",
        &v1("service_accounts/ci/api_keys"),
        json!({ "name": "two" }),
        &["api_key.create api_key/two expires_at,hint,name,service_account"],
    )
    .await;
    let import = json!({ "name": "old", "sha256": "ab".repeat(32) });
    w.api(boss, "POST", &v1("service_accounts/ci/api_keys"), import, &["api_key.import api_key/old expires_at,hint,name,service_account"]).await;
    w.api(
        boss,
        "PATCH",
        &v1("service_accounts/ci/api_keys/two"),
        json!({ "name": "second", "active": false }),
        &["api_key.update api_key/two active,name"],
    )
    .await;
    w.api(boss, "PATCH", &v1("service_accounts/ci/api_keys/second"), json!({ "active": true }), &["api_key.update api_key/second active"]).await;
    let rotated = w
        .api(
            boss,
            "POST",
            &v1("service_accounts/ci/api_keys/second/rotate"),
            json!({ "retain_minutes": 5 }),
            &["api_key.rotate api_key/second expires_at,hint,retained_until,service_account"],
        )
        .await;
    w.api(
        boss,
        "POST",
        &v1("service_accounts/ci/api_keys/second/revoke_tokens"),
        Value::Null,
        &["api_key.revoke_tokens api_key/second service_account"],
    )
    .await;
    w.api(
        boss,
        "POST",
        &v1("service_accounts/ci/api_keys/default/compromised"),
        Value::Null,
        &["api_key.compromise api_key/default how,service_account"],
    )
    .await;
    w.api(boss, "DELETE", &v1("service_accounts/ci/api_keys/old"), Value::Null, &["api_key.delete api_key/old name,service_account"]).await;
    let anyone = w.app.anyone();
    let leaked = json!({ "key": rotated["key"] });
    for login in ["/auth/login", "/api/v1/login", "/workspaces/default/api/v1/login"] {
        w.app.clock.advance_seconds(1);
        let form = [("password", leaked["key"].as_str().unwrap()), ("workspace", "default")];
        let answer = anyone.post_form(login, if login.starts_with("/workspaces") { &form[..1] } else { &form }).await;
        let row = format!("POST {}", pattern("POST", login, ROUTES.iter().map(|route| (route.method, route.path))));
        w.compare(row, &answer, "ci", &["token.issue workspace/default audience,jti,scope"]).await;
    }
    w.api((&anyone, "ci"), "POST", &v1("api_keys/report"), leaked, &["api_key.compromise api_key/second how,service_account"]).await;
    // What somebody made for others ends with them, or is kept.
    for (name, keep) in [("leaver", true), ("rogue", false)] {
        let maker = w.app.anyone().with(&w.app.issue_key("default", name, &["organization-admin"], None).await);
        maker.post(&v1("service_accounts/ci/api_keys"), &json!({ "name": name })).await.expect(201);
        let body = json!({ "active": false, "keep_credentials": keep });
        let left = format!("credential.{} service_account/{name} {LEFT_BEHIND}", if keep { "adopt" } else { "end" });
        w.api(
            boss,
            "PATCH",
            &v1(&format!("service_accounts/{name}")),
            body,
            &[&format!("service_account.update service_account/{name} active"), &left],
        )
        .await;
    }
    // Permissions and roles.
    w.api(boss, "POST", &v1("permissions"), json!({ "name": "cats.feed" }), &["permission.create permission/cats.feed description,name"]).await;
    w.api(boss, "PATCH", &v1("permissions/cats.feed"), json!({ "description": "new" }), &["permission.update permission/cats.feed description"])
        .await;
    w.api(boss, "DELETE", &v1("permissions/cats.feed"), Value::Null, &["permission.delete permission/cats.feed name"]).await;
    w.api(
        boss,
        "POST",
        &v1("roles"),
        json!({ "name": "reader", "level": "workspace", "permissions": ["pipelines.read"] }),
        &["role.create role/reader description,level,name,permissions"],
    )
    .await;
    w.api(boss, "PATCH", &v1("roles/reader"), json!({ "name": "lector" }), &["role.update role/reader name"]).await;
    let given = w
        .api(
            boss,
            "POST",
            &v1("role_assignments"),
            json!({ "service_account": "ci", "role": "lector", "workspace": "default" }),
            &["role.assign service_account/ci level,permissions,project,role,workspace"],
        )
        .await;
    w.api(
        boss,
        "DELETE",
        &v1(&format!("role_assignments/{}", given["id"].as_str().unwrap())),
        Value::Null,
        &["role.unassign service_account/ci level,permissions,project,role,workspace"],
    )
    .await;
    w.api(boss, "DELETE", &v1("roles/lector"), Value::Null, &["role.delete role/lector name"]).await;
    // Teams.
    w.api(boss, "POST", &v1("teams"), json!({ "name": "data" }), &["team.create team/data description,name"]).await;
    w.api(boss, "PATCH", &v1("teams/data"), json!({ "description": "new" }), &["team.update team/data description"]).await;
    w.api(boss, "POST", &v1("teams/data/members"), json!({ "service_account": "ci" }), &["team.add_member team/data member,member_id,member_kind"])
        .await;
    let member = w.id(&v1("service_accounts/ci")).await;
    w.api(boss, "DELETE", &v1(&format!("teams/data/members/{member}")), Value::Null, &["team.remove_member team/data member,member_id"]).await;
    w.api(boss, "DELETE", &v1("teams/data"), Value::Null, &["team.delete team/data gave,members,name"]).await;
    w.api(boss, "DELETE", &v1("service_accounts/ci"), Value::Null, &["service_account.delete service_account/ci held,name"]).await;
    // People.
    let invited = w
        .api(
            boss,
            "POST",
            &v1("users"),
            json!({ "email": "ada@example.com" }),
            &["user.create user/ada@example.com email,name,password", "user.invite user/ada@example.com expires_at"],
        )
        .await;
    w.api(boss, "PATCH", &v1("users/ada@example.com"), json!({ "name": "Ada" }), &["user.update user/ada@example.com name"]).await;
    let again = w.api(boss, "POST", &v1("users/ada@example.com/invite"), Value::Null, &["user.invite user/ada@example.com expires_at"]).await;
    assert_ne!(again["invitation"], invited["invitation"]);
    let accepted = json!({ "invitation": again["invitation"], "password": PASSWORD });
    w.api((&anyone, "ada@example.com"), "POST", &v1("invitations/accept"), accepted, &["user.set_password user/ada@example.com password,sessions"])
        .await;
    let (browser, ada) = signed_in(&w.app, "ada@example.com", PASSWORD).await;
    w.api((&ada, "ada@example.com"), "POST", &v1("explain"), json!({ "credential": "hp_live_x" }), &[]).await;
    let sessions = ada.get("/users/me/sessions").await.expect(200);
    let of_browser = sessions["items"].as_array().unwrap().iter().find(|it| it["current"] == false).unwrap()["id"].as_str().unwrap().to_owned();
    w.api(
        (&ada, "ada@example.com"),
        "DELETE",
        &format!("/users/me/sessions/{of_browser}"),
        Value::Null,
        &["session.end user/ada@example.com session_id"],
    )
    .await;
    w.api((&ada, "ada@example.com"), "POST", "/users/me/sessions/end_others", Value::Null, &["session.end user/ada@example.com sessions"]).await;
    drop(browser);
    w.api(
        (&ada, "ada@example.com"),
        "POST",
        "/users/me/password",
        json!({ "old_password": PASSWORD, "password": "another horse battery" }),
        &["user.change_password user/ada@example.com other sessions,password"],
    )
    .await;
    w.api((&ada, "ada@example.com"), "POST", "/auth/logout", Value::Null, &["user.sign_out user/ada@example.com "]).await;
    // Its use renews the session of a browser.
    let (browser, _) = signed_in(&w.app, "ada@example.com", "another horse battery").await;
    w.app.clock.advance_seconds(45 * 60);
    let renewed = browser.get("/users/me").await;
    w.compare("a use of a session".to_owned(), &renewed, "ada@example.com", &["session.renew user/ada@example.com expires_at"]).await;
    w.api(boss, "DELETE", &v1("users/ada@example.com"), Value::Null, &["user.delete user/ada@example.com email,held"]).await;
    // Signing keys.
    w.api(boss, "POST", &v1("signing_keys/rotate"), Value::Null, &["signing_key.create active_from,algorithm"]).await;
    w.api(
        boss,
        "POST",
        &v1("signing_keys/rotate"),
        json!({ "now": true }),
        &["signing_key.create active_from,algorithm", "signing_key.withdraw algorithm", "signing_key.withdraw algorithm"],
    )
    .await;
}

on_both_engines! {
    async fn each_route_that_changes_something_leaves_its_events(engine: Engine) {
        let mut w = world(engine).await;
        use_routes(&mut w).await;
        // What belongs to no request.
        w.app.admin.reset_password(&Email::parse("admin@localhost").unwrap(), &"correct horse battery".into()).await.unwrap();
        w.beside("user.reset_password user/admin@localhost password,sessions").await;
        w.app.clock.advance_seconds(100 * 86_400);
        w.app.upkeep.take_turns().await.unwrap();
        w.app.clock.advance_seconds(100 * 86_400);
        w.app.upkeep.take_turns().await.unwrap();
        w.actions.extend(["signing_key.retire"].map(str::to_owned));
        assert_ne!(w.admin.get("/api/v1/audit_events?action=signing_key.retire").await.expect(200)["items"], json!([]));
        let folder = w.app.database.folder.path();
        let mut restored = hourpass(folder);
        restored.env("HOURPASS_DATABASE__URL", &w.app.database.url).env("HOURPASS_SIGNING__MASTER_KEY_FILE", folder.join("master.key"));
        let output = restored.args(["admin", "restored"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        w.app.settle().await;
        w.beside("database.restore deactivated_keys,deleted_invitations,epoch,evidence,last_event_at,lost_since,revoke_since").await;

        let expected = ROUTES.iter().filter(|route| route.method != "GET").map(|route| format!("{} {}", route.method, route.path));
        let unused: Vec<_> = expected.filter(|row| !w.done.contains(row) && !NO_CHANGE.contains(&row.as_str())).collect();
        let unseen: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).filter(|action| !w.actions.contains(*action)).collect();
        assert!(w.wrong.is_empty(), "{}", w.wrong.join("\n\n"));
        assert_eq!((unused, unseen), (Vec::<String>::new(), Vec::<&str>::new()), "not used, and not seen");
    }

    async fn each_page_that_changes_something_leaves_its_events(engine: Engine) {
        let mut w = world(engine).await;
        let admin = w.admin.clone();
        let boss = (&admin, "boss");
        let v1 = |path: &str| format!("/api/v1/{path}");
        w.page(boss, "/organizations/new", &[("slug", "acme"), ("admin_email", "first@example.com")], &["organization.create organization/acme name,slug"]).await;
        w.page(boss, "/organization", &[("name", "Acme Corp")], &["organization.update organization/default name"]).await;
        w.page(boss, "/organizations/acme/delete", &[], &["organization.delete organization/acme name,slug"]).await;
        let workspace = [("slug", "ml"), ("token_lifetime_seconds", "3600"), ("signing_algorithm", "ES256")];
        w.page(boss, "/workspaces/new", &workspace, &["workspace.create workspace/ml audience,claims,labels,name,signing_algorithm,slug,token_lifetime_seconds,url"]).await;
        w.page(boss, "/workspaces/ml/edit", &[("name", "ML")], &["workspace.update workspace/ml name"]).await;
        w.page(boss, "/workspaces/ml/projects/new", &[("slug", "etl")], &["project.create project/etl description,name,slug,workspace"]).await;
        w.page(boss, "/workspaces/ml/projects/etl/edit", &[("description", "new")], &["project.update project/etl description"]).await;
        w.page(boss, "/workspaces/ml/projects/etl/delete", &[], &["project.delete project/etl slug,workspace"]).await;
        w.page(boss, "/workspaces/ml/delete", &[], &["workspace.delete workspace/ml audience,slug"]).await;

        w.page(boss, "/service-accounts/new", &[("name", "ci"), ("access", "none"), ("default_key", "yes"), ("expires", "never")], &[
            "service_account.create service_account/ci claims,description,exchanges_per_minute,labels,name",
            "api_key.create api_key/default expires_at,hint,name,service_account",
        ]).await;
        w.page(boss, "/service-accounts/ci/edit", &[("description", "builds")], &["service_account.update service_account/ci description"]).await;
        w.page(boss, "/service-accounts/ci/deactivate", &[], &["service_account.update service_account/ci active"]).await;
        w.page(boss, "/service-accounts/ci/activate", &[], &["service_account.update service_account/ci active"]).await;
        w.page(boss, "/service-accounts/ci/end-tokens", &[], &["service_account.revoke_tokens service_account/ci "]).await;
        w.page(boss, "/service-accounts/ci/keys/new", &[("name", "two"), ("expires", "never")], &["api_key.create api_key/two expires_at,hint,name,service_account"]).await;
        let sha256 = "ab".repeat(32);
        w.page(boss, "/service-accounts/ci/keys/import", &[("name", "old"), ("sha256", &sha256), ("expires", "never")], &["api_key.import api_key/old expires_at,hint,name,service_account"]).await;
        let key = "/service-accounts/ci/keys/two";
        w.page(boss, &format!("{key}/edit"), &[("name", "second")], &["api_key.update api_key/two name"]).await;
        let key = "/service-accounts/ci/keys/second";
        w.page(boss, &format!("{key}/deactivate"), &[], &["api_key.update api_key/second active"]).await;
        w.page(boss, &format!("{key}/activate"), &[], &["api_key.update api_key/second active"]).await;
        w.page(boss, &format!("{key}/rotate"), &[("retain", "60")], &["api_key.rotate api_key/second expires_at,hint,retained_until,service_account"]).await;
        w.page(boss, &format!("{key}/retained"), &[("retain", "0")], &["api_key.update api_key/second retained_until"]).await;
        w.page(boss, &format!("{key}/end-tokens"), &[], &["api_key.revoke_tokens api_key/second service_account"]).await;
        w.page(boss, &format!("{key}/compromised"), &[], &["api_key.compromise api_key/second how,service_account"]).await;
        w.page(boss, &format!("{key}/delete"), &[], &["api_key.delete api_key/second name,service_account"]).await;

        w.page(boss, "/permissions/new", &[("name", "cats.feed")], &["permission.create permission/cats.feed description,name"]).await;
        w.page(boss, "/permissions/cats.feed/edit", &[("description", "new")], &["permission.update permission/cats.feed description"]).await;
        w.page(boss, "/permissions/cats.feed/delete", &[], &["permission.delete permission/cats.feed name"]).await;
        w.page(boss, "/roles/new", &[("name", "reader"), ("level", "workspace"), ("permissions", "pipelines.read")], &["role.create role/reader description,level,name,permissions"]).await;
        w.page(boss, "/roles/reader/edit", &[("name", "lector")], &["role.update role/reader name"]).await;
        w.page(boss, "/teams/new", &[("name", "data")], &["team.create team/data description,name"]).await;
        w.page(boss, "/teams/data/edit", &[("description", "new")], &["team.update team/data description"]).await;
        let account = w.id(&v1("service_accounts/ci")).await;
        w.page(boss, "/teams/data/members", &[("kind", "service_account"), ("member", "ci")], &["team.add_member team/data member,member_id,member_kind"]).await;
        w.page(boss, &format!("/teams/data/members/{account}/remove"), &[], &["team.remove_member team/data member,member_id"]).await;
        w.page(boss, "/service-accounts/ci/teams/new", &[("team", "data")], &["team.add_member team/data member,member_id,member_kind"]).await;
        w.page(boss, "/service-accounts/ci/teams/data/remove", &[], &["team.remove_member team/data member,member_id"]).await;
        let place = w.id(&v1("workspaces/default")).await;
        let given = [("kind", "service_account"), ("holder", "ci"), ("access", "role"), ("role", "lector"), ("place", &*place)];
        w.page(boss, "/role-assignments/new", &given, &["role.assign service_account/ci level,permissions,project,role,workspace"]).await;
        let found = admin.get(&v1("role_assignments?service_account=ci&workspace=default")).await.expect(200);
        let assignment = found["items"][0]["id"].as_str().unwrap_or("none").to_owned();
        w.page(boss, &format!("/role-assignments/{assignment}/delete"), &[], &["role.unassign service_account/ci level,permissions,project,role,workspace"]).await;
        w.page(boss, "/roles/lector/delete", &[], &["role.delete role/lector name"]).await;
        w.page(boss, "/teams/data/delete", &[], &["team.delete team/data gave,members,name"]).await;
        w.page(boss, "/service-accounts/ci/delete", &[], &["service_account.delete service_account/ci held,name"]).await;

        let made = [("email", "ada@example.com"), ("how", "invite")];
        w.page(boss, "/people/new", &made, &["user.create user/ada@example.com email,name,password", "user.invite user/ada@example.com expires_at"]).await;
        w.page(boss, "/people/ada@example.com/edit", &[("name", "Ada")], &["user.update user/ada@example.com name"]).await;
        w.page(boss, "/people/ada@example.com/deactivate", &[], &["user.update user/ada@example.com active"]).await;
        w.page(boss, "/people/ada@example.com/activate", &[], &["user.update user/ada@example.com active"]).await;
        let link = w.page(boss, "/people/ada@example.com/invite", &[("x", "y")], &["user.invite user/ada@example.com expires_at"]).await;
        let code = link.text.split('#').find_map(|part| part.strip_prefix("hp_invite_")).unwrap().split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
        let (browser, code) = (w.app.anyone().browser(), format!("hp_invite_{code}"));
        let accepted = [("invitation", &*code), ("password", PASSWORD)];
        w.page((&browser, "ada@example.com"), "/invitation", &accepted, &["user.set_password user/ada@example.com password,sessions"]).await;
        let signed_in = w.page((&browser, "ada@example.com"), "/sign-in", &[("username", "ada@example.com"), ("password", PASSWORD)], &["token.issue hourpass/hourpass audience,jti,scope,session"]).await;
        let ada = browser.keeping(&signed_in);
        let ada = (&ada, "ada@example.com");
        browser.post_form("/sign-in", &[("username", "ada@example.com"), ("password", PASSWORD)]).await;
        let other = ada.0.get("/users/me/sessions").await.expect(200);
        let other = other["items"].as_array().unwrap().iter().find(|it| it["current"] == false).unwrap()["id"].as_str().unwrap().to_owned();
        w.page(ada, &format!("/sessions/{other}/end"), &[], &["session.end user/ada@example.com session_id"]).await;
        w.page(ada, "/sessions/end-others", &[], &["session.end user/ada@example.com sessions"]).await;
        let passwords = [("old_password", PASSWORD), ("password", "another horse battery"), ("password_again", "another horse battery")];
        w.page(ada, "/sessions/password", &passwords, &["user.change_password user/ada@example.com password,sessions"]).await;
        let signed_in = browser.post_form("/sign-in", &[("username", "ada@example.com"), ("password", "another horse battery")]).await;
        let ada = browser.keeping(&signed_in);
        w.page((&ada, "ada@example.com"), "/sign-out", &[], &["user.sign_out user/ada@example.com "]).await;
        w.page(boss, "/people/ada@example.com/delete", &[], &["user.delete user/ada@example.com email,held"]).await;
        w.page(boss, "/signing-keys/ES256/rotate", &[("x", "y")], &["signing_key.create active_from,algorithm"]).await;
        w.page(boss, "/signing-keys/ES256/withdraw", &[("x", "y")], &["signing_key.create active_from,algorithm", "signing_key.withdraw algorithm", "signing_key.withdraw algorithm"]).await;

        let expected = PAGES.iter().filter(|page| page.method != "GET").map(|page| format!("{} {}", page.method, page.path));
        let unused: Vec<_> = expected.filter(|row| !w.done.contains(row)).collect();
        assert!(w.wrong.is_empty(), "{}", w.wrong.join("\n\n"));
        assert_eq!(unused, Vec::<String>::new());
    }
}
