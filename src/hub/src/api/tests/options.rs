//! What options of the configuration change about answers of the API.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use hubd_store::{NewToken, RoleDefinition, TokenOwner, hash_token, token_prefix};
use serde_json::{Value, json};

use super::Api;
use crate::settings::InvalidNamedServers;
use crate::test_support::{OnStart, SOON, request, server, started, user};

/// The scopes of the token that alice's server was started with.
async fn scopes_of_alices_server(api: &Api) -> serde_json::Value {
    started(&api.test.hub, "alice").await;
    let token = api.test.helper.environment("alice")["JUPYTERHUB_API_TOKEN"].clone();
    api.get("/user", &token).await.json()["scopes"].clone()
}

#[tokio::test]
async fn the_role_server_decides_what_a_servers_token_may_do() {
    let api = Api::with(|settings| {
        settings.roles.defaults.retain(|role| role.name != "server");
        settings.roles.configured.push(RoleDefinition {
            name: "server".into(),
            description: None,
            scopes: vec!["read:servers!server".into(), "list:groups".into()],
        });
    })
    .await;
    api.test.hub.prepare_records().unwrap();
    let scopes = scopes_of_alices_server(&api).await;
    let scopes: Vec<&str> = scopes.as_array().unwrap().iter().filter_map(|scope| scope.as_str()).collect();
    assert!(scopes.contains(&"read:servers!server=alice/"), "{scopes:?}");
    assert!(scopes.contains(&"users:activity!user=alice"), "always: {scopes:?}");
    assert!(!scopes.iter().any(|scope| scope.starts_with("list:groups")), "alice has it not: {scopes:?}");
    assert!(!scopes.iter().any(|scope| scope.starts_with("access:servers")), "{scopes:?}");
}

#[tokio::test]
async fn server_token_scopes_come_before_the_role() {
    let api = Api::with(|settings| {
        settings.spawner.server_token_scopes = vec!["read:users:name!user".into(), "admin:users".into()];
    })
    .await;
    assert_eq!(
        scopes_of_alices_server(&api).await,
        json!([
            "read:users!user=alice",
            "read:users:activity!user=alice",
            "read:users:groups!user=alice",
            "read:users:name!user=alice",
            "users:activity!user=alice"
        ])
    );
}

