//! The idle culler: stops servers in which nothing happens, by the rules of jupyterhub-idle-culler.
//!
//! It sees what the proxy carried, what servers report, which kernels are busy, and how much processor time is used.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use hubd_proto::{Secret, ServerName, UserName};
use hubd_store::{GENERATED_ROUNDS, NewToken, Page, TokenOwner, User, UserFilter};
use tokio_util::sync::CancellationToken;

use super::State;
use super::launch::with_store;
use super::life::Server;
use super::names::Which;
use crate::Hub;

/// How long a server has to say which of its kernels are busy.
const KERNELS_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer about kernels, in bytes: some 300 of each of 1,000 kernels.
const KERNELS_BYTES_MAX: usize = 300 * 1024;
/// Users in one read of the database.
const USERS_AT_ONCE: i64 = 500;
/// How long before its end a server's page says so, at most.
const WARNING: Duration = Duration::from_secs(15 * 60);

/// `[IdleCuller]`.
#[derive(Debug, Clone)]
pub struct CullerSettings {
    /// How long nothing may happen.
    pub timeout: Duration,
    /// How often that is looked at.
    pub every: Duration,
    /// How old a server may be, whatever happens in it.
    pub max_age: Option<Duration>,
    /// Whether idle people are deleted from the database.
    pub users: bool,
    /// Whether admins among them are.
    pub admin_users: bool,
    /// Whether default servers are stopped.
    pub default_servers: bool,
    /// Whether named servers are stopped.
    pub named_servers: bool,
    /// Whether named servers are deleted too.
    pub remove_named_servers: bool,
    /// Servers that are asked at once.
    pub concurrency: usize,
    /// From how much processor time on a server is busy, in percent of a core; 0 is never.
    pub busy_cpu_percent: f64,
}

impl Hub {
    /// Culls until `stop`, if the configuration wants it.
    pub async fn cull_idle(self: Arc<Self>, stop: CancellationToken) {
        let Some(rules) = self.settings.culler.clone() else { return };
        tracing::info!("idle servers are stopped after {}", shown(rules.timeout));
        while stop.run_until_cancelled(tokio::time::sleep(rules.every)).await.is_some() {
            self.cull(&rules).await;
        }
    }

    /// Looks at all servers once.
    pub(crate) async fn cull(self: &Arc<Self>, rules: &CullerSettings) {
        let servers = self.servers.all().into_iter().filter(|server| is_culled(rules, &server.which));
        futures_util::stream::iter(servers)
            .for_each_concurrent(rules.concurrency, |server| async move {
                if let Some(why) = self.idle(rules, &server).await {
                    self.cull_server(rules, &server.which, &why).await;
                }
            })
            .await;
        if rules.users
            && let Err(error) = self.cull_users(rules).await
        {
            tracing::error!("cannot look for idle users: {error}");
        }
    }

    /// When the idle culler stops a server, if that is soon.
    pub fn culled_at(&self, user: &UserName, server: &ServerName) -> Option<SystemTime> {
        let rules = self.settings.culler.as_ref()?;
        let which = Which::new(user, server);
        if !is_culled(rules, &which) || self.server(user, server).state != State::Ready {
            return None;
        }
        let end = self.last_seen(&which)? + rules.timeout;
        let warning = WARNING.min(rules.timeout / 2);
        (end <= self.clock.now() + warning).then_some(end)
    }

    /// When something last happened in a server.
    fn last_seen(&self, which: &Which) -> Option<SystemTime> {
        let row = self.store.spawner(which.user.as_str(), which.server.as_str()).ok().flatten();
        let recorded =
            row.as_ref().and_then(|row| row.last_activity).max(row.as_ref().and_then(|row| row.started));
        self.routes.last_activity(&which.route(&self.settings)).max(recorded)
    }

