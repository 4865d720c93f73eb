//! The templates, part of the program or a site's own, and what every one of them may call.

use std::path::{Path, PathBuf};

use minijinja::value::{Kwargs, Value};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, escape_formatter,
};

use super::assets;
use super::kept::KeptPages;
use super::language::Language;

/// JupyterHub's loader prefix: `{% extends "templates/page.html" %}` means the built-in page.
const BUILT_IN_PREFIX: &str = "templates/";
/// Longest template of a site, in bytes; the built-in ones have less than a twentieth of it.
const SITE_TEMPLATE_BYTES_MAX: u64 = 1024 * 1024;

/// A template below `src/hub/templates`.
macro_rules! template {
    ($name:literal) => {
        ($name, include_str!(concat!("../../templates/", $name)))
    };
}

/// The built-in templates. Names, blocks and variables of those that JupyterHub has are JupyterHub's, so a
/// site's own templates can extend them; the others are hubd's own.
const BUILT_IN: &[(&str, &str)] = &[
    template!("page.html"),
    template!("login.html"),
    template!("login_prompt.html"),
    template!("login_notices.html"),
    template!("logout.html"),
    template!("home.html"),
    template!("accept-share.html"),
    template!("ask.html"),
    template!("spawn.html"),
    template!("spawn_profiles.html"),
    template!("spawn_pending.html"),
    template!("share.html"),
    template!("server_log.html"),
    template!("stop_pending.html"),
    template!("not_running.html"),
    template!("token.html"),
    template!("admin.html"),
    template!("admin_add.html"),
    template!("admin_frame.html"),
    template!("admin_groups.html"),
    template!("admin_group.html"),
    template!("admin_results.html"),
    template!("admin_hub.html"),
    template!("admin_user.html"),
    template!("figures.html"),
    template!("oauth.html"),
    template!("error.html"),
    template!("404.html"),
];

/// The templates, compiled when they are first used.
pub struct Templates {
    environment: Environment<'static>,
    /// Pages that are the same for many.
    pub(super) kept: KeptPages,
}

impl Templates {
    /// The built-in templates, and before them those in the folders of `JupyterHub.template_paths`.
    pub fn new(paths: &[PathBuf]) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_formatter(write_value);
        environment.add_function("static_url", static_url);
        // English, where a page's context brings no other language.
        environment.add_global("_", Language::english().function.clone());
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        let paths = paths.to_vec();
        environment.set_loader(move |name| load(&paths, name));
        Self { environment, kept: KeptPages::default() }
    }

    /// Renders `name` with `context`.
    pub fn render(&self, name: &str, context: Value) -> Result<String, Error> {
        self.environment.get_template(name)?.render(context)
    }

    /// Whether there is a template of this name.
    pub fn has(&self, name: &str) -> bool {
        self.environment.get_template(name).is_ok()
    }

    /// Renders a text of the configuration as a template.
    pub fn render_text(&self, text: &str, context: Value) -> Result<String, Error> {
        self.environment.render_named_str("text.html", text, context)
    }

    /// The names of the built-in templates.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }
}

/// The source of a template: a site's own first, unless the name says `templates/`.
fn load(paths: &[PathBuf], name: &str) -> Result<Option<String>, Error> {
    if let Some(name) = name.strip_prefix(BUILT_IN_PREFIX) {
        return Ok(built_in(name).map(str::to_owned));
    }
    let is_name = !name.is_empty()
        && !name.starts_with('/')
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    for path in paths.iter().filter(|_| is_name) {
        if let Some(source) = read_site_template(&path.join(name))? {
            return Ok(Some(with_nonces(&source)));
        }
    }
    Ok(built_in(name).map(str::to_owned))
}

/// A site's template, if there is one.
fn read_site_template(path: &Path) -> Result<Option<String>, Error> {
    let unreadable = |error: std::io::Error| {
        Error::new(ErrorKind::InvalidOperation, format!("cannot read {}", path.display())).with_source(error)
    };
    let size = match std::fs::metadata(path) {
        Ok(facts) => facts.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if size > SITE_TEMPLATE_BYTES_MAX {
        let text = format!("{} is larger than {SITE_TEMPLATE_BYTES_MAX} bytes", path.display());
        return Err(Error::new(ErrorKind::InvalidOperation, text));
    }
    std::fs::read_to_string(path).map(Some).map_err(unreadable)
}

/// Gives the scripts and styles that a site wrote into its template the nonce of the page; without it the
/// page's policy keeps them from running. What variables bring into a page gets none.
pub fn with_nonces(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let name = ["<script", "<style"].into_iter().find(|name| {
            tag.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                && tag
                    .get(name.len()..)
                    .is_some_and(|end| end.starts_with(|c: char| c == '>' || c == '/' || c.is_whitespace()))
        });
        let own = name.and_then(|_| tag.split('>').next()).is_some_and(|tag| tag.contains("nonce="));
        let taken = match name {
            Some(name) if !own => {
                out.push_str(tag.get(..name.len()).unwrap_or_default());
                out.push_str(" nonce=\"{{ nonce }}\"");
                name.len()
            }
            _ => {
                out.push('<');
                1
            }
        };
        rest = tag.get(taken..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The source of a built-in template.
fn built_in(name: &str) -> Option<&'static str> {
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
mod tests;
