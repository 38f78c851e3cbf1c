//! A real server in this process, with time and randomness in the test's hands.

use hourpass::app::{Application, open_administration};
use hourpass::config::Config;
use hourpass::domain::attributes::{CustomClaims, Labels};
use hourpass::domain::id::Reference;
use hourpass::domain::name::{Audience, Name, Slug, WorkspaceUrl};
use hourpass::domain::signing::SigningAlgorithm;
use hourpass::service::{Administration, FirstStart, IssueKey, Memory, NewWorkspace, Sources, Upkeep};
use hourpass::store::Store;
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::sync::oneshot;

use super::{Client, Database, Engine, MockClock, seeded};

/// A server, until it is dropped.
pub struct TestApp {
    pub url: String,
    pub database: Database,
    pub clock: MockClock,
    pub store: Store,
    /// What `hourpass admin` does.
    pub admin: Administration,
    pub first_start: Option<FirstStart>,
    /// What runs in the background, for tests that do not wait for it.
    pub upkeep: Upkeep,
    /// What the server holds in memory.
    pub memory: Memory,
    sources: Sources,
    /// Its end stops the server.
    _stop: oneshot::Sender<()>,
}

impl TestApp {
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine.database().await, &[]).await
    }

    /// With settings, named as in the environment.
    pub async fn start_with(database: Database, settings: &[(&str, &str)]) -> Self {
        let url = database.url.clone();
        Self::start_at(database, &url, settings).await
    }

    /// With the server itself reaching the database by another URL, such as through a proxy.
    pub async fn start_at(database: Database, server_url: &str, settings: &[(&str, &str)]) -> Self {
        let clock = MockClock::new();
        let sources = seeded(&clock);
        let config = |url: &str| configure(&database, url, settings);
        let mut application = Application::build(config(server_url), sources.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        let admin = open_administration(&config(&database.url), &sources).await.unwrap();
        let first_start = application.take_first_start();
        let (url, store, upkeep) = (application.url().to_owned(), application.store().clone(), application.upkeep().clone());
        let memory = application.memory().clone();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(async move {
            let _closed = Box::pin(application.run_until(async { drop(stopped.await) })).await;
        });
        Self { url, database, clock, store, admin, first_start, upkeep, memory, sources, _stop: stop }
    }

    pub fn random(&self) -> &dyn hourpass::domain::random::Random {
        self.sources.random()
    }

    /// Another server on the same database, as its configuration would make it.
    pub async fn build_another(&self, settings: &[(&str, &str)]) -> Result<Application, hourpass::app::StartError> {
        Application::build(configure(&self.database, &self.database.url, settings), self.sources.clone()).await
    }

    pub fn anyone(&self) -> Client {
        Client::new(&self.url)
    }

    /// The key of the service account `bootstrap`: Organization Admin of `default`.
    pub fn admin_key(&self) -> &str {
        self.first_start.as_ref().expect("not the first start").api_key.expose()
    }

    pub fn admin_password(&self) -> &str {
        self.first_start.as_ref().unwrap().admin_password.as_ref().unwrap().expose_secret()
    }

    /// Someone who may do everything in `default`.
    pub fn admin_client(&self) -> Client {
        self.anyone().with(self.admin_key())
    }

    /// A key of a service account with these roles, in the workspace where they are workspace roles.
    pub async fn issue_key(&self, organization: &str, account: &str, roles: &[&str], workspace: Option<&str>) -> String {
        // Keys are named after the time, which stands still.
        self.clock.advance_seconds(1);
        let wanted = IssueKey {
            organization: organization.to_owned(),
            service_account: Name::parse(account).unwrap(),
            key_name: None,
            roles: roles.iter().map(|role| Reference::from(*role)).collect(),
            workspace: workspace.map(Reference::from),
            expires_in_days: None,
        };
        let key = self.admin.issue_key(wanted).await.unwrap().expose().to_owned();
        self.settle().await;
        key
    }

    /// Lets the server take in what was changed beside it, as it would by itself within the bound.
    pub async fn settle(&self) {
        self.store.follow_changes().await.unwrap();
    }

    pub async fn create_organization(&self, slug: &str) {
        self.admin.create_organization(Slug::parse(slug).unwrap(), None).await.unwrap();
    }

    /// As [`TestApp::add_workspace`], and the first key of its algorithm signs.
    pub async fn create_workspace(&self, organization: &str, slug: &str, url: Option<&str>, algorithm: SigningAlgorithm, lifetime: Duration) {
        self.add_workspace(organization, slug, url, algorithm, lifetime).await;
        if algorithm != SigningAlgorithm::Es256 {
            self.upkeep.take_turns().await.unwrap();
            self.clock.advance_seconds(75);
        }
    }

    pub async fn add_workspace(&self, organization: &str, slug: &str, url: Option<&str>, algorithm: SigningAlgorithm, lifetime: Duration) {
        let wanted = NewWorkspace {
            slug: Slug::parse(slug).unwrap(),
            name: None,
            url: url.map(|url| WorkspaceUrl::parse(url).unwrap()),
            audience: Some(Audience::parse(&format!("https://{slug}.{organization}.example.com")).unwrap()),
            signing_algorithm: algorithm,
            token_lifetime: lifetime,
            labels: Labels::default(),
            claims: CustomClaims::default(),
        };
        self.admin.create_workspace(organization, wanted).await.unwrap();
    }
}

fn configure(database: &Database, url: &str, settings: &[(&str, &str)]) -> Config {
    let master_key_file = database.folder.path().join("master.key");
    // A file that has to be there when it is named, so that a second server finds the first one's.
    if !master_key_file.exists() {
        std::fs::write(&master_key_file, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n").unwrap();
    }
    let own = [
        ("HOURPASS_SERVER__PORT", "0"),
        ("HOURPASS_DATABASE__URL", url),
        ("HOURPASS_DATABASE__TIMEOUT", "2s"),
        ("HOURPASS_DATABASE__MAX_CONNECTIONS", "4"),
        ("HOURPASS_SIGNING__MASTER_KEY_FILE", master_key_file.to_str().unwrap()),
    ];
    let all = own.iter().chain(settings).map(|(name, value)| ((*name).into(), (*value).into()));
    Config::load(None, all).unwrap_or_else(|error| panic!("{error}"))
}
