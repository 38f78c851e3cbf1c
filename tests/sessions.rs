//! Sessions in a browser: who gets a cookie, what it is good for, when it is renewed and what ends it.

mod abuse;

use reqwest::Method;
use serde_json::{Value, json};

use crate::propagation::{Subject, changes, seen};
use crate::status::ended;
use crate::support::{Answer, Client, TestApp, claims, on_both_engines};

const PASSWORD: &str = "correct horse battery";
const ACCOUNTS: &str = "/api/v1/service_accounts";

/// What the answer has the browser keep.
fn set_cookie(answer: &Answer) -> &str {
    answer.header("set-cookie")
}

async fn make_person(app: &TestApp, email: &str) -> Value {
    app.admin_client().post("/api/v1/users", &json!({ "email": email, "password": PASSWORD })).await.expect(201)
}

/// Signs a person in, in a browser.
async fn sign_in(browser: &Client, email: &str) -> (Client, String) {
    let answer = browser.post_form("/auth/login", &[("username", email), ("password", PASSWORD)]).await;
    (browser.keeping(&answer), answer.token())
}

/// Signs a service account in, in a browser.
async fn sign_in_by_key(browser: &Client, key: &str) -> (Client, String) {
    let answer = browser.login(key).await;
    (browser.keeping(&answer), answer.token())
}

async fn with_headers(client: &Client, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    Answer::of(headers.iter().fold(client.request(method, path), |request, (name, value)| request.header(*name, *value))).await
}

