//! An API server in memory: lists in pages, bindings, creates and merge patches, with Kubernetes'
//! rules about versions and names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use binpack::{
    KubernetesAnswer, KubernetesClient, KubernetesCluster, KubernetesConfig, KubernetesRequest,
    Result,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// The most that an object's annotations may take together.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// A handle; clones share one server.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    /// By the path of the list that shows them all, then by namespace and name.
    objects: BTreeMap<String, BTreeMap<(String, String), Value>>,
    /// Paths of lists that are not served.
    absent: BTreeSet<String>,
    version: u64,
    pub(crate) requests: Vec<String>,
}

impl Server {
    /// What a binding, a pod or a claim is in: `/api/v1/pods` and the like.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.0.lock();
        state.version += 1;
        let version = state.version;
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.insert("resourceVersion".into(), version.to_string().into());
        metadata.entry("uid").or_insert_with(|| format!("uid-{version}").into());
        let key = key(&object);
        state.objects.entry(path.into()).or_default().insert(key, object);
    }

    pub(crate) fn put_all(&self, path: &str, objects: impl IntoIterator<Item = Value>) {
        objects.into_iter().for_each(|object| self.put(path, object));
    }

    pub(crate) fn change(&self, path: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.find(path, name).unwrap_or_else(|| panic!("{name} is there"));
        change(&mut object);
        self.put(path, object);
    }

    pub(crate) fn delete(&self, path: &str, name: &str) {
        let mut state = self.0.lock();
        state.objects.get_mut(path).unwrap().retain(|(_, named), _| named != name);
    }

    pub(crate) fn find(&self, path: &str, name: &str) -> Option<Value> {
        self.all(path).into_iter().find(|object| object["metadata"]["name"] == name)
    }

    pub(crate) fn all(&self, path: &str) -> Vec<Value> {
        let state = self.0.lock();
        state.objects.get(path).map(|all| all.values().cloned().collect()).unwrap_or_default()
    }

    /// What `kubectl get` would say if there were no such resource.
    pub(crate) fn take_away(&self, path: &str) {
        self.0.lock().absent.insert(path.into());
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().requests)
    }

    /// The cluster behind it, in pages of two objects.
    pub(crate) fn cluster(&self) -> KubernetesCluster {
        cluster(self.clone())
    }

    pub(crate) fn answer(&self, request: &KubernetesRequest) -> KubernetesAnswer {
        let mut state = self.0.lock();
        state.requests.push(format!("{} {}", request.method, request.path_and_query));
        let (path, query) =
            request.path_and_query.split_once('?').unwrap_or((&request.path_and_query, ""));
        let body = serde_json::from_slice(&request.body).unwrap_or_default();
        let (status, body) = match (request.method, request.content_type) {
            ("GET", None) => state.list(path, query),
            ("POST", Some("application/json")) => match path.strip_suffix("/binding") {
                Some(pod) => state.bind(pod, &body),
                None => state.create(path, body),
            },
            ("PATCH", Some("application/merge-patch+json")) => state.patch(path, &body),
            other => panic!("{other:?} is not served"),
        };
        KubernetesAnswer { status, body: body.to_string().into_bytes() }
    }
}

pub(crate) fn cluster(client: impl KubernetesClient) -> KubernetesCluster {
    let mut config = KubernetesConfig::default();
    config.page_objects = 2;
    KubernetesCluster::new(client, config).unwrap()
}

#[async_trait]
impl KubernetesClient for Server {
    async fn send(&self, request: KubernetesRequest) -> Result<KubernetesAnswer> {
        Ok(self.answer(&request))
    }
}

type Answer = (u16, Value);

pub(crate) fn refusal(status: u16, message: &str) -> Answer {
    (status, json!({"kind": "Status", "status": "Failure", "code": status, "message": message}))
}

fn key(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

impl State {
    /// A page of a list. A token is the place and the version where the next page begins.
    fn list(&self, path: &str, query: &str) -> Answer {
        if self.absent.contains(path) {
            return refusal(404, "the server could not find the requested resource");
        }
        let option = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let limit: usize = option("limit").map_or(0, |limit| limit.parse().unwrap());
        let from: usize = option("continue").map_or(0, |token| token.parse().unwrap());
        let all = self.objects.get(path).into_iter().flatten();
        let bare = all.map(|(_, object)| {
            // Items of a list don't say what they are.
            let mut object = object.clone();
            object.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
            object
        });
        let mut items: Vec<Value> = bare.skip(from).collect();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if limit > 0 && items.len() > limit {
            items.truncate(limit);
            metadata["continue"] = (from + limit).to_string().into();
        }
        (200, json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
    }

    fn bind(&mut self, path: &str, binding: &Value) -> Answer {
        let parts: Vec<&str> = path.split('/').collect();
        let ["", "api", "v1", "namespaces", namespace, "pods", name] = parts[..] else {
            return refusal(404, "no pod has this path");
        };
        let pods = self.objects.get_mut("/api/v1/pods");
        let Some(pod) = pods.and_then(|pods| pods.get_mut(&(namespace.into(), name.into()))) else {
            return refusal(404, "pods not found");
        };
        let uid = &binding["metadata"]["uid"];
        if !uid.is_null() && *uid != pod["metadata"]["uid"] {
            return refusal(409, "Precondition failed: UID in precondition differs");
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() || pod["spec"]["nodeName"].is_string() {
            return refusal(409, "pod is being deleted or already assigned to a node");
        }
        pod["spec"]["nodeName"] = binding["target"]["name"].clone();
        self.version += 1;
        (201, json!({"kind": "Status", "status": "Success"}))
    }

    fn create(&mut self, path: &str, mut object: Value) -> Answer {
        let annotations = object["metadata"]["annotations"].as_object();
        let size = |(key, value): (&String, &Value)| key.len() + value.as_str().unwrap().len();
        if annotations.into_iter().flatten().map(size).sum::<usize>() > MAX_ANNOTATIONS {
            return refusal(422, "metadata.annotations: Too long");
        }
        assert!(object["spec"]["nodeClassRef"].is_object(), "{object}: a claim has a class");
        let all = self.objects.entry(path.into()).or_default();
        if all.contains_key(&key(&object)) {
            return refusal(409, "already exists");
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        all.insert(key(&object), object.clone());
        (201, object)
    }

    fn patch(&mut self, path: &str, change: &Value) -> Answer {
        let (list, name) = path.rsplit_once('/').unwrap();
        let (list, namespace) = match list.split_once("/namespaces/") {
            Some((api, within)) => {
                let (namespace, plural) = within.split_once('/').unwrap();
                (format!("{api}/{plural}"), namespace)
            }
            None => (list.to_owned(), ""),
        };
        let all = self.objects.get_mut(&list);
        let Some(object) = all.and_then(|all| all.get_mut(&(namespace.into(), name.into()))) else {
            return refusal(404, "not found");
        };
        if !change["metadata"]["resourceVersion"].is_null()
            && change["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"]
        {
            return refusal(409, "the object has been modified");
        }
        self.version += 1;
        for (key, value) in change["metadata"]["annotations"].as_object().unwrap() {
            object["metadata"]["annotations"][key] = value.clone();
        }
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        (200, object.clone())
    }
}
