//! Creates, updates, patches and deletes, all of which are transactions of the store.

use bytes::Bytes;
use hyper::{Response, StatusCode};
use kv_journal::{Compare, CompareResult, KeyRange, KeyValue, Op, Store, Txn};
use serde_json::{Value, json};
use trestle_examples::manifest;

use super::answer::{self, Body};
use super::metadata::{self, Object};
use super::options::{self, Version};
use super::resources::{Part, Target};
use super::status::Failure;

/// How often a write is tried again that another one came before, or a name is generated anew.
const ATTEMPTS: usize = 8;

/// Creates an object.
pub(crate) async fn create(
    store: &Store,
    target: &Target<'_>,
    body: &[u8],
) -> Result<Response<Body>, Failure> {
    let resource = target.resource;
    let mut object = metadata::parse(resource, target.namespace, body)?;
    if let Some(namespace) = target.namespace {
        metadata::check_name(resource, namespace)?;
    } else if resource.namespaced {
        return Err(Failure::bad_request("the path has no namespace to create the object in"));
    }
    if metadata::text(&object, "resourceVersion").is_some() {
        let problem = "resourceVersion should not be set on objects to be created";
        return Err(Failure::bad_request(problem));
    }
    metadata::fill_in(&mut object)?;
    let generated = metadata::text(&object, "name").is_none();
    let mut name = String::new();
    for _ in 0..ATTEMPTS {
        name = metadata::name(resource, &object)?;
        let mut named = object.clone();
        metadata::set(&mut named, "name", Some(name.as_str().into()));
        let key = Bytes::from(manifest::key(resource.plural, target.namespace, &name));
        let value = Bytes::from(manifest::encode(&named));
        if let Some(revision) = put(store, key, value.clone(), 0).await? {
            return Ok(answer::object(StatusCode::CREATED, &value, revision));
        }
        if !generated {
            break;
        }
    }
    Err(Failure::already_exists(resource, &name))
}

/// What an update does to an object.
pub(crate) enum Change {
    Replace(Object),
    Merge(Value),
}

impl Change {
    /// The version that the object must have, if the client says so.
    fn version(&self) -> Result<Version, Failure> {
        let version = match self {
            Self::Replace(object) => object.get("metadata"),
            Self::Merge(patch) => patch.get("metadata"),
        };
        let version = version.and_then(|metadata| metadata.get("resourceVersion"));
        options::version(version.and_then(Value::as_str).unwrap_or_default())
    }

    fn apply(&self, target: &Target<'_>, current: &Object) -> Result<Object, Failure> {
        let new = match self {
            Self::Replace(object) => object.clone(),
            Self::Merge(patch) => {
                let mut object = Value::Object(current.clone());
                manifest::merge(&mut object, patch.clone());
                metadata::check(target.resource, target.namespace, object)?
            }
        };
        keep(target, current, new)
    }
}

/// What an update cannot change is as it was: what the server filled in, and the status, or all but
/// the status if that is what is updated.
fn keep(target: &Target<'_>, current: &Object, mut new: Object) -> Result<Object, Failure> {
    let name = target.name.unwrap_or_default();
    if metadata::text(&new, "name").is_some_and(|named| named != name) {
        return Err(Failure::bad_request("the name of the object is not that of the path"));
    }
    let uid = metadata::text(current, "uid");
    if metadata::text(&new, "uid").is_some_and(|given| Some(given) != uid) {
        let why = "Precondition failed: UID in precondition differs from UID in object meta";
        return Err(Failure::conflict(target.resource, name, why));
    }
    if target.part == Part::Status {
        let mut updated = current.clone();
        set(&mut updated, "status", new.remove("status"));
        return Ok(updated);
    }
    for field in
        ["name", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let was = current.get("metadata").and_then(|metadata| metadata.get(field));
        metadata::set(&mut new, field, was.cloned());
    }
    if target.resource.has_status {
        set(&mut new, "status", current.get("status").cloned());
    }
    Ok(new)
}