on_both_engines! {
    async fn a_page_gets_a_cookie_and_nobody_else(engine: Engine) {
        let app = TestApp::start(engine).await;
        make_person(&app, "ada@example.com").await;
        let (anyone, key) = (app.anyone(), app.admin_key());
        let person = [("username", "ada@example.com"), ("password", PASSWORD)];
        for fields in [&[("password", key)][..], &person[..]] {
            let answer = anyone.browser().post_form("/auth/login", fields).await;
            let (pair, attributes) = set_cookie(&answer).split_once("; ").unwrap();
            assert!(pair.starts_with("hourpass=hp_session_"), "{pair}");
            assert_eq!(attributes, "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax");
            let me = anyone.keeping(&answer).get("/users/me").await.expect(200);
            assert_eq!(me["is_service_account"], fields.len() == 1);
            assert_eq!(me["id"], claims(&answer.token())["sub"]);
        }
        let origin = anyone.request(Method::POST, "/auth/login").header("origin", &app.url).form(&person);
        assert!(set_cookie(&Answer::of(origin).await).starts_with("hourpass=hp_session_"));

        let none = async |path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]| {
            let request = headers.iter().fold(anyone.request(Method::POST, path), |request, (name, value)| request.header(*name, *value));
            let answer = Answer::of(request.form(fields)).await;
            assert_eq!((answer.status, set_cookie(&answer)), (200, ""), "{path} {headers:?}");
        };
        let page = &[("sec-fetch-site", "same-origin")];
        none("/auth/login", &person, &[]).await;
        none("/auth/login", &person, &[("sec-fetch-site", "cross-site"), ("origin", &app.url)]).await;
        none("/auth/login", &person, &[("sec-fetch-site", "same-site")]).await;
        none("/auth/login", &person, &[("sec-fetch-site", "none")]).await;
        none("/auth/login", &person, &[("origin", "https://elsewhere.example.com")]).await;
        none("/auth/login", &person, &[("origin", "null")]).await;
        // A session may do all that its holder may; these ask for less, or for something else.
        none("/auth/login", &[("password", key), ("scope", "audit.read")], page).await;
        none("/auth/login", &[("password", key), ("workspace", "default")], page).await;
        none("/workspaces/default/api/v1/login", &[("password", key)], page).await;
        // Nor does anything else set one.
        assert_eq!(set_cookie(&anyone.browser().with(key).get("/users/me").await), "");
        let wrong = anyone.browser().login("hp_live_wrong").await;
        assert_eq!((wrong.status, set_cookie(&wrong)), (401, ""));
    }

    async fn a_header_wins_over_a_cookie(engine: Engine) {
        let app = TestApp::start(engine).await;
        make_person(&app, "ada@example.com").await;
        let (browser, token) = sign_in(&app.anyone().browser(), "ada@example.com").await;
        assert_eq!(browser.get("/users/me").await.expect(200)["name"], "ada@example.com");
        assert_eq!(browser.with(app.admin_key()).get("/users/me").await.expect(200)["name"], "bootstrap");
        assert_eq!(browser.with("hp_live_wrong").get("/users/me").await.problem(), (401, "invalid_credentials".to_owned()));
        browser.call("/auth/logout").await;
        let stale = browser.get("/users/me").await;
        assert_eq!(stale.problem(), (401, "invalid_credentials".to_owned()));
        assert!(set_cookie(&stale).starts_with("hourpass=; Path=/; Max-Age=0;"), "{stale:?}");
        assert_eq!(browser.with(app.admin_key()).get("/users/me").await.status, 200);
        // A cookie is no token, and a token or key no cookie.
        let secret = browser.cookie().split_once('=').unwrap().1;
        assert_eq!(app.anyone().with(secret).get("/users/me").await.status, 401);
        for no_cookie in [&token, app.admin_key(), "", "hp_session_", "junk"] {
            let answer = with_headers(&app.anyone(), Method::GET, "/users/me", &[("cookie", &format!("hourpass={no_cookie}"))]).await;
            assert_eq!(answer.status, 401, "{no_cookie}");
        }
    }

    async fn what_changes_something_has_to_come_from_a_page_of_ours(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (signed_in, _) = sign_in_by_key(&app.anyone().browser(), app.admin_key()).await;
        let bare = |path: &str, method| app.anyone().request(method, path).header("cookie", signed_in.cookie());
        let cases: [(&[(&str, &str)], bool); 9] = [
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://rewritten.example.com")], true),
            (&[("origin", &app.url)], true),
            (&[], false),
            (&[("sec-fetch-site", "same-site"), ("origin", &app.url)], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://elsewhere.example.com"), ("referer", &app.url)], false),
        ];
        for (number, (headers, counts)) in cases.into_iter().enumerate() {
            let sent = |request| headers.iter().fold(request, |request: reqwest::RequestBuilder, (name, value)| request.header(*name, *value));
            let name = format!("account-{number}");
            let made = Answer::of(sent(bare(ACCOUNTS, Method::POST)).json(&json!({ "name": name }))).await;
            let there = app.admin_client().get(&format!("{ACCOUNTS}/{name}")).await.status;
            if counts {
                assert_eq!((made.status, there), (201, 200), "{headers:?}");
            } else {
                assert_eq!((made.problem(), there), ((403, "cross_site_request".to_owned()), 404), "{headers:?}");
                let gone = Answer::of(sent(bare(&format!("{ACCOUNTS}/account-0"), Method::DELETE))).await;
                assert_eq!(gone.problem(), (403, "cross_site_request".to_owned()), "{headers:?}");
            }
            // Reading is for everybody who has the cookie: no other page can see the answer.
            assert_eq!(Answer::of(sent(bare("/users/me", Method::GET))).await.status, 200, "{headers:?}");
        }
        // Nobody else's page can make a browser send this.
        let by_header = app.anyone().with(app.admin_key()).request(Method::POST, ACCOUNTS).header("sec-fetch-site", "cross-site");
        assert_eq!(Answer::of(by_header.json(&json!({ "name": "by-header" }))).await.status, 201);
    }

    async fn signing_out_ends_cookie_and_token(engine: Engine) {
        let app = TestApp::start(engine).await;
        make_person(&app, "ada@example.com").await;
        let key = app.issue_key("default", "ci", &["Organization Auditor"], None).await;
        let anyone = app.anyone();
        let elsewhere = anyone.login(&key).await.token();
        for (browser, token) in [sign_in(&anyone.browser(), "ada@example.com").await, sign_in_by_key(&anyone.browser(), &key).await] {
            assert_ne!(claims(&token)["sid"], claims(&elsewhere)["sid"]);
            assert!(!ended(&anyone, &token).await);
            let out = browser.call("/auth/logout").await;
            assert_eq!(out.status, 204);
            assert_eq!(set_cookie(&out), "hourpass=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
            // A copy of it is worth nothing.
            assert_eq!(browser.get("/users/me").await.status, 401);
            assert_eq!(anyone.with(&token).get("/users/me").await.status, 401);
            assert!(ended(&anyone, &token).await);
            let told = app.admin_client().post("/api/v1/explain", &json!({ "credential": token })).await.expect(200);
            assert_eq!(told["code"], "token_revoked");
        }
        // What the key itself yielded goes on.
        assert_eq!(anyone.with(&elsewhere).get("/users/me").await.status, 200);
        assert!(!ended(&anyone, &elsewhere).await);
        assert_eq!(anyone.with(&key).call("/auth/logout").await.status, 204);
        assert_eq!(anyone.with(&elsewhere).get("/users/me").await.status, 200);
        let trail = app.admin_client().get("/api/v1/audit_events?action=user.sign_out").await.expect(200);
        assert_eq!(trail["items"].as_array().unwrap().len(), 2);
    }

    async fn it_ends_with_what_it_was_begun_with(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        for (number, change) in changes().iter().enumerate() {
            let subject = Subject::make(&admin, number).await;
            let (browser, token) = sign_in_by_key(&anyone.browser(), &subject.key).await;
            assert_eq!(seen(&browser.get("/users/me").await), (200, true), "{}", change.name);
            subject.change(&admin, change).await;
            assert_eq!(seen(&browser.get("/users/me").await), change.token, "{}", change.name);
            assert_eq!(seen(&anyone.with(&token).get("/users/me").await), change.token, "{}: its token", change.name);
            assert_eq!(ended(&anyone, &token).await, change.token.0 == 401, "{}: the list", change.name);
        }
        // People.
        let password = async |client: &Client| {
            let body = json!({ "old_password": PASSWORD, "password": "another horse battery" });
            assert_eq!(client.post("/users/me/password", &body).await.status, 204);
        };
        for (number, what) in ["deactivated", "deleted", "invited anew", "password"].into_iter().enumerate() {
            let email = format!("person-{number}@example.com");
            let path = format!("/api/v1/users/{email}");
            make_person(&app, &email).await;
            let (browser, token) = sign_in(&anyone.browser(), &email).await;
            let (other, _) = sign_in(&anyone.browser(), &email).await;
            match what {
                "deactivated" => drop(admin.patch(&path, &json!({ "active": false })).await.expect(200)),
                "deleted" => assert_eq!(admin.delete(&path).await.status, 204),
                "invited anew" => {
                    let link = admin.call(&format!("{path}/invite")).await.expect(200);
                    let body = json!({ "invitation": link["invitation"], "password": "another horse battery" });
                    anyone.post("/api/v1/invitations/accept", &body).await.expect(200);
                }
                // Also the one that asked: it may be what was stolen.
                _ => password(&browser).await,
            }
            for browser in [&browser, &other] {
                assert_eq!(browser.get("/users/me").await.status, 401, "{what}");
            }
            assert_eq!(anyone.with(&token).get("/users/me").await.status, 401, "{what}");
            assert!(ended(&anyone, &token).await, "{what}");
        }
    }

    async fn it_ends_with_the_time_of_its_key(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let made = admin.post(ACCOUNTS, &json!({ "name": "ci", "default_key": true })).await.expect(201);
        let key = format!("{ACCOUNTS}/ci/api_keys/default");
        let (browser, token) = sign_in_by_key(&anyone.browser(), made["key"].as_str().unwrap()).await;
        admin.call(&format!("{key}/rotate")).await;
        assert_eq!(browser.get("/users/me").await.status, 401);
        assert!(ended(&anyone, &token).await);

        let rotated = admin.post(&format!("{key}/rotate"), &json!({ "retain_minutes": 0 })).await.expect(200);
        let (browser, token) = sign_in_by_key(&anyone.browser(), rotated["key"].as_str().unwrap()).await;
        admin.post(&format!("{key}/rotate"), &json!({ "retain_minutes": 10 })).await.expect(200);
        app.clock.advance_seconds(599);
        assert_eq!(browser.get("/users/me").await.status, 200);
        assert!(!ended(&anyone, &token).await);
        app.clock.advance_seconds(1);
        assert_eq!(browser.get("/users/me").await.problem(), (401, "api_key_rotated".to_owned()));
        assert!(ended(&anyone, &token).await);

        // A key that expires during the session, also where the session is renewed meanwhile.
        let soon = admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": "soon", "expires_in_days": 1 })).await.expect(201);
        app.clock.advance_seconds(86_400 - 2_400);
        let (browser, token) = sign_in_by_key(&anyone.browser(), soon["key"].as_str().unwrap()).await;
        app.clock.advance_seconds(1_900);
        assert!(set_cookie(&browser.get("/users/me").await).contains("Max-Age=3600"));
        assert!(!ended(&anyone, &token).await);
        app.clock.advance_seconds(500);
        assert_eq!(browser.get("/users/me").await.problem(), (401, "api_key_expired".to_owned()));
        assert!(ended(&anyone, &token).await);
    }

    async fn it_is_renewed_while_it_is_used(engine: Engine) {
        let app = TestApp::start_with(engine.database().await, &[("HOURPASS_SESSIONS__MAX_AGE", "3h")]).await;
        make_person(&app, "ada@example.com").await;
        let anyone = app.anyone();
        for person in [true, false] {
            let browser = anyone.browser();
            let (browser, token) =
                if person { sign_in(&browser, "ada@example.com").await } else { sign_in_by_key(&browser, app.admin_key()).await };
            app.clock.advance_seconds(1_799);
            assert_eq!(set_cookie(&browser.get("/users/me").await), "");
            let mut lengths = Vec::new();
            for _ in 0..6 {
                app.clock.advance_seconds(1_800);
                let answer = browser.get("/users/me").await;
                if answer.status == 200 {
                    lengths.push(set_cookie(&answer).split("Max-Age=").nth(1).unwrap_or("-").split(';').next().unwrap().to_owned());
                    assert!(set_cookie(&answer).is_empty() || set_cookie(&answer).starts_with(browser.cookie()));
                }
            }
            // In all three hours: the last time it gets only what is left, and then it is over.
            assert_eq!(lengths, ["3600", "3600", "3600", "1801", "-"]);
            assert_eq!(browser.get("/users/me").await.status, 401);
            assert_eq!(anyone.with(&token).get("/users/me").await.status, 401);
        }
        let trail = app.admin_client().get("/api/v1/audit_events?action=session.renew").await.expect(200);
        assert_eq!(trail["items"].as_array().unwrap().len(), 8);

        // Unused for an hour it is over, to the second, and stays so when the clock is set back.
        let (browser, _) = sign_in(&anyone.browser(), "ada@example.com").await;
        app.clock.advance_seconds(3_599);
        let (kept, _) = sign_in(&anyone.browser(), "ada@example.com").await;
        app.clock.advance_seconds(1);
        assert_eq!((browser.get("/users/me").await.status, kept.get("/users/me").await.status), (401, 200));
        app.clock.advance_seconds(-600);
        assert_eq!(browser.get("/users/me").await.status, 401);
    }

    async fn ones_own_are_listed_and_ended(engine: Engine) {
        let app = TestApp::start(engine).await;
        make_person(&app, "ada@example.com").await;
        make_person(&app, "eve@example.com").await;
        let (anyone, key) = (app.anyone(), app.issue_key("default", "ci", &[], None).await);
        let (eve, _) = sign_in(&anyone.browser(), "eve@example.com").await;
        for person in [true, false] {
            let mut all = Vec::new();
            for _ in 0..3 {
                app.clock.advance_seconds(1);
                let browser = anyone.browser();
                all.push(if person { sign_in(&browser, "ada@example.com").await } else { sign_in_by_key(&browser, &key).await });
            }
            let list = async |client: &Client| client.get("/users/me/sessions").await.expect(200)["items"].as_array().unwrap().clone();
            let [(first, first_token), (second, _), (third, third_token)] = &all[..] else { panic!() };
            let listed = list(second).await;
            assert_eq!(listed.iter().map(|it| it["current"].as_bool().unwrap()).collect::<Vec<_>>(), [false, true, false]);
            assert_eq!((&listed[0]["browser"], &listed[0]["address"], &listed[0]["id"]), (&json!(true), &json!("127.0.0.1"), &claims(third_token)["sid"]));
            let path = |token: &str| format!("/users/me/sessions/{}", claims(token)["sid"].as_str().unwrap());
            // Nobody ends another's.
            for other in [&eve, &app.admin_client()] {
                assert_eq!(other.delete(&path(first_token)).await.problem(), (404, "not_found".to_owned()));
            }
            assert_eq!(second.delete("/users/me/sessions/junk").await.problem().0, 404);
            assert_eq!(second.delete(&path(first_token)).await.status, 204);
            assert_eq!(second.delete(&path(first_token)).await.problem().0, 404);
            assert_eq!((first.get("/users/me").await.status, third.get("/users/me").await.status), (401, 200));
            assert!(ended(&anyone, first_token).await && !ended(&anyone, third_token).await);
            assert_eq!(second.call("/users/me/sessions/end_others").await.status, 204);
            assert_eq!((second.get("/users/me").await.status, third.get("/users/me").await.status), (200, 401));
            assert!(ended(&anyone, third_token).await);
            assert_eq!(list(second).await.len(), 1);
        }
        // Neither Eve's nor the key's own.
        assert_eq!((eve.get("/users/me").await.status, anyone.with(&key).get("/users/me").await.status), (200, 200));
        // With the key itself, all of them.
        let (browser, _) = sign_in_by_key(&anyone.browser(), &key).await;
        assert_eq!(anyone.with(&key).call("/users/me/sessions/end_others").await.status, 204);
        assert_eq!((browser.get("/users/me").await.status, anyone.with(&key).get("/users/me").await.status), (401, 200));
    }

    async fn signing_in_anew_ends_what_the_browser_had(engine: Engine) {
        let app = TestApp::start(engine).await;
        make_person(&app, "ada@example.com").await;
        let (browser, _) = sign_in(&app.anyone().browser(), "ada@example.com").await;
        // A cookie that somebody planted is never taken up.
        let answer = browser.login(app.admin_key()).await;
        let now = app.anyone().keeping(&answer);
        assert_ne!(now.cookie(), browser.cookie());
        assert_eq!((browser.get("/users/me").await.status, now.get("/users/me").await.status), (401, 200));
        let (first, _) = sign_in(&app.anyone().browser(), "ada@example.com").await;
        let (second, _) = sign_in(&app.anyone().browser(), "ada@example.com").await;
        assert_ne!(first.cookie(), second.cookie());
    }

    async fn under_https_it_is_locked_to_the_host(engine: Engine) {
        let app = TestApp::start_with(engine.database().await, &[("HOURPASS_SERVER__PUBLIC_URL", "https://hourpass.example.com")]).await;
        let answer = app.anyone().browser().login(app.admin_key()).await;
        let (pair, attributes) = set_cookie(&answer).split_once("; ").unwrap();
        assert!(pair.starts_with("__Host-hourpass=hp_session_"));
        assert_eq!(attributes, "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(answer.header("strict-transport-security"), "max-age=63072000");
        let browser = app.anyone().keeping(&answer);
        assert_eq!(browser.get("/users/me").await.status, 200);
        // A browser behind a proxy that names the proxy's own host to this server.
        let request = app.anyone().request(Method::POST, "/users/me/sessions/end_others").header("cookie", browser.cookie());
        assert_eq!(Answer::of(request.header("origin", "https://hourpass.example.com")).await.status, 204);
        let plain = app.anyone().request(Method::POST, "/users/me/sessions/end_others").header("cookie", browser.cookie());
        assert_eq!(Answer::of(plain.header("origin", app.url.clone())).await.problem(), (403, "cross_site_request".to_owned()));
        // The other name is not looked at: anybody could have set it.
        let planted = format!("hourpass={}", browser.cookie().split_once('=').unwrap().1);
        assert_eq!(with_headers(&app.anyone(), Method::GET, "/users/me", &[("cookie", &planted)]).await.problem(), (401, "missing_credentials".to_owned()));
    }

    async fn no_answer_can_be_framed_or_sniffed(engine: Engine) {
        let app = TestApp::start(engine).await;
        for path in ["/users/me", "/healthz", "/.well-known/jwks.json", "/nothing"] {
            let answer = app.anyone().get(path).await;
            assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
            assert_eq!((answer.header("x-content-type-options"), answer.header("strict-transport-security")), ("nosniff", ""), "{path}");
            assert!(!answer.header("referrer-policy").is_empty(), "{path}");
        }
    }

    async fn the_form_signs_in_and_out(engine: Engine) {
        let app = TestApp::start(engine).await;
        make_person(&app, "ada@example.com").await;
        let (anyone, key) = (app.anyone(), app.admin_key());
        let browser = anyone.browser();
        let person = [("username", "ada@example.com"), ("password", PASSWORD), ("next", "/teams?a=b")];
        for fields in [&[("username", ""), ("password", key), ("next", "/teams?a=b")][..], &person[..]] {
            let answer = browser.post_form("/sign-in", fields).await;
            assert_eq!((answer.status, answer.header("location")), (303, "/teams?a=b"));
            let signed_in = anyone.keeping(&answer);
            assert_eq!(signed_in.get("/users/me").await.status, 200);
            let again = signed_in.get("/sign-in?next=/audit").await;
            assert_eq!((again.status, again.header("location")), (303, "/audit"));
            let out = signed_in.call("/sign-out").await;
            assert_eq!((out.status, out.header("location")), (303, "/sign-in?notice=signed_out"));
            assert!(set_cookie(&out).starts_with("hourpass=; "));
            assert_eq!(signed_in.get("/users/me").await.status, 401);
            // Signed out, one is sent to sign in, and the stale cookie is forgotten.
            let stale = signed_in.get("/service-accounts?search=x").await;
            assert_eq!((stale.status, stale.header("location")), (303, "/sign-in?next=%2Fservice%2Daccounts%3Fsearch%3Dx"));
            assert!(set_cookie(&stale).starts_with("hourpass=; "));
            assert!(signed_in.get("/sign-in?notice=signed_out").await.text.contains("You are signed out."));
        }
        for elsewhere in ["//example.com", "https://example.com/", "/\\example.com", "/\t/example.com", ""] {
            let answer = browser.post_form("/sign-in", &[("password", key), ("next", elsewhere)]).await;
            assert_eq!((answer.status, answer.header("location")), (303, "/"), "{elsewhere}");
        }
        for (fields, status, text) in [
            (&[("username", "ada@example.com"), ("password", "wrong horse battery")][..], 401, "value=\"ada@example.com\""),
            (&[("password", "hp_live_wrong")][..], 401, "not an API key"),
            (&[("username", "<b>x</b>"), ("password", PASSWORD)][..], 401, "&#60;b&#62;x"),
            (&[][..], 400, "password is missing"),
        ] {
            let answer = browser.post_form("/sign-in", fields).await;
            assert_eq!((answer.status, set_cookie(&answer)), (status, ""), "{fields:?}");
            assert!(answer.text.contains(text) && !answer.text.contains(PASSWORD), "{}", answer.text);
        }
        // Another site's form signs nobody in or out.
        for headers in [&[("sec-fetch-site", "cross-site")][..], &[("origin", "https://elsewhere.example.com")][..], &[][..]] {
            let signed_in = anyone.keeping(&browser.login(key).await);
            let sent = |path: &str| headers.iter().fold(anyone.request(Method::POST, path), |request, (name, value)| request.header(*name, *value));
            let planted = Answer::of(sent("/sign-in").form(&[("password", key)])).await;
            assert_eq!((planted.status, set_cookie(&planted)), (403, ""));
            assert_eq!(Answer::of(sent("/sign-out").header("cookie", signed_in.cookie())).await.status, 403);
            assert_eq!(signed_in.get("/users/me").await.status, 200);
        }
    }
}
