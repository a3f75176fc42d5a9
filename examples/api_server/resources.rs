//! The resources that are served, and the paths that they are at.

/// A kind of object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) namespaced: bool,
    /// Whether its status is written apart from the rest.
    pub(crate) has_status: bool,
    /// What field selectors may name.
    pub(crate) fields: &'static [&'static str],
}

/// All of them have this version.
pub(crate) const VERSION: &str = "v1";

pub(crate) const RESOURCES: [Resource; 6] = [
    Resource {
        group: "",
        plural: "pods",
        singular: "pod",
        kind: "Pod",
        short_names: &["po"],
        namespaced: true,
        has_status: true,
        fields: &["metadata.name", "metadata.namespace", "spec.nodeName"],
    },
    Resource {
        group: "",
        plural: "nodes",
        singular: "node",
        kind: "Node",
        short_names: &["no"],
        namespaced: false,
        has_status: true,
        fields: &["metadata.name"],
    },
    Resource {
        group: "",
        plural: "configmaps",
        singular: "configmap",
        kind: "ConfigMap",
        short_names: &["cm"],
        namespaced: true,
        has_status: false,
        fields: &["metadata.name", "metadata.namespace"],
    },
    Resource {
        group: "coordination.k8s.io",
        plural: "leases",
        singular: "lease",
        kind: "Lease",
        short_names: &[],
        namespaced: true,
        has_status: false,
        fields: &["metadata.name", "metadata.namespace"],
    },
    Resource {
        group: "karpenter.sh",
        plural: "nodepools",
        singular: "nodepool",
        kind: "NodePool",
        short_names: &[],
        namespaced: false,
        has_status: true,
        fields: &["metadata.name"],
    },
    Resource {
        group: "karpenter.sh",
        plural: "nodeclaims",
        singular: "nodeclaim",
        kind: "NodeClaim",
        short_names: &[],
        namespaced: false,
        has_status: true,
        fields: &["metadata.name"],
    },
];

impl Resource {
    /// As an object names it.
    pub(crate) fn api_version(&self) -> String {
        match self.group {
            "" => VERSION.to_owned(),
            group => format!("{group}/{VERSION}"),
        }
    }

    /// Whether its objects are bound to nodes.
    pub(crate) fn has_binding(&self) -> bool {
        self.kind == "Pod"
    }

    /// As an error names it.
    pub(crate) fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: Option<&'a str>,
    /// None for all objects.
    pub(crate) name: Option<&'a str>,
    pub(crate) part: Part,
}

/// What of an object a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Status,
    /// The node that a pod is bound to, which is only ever written.
    Binding,
}

impl<'a> Target<'a> {
    /// Reads a path: `/api/v1/…` or `/apis/<group>/v1/…`, then `[namespaces/<namespace>/]<plural>`
    /// and perhaps `/<name>`, with `/status` or, of a pod, `/binding`.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/').peekable();
        let group = match parts.next()? {
            "api" => "",
            "apis" => parts.next().filter(|group| !group.is_empty())?,
            _ => return None,
        };
        if parts.next()? != VERSION {
            return None;
        }
        let namespace = match parts.next_if_eq(&"namespaces") {
            Some(_) => Some(parts.next().filter(|namespace| !namespace.is_empty())?),
            None => None,
        };
        let plural = parts.next()?;
        let resource = RESOURCES.iter().find(|it| it.group == group && it.plural == plural)?;
        let name = parts.next();
        let part = match parts.next() {
            None => Part::Whole,
            Some("status") if resource.has_status => Part::Status,
            Some("binding") if resource.has_binding() => Part::Binding,
            Some(_) => return None,
        };
        let there = parts.next().is_none()
            && name != Some("")
            && (resource.namespaced || namespace.is_none())
            // An object of a namespaced resource has a namespace.
            && (name.is_none() || resource.namespaced == namespace.is_some());
        there.then_some(Self { resource, namespace, name, part })
    }
}
