//! Random organizations, and what a naive model says that each may do there.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::{TestApp, claims, on_both_engines};

const CATALOGUE: [&str; 9] = [
    "pipelines.read",
    "pipelines.deploy",
    "nodes.read",
    "nodes.manage",
    "secrets.read",
    "secrets.manage",
    "alerts.read",
    "alerts.manage",
    "audit.read",
];
/// Places: (workspace, project).
const PLACES: [(Option<&str>, Option<&str>); 6] =
    [(None, None), (Some("w0"), None), (Some("w1"), None), (Some("w0"), Some("p0")), (Some("w0"), Some("p1")), (Some("w1"), Some("p0"))];
const ACCOUNTS: [&str; 3] = ["a0", "a1", "a2"];
const TEAMS: [&str; 2] = ["t0", "t1"];

#[derive(Clone, Debug)]
struct Given {
    /// Of [`ACCOUNTS`], and then of [`TEAMS`].
    holder: usize,
    place: usize,
    /// A role, or permissions without one where this is past the roles of the place's level.
    role: usize,
    permissions: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
struct Case {
    /// What the role of one's own holds at each level.
    own: [BTreeSet<usize>; 3],
    given: Vec<Given>,
    /// (team, account)
    members: BTreeSet<(usize, usize)>,
}

fn level(place: usize) -> usize {
    match PLACES[place] {
        (None, _) => 0,
        (Some(_), None) => 1,
        (Some(_), Some(_)) => 2,
    }
}

/// The roles of each level; the last is one's own.
const ROLES: [&[&str]; 3] = [
    &["Organization Admin", "Organization Member", "Organization Auditor", "own 0"],
    &["Workspace Admin", "Workspace Developer", "Workspace Viewer", "own 1"],
    &["Project Admin", "Project Contributor", "Project Viewer", "own 2"],
];

/// What a role gives, in so many words.
fn role_gives(case: &Case, name: &str, permission: usize) -> bool {
    let reading = CATALOGUE[permission].split('.').next_back() == Some("read");
    match name {
        "Organization Admin" | "Workspace Admin" | "Project Admin" => true,
        "Organization Member" => false,
        "Organization Auditor" | "Workspace Viewer" | "Project Viewer" => reading,
        "Workspace Developer" | "Project Contributor" => reading || CATALOGUE[permission] == "pipelines.deploy",
        own => case.own[own.strip_prefix("own ").unwrap().parse::<usize>().unwrap()].contains(&permission),
    }
}

/// Whether an account holds a permission at a place: some assignment of it or of one of its teams gives it, at that place or around it.
fn holds(case: &Case, account: usize, permission: usize, place: usize) -> bool {
    case.given.iter().any(|given| {
        let reaches = given.holder == account || given.holder >= ACCOUNTS.len() && case.members.contains(&(given.holder - ACCOUNTS.len(), account));
        let around = match (PLACES[given.place], PLACES[place]) {
            ((None, _), _) => true,
            ((Some(one), None), (Some(other), _)) => one == other,
            (one, other) => one == other,
        };
        let gives = match ROLES[level(given.place)].get(given.role) {
            Some(role) => role_gives(case, role, permission),
            None => given.permissions.contains(&permission),
        };
        reaches && around && gives
    })
}

fn names(permissions: &BTreeSet<usize>) -> Vec<&'static str> {
    permissions.iter().map(|index| CATALOGUE[*index]).collect()
}

fn cases() -> impl Strategy<Value = Case> {
    let some = || prop::collection::btree_set(0..CATALOGUE.len(), 1..4);
    let given = (0..ACCOUNTS.len() + TEAMS.len(), 0..PLACES.len(), 0..7_usize, some()).prop_map(|(holder, place, role, permissions)| Given {
        holder,
        place,
        role,
        permissions,
    });
    let members = prop::collection::btree_set((0..TEAMS.len(), 0..ACCOUNTS.len()), 0..5);
    ([some(), some(), some()], prop::collection::vec(given, 0..9), members).prop_map(|(own, given, members)| Case { own, given, members })
}

