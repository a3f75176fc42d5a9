//! Which colour pods have in a drawing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use binpack::Pod;

use crate::text::size;

/// Told apart side by side; the kinds of pods that take the most CPU get one each.
const COLOURS: [&str; 31] = [
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#ff9da7",
    "#9c755f", "#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#1f78b4",
    "#b2df8a", "#fb9a99", "#cab2d6", "#6a3d9a", "#8cd17d", "#499894", "#b6992d", "#f1ce63",
    "#d37295", "#fabfd2", "#d4a6c8", "#d7b5a6", "#a0cbe8", "#ffbe7d", "#86bcb6",
];
/// Of all kinds beyond.
const OTHERS: &str = "#c3c8ce";

/// Labels that say what a pod belongs to.
const APP_LABELS: [&str; 2] = ["app", "app.kubernetes.io/name"];

/// What a pod is coloured by: its application, or its size where it names none.
pub(crate) fn kind(pod: &Pod) -> String {
    let app = APP_LABELS.iter().find_map(|key| pod.labels.get(*key));
    app.map_or_else(|| size(&pod.requests), ToString::to_string)
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
        let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for pod in pods {
            let (count, cpu) = kinds.entry(kind(pod)).or_default();
            *count += 1;
            *cpu = cpu.saturating_add(pod.requests.cpu_milli);
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, (_, cpu))| Reverse(*cpu));
        let beyond: u64 = kinds.iter().skip(COLOURS.len()).map(|(_, (count, _))| count).sum();
        let named = kinds.into_iter().zip(COLOURS);
        let mut legend: Vec<_> =
            named.map(|((kind, (count, _)), colour)| (kind, count, colour)).collect();
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
