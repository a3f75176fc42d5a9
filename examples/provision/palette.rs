//! Which colour pods have in a drawing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use binpack::Pod;

use crate::text::size;

/// Told apart side by side; the most frequent kinds of pods get one each.
const COLOURS: [&str; 20] = [
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#ff9da7",
    "#9c755f", "#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#1f78b4",
    "#b2df8a", "#fb9a99", "#cab2d6", "#6a3d9a",
];
/// Of all kinds beyond.
const OTHERS: &str = "#c3c8ce";

/// Labels that say what a pod belongs to.
const APP_LABELS: [&str; 2] = ["app", "app.kubernetes.io/name"];

/// What a pod is coloured by: its application, or its size where it names none.
pub(crate) fn kind(pod: &Pod) -> String {
    let app = APP_LABELS.iter().find_map(|key| pod.labels.get(*key));
    app.map_or_else(|| size(&pod.requests), |app| app.to_string())
}

/// The colours of kinds.
pub(crate) struct Palette {
    colours: HashMap<String, &'static str>,
    /// What a drawing explains: kinds with how many pods they have and their colours.
    pub(crate) legend: Vec<(String, u64, &'static str)>,
}

impl Palette {
    /// Colours for the kinds of these pods.
    pub(crate) fn of<'p>(pods: impl Iterator<Item = &'p Pod>) -> Self {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        pods.for_each(|pod| *counts.entry(kind(pod)).or_default() += 1);
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| Reverse(*count));
        let beyond: u64 = counts.iter().skip(COLOURS.len()).map(|(_, count)| count).sum();
        let named = counts.into_iter().zip(COLOURS);
        let mut legend: Vec<_> =
            named.map(|((kind, count), colour)| (kind, count, colour)).collect();
        let colours = legend.iter().map(|(kind, _, colour)| (kind.clone(), *colour)).collect();
        if beyond > 0 {
            legend.push(("others".to_owned(), beyond, OTHERS));
        }
        Self { colours, legend }
    }

    pub(crate) fn colour(&self, kind: &str) -> &'static str {
        self.colours.get(kind).copied().unwrap_or(OTHERS)
    }
}
