//! What the documents of the seeds have a person do, in the dashboard, with the copied key in `curl`.

use serde_json::Value;

use crate::support::{Browser, Engine, TestApp, command, on_both_engines};

/// What a command that was copied from a page prints.
async fn shell(app: &TestApp, line: &str) -> Value {
    let (folder, line) = (app.database.folder.path().to_owned(), line.to_owned());
    let output = tokio::task::spawn_blocking(move || command("bash", &folder).args(["-c", &line]).output().unwrap()).await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Copies the key that is shown, this once, and the command, and tries both.
async fn copied(app: &TestApp, browser: &Browser) -> String {
    browser.has("Your new API key").await;
    browser.press_beside("Test it", "Copy").await;
    browser.has("Copied").await;
    let answer = shell(app, &browser.clipboard().await).await;
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&"bearer".into(), &3600.into()), "{answer}");
    browser.press_beside("Name of the key", "Copy").await;
    let key = browser.clipboard().await;
    assert_eq!(shell(app, &format!("curl -s -H 'Authorization: Bearer {key}' {}/users/me", app.url)).await["is_service_account"], true);
    key
}

/// What an exchange of this key with `curl` is answered: `ok`, or the code of the refusal.
async fn exchange(app: &TestApp, key: &str) -> String {
    let answer = shell(app, &format!("curl -s -d 'password={key}' {}/auth/login", app.url)).await;
    if answer["access_token"].is_string() { "ok".to_owned() } else { answer["code"].as_str().unwrap().to_owned() }
}

on_both_engines! {
    async fn the_life_of_an_account(engine: Engine) {
        let app = TestApp::start(engine).await;
        let browser = Browser::open(&app).await;
        // The engine makes no difference to how a page looks.
        let looks_good = async |name: &str| {
            if engine == Engine::Sqlite {
                browser.looks_good(name).await;
            }
        };
        browser.sign_in_by_key(app.admin_key()).await;
        browser.arrives("/").await;

        // Create, with a key.
        browser.press("Service accounts").await;
        browser.press("New service account").await;
        browser.fill("Name", "ci-deploy").await;
        browser.fill("Description", "Deploys what was merged.").await;
        browser.tick("90 days").await;
        browser.press("Create service account").await;
        let key = copied(&app, &browser).await;
        looks_good("key").await;
        // It is shown this once.
        browser.press("I have copied it").await;
        browser.has("ci-deploy").await;
        browser.has("Deploys what was merged.").await;
        browser.lacks(&key).await;
        let account = browser.path().await;
        looks_good("account").await;

        // Another key.
        browser.press("New API key").await;
        browser.fill("Name", "staging").await;
        browser.tick("30 days").await;
        browser.press("Create API key").await;
        let staging = copied(&app, &browser).await;

        // Rotate it, and keep the old value for an hour.
        browser.goto(&account).await;
        browser.press_beside("staging", "Rotate").await;
        looks_good("rotate").await;
        browser.tick("1 hour").await;
        browser.press("Rotate key").await;
        let rotated = copied(&app, &browser).await;
        assert_ne!(rotated, staging);
        assert_eq!((exchange(&app, &staging).await.as_str(), exchange(&app, &rotated).await.as_str()), ("ok", "ok"));
        browser.goto(&account).await;
        browser.has("old value").await;
        looks_good("retained").await;
        browser.press_beside("staging", "End now").await;
        browser.has("Who uses it").await;
        looks_good("old-value").await;
        browser.press("End the old value of staging").await;
        browser.has("The old value is ended.").await;
        assert_eq!((exchange(&app, &staging).await.as_str(), exchange(&app, &rotated).await.as_str()), ("api_key_rotated", "ok"));

        // Revoke one for a while, then delete it; the other goes on.
        browser.press_beside("staging", "Deactivate").await;
        browser.has("Deactivate staging?").await;
        browser.press("Deactivate staging").await;
        browser.has("The key is deactivated.").await;
        assert_eq!((exchange(&app, &rotated).await.as_str(), exchange(&app, &key).await.as_str()), ("api_key_inactive", "ok"));
        browser.goto(&account).await;
        browser.press_beside("staging", "Delete").await;
        browser.has("Delete staging?").await;
        looks_good("delete-key").await;
        // Asking alone ends nothing.
        browser.press("Cancel").await;
        browser.press_beside("staging", "Delete").await;
        browser.press("Delete staging").await;
        browser.has("The key is deleted.").await;
        browser.lacks("staging").await;
        assert_eq!((exchange(&app, &rotated).await.as_str(), exchange(&app, &key).await.as_str()), ("invalid_credentials", "ok"));

        // Deactivate the account, with what it means; activate it again; delete it.
        browser.goto(&account).await;
        browser.press("Deactivate").await;
        browser.has("Deactivate ci-deploy?").await;
        browser.has("exchange").await;
        looks_good("deactivate").await;
        browser.press("Deactivate ci-deploy").await;
        browser.has("This account is deactivated").await;
        assert_eq!(exchange(&app, &key).await, "service_account_inactive");
        browser.press("Activate").await;
        browser.has("Activated.").await;
        assert_eq!(exchange(&app, &key).await, "ok");
        browser.goto(&account).await;
        browser.press("Delete").await;
        browser.has("Delete ci-deploy?").await;
        looks_good("delete").await;
        browser.press("Delete ci-deploy").await;
        browser.arrives("/service-accounts?notice=deleted").await;
        browser.lacks("ci-deploy").await;
        assert_eq!(exchange(&app, &key).await, "invalid_credentials");
        browser.close().await;
    }
}
