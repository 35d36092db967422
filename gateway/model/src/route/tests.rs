use http::Method;
use proptest::prelude::*;

use super::*;
use crate::testing::route;

fn router(routes: &[(&str, Option<&str>, &str, &[Method])]) -> Result<Router, RouteConflict> {
    Router::build(
        routes.iter().map(|(name, host, path, methods)| Arc::new(route(name, *host, path, methods))).collect(),
    )
}

/// `GET` routes on any host, each named by its path.
fn paths(paths: &[&str]) -> Router {
    router(&paths.iter().map(|path| (*path, None, *path, &[Method::GET][..])).collect::<Vec<_>>()).unwrap()
}

fn served<'r>(router: &'r Router, host: Option<&str>, path: &str, method: Method) -> &'r str {
    router.find(host, path, &method).map_or("-", |found| &found.route.name)
}

#[test]
fn fixed_segments_come_before_one_and_one_before_the_rest() {
    let router = paths(&[
        "/{rest...}",
        "/v1/orders",
        "/v1/orders/",
        "/v1/orders/{id}",
        "/v1/orders/new",
        "/v1/orders/{id}/lines/{line}",
        "/v1/orders/{rest...}",
        "/v1/{kind}",
        "/v1/{kind}/new",
    ]);
    for (path, template) in [
        ("/", "/{rest...}"),
        ("/v2", "/{rest...}"),
        ("/v1/orders", "/v1/orders"),
        ("/v1/orders/", "/v1/orders/"),
        ("/v1/orders/7", "/v1/orders/{id}"),
        ("/v1/orders/new", "/v1/orders/new"),
        ("/v1/orders/7/lines/1", "/v1/orders/{id}/lines/{line}"),
        ("/v1/orders/7/lines", "/v1/orders/{rest...}"),
        ("/v1/orders/new/lines/1", "/v1/orders/{id}/lines/{line}"),
        ("/v1/stock", "/v1/{kind}"),
        ("/v1/stock/new", "/v1/{kind}/new"),
        ("/v1/stock/old", "/{rest...}"),
        ("/v1/", "/{rest...}"),
        ("/V1/orders", "/{rest...}"),
    ] {
        assert_eq!(served(&router, None, path, Method::GET), template, "{path}");
    }
}

#[test]
fn parameters_come_in_order_with_their_names() {
    let router = paths(&["/t/{tenant}/o/{order-id}/{rest...}", "/t/{a}/o/{b}"]);
    let parameters = |path| router.find(None, path, &Method::GET).unwrap().parameters.to_vec();
    assert_eq!(parameters("/t/acme/o/4%20711/x/y"), [("tenant", "acme"), ("order-id", "4%20711"), ("rest", "x/y")]);
    assert_eq!(parameters("/t/acme/o/1/"), [("tenant", "acme"), ("order-id", "1"), ("rest", "")]);
    assert_eq!(parameters("/t/acme/o/1"), [("a", "acme"), ("b", "1")]);
    assert_eq!(served(&router, None, "/t//o/1", Method::GET), "-");
}

#[test]
fn a_way_that_led_nowhere_leaves_no_value_behind() {
    let router = paths(&["/{a}/{b}/x", "/{c}/{rest...}", "/fixed/{d}/y"]);
    let parameters = |path| router.find(None, path, &Method::GET).unwrap().parameters.to_vec();
    assert_eq!(parameters("/fixed/1/y"), [("d", "1")]);
    assert_eq!(parameters("/fixed/1/x"), [("a", "fixed"), ("b", "1")]);
    assert_eq!(parameters("/fixed/1/z"), [("c", "fixed"), ("rest", "1/z")]);
    let get: &[Method] = &[Method::GET];
    let router =
        super::tests::router(&[("own", Some("a.example"), "/{a}/{b}/x", get), ("any", None, "/{c}/{d}/y", get)])
            .unwrap();
    let found = router.find(Some("a.example"), "/1/2/y", &Method::GET).unwrap();
    assert_eq!(found.parameters.to_vec(), [("c", "1"), ("d", "2")], "nor does the search of its own host");
}

#[test]
fn the_rest_may_be_nothing_but_the_slash_must_be_there() {
    let router = paths(&["/files/{path...}"]);
    assert_eq!(served(&router, None, "/files/", Method::GET), "/files/{path...}");
    assert_eq!(served(&router, None, "/files", Method::GET), "-");
    let router = paths(&["/files/{path...}", "/files/"]);
    assert_eq!(served(&router, None, "/files/", Method::GET), "/files/");
}