    /// Why a server is to be stopped; nothing if it is not.
    async fn idle(self: &Arc<Self>, rules: &CullerSettings, server: &Arc<Server>) -> Option<String> {
        let snapshot = server.snapshot();
        if snapshot.state != State::Ready {
            return None;
        }
        let now = self.clock.now();
        let since = |time: SystemTime| now.duration_since(time).unwrap_or_default();
        let age = snapshot.started.map(since).unwrap_or_default();
        let which = server.which.clone();
        let inactive = with_store(self, move |hub| Ok(hub.last_seen(&which))).await.ok()?.map_or(age, since);
        if let Some(max_age) = rules.max_age
            && age >= max_age
        {
            return Some(format!("age: {}, inactive for {}", shown(age), shown(inactive)));
        }
        if inactive < rules.timeout {
            return None;
        }
        let cpu = snapshot.figures.and_then(|figures| figures.cpu_percent);
        let computes = rules.busy_cpu_percent > 0.0 && cpu.is_some_and(|cpu| cpu >= rules.busy_cpu_percent);
        if computes || self.has_busy_kernel(&server.which).await {
            tracing::debug!("Not culling server {}: it computes", server.which);
            self.note_activity(&server.which).await;
            return None;
        }
        Some(format!("inactive for {}", shown(inactive)))
    }

    async fn note_activity(self: &Arc<Self>, which: &Which) {
        let activity = [(which.user.to_string(), which.server.to_string(), self.clock.now())];
        if let Err(error) = with_store(self, move |hub| hub.store.record_activity(&activity)).await {
            tracing::error!("cannot record activity: {error}");
        }
    }

    async fn cull_server(self: &Arc<Self>, rules: &CullerSettings, which: &Which, why: &str) {
        tracing::info!("Culling server {which} ({why})");
        if let Err(error) = self.stop_server(&which.user, &which.server).await {
            return tracing::warn!("cannot stop {which}: {error}");
        }
        if rules.remove_named_servers && !which.server.as_str().is_empty() {
            self.wait_server(&which.user, &which.server, KERNELS_TIMEOUT).await;
            let which = which.clone();
            let removed = with_store(self, move |hub| {
                hub.store.delete_spawner(which.user.as_str(), which.server.as_str())
            });
            if let Err(error) = removed.await {
                tracing::error!("cannot delete a named server: {error}");
            }
        }
    }

    /// Asks the server itself, with a token that lives for the question. A server that does not answer as a Jupyter
    /// server has no kernels that could be busy.
    async fn has_busy_kernel(self: &Arc<Self>, which: &Which) -> bool {
        let Some(target) = self.routes.target(&which.route(&self.settings)) else { return false };
        let Some((id, token)) = self.kernels_token(which).await else { return false };
        let path = format!("{}api/kernels", which.url(&self.settings.base_url));
        let answer =
            hubd_proxy::read(&target, &path, token.expose(), (KERNELS_TIMEOUT, KERNELS_BYTES_MAX)).await;
        if let Err(error) = with_store(self, move |hub| hub.store.delete_token(id)).await {
            tracing::warn!("cannot delete the token of an idle check; it expires by itself: {error}");
        }
        let kernels: Option<Vec<serde_json::Value>> =
            answer.ok().and_then(|body| serde_json::from_slice(&body).ok());
        let busy =
            |kernel: &serde_json::Value| kernel.get("execution_state").is_some_and(|state| state == "busy");
        kernels.is_some_and(|kernels| kernels.iter().any(busy))
    }

    async fn kernels_token(self: &Arc<Self>, which: &Which) -> Option<(i64, Secret)> {
        let which = which.clone();
        let made = with_store(self, move |hub| {
            let Some(user) = hub.store.user(which.user.as_str())? else { return Ok(None) };
            let (token, now) = (Secret::new(hub.new_token()), hub.clock.now());
            let mut salt = [0; 8];
            hub.random.fill(&mut salt);
            let id = hub.store.create_token(&NewToken {
                owner: TokenOwner::User(user.id),
                hashed: hubd_store::hash_token(token.expose(), GENERATED_ROUNDS, salt),
                prefix: hubd_store::token_prefix(token.expose()),
                client_id: "jupyterhub".to_owned(),
                session_id: None,
                note: format!("Server at {}: idle check", which.url(&hub.settings.base_url)),
                scopes: vec![format!("access:servers!server={}/{}", which.user, which.server)],
                created: now,
                expires_at: Some(now + KERNELS_TIMEOUT * 2),
            })?;
            Ok(Some((id, token)))
        });
        made.await.ok().flatten()
    }

