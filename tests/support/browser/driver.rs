//! The program that drives browsers: one for all tests of this process.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use thirtyfour::{Capabilities, CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Ends with the process that holds its standard input, however that ends; then so do the driver and all browsers, and their files go.
const KEEPER: &str = r#"
set -m
"$1" --port=0 </dev/null &
driver=$!
while read -r _; do :; done
kill -KILL -- "-$driver"
wait "$driver" 2>/dev/null
rm -rf "$2"
"#;

/// Browsers at once. More than that, and each waits for the others' processors.
static PLACES: Semaphore = Semaphore::const_new(2);

static DRIVER: LazyLock<Driver> = LazyLock::new(Driver::start);

struct Driver {
    url: String,
    /// Profiles of browsers.
    folder: PathBuf,
    /// Holds the keeper's standard input.
    _keeper: Child,
}

impl Driver {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut keeper = Command::new("bash");
        keeper.args(["-c", KEEPER, "keeper"]).arg(setting("TEST_CHROMEDRIVER")).arg(&folder);
        // A group of its own, so that an interrupt ends the tests and leaves it the time to clean up. All that a browser keeps outside of its profile is under HOME.
        keeper.process_group(0).env("HOME", &folder).env("TMPDIR", &folder);
        let mut keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(keeper.stdout.take().unwrap()).lines().map_while(Result::ok);
        let started = lines.find_map(|line| Some(line.split_once("started successfully on port ")?.1.trim_end_matches('.').to_owned()));
        let port = started.unwrap_or_else(|| panic!("{} did not start", setting("TEST_CHROMEDRIVER")));
        std::thread::spawn(move || lines.for_each(drop));
        Self { url: format!("http://127.0.0.1:{port}"), folder, _keeper: keeper }
    }
}

/// What `scripts/test` says where something is.
pub(super) fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test, which finds a browser and what goes with it"))
}

/// A browser with a fresh profile, and its place among those that run at once.
pub(super) async fn start(scripts: bool) -> (WebDriver, tempfile::TempDir, SemaphorePermit<'static>) {
    let place = PLACES.acquire().await.unwrap();
    // Starting it takes a while, and is for a thread that may wait.
    let driver = tokio::task::spawn_blocking(|| &*DRIVER).await.unwrap();
    let profile = tempfile::tempdir_in(&driver.folder).unwrap();
    // Whatever the environment says of proxies, the driver is on this machine.
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
    let started = WebDriver::builder(&driver.url, capabilities(profile.path().to_str().unwrap(), scripts)).client(client).await;
    (started.unwrap_or_else(|error| panic!("no browser: {error}")), profile, place)
}

fn capabilities(profile: &str, scripts: bool) -> Capabilities {
    let mut wanted = DesiredCapabilities::chrome();
    wanted.set_binary(&setting("TEST_CHROMIUM")).unwrap();
    let profile = format!("--user-data-dir={profile}");
    let arguments = [
        "--headless=new",
        "--disable-gpu",
        // Containers have little shared memory.
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
        "--lang=en-US",
        "--window-size=1280,900",
        // A page that asks another host fails, and nothing leaves this machine.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        "--no-proxy-server",
        &profile,
    ];
    for argument in arguments {
        wanted.add_arg(argument).unwrap();
    }
    if super::super::postgres::is_root() {
        // The browser's sandbox does not work for root.
        wanted.add_arg("--no-sandbox").unwrap();
    }
    let mut preferences = serde_json::json!({ "credentials_enable_service": false, "profile.password_manager_leak_detection": false });
    if !scripts {
        preferences["profile.managed_default_content_settings.javascript"] = 2.into();
    }
    wanted.add_experimental_option("prefs", preferences).unwrap();
    wanted.set("goog:loggingPrefs", serde_json::json!({ "browser": "ALL", "performance": "ALL" })).unwrap();
    wanted.into()
}
