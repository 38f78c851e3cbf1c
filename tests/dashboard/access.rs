//! Pages about who may do what: teams, roles, permissions, people, workspaces and projects, and what is given where.

use serde_json::{Value, json};

use super::{Case, lacks, page};
use crate::support::{Answer, Client, Engine, TestApp, on_both_engines};

const PASSWORD: &str = "correct horse battery";
const XSS: &str = "<script>alert(1)</script>";

/// Where a form that worked leads, without the notice.
#[track_caller]
fn led_to(answer: &Answer, notice: &str) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text);
    let (path, query) = answer.header("location").split_once('?').unwrap();
    assert_eq!(query, format!("notice={notice}"));
    path.to_owned()
}

/// Each form that has mistakes is shown again, with what was entered, and nothing is done.
async fn refused(client: &Client, path: &str, cases: &[Case]) {
    for (form, status, text) in cases {
        let again = client.post_form(path, form).await;
        page(&again, *status);
        assert!(again.text.contains(text) && again.text.contains("role=\"alert\""), "{text}: {}", again.text);
        assert!(lacks(&again, "<script>alert"), "{text}");
    }
}

async fn made(client: &Client, path: &str, body: Value) -> String {
    client.post(path, &body).await.expect(201)["id"].as_str().unwrap().to_owned()
}

/// Someone who reads all and changes nothing.
async fn reader(app: &TestApp) -> Client {
    app.anyone().with(&app.issue_key("default", "reader", &["organization-auditor"], None).await)
}

/// Someone of another organization who may do everything there.
async fn stranger(app: &TestApp) -> Client {
    app.create_organization("other").await;
    app.anyone().with(&app.issue_key("other", "stranger", &["organization-admin"], None).await)
}

