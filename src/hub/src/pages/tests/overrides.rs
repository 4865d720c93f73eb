//! Templates of a site, in the style that JupyterHub documents.

use super::browser::Browser;
use crate::test_support::TestHub;

/// A browser at a hub with these templates.
async fn with(templates: &[(&str, &str)]) -> (Browser, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for (name, source) in templates {
        std::fs::write(dir.path().join(name), source).unwrap();
    }
    let path = dir.path().to_path_buf();
    let test = TestHub::with(|settings| {
        settings.template_paths = vec![path];
        settings.template_vars.insert("announcement".into(), "all <b>hands</b>".into());
        settings.template_vars.insert("house".into(), serde_json::json!({"rules": ["one", "two"]}));
    })
    .await;
    (Browser::on(test), dir)
}

#[tokio::test]
async fn a_login_page_extended_as_documented_works() {
    let login = r#"{% extends "templates/login.html" %}
{% block stylesheet %}{{ super() }}<style>h1 { color: red }</style>{% endblock %}
{% block login %}
<p class="house">{{ "welcome".upper() }} {{ house.rules|join(", ") }} {{ house.get("none", "-") }}</p>
{{ super() }}
{% endblock login %}
{% block username_input_attrs %}{{ super() }} placeholder="account"{% endblock %}
{% block script %}{{ super() }}<script>window.site = {{ base_url|tojson }};</script>{% endblock %}
"#;
    let page = r#"{% extends "templates/page.html" %}
{% block title %}Our hub{% endblock %}
{% block nav_bar_left_items %}{{ super() }}<li><a href="{{ static_url("images/logo.svg") }}">x</a></li>{% endblock %}
{% block announcement %}<div class="container text-center announcement alert alert-warning">{{ announcement | safe }}</div>{% endblock %}
{% block footer %}<footer id="ours">{% if user %}{{ user.name }}{% else %}nobody{% endif %} {{ prefix }} {{ login_url }}</footer>{% endblock %}
"#;
    let (mut browser, _dir) = with(&[("login.html", login), ("page.html", page)]).await;
    let answer = browser.get("/hub/login?next=%2Fx").await.is(200, "");
    for part in [
        "WELCOME one, two -",
        "<title>Our hub</title>",
        "all <b>hands</b>",
        "id=\"username_input\"",
        "placeholder=\"account\"",
        "<footer id=\"ours\">nobody / /hub/login</footer>",
        "action=\"/hub/login?next=%2Fx\"",
        "window.site = \"/hub/\"",
    ] {
        assert!(answer.text.contains(part), "{part} in {}", answer.text);
    }
    // Its own scripts and styles carry the page's nonce, so the policy lets them run.
    assert!(!answer.text.contains("<script>") && !answer.text.contains("<style>"), "{}", answer.text);
    let found = browser.get("/hub/nope").await.is(404, "");
    assert!(found.text.contains("<footer id=\"ours\">"), "{}", found.text);
}

#[tokio::test]
async fn other_pages_of_a_site_see_jupyterhubs_variables() {
    let home = r#"{% extends "templates/home.html" %}
{% block main %}<p id="a">{{ user.server_url() }} {{ user.server_url("x") }} {{ user.escaped_name }} {{ url }}</p>
<p id="b">{{ default_server.ready }} {{ default_server.active }} {{ allow_named_servers }} {{ xsrf|length > 10 }}</p>
{% for s in user.all_spawners(include_default=True) %}<i>{{ s.name or "default" }}</i>{% endfor %}
<p id="c">{{ "read:users" in parsed_scopes }} {{ "read:users!user=alice" in expanded_scopes }} {{ services|length }} {{ version_hash|length > 1 }}</p>
{% endblock %}"#;
    let error = r#"{% extends "templates/error.html" %}{% block error_detail %}<p id="d">{{ status_code }} {{ status_message }} {{ message }}</p>{% endblock %}"#;
    let (mut browser, _dir) =
        with(&[("home.html", home), ("error.html", error), ("403.html", "<h1>own 403</h1>")]).await;
    browser.log_in("alice", crate::test_support::PASSWORD).await.is(302, "/hub/spawn");
    let page = browser.get("/hub/home").await.is(200, "");
    for part in [
        "/user/alice/ /user/alice/x/ alice /hub/spawn/alice",
        "False False True True",
        "<i>default</i>",
        "True True 0 True",
    ] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    let page = browser.get("/hub/spawn/alice/Bad_Name!").await.is(400, "");
    assert!(page.text.contains("<p id=\"d\">400 Bad Request Invalid server_name"), "{}", page.text);
    assert!(browser.get("/hub/admin").await.is(403, "").text.contains("own 403"));
}

#[tokio::test]
async fn a_broken_template_of_a_site_is_a_500_that_says_so() {
    let (mut browser, _dir) = with(&[("login.html", "{% if %}")]).await;
    let page = browser.get("/hub/login").await.is(500, "");
    assert!(page.text.contains("its template is broken"), "{}", page.text);
}

#[tokio::test]
async fn a_logo_of_a_site_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("logo.png");
    std::fs::write(&file, b"image").unwrap();
    let mut browser = Browser::on(TestHub::with(|settings| settings.logo_file = Some(file)).await);
    let logo = browser.get("/hub/logo").await.is(200, "");
    assert_eq!((logo.headers["content-type"].to_str().unwrap(), logo.text.as_str()), ("image/png", "image"));
    drop(dir);
    assert_eq!(browser.get("/hub/logo").await.headers["content-type"], "image/svg+xml");
}