    /// Deletes people in whose records nothing happens, and whose servers are all stopped.
    async fn cull_users(self: &Arc<Self>, rules: &CullerSettings) -> Result<(), String> {
        let rules = rules.clone();
        with_store(self, move |hub| {
            let mut offset = 0;
            loop {
                let page = Page { offset, limit: USERS_AT_ONCE };
                let (users, _) = hub.store.users(&UserFilter::default(), page)?;
                let idle: Vec<&User> = users.iter().filter(|user| hub.is_idle(&rules, user)).collect();
                for user in &idle {
                    tracing::info!("Culling user {}", user.name);
                    hub.store.delete_user(user.id)?;
                }
                if users.len() < usize::try_from(USERS_AT_ONCE).unwrap_or(usize::MAX) {
                    return Ok(());
                }
                // Those that are left are before the next page.
                offset += i64::try_from(users.len() - idle.len()).unwrap_or(USERS_AT_ONCE);
            }
        })
        .await
    }

    fn is_idle(&self, rules: &CullerSettings, user: &User) -> bool {
        let Ok(name) = UserName::new(user.name.as_str()) else { return false };
        if (user.admin && !rules.admin_users)
            || self.servers_of(&name).iter().any(|(_, s)| s.state.is_active())
        {
            return false;
        }
        let since = |time: Option<SystemTime>| {
            time.and_then(|time| self.clock.now().duration_since(time).ok()).unwrap_or_default()
        };
        let age = since(user.created);
        let inactive = if user.last_activity.is_some() { since(user.last_activity) } else { age };
        inactive >= rules.timeout || rules.max_age.is_some_and(|max_age| age >= max_age)
    }
}

fn is_culled(rules: &CullerSettings, which: &Which) -> bool {
    if which.server.as_str().is_empty() { rules.default_servers } else { rules.named_servers }
}

/// `00:10:05`, as jupyterhub-idle-culler writes it.
fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{SOON, TestHub, server, started, user};

    fn rules() -> CullerSettings {
        CullerSettings {
            timeout: Duration::from_secs(600),
            every: Duration::from_secs(300),
            max_age: None,
            users: false,
            admin_users: true,
            default_servers: true,
            named_servers: true,
            remove_named_servers: false,
            concurrency: 10,
            busy_cpu_percent: 50.0,
        }
    }

    #[tokio::test]
    async fn an_idle_server_is_stopped_and_one_in_use_is_not() {
        let test = TestHub::with(|settings| settings.culler = Some(rules())).await;
        assert_eq!(started(&test.hub, "alice").await, State::Ready);
        test.hub.cull(&rules()).await;
        assert_eq!(test.hub.server(&user("alice"), &server("")).state, State::Ready);
        assert_eq!(test.hub.culled_at(&user("alice"), &server("")), None);
        let now = CullerSettings { timeout: Duration::ZERO, ..rules() };
        let spared = CullerSettings { default_servers: false, ..now.clone() };
        test.hub.cull(&spared).await;
        assert_eq!(test.hub.server(&user("alice"), &server("")).state, State::Ready);
        test.hub.cull(&now).await;
        let state = test.hub.wait_server(&user("alice"), &server(""), SOON).await;
        assert!(!state.is_active(), "{state:?}");
    }

    #[tokio::test]
    async fn a_server_that_is_too_old_is_stopped_whatever_happens_in_it() {
        let test = TestHub::new().await;
        started(&test.hub, "alice").await;
        test.hub.cull(&CullerSettings { max_age: Some(Duration::ZERO), ..rules() }).await;
        assert!(!test.hub.wait_server(&user("alice"), &server(""), SOON).await.is_active());
    }

    #[tokio::test]
    async fn idle_users_are_deleted_only_if_that_is_wished_and_never_while_something_runs() {
        let test = TestHub::new().await;
        started(&test.hub, "alice").await;
        test.hub.store.ensure_user("bob", "b", SystemTime::UNIX_EPOCH).unwrap();
        test.hub.cull(&rules()).await;
        assert!(test.hub.store.user("bob").unwrap().is_some());
        test.hub.cull(&CullerSettings { users: true, ..rules() }).await;
        assert!(test.hub.store.user("bob").unwrap().is_none());
        assert!(test.hub.store.user("alice").unwrap().is_some());
    }

    #[test]
    fn times_are_shown_as_by_the_stand_alone_culler() {
        assert_eq!(shown(Duration::from_secs(605)), "00:10:05");
    }
}