on_both_engines! {
    async fn a_team_has_members_and_holds_something(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let empty = admin.get("/teams").await;
        page(&empty, 200);
        assert!(empty.text.contains("No teams yet") && empty.text.contains("href=\"/teams/new\""));
        refused(&admin, "/teams/new", &[(&[("name", ""), ("description", XSS)], 422, "Name must not be empty.")]).await;
        let team = led_to(&admin.post_form("/teams/new", &[("name", "data"), ("description", XSS)]).await, "created");
        refused(&admin, "/teams/new", &[(&[("name", "data")], 409, "Name is taken")]).await;
        let shown = admin.get(&team).await;
        page(&shown, 200);
        assert!(shown.text.contains("&#60;script&#62;alert") && lacks(&shown, "<script>alert") && shown.text.contains("Nobody is in this team yet"));

        app.issue_key("default", "ci", &[], None).await;
        let (add, account) = (format!("{team}/members"), [("kind", "service_account"), ("member", "ci")]);
        led_to(&admin.post_form(&add, &account).await, "added");
        led_to(&admin.post_form(&add, &[("kind", "user"), ("member", "admin@localhost")]).await, "added");
        refused(&admin, &add, &[
            (&[("kind", "service_account"), ("member", "ci")], 422, "Is in the team already."),
            (&[("kind", "user"), ("member", XSS)], 422, "There is no user"),
            (&[("kind", "service_account"), ("member", " ")], 422, "Must not be empty."),
        ]).await;
        let shown = admin.get(&team).await;
        assert!(shown.text.contains(">ci</a> <span class=\"bot\"") && shown.text.contains(">admin@localhost</a>"));

        let given = format!("/role-assignments/new?team={}", team.rsplit('/').next().unwrap());
        page(&admin.get(&given).await, 200);
        let role = [("access", "role"), ("role", "Organization Auditor"), ("place", "*")];
        assert_eq!(led_to(&admin.post_form(&given, &role).await, "given"), team);
        let shown = admin.get(&team).await;
        let (_, rest) = shown.text.split_once("href=\"/role-assignments/").unwrap();
        assert!(rest.starts_with("new?team="));
        let (_, rest) = rest.split_once("href=\"/role-assignments/").unwrap();
        let take = format!("/role-assignments/{}", rest.split_once('"').unwrap().0);
        let question = admin.get(&take).await;
        page(&question, 200);
        assert!(question.text.contains("Take back Organization Auditor from data?") && question.text.contains("Each member of the team loses it at once"));

        let edited = admin.post_form(&format!("{team}/edit"), &[("name", "data people"), ("description", "")]).await;
        assert_eq!(led_to(&edited, "saved"), team);
        let (_, rest) = shown.text.split_once(&format!("{team}/members/")).unwrap();
        let remove = format!("{team}/members/{}", rest.split_once('"').unwrap().0);
        assert!(admin.get(&remove).await.text.contains("from team data people?"));
        assert_eq!(led_to(&admin.call(&remove).await, "removed"), team);
        page(&admin.get(&remove).await, 404);
        assert_eq!(led_to(&admin.call(&take).await, "taken"), team);
        page(&admin.call(&take).await, 404);
        assert!(admin.get(&format!("{team}/delete")).await.text.contains("It has 1 member."));
        page(&stranger(&app).await.get(&team).await, 404);
        assert_eq!(led_to(&admin.post_form(&format!("{team}/delete"), &[]).await, "deleted"), "/teams");
        page(&admin.get(&team).await, 404);
    }

    async fn roles_are_made_of_permissions(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let list = admin.get("/roles").await;
        page(&list, 200);
        assert!(list.text.contains("Workspace Developer") && list.text.contains("BUILT-IN") && list.text.contains("everything that only reads"));
        refused(&admin, "/permissions/new", &[
            (&[("name", XSS)], 422, "must be of the form resource.action"),
            (&[("name", "nodes.read"), ("description", XSS)], 409, "Name is taken"),
        ]).await;
        assert_eq!(led_to(&admin.post_form("/permissions/new", &[("name", "cats.feed"), ("description", XSS)]).await, "created"), "/permissions");
        let catalogue = admin.get("/permissions").await;
        page(&catalogue, 200);
        assert!(catalogue.text.contains("cats.feed") && lacks(&catalogue, XSS) && catalogue.text.contains("service_accounts.manage"));

        let offered = admin.get("/roles/new").await;
        page(&offered, 200);
        assert!(offered.text.contains("value=\"cats.feed\"") && offered.text.contains("value=\"teams.manage\"") && lacks(&offered, "value=\"platform.manage\""));
        refused(&admin, "/roles/new", &[
            (&[("name", "feeder"), ("level", "workspace")], 422, "Must name at least one permission."),
            (&[("name", "feeder"), ("level", "workspace"), ("permissions", "teams.manage")], 422, "Cannot be given"),
            (&[("name", "feeder"), ("level", "x"), ("permissions", "cats.feed")], 422, "must be organization, workspace or project"),
            (&[("name", "Workspace Admin"), ("level", "workspace"), ("permissions", "cats.feed")], 409, "Name is taken"),
        ]).await;
        let form = [("name", "feeder"), ("description", XSS), ("level", "workspace"), ("permissions", "cats.feed"), ("permissions", "nodes.read")];
        let role = led_to(&admin.post_form("/roles/new", &form).await, "created");
        let shown = admin.get(&role).await;
        page(&shown, 200);
        assert!(shown.text.contains("cats.feed") && lacks(&shown, XSS) && shown.text.contains("Nobody holds this role."));
        let edit = admin.get(&format!("{role}/edit")).await;
        assert!(edit.text.contains("value=\"cats.feed\" checked") && lacks(&edit, "value=\"nodes.manage\" checked"));
        let change = [("name", "keeper"), ("description", ""), ("permissions", "cats.feed")];
        assert_eq!(led_to(&admin.post_form(&format!("{role}/edit"), &change).await, "saved"), role);

        app.issue_key("default", "ci", &[], None).await;
        let to = [("kind", "service_account"), ("holder", "ci"), ("access", "role"), ("role", "keeper")];
        let workspace = admin.get("/api/v1/workspaces/default").await.expect(200)["id"].as_str().unwrap().to_owned();
        refused(&admin, "/role-assignments/new", &[
            (&[("kind", "user"), ("holder", XSS), ("access", "role"), ("role", "keeper"), ("place", "*")], 422, "There is no user"),
            (&[("kind", "service_account"), ("holder", "ci"), ("access", "role"), ("role", "keeper"), ("place", "*")], 422, "is given in a whole workspace"),
            (&[("kind", "service_account"), ("holder", "ci"), ("access", "permissions"), ("place", "*")], 422, "Must be chosen: at least one."),
            (&[("access", "role")], 422, "Holder must be chosen."),
        ]).await;
        let at = |place: &'static str| [&to[..], &[("place", place)]].concat();
        page(&admin.post_form("/role-assignments/new", &at("nowhere")).await, 422);
        let there = [&to[..], &[("place", &*workspace)]].concat();
        assert!(led_to(&admin.post_form("/role-assignments/new", &there).await, "given").starts_with("/service-accounts/"));
        page(&admin.post_form("/role-assignments/new", &there).await, 409);
        assert!(admin.get(&role).await.text.contains(">ci</a> <span class=\"bot\""));
        let refusal = admin.post_form(&format!("{role}/delete"), &[]).await;
        page(&refusal, 409);
        assert!(refusal.text.contains("is given 1 times; take it back first") && lacks(&refusal, "/api/v1"));
        let entry = admin.get("/api/v1/permissions/cats.feed").await.expect(200)["id"].as_str().unwrap().to_owned();
        assert_eq!(led_to(&admin.post_form(&format!("/permissions/{entry}/edit"), &[("description", "Feeds cats.")]).await, "saved"), "/permissions");
        page(&admin.post_form(&format!("/permissions/{entry}/delete"), &[]).await, 409);
        let assignment = admin.get("/api/v1/role_assignments?service_account=ci").await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
        led_to(&admin.post_form(&format!("/role-assignments/{assignment}/delete"), &[]).await, "taken");
        page(&stranger(&app).await.get(&role).await, 404);
        assert_eq!(led_to(&admin.post_form(&format!("{role}/delete"), &[]).await, "deleted"), "/roles");
        assert_eq!(led_to(&admin.post_form(&format!("/permissions/{entry}/delete"), &[]).await, "deleted"), "/permissions");
        let built_in = admin.get("/api/v1/roles/workspace-admin").await.expect(200)["id"].as_str().unwrap().to_owned();
        page(&admin.get(&format!("/roles/{built_in}/edit")).await, 409);
        assert!(lacks(&admin.get(&format!("/roles/{built_in}")).await, "/delete\""));
    }

    async fn a_person_is_invited_and_sets_a_password(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        refused(&admin, "/people/new", &[
            (&[("email", XSS)], 422, "Email must be an email address"),
            (&[("email", "admin@localhost")], 409, "Email is taken"),
            (&[("email", "a@b"), ("how", "password"), ("password", "short")], 422, "Password must have at least 12 characters"),
            (&[("email", "a@b"), ("how", "password")], 422, "Password must not be empty."),
        ]).await;
        let invited = admin.post_form("/people/new", &[("email", "Ada@example.com"), ("name", XSS), ("password", "unused by an invitation")]).await;
        page(&invited, 201);
        let (_, rest) = invited.text.split_once("/invitation#").unwrap();
        let code = rest.split_once('<').unwrap().0.to_owned();
        assert!(code.starts_with("hp_invite_"));
        let (_, rest) = invited.text.split_once("href=\"/people/").unwrap();
        let person = format!("/people/{}", rest.split_once('"').unwrap().0);
        let shown = admin.get(&person).await;
        page(&shown, 200);
        assert!(shown.text.contains("Invited") && lacks(&shown, XSS) && lacks(&shown, &code) && shown.text.contains("Invite anew"));

        let anyone = app.anyone();
        let browser = anyone.browser();
        page(&anyone.get("/invitation").await, 200);
        let good = [("invitation", &*code), ("password", PASSWORD)];
        page(&anyone.post_form("/invitation", &good).await, 403);
        refused(&browser, "/invitation", &[
            (&[("invitation", "hp_invite_x"), ("password", PASSWORD)], 400, "is unknown, was used, or is over"),
            (&[("password", PASSWORD)], 422, "Code of the link must not be empty."),
        ]).await;
        let short = browser.post_form("/invitation", &[("invitation", &code), ("password", "short")]).await;
        page(&short, 422);
        assert!(short.text.contains(&format!("value=\"{code}\"")) && lacks(&short, "value=\"short\""));
        let set = browser.post_form("/invitation", &[("invitation", &format!("{}/invitation#{code}", app.url)), ("password", PASSWORD)]).await;
        assert_eq!(led_to(&set, "password_set"), "/sign-in");
        assert!(anyone.get("/sign-in?notice=password_set").await.text.contains("Your password is set"));
        page(&browser.post_form("/invitation", &good).await, 400);
        let sign_in = async || browser.post_form("/sign-in", &[("username", "ada@example.com"), ("password", PASSWORD)]).await.status;
        assert_eq!(sign_in().await, 303);

        let again = admin.post_form(&format!("{person}/invite"), &[]).await;
        page(&again, 200);
        assert!(again.text.contains("/invitation#hp_invite_") && admin.get(&format!("{person}/invite")).await.text.contains("goes on working"));
        let found = async |query: &str| admin.get(&format!("/people{query}")).await.text.contains("ada@example.com");
        assert!(found("").await && found("?search=ADA").await && found("?search=script").await && !found("?search=grace").await && !found("?show=invited").await);
        assert_eq!(led_to(&admin.post_form(&format!("{person}/edit"), &[("email", "ada@example.org"), ("name", "Ada")]).await, "saved"), person);
        refused(&admin, &format!("{person}/edit"), &[(&[("email", "admin@localhost")], 409, "Email is taken")]).await;
        led_to(&admin.post_form(&format!("{person}/edit"), &[("email", "ada@example.com")]).await, "saved");
        led_to(&admin.post_form(&format!("{person}/deactivate"), &[]).await, "person_deactivated");
        assert_eq!(sign_in().await, 401);
        assert!(found("?show=inactive").await && !found("?show=active").await && admin.get(&person).await.text.contains("/activate\""));
        page(&admin.post_form(&format!("{person}/invite"), &[]).await, 409);
        led_to(&admin.post_form(&format!("{person}/activate"), &[]).await, "activated");
        assert_eq!(sign_in().await, 303);

        led_to(&admin.post_form(&format!("/role-assignments/new?user={}", &person[8..]), &[("access", "role"), ("role", "Organization Auditor"), ("place", "*")]).await, "given");
        let team = made(&admin, "/api/v1/teams", json!({ "name": "data" })).await;
        made(&admin, "/api/v1/role_assignments", json!({ "team": "data", "role": "Workspace Viewer", "workspace": "default" })).await;
        led_to(&admin.post_form(&format!("/teams/{team}/members"), &[("kind", "user"), ("member", "ada@example.com")]).await, "added");
        let shown = admin.get(&person).await;
        assert!(shown.text.contains("Through teams") && shown.text.contains(&format!("<a href=\"/teams/{team}\">data</a>")) && shown.text.contains("changed the person"));
        page(&stranger(&app).await.get(&person).await, 404);
        assert_eq!(led_to(&admin.post_form(&format!("{person}/delete"), &[]).await, "deleted"), "/people");
        page(&admin.get(&person).await, 404);
        let last = admin.get("/api/v1/users/admin@localhost").await.expect(200)["id"].as_str().unwrap().to_owned();
        let refusal = admin.post_form(&format!("/people/{last}/delete"), &[]).await;
        page(&refusal, 409);
        assert!(refusal.text.contains("without a person who is Organization Admin"));
    }

    async fn a_workspace_has_projects(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        refused(&admin, "/workspaces/new", &[
            (&[("slug", "A b"), ("name", XSS)], 422, "Slug must"),
            (&[("slug", "default")], 409, "Slug is taken"),
            (&[("slug", "lab"), ("url", "ftp://lab.example.com")], 422, "must be an http or https URL"),
            (&[("slug", "lab"), ("labels", "nothing")], 422, "must be lines of the form name=value"),
            (&[("slug", "lab"), ("claims", "[1]")], 422, "must be a JSON object"),
            (&[("slug", "lab"), ("claims", "{\"sub\": 1}")], 422, "only Hourpass sets"),
            (&[("slug", "lab"), ("token_lifetime_seconds", "1h")], 422, "must be a number of seconds from 60 to 3600"),
            (&[("slug", "lab"), ("signing_algorithm", "HS256")], 422, "must be ES256, EdDSA or RS256"),
        ]).await;
        let form = [("slug", "lab"), ("name", XSS), ("url", "https://lab.example.com"), ("token_lifetime_seconds", "600"), ("signing_algorithm", "EdDSA"),
            ("labels", "team=data\r\ntier=gold\r\n"), ("claims", "{\"https://example.com/tier\": \"gold\"}")];
        let workspace = led_to(&admin.post_form("/workspaces/new", &form).await, "created");
        refused(&admin, "/workspaces/new", &[
            (&[("slug", "lab2"), ("audience", "https://lab.example.com")], 409, "Audience is taken"),
            (&[("slug", "lab2"), ("audience", "urn:x"), ("url", "https://lab.example.com")], 409, "URL is taken"),
        ]).await;
        let shown = admin.get(&workspace).await;
        page(&shown, 200);
        assert!(shown.text.contains("until then, no tokens are issued"));
        assert!(shown.text.contains("team=data") && shown.text.contains("good for 600 seconds") && lacks(&shown, XSS));
        assert!(shown.text.contains(&format!("-d workspace=lab {}/auth/login", app.url)) && shown.text.contains("rel=\"noopener noreferrer\""));
        let list = async |query: &str| admin.get(&format!("/workspaces{query}")).await.text.contains(&format!("href=\"{workspace}\""));
        assert!(list("").await && list("?search=team%3Ddata").await && list("?search=lab").await && !list("?search=team%3Dx").await && !list("?search=default").await);
        let change = [("name", "Lab"), ("url", ""), ("audience", "urn:lab"), ("token_lifetime_seconds", "60"), ("signing_algorithm", "ES256"),
            ("labels", ""), ("claims", "")];
        assert_eq!(led_to(&admin.post_form(&format!("{workspace}/edit"), &change).await, "saved"), workspace);
        let body = admin.get(&format!("/api/v1{workspace}")).await.expect(200);
        let expected = json!({ "name": "Lab", "url": null, "audience": "urn:lab", "token_lifetime_seconds": 60, "signing_algorithm": "ES256", "labels": {}, "claims": {} });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&body[field], value, "{field}");
        }
        refused(&admin, &format!("{workspace}/edit"), &[(&[("name", "Lab"), ("audience", ""), ("signing_algorithm", "ES256")], 422, "Audience must be")]).await;

        let projects = format!("{workspace}/projects");
        refused(&admin, &format!("{projects}/new"), &[(&[("slug", ""), ("description", XSS)], 422, "Slug must")]).await;
        let project = led_to(&admin.post_form(&format!("{projects}/new"), &[("slug", "web"), ("description", XSS)]).await, "created");
        refused(&admin, &format!("{projects}/new"), &[(&[("slug", "web")], 409, "Slug is taken")]).await;
        let shown = admin.get(&project).await;
        page(&shown, 200);
        assert!(lacks(&shown, XSS) && shown.text.contains("Nothing is given in this project itself"));
        led_to(&admin.post_form(&format!("{project}/edit"), &[("name", "Web site")]).await, "saved");
        assert!(admin.get(&workspace).await.text.contains("Web site"));

        // Who has a role in one workspace or project only sees that, and gives there.
        let place = format!("{}/{}", &workspace[12..], project.rsplit('/').next().unwrap());
        let keeper = app.anyone().with(&app.issue_key("default", "keeper", &[], None).await);
        let give = [("kind", "service_account"), ("holder", "keeper"), ("access", "role"), ("role", "Project Admin"), ("place", &place)];
        led_to(&admin.post_form("/role-assignments/new", &give).await, "given");
        let own = keeper.get("/workspaces").await;
        page(&own, 200);
        assert!(own.text.contains(&format!("href=\"{project}\"")) && lacks(&own, &format!("href=\"{workspace}\"")) && lacks(&own, "workspaces/new"));
        page(&keeper.get(&workspace).await, 403);
        let offered = keeper.get("/role-assignments/new").await;
        assert!(offered.text.contains(&format!("value=\"{place}\"")) && lacks(&offered, "value=\"*\"") && offered.text.contains(">Project Viewer<"));
        let more = [("kind", "service_account"), ("holder", "bootstrap"), ("access", "role"), ("role", "Project Viewer"), ("place", &place)];
        led_to(&keeper.post_form("/role-assignments/new", &more).await, "given");
        page(&keeper.get(&project).await, 200);
        let refusal = admin.post_form(&format!("{project}/delete"), &[]).await;
        page(&refusal, 409);
        assert!(refusal.text.contains("2 roles or permissions are given") && lacks(&refusal, "/api/v1"));
        page(&admin.post_form(&format!("{workspace}/delete"), &[]).await, 409);
        for assignment in admin.get("/api/v1/role_assignments?workspace=lab").await.expect(200)["items"].as_array().unwrap() {
            led_to(&admin.call(&format!("/role-assignments/{}/delete", assignment["id"].as_str().unwrap())).await, "taken");
        }
        page(&stranger(&app).await.get(&workspace).await, 404);
        assert_eq!(led_to(&admin.post_form(&format!("{project}/delete"), &[]).await, "deleted"), workspace);
        assert_eq!(led_to(&admin.post_form(&format!("{workspace}/delete"), &[]).await, "deleted"), "/workspaces");
    }

    async fn who_only_reads_is_offered_no_change(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let team = format!("/teams/{}", made(&admin, "/api/v1/teams", json!({ "name": "data" })).await);
        let role = format!("/roles/{}", made(&admin, "/api/v1/roles", json!({ "name": "r", "level": "workspace", "permissions": ["nodes.read"] })).await);
        let person = format!("/people/{}", made(&admin, "/api/v1/users", json!({ "email": "ada@example.com" })).await);
        let workspace = format!("/workspaces/{}", made(&admin, "/api/v1/workspaces", json!({ "slug": "lab" })).await);
        let project = format!("{workspace}/projects/{}", made(&admin, &format!("/api/v1{workspace}/projects"), json!({ "slug": "web" })).await);
        let reader = reader(&app).await;
        for path in ["/teams", &team, "/roles", &role, "/permissions", "/people", &person, "/workspaces", &workspace, &project] {
            let shown = reader.get(path).await;
            page(&shown, 200);
            for change in ["/new", "/edit", "/delete", "/deactivate", "/invite", "/members\""] {
                assert!(!shown.text.contains(&format!("{change}\"")) && lacks(&shown, "/role-assignments/new"), "{path} {change}");
            }
        }
        for path in [&team, &role, &person, &workspace, &project].map(|path| format!("{path}/delete")) {
            page(&reader.get(&path).await, 403);
            page(&reader.call(&path).await, 403);
        }
        page(&reader.post_form(&format!("{team}/members"), &[("member", "reader")]).await, 403);
    }
}

#[tokio::test]
async fn the_login_of_a_workspace_is_no_page() {
    let app = TestApp::start(Engine::Sqlite).await;
    let path = "/workspaces/default/api/v1/login";
    assert_eq!(app.anyone().post_form(path, &[("password", "x")]).await.problem(), (401, "invalid_credentials".to_owned()));
    assert_eq!(app.anyone().get(path).await.problem(), (405, "method_not_allowed".to_owned()));
    assert_eq!(app.anyone().post_form("/workspaces/default/api/v1/other", &[]).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(app.anyone().post_form(&format!("{path}?x=%00"), &[]).await.problem(), (400, "invalid_request".to_owned()));
    page(&app.admin_client().get("/workspaces/default/nothing").await, 404);
    assert_eq!(app.anyone().get("/workspaces/default").await.status, 303);
}