/// A login page as universities write it: their own form, with all that JupyterHub documents for it.
const UNIVERSITY_LOGIN: &str = r#"{% extends "page.html" %}
{% set announcement = "Closed on Friday" %}
{% block login_widget %}{% endblock login_widget %}
{% block main %}
{% block login %}
<div id="login-main" class="container">
{% block login_container %}
{% if custom_html %}{{ custom_html | safe }}
{% elif login_service %}
<a role="button" class='btn btn-jupyter btn-lg' href='{{ authenticator_login_url | safe }}'>Sign in with {{ login_service }}</a>
{% else %}
<form action="{{ authenticator_login_url | safe }}" method="post" role="form">
  <h1>{% block login_title %}University of Examples{% endblock %}</h1>
  {% if login_error %}<p class="login_error">{{ login_error }}</p>{% endif %}
  <input type="hidden" name="_xsrf" value="{{ xsrf }}" />
  {% block username_input %}<input {% block username_input_attrs %}id="username_input" name="username" value="{{ username }}"{% endblock %} />{% endblock %}
  {% block password_input %}<input {% block password_input_attrs %}type="password" name="password" id="password_input"{% endblock %} />{% endblock %}
  {% if authenticator.request_otp %}<input name="otp" />{% endif %}
  {% if login_term_url %}<a id="terms" href="{{ login_term_url }}">{% block login_terms_text %}Rules{% endblock %}</a>{% endif %}
  <input id="login_submit" type="submit" value="Sign in" tabindex="3" />
  <small>{{ next | urlencode }} {{ prefix }} {{ static_url("css/style.min.css", include_version=False) }}</small>
</form>
{% endif %}
{% endblock login_container %}
</div>
{% endblock login %}
{% endblock %}
{% block script %}
{{ super() }}
<script>
if (window.location.protocol === "http:") { document.getElementById("login-main").classList.add("insecure"); }
</script>
{% endblock %}
"#;

/// Their frame: title, logo, menu, announcement and footer of their own.
const UNIVERSITY_PAGE: &str = r##"{% extends "templates/page.html" %}
{% block title %}UoE {{ super() }}{% endblock %}
{% block favicon %}<link rel="icon" href="{{ static_url("favicon.ico") }}" type="image/x-icon">{% endblock %}
{% block stylesheet %}{{ super() }}
<style type="text/css">.navbar { background: #00205b; }</style>{% endblock %}
{% block meta %}<meta name="theme-color" content="#00205b">{% endblock %}
{% block logo %}<span id="jupyterhub-logo"><a href="{{ logo_url or base_url }}"><img src="{{ base_url }}logo" alt="UoE" class="jpy-logo" title="Home" /></a></span>{% endblock %}
{% block nav_bar_left_items %}{{ super() }}
{% if user %}<li class="nav-item"><a class="nav-link" href="https://help.example/{{ user.escaped_name }}">Help</a></li>{% endif %}
{% for service in services %}<li>{{ service.name }}</li>{% endfor %}
{% endblock %}
{% block nav_bar_right_items %}{{ super() }}<li>{% if user and user.admin %}boss{% endif %}</li>{% endblock %}
{% block theme_toggle %}{% endblock %}
{% block announcement %}{% if announcement %}<div class="container announcement">{{ announcement | safe }}</div>{% endif %}{% endblock %}
{% block footer %}<footer>{% if parsed_scopes and "admin-ui" in parsed_scopes %}admin{% endif %} &copy; UoE {{ version_hash[:4] }}</footer>{% endblock %}
"##;

#[tokio::test]
async fn a_university_keeps_its_login_form_and_its_frame() {
    let (mut browser, _dir) = with(&[("login.html", UNIVERSITY_LOGIN), ("page.html", UNIVERSITY_PAGE)]).await;
    let page = browser.get("/hub/login?next=%2Fhub%2Ftoken&username=erin").await.is(200, "");
    for part in [
        "<title>UoE JupyterHub</title>",
        "<h1>University of Examples</h1>",
        "<div class=\"container announcement\">Closed on Friday</div>",
        "action=\"/hub/login?next=%2Fhub%2Ftoken\"",
        "name=\"username\" value=\"erin\"",
        "alt=\"UoE\"",
        "/hub/static/css/style.min.css</small>",
        "&copy; UoE ",
    ] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    assert!(!page.text.contains("id=\"dark-theme-toggle\""), "{}", page.text);
    assert!(!page.text.contains("<script>") && !page.text.contains("<style type"), "{}", page.text);
    let xsrf = page.field("_xsrf");
    let wrong = [("username", "erin"), ("password", "wrong"), ("_xsrf", xsrf.as_str())];
    let refused = browser.post("/hub/login?next=%2Fhub%2Ftoken", &wrong).await.is(403, "");
    assert!(refused.text.contains("<p class=\"login_error\">Invalid username or password</p>"));
    let right = [("username", "erin"), ("password", crate::test_support::PASSWORD), ("_xsrf", xsrf.as_str())];
    browser.post("/hub/login?next=%2Fhub%2Ftoken", &right).await.is(302, "/hub/token");
    let page = browser.get("/hub/token").await.is(200, "");
    assert!(
        page.text.contains("https://help.example/erin") && page.text.contains("id=\"request-token-form\"")
    );
}