fn set(object: &mut Object, field: &str, value: Option<Value>) {
    match value {
        Some(value) => object.insert(field.to_owned(), value),
        None => object.remove(field),
    };
}

/// Updates or patches an object.
pub(crate) async fn update(
    store: &Store,
    target: &Target<'_>,
    change: Change,
) -> Result<Response<Body>, Failure> {
    let (resource, name) = (target.resource, target.name.unwrap_or_default());
    let wanted = change.version()?;
    for _ in 0..ATTEMPTS {
        let (kv, current) = current(store, target)?;
        if matches!(wanted, Version::At(version) if version != kv.mod_revision()) {
            return Err(Failure::modified(resource, name));
        }
        let new = change.apply(target, &current)?;
        let value = Bytes::from(manifest::encode(&new));
        if value == kv.value() {
            return Ok(answer::object(StatusCode::OK, &value, kv.mod_revision()));
        }
        let going = metadata::text(&new, "deletionTimestamp").is_some();
        let written = if going && !metadata::has_finalizers(&new) {
            // The last who held it has let go.
            remove(store, &kv).await?
        } else {
            put(store, kv.key_bytes(), value.clone(), kv.mod_revision()).await?
        };
        if let Some(revision) = written {
            return Ok(answer::object(StatusCode::OK, &value, revision));
        }
    }
    Err(Failure::modified(resource, name))
}

/// Binds a pod to a node, unless it has one or is going.
pub(crate) async fn bind(
    store: &Store,
    target: &Target<'_>,
    body: &[u8],
) -> Result<Response<Body>, Failure> {
    let (resource, pod) = (target.resource, target.name.unwrap_or_default());
    let binding: Value = serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("the binding is no JSON: {error}")))?;
    let node = binding.pointer("/target/name").and_then(Value::as_str);
    let Some(node) = node.filter(|node| !node.is_empty()) else {
        return Err(Failure::invalid("Binding", pod, "target.name", "Required value"));
    };
    for _ in 0..ATTEMPTS {
        let (kv, mut object) = current(store, target)?;
        let uid = binding.pointer("/metadata/uid").and_then(Value::as_str);
        if uid.is_some() && uid != metadata::text(&object, "uid") {
            let why = "Precondition failed: UID in precondition differs from UID in object meta";
            return Err(Failure::conflict(resource, pod, why));
        }
        if metadata::text(&object, "deletionTimestamp").is_some() {
            return Err(Failure::conflict(resource, pod, "the pod is being deleted"));
        }
        let Value::Object(spec) = object.entry("spec").or_insert_with(|| json!({})) else {
            return Err(Failure::invalid("Pod", pod, "spec", "it must be an object"));
        };
        let bound = spec.get("nodeName").and_then(Value::as_str).unwrap_or_default();
        if !bound.is_empty() {
            let why = format!("the pod is already assigned to node {bound:?}");
            return Err(Failure::conflict(resource, pod, &why));
        }
        spec.insert("nodeName".to_owned(), node.into());
        let value = Bytes::from(manifest::encode(&object));
        if put(store, kv.key_bytes(), value, kv.mod_revision()).await?.is_some() {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "code": 201,
            });
            return Ok(answer::value(StatusCode::CREATED, &status));
        }
    }
    Err(Failure::modified(resource, pod))
}