#[tokio::test]
async fn what_a_server_may_ask_its_visitors_for_is_configured() {
    let api = Api::with(|settings| {
        settings.spawner.oauth_client_allowed_scopes = vec!["read:users!user".into()];
    })
    .await;
    started(&api.test.hub, "alice").await;
    let told = api.test.helper.environment("alice")["JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES"].clone();
    assert_eq!(told, r#"["read:users!user"]"#);
    let client = api.test.hub.store.oauth_client("jupyterhub-user-alice").unwrap().unwrap();
    assert_eq!(client.allowed_scopes, ["access:servers!server=alice/", "read:users!user"]);

    let api = Api::with(|settings| settings.spawner.oauth_roles = vec!["user".into()]).await;
    started(&api.test.hub, "alice").await;
    let client = api.test.hub.store.oauth_client("jupyterhub-user-alice").unwrap().unwrap();
    assert_eq!(client.allowed_scopes, ["access:servers!server=alice/", "self"]);

    let api = Api::with(|settings| settings.spawner.oauth_roles = vec!["user".into(), "none".into()]).await;
    let (alice, path) = (api.token("alice", &["inherit"]), "/users/alice/server");
    let refused = api.call("POST", path, &alice, "").await;
    assert_eq!(refused.error(), (500, json!("No such role(s): none")));
    assert_eq!(api.get("/users/alice", &alice).await.json()["pending"], Value::Null);
}

#[tokio::test]
async fn members_of_a_group_get_its_overrides() {
    let overrides = json!([{
        "groups": ["staff"], "spawner_override": {"environment": {"TEAM": "blue"}, "default_url": "/tree"}
    }]);
    let api = Api::with(|settings| {
        let overrides: Vec<_> = serde_json::from_value(overrides).unwrap();
        settings.spawner.group_overrides = overrides.into();
    })
    .await;
    let store = &api.test.hub.store;
    store.put_into_groups(store.user("bob").unwrap().unwrap().id, &["staff".to_owned()]).unwrap();
    for name in ["alice", "bob"] {
        started(&api.test.hub, name).await;
    }
    let of = |name: &str, variable: &str| api.test.helper.environment(name).get(variable).cloned();
    assert_eq!((of("alice", "TEAM"), of("alice", "JUPYTERHUB_DEFAULT_URL")), (None, None));
    assert_eq!(of("bob", "TEAM").as_deref(), Some("blue"));
    assert_eq!(of("bob", "JUPYTERHUB_DEFAULT_URL").as_deref(), Some("/tree"));
}

#[tokio::test]
async fn without_a_challenge_there_is_no_login_if_pkce_is_required() {
    let api = Api::with(|settings| settings.oauth_require_pkce = true).await;
    started(&api.test.hub, "alice").await;
    let location = |query: &str| {
        let path = format!(
            "/hub/api/oauth2/authorize?client_id=jupyterhub-user-alice&response_type=code&state=S{query}"
        );
        let request = Request::get(path).header("cookie", api.cookie("alice"));
        let request = request.header("sec-fetch-mode", "navigate").body(Body::empty()).unwrap();
        async { api.send(request).await.header("location").to_owned() }
    };
    assert_eq!(
        location("").await,
        "/user/alice/oauth_callback?error=invalid_request&error_description=Code+challenge+required.&state=S"
    );
    let challenge = "&code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    assert!(location(challenge).await.starts_with("/user/alice/oauth_callback?code="));
}

#[tokio::test]
async fn activity_is_noted_as_often_as_configured() {
    for (resolution, noted) in [(0, true), (30, false)] {
        let api = Api::with(|settings| settings.activity_resolution = Duration::from_secs(resolution)).await;
        let alice = api.token("alice", &["inherit"]);
        api.get("/user", &alice).await;
        let store = &api.test.hub.store;
        store.flush_activity().unwrap();
        let before = store.user("alice").unwrap().unwrap().last_activity;
        api.get("/user", &alice).await;
        store.flush_activity().unwrap();
        assert_eq!(store.user("alice").unwrap().unwrap().last_activity > before, noted, "{resolution}");
    }
}

#[tokio::test]
async fn a_server_with_an_old_name_starts_only_where_that_is_allowed() {
    for (rule, status) in [(InvalidNamedServers::AllowStart, 403), (InvalidNamedServers::AllowDelete, 400)] {
        let api = Api::with(|settings| settings.invalid_named_servers = rule).await;
        api.test.hub.store.ensure_spawner("alice", "Old_Name", None).unwrap();
        let alice = api.token("alice", &["inherit"]);
        let reply = api.call("POST", "/users/alice/servers/Old_Name", &alice, "").await;
        // A token brings no ticket: where it may start, the helper refuses.
        assert_eq!(reply.status, status, "{}", reply.text);
        if status == 400 {
            let text = "Starting invalid server_name 'Old_Name' is disabled, contact your administrator";
            assert_eq!(reply.error().1, text);
        }
        let removed =
            api.call("DELETE", "/users/alice/servers/Old_Name", &alice, r#"{"remove": true}"#).await;
        assert_eq!(removed.status, 204);
    }
}

#[tokio::test]
async fn the_login_cookie_can_be_for_the_hubs_host_alone() {
    let api = Api::with(|settings| settings.cookie_host_prefix = true).await;
    let cookie = api.cookie("alice").replacen("jupyterhub-hub-login", "__Host-jupyterhub-hub-login", 1);
    let ask = |cookie: &str| {
        let request = Request::get("/hub/home").header("cookie", cookie).header("sec-fetch-mode", "navigate");
        api.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(ask(&cookie).await.status, 200);
    assert_eq!(ask(&api.cookie("alice")).await.status, 302, "the name without the prefix counts no more");
    started(&api.test.hub, "alice").await;
    let told = api.test.helper.environment("alice")["JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED"].clone();
    assert_eq!(told, "0", "on a host that all share, everybody's server would get it");
}

#[tokio::test]
async fn the_hub_ends_after_too_many_failed_starts_in_a_row() {
    let api = Api::with(|settings| settings.spawner.consecutive_failure_limit = 2).await;
    let hub = &api.test.hub;
    let fail = || async {
        hub.start_server(request("alice")).await.unwrap();
        hub.wait_server(&user("alice"), &server(""), SOON).await;
    };
    api.test.helper.script(|script| script.start = OnStart::Exit(1));
    fail().await;
    api.test.helper.script(|script| script.start = OnStart::Serve);
    started(hub, "bob").await;
    api.test.helper.script(|script| script.start = OnStart::Exit(1));
    fail().await;
    assert!(!hub.ending.has_failed(), "the count began anew");
    fail().await;
    tokio::time::timeout(SOON, hub.ending.asked()).await.unwrap();
    assert!(hub.ending.has_failed() && !hub.ending.stops_servers(true));
}

#[tokio::test]
async fn a_code_of_before_is_refused_when_pkce_is_required() {
    let api = Api::with(|settings| settings.oauth_require_pkce = true).await;
    let store = &api.test.hub.store;
    started(&api.test.hub, "alice").await;
    let secret = api.test.helper.environment("alice")["JUPYTERHUB_API_TOKEN"].clone();
    let code = hubd_store::OAuthCode {
        id: 0,
        code: "old-code".into(),
        client_id: "jupyterhub-user-alice".into(),
        user_id: store.user("alice").unwrap().unwrap().id,
        session_id: None,
        redirect_uri: String::new(),
        scopes: Vec::new(),
        expires_at: i64::MAX,
        code_challenge: None,
        code_challenge_method: None,
    };
    store.create_code(&code).unwrap();
    let body = format!(
        "grant_type=authorization_code&code=old-code&client_id=jupyterhub-user-alice&client_secret={secret}"
    );
    let request = Request::post("/hub/api/oauth2/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap();
    let reply = api.send(request).await;
    assert_eq!((reply.status.as_u16(), reply.json()["error"].clone()), (400, json!("invalid_grant")));
}

#[tokio::test]
async fn a_token_that_a_person_chose_is_hashed_once() {
    let api = Api::new().await;
    let store = &api.test.hub.store;
    let owner = TokenOwner::User(store.user("root1").unwrap().unwrap().id);
    let new = NewToken {
        owner,
        hashed: hash_token("chosen-by-somebody", 16384, [5; 8]),
        prefix: token_prefix("chosen-by-somebody"),
        client_id: "jupyterhub".into(),
        session_id: None,
        note: String::new(),
        scopes: vec!["inherit".into()],
        created: std::time::SystemTime::now(),
        expires_at: None,
    };
    let id = store.create_token(&new).unwrap();
    for _ in 0..3 {
        assert_eq!(api.get("/users/alice", "chosen-by-somebody").await.status, 200);
        assert_eq!(api.get("/users/alice", "chosen-by-somebodz").await.status, 403);
    }
    store.delete_token(id).unwrap();
    assert_eq!(api.get("/users/alice", "chosen-by-somebody").await.status, 403);
}
