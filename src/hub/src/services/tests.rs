//! Services with a helper that pretends: rows, tokens, starts, deaths, restarts of the hub.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hubd_proto::Secret;
use hubd_proto::message::RefusalCode;
use hubd_store::{RoleMembers, token_matches};
use serde_json::{Value, json};

use super::{AddError, Spec};
use crate::Hub;
use crate::settings::Settings;
use crate::test_support::{OnStart, SOON, TestHub};

fn spec(fields: Value) -> Spec {
    let fields: BTreeMap<String, Value> =
        fields.as_object().expect("an object").clone().into_iter().collect();
    Spec::read(&fields, None).unwrap_or_else(|error| panic!("{error}"))
}

fn culler() -> Spec {
    spec(json!({"name": "cull", "command": ["/bin/cull", "-x"], "url": "http://127.0.0.1:1", "timeout": 0}))
}

fn with(specs: Vec<Spec>) -> impl Fn(&mut Settings) {
    move |settings| settings.services.specs = specs.clone()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

async fn running(hub: &Arc<Hub>) {
    until("the service runs", || hub.services.pid("cull") == 4567).await;
}

#[tokio::test]
async fn configured_services_have_jupyterhubs_rows_and_removed_ones_none() {
    let external = spec(json!({
        "name": "ext", "url": "http://127.0.0.1:9", "api_token": "0123456789", "admin": true,
        "oauth_client_allowed_scopes": ["read:users"], "info": {"k": "v"}
    }));
    let test = TestHub::with(|settings| {
        with(vec![external.clone(), culler()])(settings);
        settings.services.user_tokens = vec![(Secret::new("abcdefghij".into()), "bot".into())];
        settings.services.service_tokens = vec![(Secret::new("zyxwvutsrq".into()), "implicit".into())];
        settings.roles.members = vec![RoleMembers {
            role: "server".into(),
            services: Some(vec!["cull".into()]),
            ..RoleMembers::default()
        }];
    })
    .await;
    let hub = &test.hub;
    for _ in 0..2 {
        hub.prepare_records().unwrap();
    }
    let row = hub.store.service("ext").unwrap().unwrap();
    assert!(row.admin && row.from_config && row.roles == ["admin"] && row.info == Some(json!({"k": "v"})));
    assert_eq!(hub.store.service("cull").unwrap().unwrap().roles, ["server"]);
    let client = hub.store.oauth_client("service-ext").unwrap().unwrap();
    assert_eq!(client.redirect_uri, "/services/ext/oauth_callback");
    assert_eq!(client.allowed_scopes, ["access:services!service=ext", "read:users"]);
    assert!(token_matches("0123456789", &client.secret_hash));
    let now = hub.clock.now();
    let token = hub.store.token("0123456789", now).unwrap().unwrap();
    assert_eq!((token.service_id, token.note.as_str()), (Some(row.id), "from config"));
    let bot = hub.store.user("bot").unwrap().unwrap();
    assert!(
        bot.roles.is_empty() && hub.store.token("abcdefghij", now).unwrap().unwrap().user_id == Some(bot.id)
    );
    assert!(hub.store.service("implicit").unwrap().is_some());

    let hub = test.restarted_with("hub.sqlite", with(vec![culler()]));
    hub.prepare_records().unwrap();
    assert!(hub.store.service("ext").unwrap().is_none() && hub.store.service("implicit").unwrap().is_none());
    assert!(hub.store.oauth_client("service-ext").unwrap().is_none());
    assert!(hub.store.token("0123456789", now).unwrap().is_none());
}

#[tokio::test]
async fn a_managed_service_is_started_routed_started_again_and_stopped() {
    let test = TestHub::with(with(vec![culler()])).await;
    let hub = &test.hub;
    hub.prepare_records().unwrap();
    hub.begin_services();
    running(hub).await;
    assert_eq!(hub.routes.prefixes(), ["/services/cull/"]);
    let first = test.helper.environment("account");
    for (name, value) in [
        ("JUPYTERHUB_SERVICE_NAME", "cull"),
        ("JUPYTERHUB_SERVICE_PREFIX", "/services/cull/"),
        ("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:1"),
        ("JUPYTERHUB_CLIENT_ID", "service-cull"),
        ("JUPYTERHUB_OAUTH_SCOPES", r#"["access:services", "access:services!service=cull"]"#),
        ("JUPYTERHUB_API_URL", "http://127.0.0.1:8081/hub/api"),
        ("JUPYTERHUB_BASE_URL", "/"),
    ] {
        assert_eq!(first[name], value, "{name}");
    }
    assert!(!first.contains_key("JUPYTERHUB_ACTIVITY_URL"));
    let token = &first["JUPYTERHUB_API_TOKEN"];
    let now = hub.clock.now();
    assert_eq!(hub.store.token(token, now).unwrap().unwrap().note, "generated at startup");
    let client = hub.store.oauth_client("service-cull").unwrap().unwrap();
    assert!(token_matches(token, &client.secret_hash));

    test.helper.end("account", Some(1), None);
    until("it is noticed", || hub.services.pid("cull") == 0).await;
    running(hub).await;
    assert!(hub.store.token(token, now).unwrap().is_none(), "the token of the first start has ended");
    hub.end_services(true, SOON).await;
    until("it is stopped", || hub.services.pid("cull") == 0).await;
    assert!(hub.services.sessions().is_empty());
}

#[tokio::test]
async fn a_running_service_is_found_again_unless_its_configuration_changed() {
    let test = TestHub::with(with(vec![culler()])).await;
    test.hub.prepare_records().unwrap();
    test.hub.begin_services();
    running(&test.hub).await;
    let token = test.helper.environment("account")["JUPYTERHUB_API_TOKEN"].clone();

    let again = test.restarted_with("hub.sqlite", with(vec![culler()]));
    again.prepare_records().unwrap();
    assert_eq!(again.adopt().await, 0, "a service is nobody's server");
    again.begin_services();
    running(&again).await;
    assert_eq!(test.helper.environment("account")["JUPYTERHUB_API_TOKEN"], token);

    let changed = Spec { environment: Some([("A".to_owned(), "1".to_owned())].into()), ..culler() };
    let other = test.restarted_with("hub.sqlite", with(vec![changed]));
    other.prepare_records().unwrap();
    other.begin_services();
    running(&other).await;
    assert_eq!(test.helper.environment("account")["A"], "1");

    let without = test.restarted_with("hub.sqlite", with(Vec::new()));
    without.prepare_records().unwrap();
    without.begin_services();
    without.end_services(false, SOON).await;
    assert_eq!(without.services.pid("cull"), 0);
}

#[tokio::test]
async fn a_refused_start_and_a_dead_service_hold_up_nothing() {
    let dead = spec(json!({"name": "dead", "url": "http://127.0.0.1:1", "timeout": 60}));
    let test = TestHub::with(with(vec![dead, culler()])).await;
    test.helper.script(|script| script.start = OnStart::Refuse(RefusalCode::ProfileUnknown));
    test.hub.prepare_records().unwrap();
    let began = std::time::Instant::now();
    test.hub.begin_services();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(test.hub.routes.prefixes(), ["/services/dead/"]);
    until("the helper was asked", || test.helper.requests().contains(&"start-service".to_owned())).await;
    test.hub.end_services(true, SOON).await;
}

#[tokio::test]
async fn services_of_the_api_live_on_and_never_take_the_place_of_configured_ones() {
    let test = TestHub::with(with(vec![culler()])).await;
    test.hub.prepare_records().unwrap();
    let added =
        spec(json!({"name": "added", "url": "http://127.0.0.1:7", "api_token": "0123456789", "timeout": 0}));
    test.hub.add_service(&added).unwrap();
    let clash = spec(json!({"name": "cull", "timeout": 0}));
    assert!(matches!(test.hub.add_service(&clash), Err(AddError::Exists)));

    let again = test.restarted_with("hub.sqlite", with(Vec::new()));
    again.prepare_records().unwrap();
    again.begin_services();
    assert_eq!(again.routes.prefixes(), ["/services/added/"]);
    let held = ["access:services!service=added".to_owned()].into();
    let links = again.services_for(&held).unwrap();
    assert_eq!(links.iter().map(|link| link.href.as_str()).collect::<Vec<_>>(), ["/services/added/"]);
    assert!(again.services_for(&["self".to_owned()].into()).unwrap().is_empty());
    assert!(again.remove_service("added").unwrap() && !again.remove_service("added").unwrap());
    assert!(again.routes.prefixes().is_empty());
    again.end_services(true, SOON).await;
}

#[tokio::test]
async fn a_configured_service_that_does_not_run_is_unavailable_and_not_unknown() {
    let fields = json!({"name": "slow one", "url": "http://127.0.0.1:1", "command": ["prog"]});
    let test = TestHub::with(|settings| settings.services.specs = vec![spec(fields)]).await;
    let site = crate::routes::Site::new(test.hub.clone());
    for (method, path, status) in [
        ("GET", "/services/slow%20one/", 503),
        ("GET", "/services/slow%20one/a/b?c", 503),
        ("POST", "/services/slow%20one/", 503),
        ("GET", "/services/other/", 302),
    ] {
        let request =
            http::Request::builder().method(method).uri(path).body(axum::body::Body::empty()).unwrap();
        let response = site.answer(request).await;
        assert_eq!(response.status(), status, "{method} {path}");
    }
}
