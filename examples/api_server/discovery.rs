//! What tells clients what there is.

use serde_json::{Value, json};

use super::resources::{RESOURCES, Resource, VERSION};

/// The document at a path, if there is one.
pub(crate) fn document(path: &str) -> Option<Value> {
    let mut groups: Vec<&str> = RESOURCES.iter().map(|it| it.group).collect();
    groups.sort_unstable();
    groups.dedup();
    let named = groups.iter().filter(|group| !group.is_empty());
    match path.trim_end_matches('/') {
        "/api" => Some(json!({
            "kind": "APIVersions",
            "versions": [VERSION],
            "serverAddressByClientCIDRs": [],
        })),
        "/api/v1" => Some(resources("")),
        "/apis" => Some(json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": named.map(|group| self::group(group)).collect::<Vec<_>>(),
        })),
        "/version" => Some(json!({
            "major": "1",
            "minor": "34",
            "gitVersion": concat!("v1.34.0+trestle-", env!("CARGO_PKG_VERSION")),
            "gitCommit": "",
            "gitTreeState": "",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        })),
        path => {
            let path = path.strip_prefix("/apis/")?;
            let (name, version) = path.split_once('/').unwrap_or((path, ""));
            let name = named.copied().find(|known| *known == name)?;
            match version {
                "" => Some(group(name)),
                VERSION => Some(resources(name)),
                _ => None,
            }
        }
    }
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/{VERSION}"), "version": VERSION});
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": [version],
        "preferredVersion": version,
    })
}

fn resources(group: &str) -> Value {
    let of_group: Vec<&Resource> = RESOURCES.iter().filter(|it| it.group == group).collect();
    let whole = of_group.iter().map(|it| {
        json!({
            "name": it.plural,
            "singularName": it.singular,
            "namespaced": it.namespaced,
            "kind": it.kind,
            "shortNames": it.short_names,
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update",
                      "watch"],
        })
    });
    let statuses = of_group.iter().filter(|it| it.has_status).map(|it| {
        json!({
            "name": format!("{}/status", it.plural),
            "singularName": "",
            "namespaced": it.namespaced,
            "kind": it.kind,
            "verbs": ["get", "patch", "update"],
        })
    });
    let bindings = of_group.iter().filter(|it| it.has_binding()).map(|it| {
        json!({
            "name": format!("{}/binding", it.plural),
            "singularName": "",
            "namespaced": it.namespaced,
            "kind": "Binding",
            "verbs": ["create"],
        })
    });
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": of_group.first().map(|it| it.api_version()),
        "resources": whole.chain(statuses).chain(bindings).collect::<Vec<_>>(),
    })
}