async fn check(app: &TestApp, case: Case, number: usize) {
    let slug = format!("org-{number}");
    app.create_organization(&slug).await;
    let admin = app.anyone().with(&app.issue_key(&slug, "boss", &["organization-admin"], None).await);
    for workspace in ["w0", "w1"] {
        admin.post("/api/v1/workspaces", &json!({ "slug": workspace })).await.expect(201);
        for project in ["p0", "p1"] {
            admin.post(&format!("/api/v1/workspaces/{workspace}/projects"), &json!({ "slug": project })).await.expect(201);
        }
    }
    for (index, level) in ["organization", "workspace", "project"].into_iter().enumerate() {
        let role = json!({ "name": format!("own {index}"), "level": level, "permissions": names(&case.own[index]) });
        admin.post("/api/v1/roles", &role).await.expect(201);
    }
    let mut keys = Vec::new();
    for account in ACCOUNTS {
        let made = admin.post("/api/v1/service_accounts", &json!({ "name": account, "default_key": true })).await.expect(201);
        keys.push(made["key"].as_str().unwrap().to_owned());
    }
    for team in TEAMS {
        admin.post("/api/v1/teams", &json!({ "name": team })).await.expect(201);
    }
    for (team, account) in &case.members {
        admin.post(&format!("/api/v1/teams/{}/members", TEAMS[*team]), &json!({ "service_account": ACCOUNTS[*account] })).await.expect(201);
    }
    for given in &case.given {
        let mut body = match given.holder {
            account if account < ACCOUNTS.len() => json!({ "service_account": ACCOUNTS[account] }),
            team => json!({ "team": TEAMS[team - ACCOUNTS.len()] }),
        };
        match ROLES[level(given.place)].get(given.role) {
            Some(role) => body["role"] = json!(role),
            None => body["permissions"] = json!(names(&given.permissions)),
        }
        let (workspace, project) = PLACES[given.place];
        body["workspace"] = json!(workspace);
        body["project"] = json!(project);
        let answer = admin.post("/api/v1/role_assignments", &body).await;
        assert!([201, 409].contains(&answer.status), "{body}: {}", answer.text);
    }

    for (account, name) in ACCOUNTS.iter().enumerate() {
        let held = |place: usize| (0..CATALOGUE.len()).filter(|permission| holds(&case, account, *permission, place)).collect::<BTreeSet<_>>();
        for (place, (workspace, project)) in PLACES.iter().enumerate() {
            let place_query: String =
                [("workspace", workspace), ("project", project)].iter().filter_map(|(name, it)| it.map(|it| format!("&{name}={it}"))).collect();
            let answer = admin.get(&format!("/api/v1/access?principal={name}{place_query}")).await.expect(200);
            let found = answer["permissions"].as_array().unwrap().iter().filter(|it| it["receiver"] == "workspace");
            let found: BTreeSet<_> = found.map(|it| it["permission"].as_str().unwrap()).collect();
            assert_eq!(found, names(&held(place)).into_iter().collect(), "{name} at {:?}", PLACES[place]);
        }
        for (workspace, place, projects) in [("w0", 1, vec![("p0", 3), ("p1", 4)]), ("w1", 2, vec![("p0", 5)])] {
            let answer = app.anyone().post_form("/api/v1/login", &[("password", keys[account].as_str()), ("workspace", workspace)]).await;
            let whole = held(place);
            let parts: Vec<_> = projects
                .into_iter()
                .map(|(slug, place)| (slug, held(place).difference(&whole).copied().collect::<BTreeSet<_>>()))
                .filter(|(_, only)| !only.is_empty())
                .collect();
            if whole.is_empty() && parts.is_empty() {
                assert_eq!(answer.problem(), (403, "access_denied".to_owned()), "{name} at {workspace}");
                continue;
            }
            let answer = answer.expect(200);
            let said = claims(answer["access_token"].as_str().unwrap());
            assert_eq!(
                (&answer["scope"], answer.get("authorization_details")),
                (said.get("scope").unwrap_or(&Value::Null), said.get("authorization_details"))
            );
            let scope: BTreeSet<_> = said["scope"].as_str().unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect();
            assert_eq!(scope, names(&whole).into_iter().map(str::to_owned).collect(), "{name} at {workspace}");
            let details = said.get("authorization_details").and_then(Value::as_array).cloned().unwrap_or_default();
            let mut details: Vec<_> = details
                .iter()
                .map(|it| {
                    (
                        it["slug"].as_str().unwrap().to_owned(),
                        it["actions"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(),
                    )
                })
                .collect();
            details.sort();
            let expected: Vec<_> =
                parts.iter().map(|(slug, only)| ((*slug).to_owned(), names(only).into_iter().map(str::to_owned).collect::<BTreeSet<_>>())).collect();
            assert_eq!(details, expected, "{name} at {workspace}");
        }
    }
}

on_both_engines! {
    async fn answers_are_those_of_a_naive_model(engine: Engine) {
        let app = TestApp::start(engine).await;
        let runtime = tokio::runtime::Handle::current();
        let tried = tokio::task::spawn_blocking(move || {
            let number = std::cell::Cell::new(0);
            // What fails is printed whole, so nothing needs to be kept in a file.
            let config = Config { cases: 16, failure_persistence: None, ..Config::default() };
            let tried = TestRunner::new(config).run(&cases(), |case| {
                number.set(number.get() + 1);
                // A failed assertion is a panic, which the runner catches, and looks for a smaller case.
                runtime.block_on(check(&app, case, number.get()));
                Ok(())
            });
            tried.unwrap_or_else(|error| panic!("{error}"));
        });
        tried.await.unwrap();
    }
}
