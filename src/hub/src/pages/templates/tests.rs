use super::*;
use minijinja::context;

#[test]
fn every_built_in_template_compiles() {
    let templates = Templates::new(&[]);
    for name in Templates::names() {
        if let Err(error) = templates.environment.get_template(name) {
            panic!("{name}: {error:#}");
        }
    }
}

#[test]
fn values_are_escaped() {
    let templates = Templates::new(&[]);
    let page = templates
        .render("error.html", context! { status_code => 400, message => "<script>alert(1)</script>" })
        .unwrap();
    assert!(page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script>alert"), "{page}");
}

#[test]
fn links_stay_readable_and_quotes_do_not_end_an_attribute() {
    let environment = Templates::new(&[]).environment;
    let value = context! { url => "/hub/?a=\"'<&>" };
    let text = environment.render_named_str("x.html", "<a href=\"{{ url }}\">", value).unwrap();
    assert_eq!(text, "<a href=\"/hub/?a=&#34;&#39;&lt;&amp;&gt;\">");
}

#[test]
fn an_announcement_of_one_page_replaces_the_general_one() {
    let templates = Templates::new(&[]);
    let vars = context! { announcement => "everywhere", announcement_login => "at the <b>door</b>" };
    let login = templates.render("login.html", vars.clone()).unwrap();
    assert!(login.contains("at the <b>door</b>") && !login.contains("everywhere"), "{login}");
    assert!(templates.render("home.html", vars).unwrap().contains("everywhere"));
}

#[test]
fn a_template_of_a_site_can_extend_the_built_in_one() {
    let mut environment = Templates::new(&[]).environment;
    let own = "{% extends \"templates/login.html\" %}{% block login %}{{ super() }}<p>house rules</p>{% endblock %}";
    environment.add_template("own.html", own).unwrap();
    let page = environment.get_template("own.html").unwrap().render(context! {}).unwrap();
    assert!(page.contains("username_input") && page.contains("house rules"), "{page}");
}

#[test]
fn the_prefix_of_upstream_reaches_the_built_in_templates() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("page.html"), "own").unwrap();
    let paths = [dir.path().to_path_buf()];
    assert_eq!(load(&paths, "page.html").unwrap().as_deref(), Some("own"));
    assert_eq!(load(&paths, "templates/page.html").unwrap().as_deref(), built_in("page.html"));
    for odd in
        ["../page.html", "/etc/passwd", "", ".", "a/../page.html", "templates/../page.html", "nope.html"]
    {
        assert_eq!(load(&paths, odd).unwrap(), None, "{odd}");
    }
}

#[test]
fn static_files_carry_their_version() {
    let templates = Templates::new(&[]);
    let page = templates.render("error.html", context! { base_url => "/hub/", status_code => 500 }).unwrap();
    assert!(page.contains("/hub/static/css/style.min.css?v="), "{page}");
}

#[test]
fn scripts_of_a_sites_template_get_the_nonce_of_the_page() {
    let source = "<p><SCRIPT src='x'></script><style>a{}</style><scripts><script nonce=\"x\">1</script>é<";
    let wanted = "<p><SCRIPT nonce=\"{{ nonce }}\" src='x'></script><style nonce=\"{{ nonce }}\">a{}</style>\
                  <scripts><script nonce=\"x\">1</script>é<";
    assert_eq!(with_nonces(source), wanted);
}