/// Deletes an object, or marks it as going while it has finalizers.
pub(crate) async fn delete(
    store: &Store,
    target: &Target<'_>,
    body: &[u8],
) -> Result<Response<Body>, Failure> {
    let (resource, name) = (target.resource, target.name.unwrap_or_default());
    let preconditions = Preconditions::parse(body)?;
    for _ in 0..ATTEMPTS {
        let (kv, mut object) = current(store, target)?;
        preconditions.check(target, &object, kv.mod_revision())?;
        if !metadata::has_finalizers(&object) {
            let Some(_) = remove(store, &kv).await? else { continue };
            let uid = metadata::text(&object, "uid");
            let details = json!({
                "name": name, "group": resource.group, "kind": resource.plural, "uid": uid,
            });
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": details,
            });
            return Ok(answer::value(StatusCode::OK, &status));
        }
        if metadata::text(&object, "deletionTimestamp").is_some() {
            return Ok(answer::object(StatusCode::OK, kv.value(), kv.mod_revision()));
        }
        metadata::set(&mut object, "deletionTimestamp", Some(metadata::now()?.into()));
        metadata::set(&mut object, "deletionGracePeriodSeconds", Some(0.into()));
        let value = Bytes::from(manifest::encode(&object));
        if let Some(revision) = put(store, kv.key_bytes(), value.clone(), kv.mod_revision()).await?
        {
            return Ok(answer::object(StatusCode::OK, &value, revision));
        }
    }
    Err(Failure::modified(resource, name))
}

/// What a delete asks for first.
#[derive(Debug, Default)]
struct Preconditions {
    uid: Option<String>,
    version: Version,
}

impl Preconditions {
    fn parse(body: &[u8]) -> Result<Self, Failure> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let options: Value = serde_json::from_slice(body)
            .map_err(|error| Failure::bad_request(format!("the options are no JSON: {error}")))?;
        if options.get("dryRun").and_then(Value::as_array).is_some_and(|dry| !dry.is_empty()) {
            return Err(no_dry_run());
        }
        let text = |field| options.get("preconditions")?.get(field)?.as_str();
        let version = options::version(text("resourceVersion").unwrap_or_default())?;
        Ok(Self { uid: text("uid").map(str::to_owned), version })
    }

    fn check(&self, target: &Target<'_>, object: &Object, revision: u64) -> Result<(), Failure> {
        let uid = metadata::text(object, "uid");
        let why = if self.uid.is_some() && self.uid.as_deref() != uid {
            "Precondition failed: UID in precondition differs from UID in object meta"
        } else if matches!(self.version, Version::At(wanted) if wanted != revision) {
            "Precondition failed: ResourceVersion in precondition differs from ResourceVersion in \
             object meta"
        } else {
            return Ok(());
        };
        Err(Failure::conflict(target.resource, target.name.unwrap_or_default(), why))
    }
}

/// Nothing that changes is only tried.
pub(crate) fn no_dry_run() -> Failure {
    Failure::bad_request("dryRun is not supported by this server: leave it out")
}

/// What is there, with its revision.
fn current(store: &Store, target: &Target<'_>) -> Result<(KeyValue, Object), Failure> {
    let name = target.name.unwrap_or_default();
    let key = manifest::key(target.resource.plural, target.namespace, name);
    let found = store.get(key.as_bytes())?;
    let kv = found.ok_or_else(|| Failure::not_found(target.resource, name))?;
    let object = manifest::decode(kv.value());
    let object = object.ok_or_else(|| Failure::internal(format!("{key} is no JSON object")))?;
    Ok((kv, object))
}

/// Writes a key that was last written at a revision, or at 0 is not there; returns the new
/// revision.
async fn put(
    store: &Store,
    key: Bytes,
    value: Bytes,
    revision: u64,
) -> Result<Option<u64>, Failure> {
    let unchanged = Compare::mod_revision(key.clone(), CompareResult::Equal, revision);
    let answer = store.txn(Txn::new().when(unchanged).then(Op::put(key, value))).await?;
    Ok(answer.succeeded.then_some(answer.revision))
}

/// Deletes a key that is as it was; returns the revision.
async fn remove(store: &Store, kv: &KeyValue) -> Result<Option<u64>, Failure> {
    let key = kv.key_bytes();
    let unchanged = Compare::mod_revision(key.clone(), CompareResult::Equal, kv.mod_revision());
    let delete = Op::delete(KeyRange::key(key));
    let answer = store.txn(Txn::new().when(unchanged).then(delete)).await?;
    Ok(answer.succeeded.then_some(answer.revision))
}