#[test]
fn its_own_host_comes_before_any_host() {
    let get: &[Method] = &[Method::GET];
    let router = router(&[
        ("any", None, "/{rest...}", get),
        ("any-ping", None, "/ping", get),
        ("acme", Some("Acme.example"), "/orders/{id}", get),
        ("acme-post", Some("acme.example"), "/ping", &[Method::POST]),
        ("six", Some("[0:0::1]"), "/orders/{id}", get),
    ])
    .unwrap();
    let at = |host, path| served(&router, host, path, Method::GET);
    assert_eq!(at(Some("acme.example"), "/orders/1"), "acme");
    assert_eq!(at(Some("acme.example"), "/else"), "any", "a path that its own host lacks");
    assert_eq!(at(Some("acme.example"), "/ping"), "-", "its own host has the path, for another method");
    assert_eq!(at(Some("other.example"), "/orders/1"), "any");
    assert_eq!(at(Some("[::1]"), "/orders/1"), "six");
    assert_eq!(at(None, "/ping"), "any-ping");
}

#[test]
fn a031_methods_that_a_route_lacks_are_named_by_allow() {
    let router = router(&[
        ("read", None, "/orders", &[Method::GET]),
        ("write", None, "/orders", &[Method::POST, Method::POST]),
        ("any", None, "/{rest...}", &[Method::DELETE]),
        ("empty", None, "/empty", &[]),
    ])
    .unwrap();
    assert_eq!(served(&router, None, "/orders", Method::GET), "read");
    assert_eq!(served(&router, None, "/orders", Method::HEAD), "read", "GET serves HEAD");
    assert_eq!(served(&router, None, "/orders", Method::POST), "write");
    let refused = |path, method| router.find(None, path, &method).unwrap_err();
    assert_eq!(refused("/orders", Method::DELETE), Refusal::MethodNotAllowed("GET, POST, HEAD".into()));
    assert_eq!(
        refused("/orders", Method::from_bytes(b"FOO").unwrap()),
        Refusal::MethodNotAllowed("GET, POST, HEAD".into())
    );
    assert_eq!(
        refused("/orders", Method::from_bytes(b"get").unwrap()),
        Refusal::MethodNotAllowed("GET, POST, HEAD".into())
    );
    assert_eq!(refused("/empty", Method::GET), Refusal::MethodNotAllowed("".into()));
    let nothing = paths(&[]);
    assert_eq!(nothing.find(None, "/", &Method::GET).unwrap_err(), Refusal::RouteNotFound);
}

#[test]
fn a029_tunnels_and_traces_are_never_served() {
    let track = Method::from_bytes(b"TRACK").unwrap();
    let never = [Method::CONNECT, Method::TRACE, track];
    let router = router(&[("all", None, "/x", &[&never[..], &[Method::GET]].concat())]).unwrap();
    for method in never {
        let refused = |path| router.find(None, path, &method).unwrap_err();
        assert_eq!(refused("/x"), Refusal::MethodNotAllowed("GET, HEAD".into()));
        assert_eq!(refused("/else"), Refusal::MethodNotAllowed("".into()));
    }
}

#[test]
fn a273_two_routes_for_the_same_requests_are_refused() {
    let conflict = |second: (&str, Option<&str>, &str, &[Method])| {
        router(&[("first", Some("a.example"), "/o/{id}", &[Method::GET, Method::PUT]), second]).err()
    };
    let same = Some(RouteConflict::Same { first: "first".into(), second: 1 });
    assert_eq!(conflict(("b", Some("a.example"), "/o/{id}", &[Method::PUT])), same);
    assert_eq!(
        conflict(("b", Some("A.example."), "/o/{other}", &[Method::GET])),
        same,
        "the parameter's name is no difference"
    );
    assert_eq!(conflict(("b", Some("a.example"), "/o/{id}", &[Method::POST])), None);
    assert_eq!(conflict(("b", None, "/o/{id}", &[Method::GET])), None);
    assert_eq!(conflict(("b", Some("a.example"), "/o/{id...}", &[Method::GET])), None, "the other is more specific");
}

