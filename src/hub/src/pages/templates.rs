//! The templates, part of the program, and what every one of them may call.

use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior, escape_formatter};

use super::assets;

/// JupyterHub's loader prefix: `{% extends "templates/page.html" %}` means the built-in page.
const BUILT_IN_PREFIX: &str = "templates/";

/// The built-in templates. Their names, blocks and variables are JupyterHub's, so a site's own templates
/// can extend them; `ask.html`, `login_prompt.html` and `login_notices.html` are hubd's own.
const BUILT_IN: &[(&str, &str)] = &[
    ("page.html", include_str!("../../templates/page.html")),
    ("login.html", include_str!("../../templates/login.html")),
    ("login_prompt.html", include_str!("../../templates/login_prompt.html")),
    ("login_notices.html", include_str!("../../templates/login_notices.html")),
    ("logout.html", include_str!("../../templates/logout.html")),
    ("home.html", include_str!("../../templates/home.html")),
    ("ask.html", include_str!("../../templates/ask.html")),
    ("spawn_pending.html", include_str!("../../templates/spawn_pending.html")),
    ("stop_pending.html", include_str!("../../templates/stop_pending.html")),
    ("not_running.html", include_str!("../../templates/not_running.html")),
    ("token.html", include_str!("../../templates/token.html")),
    ("admin.html", include_str!("../../templates/admin.html")),
    ("oauth.html", include_str!("../../templates/oauth.html")),
    ("error.html", include_str!("../../templates/error.html")),
    ("404.html", include_str!("../../templates/404.html")),
];

/// The templates, compiled once.
pub struct Templates {
    environment: Environment<'static>,
}

impl Default for Templates {
    fn default() -> Self {
        Self::new()
    }
}

impl Templates {
    /// Loads the built-in templates. Each is compiled when it is first used.
    pub fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_loader(|name| Ok(built_in(name).map(str::to_owned)));
        environment.set_formatter(write_value);
        environment.add_function("static_url", static_url);
        Self { environment }
    }

    /// Renders `name` with `context`.
    pub fn render(&self, name: &str, context: Value) -> Result<String, Error> {
        self.environment.get_template(name)?.render(context)
    }

    /// The names of the built-in templates.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }
}

/// The source of a built-in template.
fn built_in(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix(BUILT_IN_PREFIX).unwrap_or(name);
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
}

/// Writes a value escaped as Jinja2 does it. The default also escapes `/`, and scripts that read a page's
/// links and form actions as text would not find them.
fn write_value(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let text = match (state.auto_escape(), value.as_str()) {
        (AutoEscape::Html, Some(text)) if !value.is_safe() => text,
        _ => return escape_formatter(out, state, value),
    };
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        let (plain, special) = rest.split_at(at);
        out.write_str(plain)?;
        let mut chars = special.chars();
        out.write_str(match chars.next() {
            Some('&') => "&amp;",
            Some('<') => "&lt;",
            Some('>') => "&gt;",
            Some('"') => "&#34;",
            _ => "&#39;",
        })?;
        rest = chars.as_str();
    }
    out.write_str(rest)?;
    Ok(())
}

/// `static_url(path, include_version=True)`: the address of a static file, with its hash so that browsers
/// may keep it for good.
fn static_url(state: &State, path: &str, options: Kwargs) -> Result<String, Error> {
    let include_version = options.get::<Option<bool>>("include_version")?.unwrap_or(true);
    options.assert_all_used()?;
    let base_url = state.lookup("base_url").unwrap_or_default();
    match assets::version(path).filter(|_| include_version) {
        Some(version) => Ok(format!("{base_url}static/{path}?v={version}")),
        None => Ok(format!("{base_url}static/{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    #[test]
    fn every_built_in_template_compiles() {
        let templates = Templates::new();
        for name in Templates::names() {
            if let Err(error) = templates.environment.get_template(name) {
                panic!("{name}: {error:#}");
            }
        }
    }

    #[test]
    fn values_are_escaped() {
        let templates = Templates::new();
        let page = templates
            .render("error.html", context! { status_code => 400, message => "<script>alert(1)</script>" })
            .unwrap();
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains("<script>alert"), "{page}");
    }

    #[test]
    fn links_stay_readable_and_quotes_do_not_end_an_attribute() {
        let environment = Templates::new().environment;
        let value = context! { url => "/hub/?a=\"'<&>" };
        let text = environment.render_named_str("x.html", "<a href=\"{{ url }}\">", value).unwrap();
        assert_eq!(text, "<a href=\"/hub/?a=&#34;&#39;&lt;&amp;&gt;\">");
    }

    #[test]
    fn an_announcement_of_one_page_replaces_the_general_one() {
        let templates = Templates::new();
        let vars = context! { announcement => "everywhere", announcement_login => "at the <b>door</b>" };
        let login = templates.render("login.html", vars.clone()).unwrap();
        assert!(login.contains("at the <b>door</b>") && !login.contains("everywhere"), "{login}");
        assert!(templates.render("home.html", vars).unwrap().contains("everywhere"));
    }

    #[test]
    fn a_template_of_a_site_can_extend_the_built_in_one() {
        let mut environment = Templates::new().environment;
        let own = "{% extends \"templates/login.html\" %}{% block login %}{{ super() }}<p>house rules</p>{% endblock %}";
        environment.add_template("own.html", own).unwrap();
        let page = environment.get_template("own.html").unwrap().render(context! {}).unwrap();
        assert!(page.contains("username_input") && page.contains("house rules"), "{page}");
    }

    #[test]
    fn the_prefix_of_upstream_reaches_the_built_in_templates() {
        assert_eq!(built_in("templates/page.html"), built_in("page.html"));
        assert_eq!(built_in("../page.html"), None);
    }

    #[test]
    fn static_files_carry_their_version() {
        let templates = Templates::new();
        let page =
            templates.render("error.html", context! { base_url => "/hub/", status_code => 500 }).unwrap();
        assert!(page.contains("/hub/static/css/style.min.css?v="), "{page}");
    }
}
