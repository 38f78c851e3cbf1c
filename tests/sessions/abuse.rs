//! Sessions under attack, or merely under load: many at once, too many, odd cookies and clocks.

use reqwest::Method;

use super::{PASSWORD, make_person, set_cookie, sign_in, sign_in_by_key, with_headers};
use crate::status::ended;
use crate::support::{Answer, TestApp, claims, on_both_engines};

on_both_engines! {
    async fn signing_out_by_a_header_ends_the_browsers_session_too(engine: Engine) {
        let app = TestApp::start(engine).await;
        make_person(&app, "ada@example.com").await;
        let (browser, token) = sign_in(&app.anyone().browser(), "ada@example.com").await;
        let out = browser.with(app.admin_key()).call("/auth/logout").await;
        assert_eq!(out.status, 204);
        assert!(set_cookie(&out).starts_with("hourpass=; "));
        assert_eq!(browser.get("/users/me").await.status, 401);
        assert!(ended(&app.anyone(), &token).await);
        // Another site's request neither ends it nor has it forgotten.
        let (browser, _) = sign_in(&app.anyone().browser(), "ada@example.com").await;
        let request = app.anyone().with(app.admin_key()).request(Method::POST, "/auth/logout").header("cookie", browser.cookie());
        assert_eq!(set_cookie(&Answer::of(request.header("sec-fetch-site", "cross-site")).await), "");
        assert_eq!(browser.get("/users/me").await.status, 200);
        // Nor does another scheme, which a proxy may have left there, count for us.
        let proxied = with_headers(&browser, Method::GET, "/users/me", &[("authorization", "Basic YTpi")]).await;
        assert_eq!(proxied.expect(200)["name"], "ada@example.com");
        assert_eq!(with_headers(&app.anyone(), Method::GET, "/users/me", &[("authorization", "Basic YTpi")]).await.status, 401);
    }

    async fn renewing_and_signing_out_do_not_wait_for_each_other(engine: Engine) {
        let app = TestApp::start(engine).await;
        make_person(&app, "ada@example.com").await;
        let key = app.issue_key("default", "ci", &[], None).await;
        for round in 0..12 {
            app.clock.advance_seconds(10);
            let browser = app.anyone().browser();
            let (browser, token) = if round % 2 == 0 { sign_in(&browser, "ada@example.com").await } else { sign_in_by_key(&browser, &key).await };
            app.clock.advance_seconds(2_000);
            let read = async || { browser.get("/users/me").await };
            let before = futures_util::future::join_all([read(), read(), read()]);
            let after = futures_util::future::join_all([read(), read()]);
            let (before, out, after) = tokio::join!(before, browser.call("/auth/logout"), after);
            assert_eq!(out.status, 204, "{}", out.text);
            for answer in before.into_iter().chain(after) {
                assert!([200, 401].contains(&answer.status), "{}", answer.text);
            }
            assert_eq!(browser.get("/users/me").await.status, 401);
            assert!(ended(&app.anyone(), &token).await);
        }
    }

    async fn of_many_requests_at_once_one_renews(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (browser, _) = sign_in_by_key(&app.anyone().browser(), app.admin_key()).await;
        app.clock.advance_seconds(2_000);
        // Another site that shows something of ours is no use of it.
        for site in ["cross-site", "same-site"] {
            let shown = app.anyone().request(Method::GET, "/users/me").header("cookie", browser.cookie()).header("sec-fetch-site", site);
            assert_eq!(set_cookie(&Answer::of(shown).await), "", "{site}");
        }
        futures_util::future::join_all((0..10).map(|_| browser.get("/users/me"))).await;
        let trail = app.admin_client().get("/api/v1/audit_events?action=session.renew").await.expect(200);
        assert_eq!(trail["items"].as_array().unwrap().len(), 1);
    }

    async fn nobody_has_endless_sessions(engine: Engine) {
        let app = TestApp::start(engine).await;
        let key = app.issue_key("default", "ci", &[], None).await;
        let (first, first_token) = sign_in_by_key(&app.anyone().browser(), &key).await;
        for _ in 1..30 {
            app.anyone().browser().login(&key).await.expect(200);
        }
        let refused = app.anyone().browser().login(&key).await;
        assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()));
        assert_eq!(app.anyone().login(&key).await.status, 200);
        let (_, other) = sign_in_by_key(&app.anyone().browser(), app.admin_key()).await;
        assert!(!ended(&app.anyone(), &other).await);

        // The oldest of more than a hundred end, and are on record.
        let hash = |number: u8| hourpass::domain::api_key::ApiKeyHash([number; 32]);
        let account = app.admin_client().get("/api/v1/service_accounts/ci").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
        let grant = hourpass::domain::id::SessionId(claims(&app.anyone().login(&key).await.token())["sid"].as_str().unwrap().parse().unwrap());
        let now = hourpass::domain::time::Timestamp::from_seconds(app.clock.seconds());
        let origin = hourpass::domain::audit::Origin::default();
        let mut tx = app.store.begin().await.unwrap();
        for number in 0..100 {
            let id = hourpass::domain::id::SessionId(uuid::Uuid::from_u128(u128::MAX - u128::from(number)));
            let session = hourpass::domain::entity::Session::begin(id, now, Some(std::time::Duration::from_hours(2)));
            let new = hourpass::store::NewSession { session, cookie: Some(hash(number)), origin: &origin };
            tx.insert_key_session(&new, grant, None).await.unwrap();
        }
        let holder = hourpass::store::SessionHolder::ServiceAccount(hourpass::domain::id::ServiceAccountId(account));
        assert_eq!(tx.delete_oldest_sessions(holder, 100, now).await.unwrap().len(), 30);
        tx.commit().await.unwrap();
        assert_eq!(first.get("/users/me").await.status, 401);
        assert!(ended(&app.anyone(), &first_token).await);
        // What is over for a day is forgotten, in the background.
        app.clock.advance_seconds(3_600 + 86_400);
        assert!(app.upkeep.forget_sessions().await.unwrap() >= 100);
        assert_eq!(app.upkeep.forget_sessions().await.unwrap(), 0);
    }

    async fn a_clock_that_was_ahead_keeps_nobody_out(engine: Engine) {
        let app = TestApp::start(engine).await;
        make_person(&app, "ada@example.com").await;
        app.clock.advance_seconds(3 * 3_600);
        app.anyone().with(app.admin_key()).get("/users/me").await.expect(200);
        app.clock.advance_seconds(-3 * 3_600);
        let (browser, token) = sign_in(&app.anyone().browser(), "ada@example.com").await;
        assert_eq!((browser.get("/users/me").await.status, app.anyone().with(&token).get("/users/me").await.status), (200, 200));
        let (browser, token) = sign_in_by_key(&app.anyone().browser(), app.admin_key()).await;
        assert_eq!((browser.get("/users/me").await.status, app.anyone().with(&token).get("/users/me").await.status), (200, 200));
        let plain = app.anyone().post_form("/auth/login", &[("username", "ada@example.com"), ("password", PASSWORD)]).await.token();
        assert_eq!(app.anyone().with(&plain).get("/users/me").await.status, 200);
    }

    async fn odd_cookies_and_fields_do_no_harm(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (browser, _) = sign_in_by_key(&app.anyone().browser(), app.admin_key()).await;
        // What others on the host have set need not be text.
        let mut bytes = b"theme=caf\xc3\xa9\xff; other; =; ".to_vec();
        bytes.extend_from_slice(browser.cookie().as_bytes());
        let request = app.anyone().request(Method::GET, "/users/me").header("cookie", reqwest::header::HeaderValue::from_bytes(&bytes).unwrap());
        assert_eq!(Answer::of(request).await.status, 200);
        // A key in the wrong field is not shown.
        let shown = app.anyone().browser().post_form("/sign-in", &[("username", app.admin_key()), ("password", "x")]).await;
        assert!(shown.status == 401 && !shown.text.contains(app.admin_key()) && shown.text.contains("(API key)"), "{}", shown.text);
        for path in ["/users/me/sessions/", "/api/v1/service_accounts/"] {
            let answer = app.admin_client().delete(&format!("{path}{}", app.admin_key())).await;
            assert!(answer.status == 404 && !answer.text.contains(app.admin_key()), "{}", answer.text);
        }
        // A token for something else ends nobody's sessions.
        let narrowed = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("scope", "audit.read")]).await.token();
        let narrowed = app.anyone().with(&narrowed);
        assert_eq!(narrowed.get("/users/me/sessions").await.problem(), (403, "access_denied".to_owned()));
        assert_eq!(narrowed.call("/users/me/sessions/end_others").await.problem(), (403, "access_denied".to_owned()));
        assert_eq!(browser.get("/users/me").await.status, 200);
        for query in ["?next=a&next=b", "?next=%ff", "?x"] {
            assert_eq!(app.anyone().get(&format!("/sign-in{query}")).await.status, 200, "{query}");
        }
        let named = app.anyone().browser().post_form("/sign-in", &[("password", app.admin_key()), ("next", "/teams/\u{e9}")]).await;
        assert_eq!((named.status, named.header("location")), (303, "/teams/%C3%A9"));
    }
}