#[test]
fn a273_what_is_no_template_is_refused() {
    for path in [
        "",
        "o",
        "//",
        "/o//p",
        "/o/{}",
        "/o/{...}",
        "/o/{a b}",
        "/o/x{id}",
        "/o/{id}x",
        "/o/{id",
        "/o/id}",
        "/{a}/{a}",
        "/{a}/{a...}",
        "/{a...}/b",
        "/.",
        "/..",
        "/o/../p",
        "/o?x",
        "/o#x",
        "/o%2fp",
        "/%6f",
        "/a b",
        "/é",
        "/o\\p",
        "/a|b",
    ] {
        let refused = router(&[("a", None, path, &[Method::GET])]);
        assert!(matches!(refused, Err(RouteConflict::Template { second: 0, .. })), "{path}");
    }
    let deep = "/a".repeat(65);
    assert!(router(&[("a", None, &deep, &[Method::GET])]).is_err());
    assert!(router(&[("a", None, &deep[2..], &[Method::GET])]).is_ok());
}

#[test]
fn a273_a_hundred_thousand_routes_are_built_and_searched() {
    let mut all = Vec::new();
    for n in 0..50_000 {
        all.push(Arc::new(route(&format!("p{n}"), None, &format!("/v1/p{n}/{{id}}"), &[Method::GET])));
        all.push(Arc::new(route(&format!("h{n}"), Some(&format!("h{n}.example")), "/v1/{id}", &[Method::GET])));
    }
    let router = Router::build(all).unwrap();
    for n in [0, 1, 25_000, 49_999] {
        assert_eq!(served(&router, None, &format!("/v1/p{n}/7"), Method::GET), format!("p{n}"));
        assert_eq!(served(&router, Some(&format!("h{n}.example")), "/v1/7", Method::GET), format!("h{n}"));
    }
    assert_eq!(served(&router, None, "/v1/p50000/7", Method::GET), "-");
}

/// How specific a template is for a path, left to right; none where it does not serve it.
fn rank(template: &str, path: &str) -> Option<Vec<u8>> {
    let mut rank = Vec::new();
    let mut path = path[1..].split('/');
    for segment in template[1..].split('/') {
        if segment.ends_with("...}") {
            path.next()?;
            rank.push(2);
            return Some(rank);
        }
        let given = path.next()?;
        match segment.starts_with('{') {
            true if given.is_empty() => return None,
            true => rank.push(1),
            false if segment == given => rank.push(0),
            false => return None,
        }
    }
    path.next().is_none().then_some(rank)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Against a search through all templates for the most specific one.
    #[test]
    fn the_tree_finds_what_a_search_through_all_templates_finds(
        templates in proptest::collection::hash_set("(/(a|b|\\{x\\})){0,3}(/a|/b|/\\{y\\}|/|/\\{z\\.\\.\\.\\})", 0..14),
        paths in proptest::collection::vec("(/(a|b|c)){0,4}(/a|/b|/c|/)", 1..20),
    ) {
        // `{x}` twice is no template; the same template under two names is one.
        let mut known = std::collections::HashSet::new();
        let fits = |template: &&String| template.matches("{x}").count() < 2 && known.insert(template.replace("{y}", "{x}"));
        let templates: Vec<&String> = templates.iter().filter(fits).collect();
        let router = Router::build(
            templates.iter().map(|path| Arc::new(route(path, None, path, &[Method::GET]))).collect()
        ).unwrap();
        for path in paths {
            let best = templates
                .iter()
                .filter_map(|template| Some((rank(template, &path)?, template.as_str())))
                .min()
                .map_or("-", |(_, template)| template);
            prop_assert_eq!(served(&router, None, &path, Method::GET), best, "{}", path);
            if let Ok(found) = router.find(None, &path, &Method::GET) {
                let mut filled = String::new();
                let mut values = found.parameters.iter();
                for segment in best[1..].split('/') {
                    filled.push('/');
                    filled.push_str(if segment.starts_with('{') { values.next().unwrap().1 } else { segment });
                }
                prop_assert_eq!(&filled, &path, "its values put back into {} give the path", best);
                prop_assert!(values.next().is_none());
            }
        }
    }

    #[test]
    fn no_path_panics(path in "\\PC{0,40}") {
        let _ = paths(&["/{a}/b/{c...}", "/b"]).find(Some("x"), &path, &Method::GET);
    }
}
