//! The nodes as bars, filled by the CPU, memory and GPUs of their pods.
#![expect(clippy::cast_precision_loss, reason = "pixels")]

use std::cmp::Reverse;
use std::collections::BTreeMap;

use binpack::Resources;

use crate::machine::Machine;
use crate::palette::{Palette, kind};
use crate::report::Outcome;
use crate::svg::{Rect, Style, Svg};
use crate::text::{counted, dollars, percent, size};

/// More bars than this are a wall: then those of a type are drawn as one, on average.
const MOST_ROWS: usize = 400;
/// A type with so few different nodes is always drawn node by node.
const FEW_ROWS: usize = 10;

const MARGIN: f64 = 24.0;
const LABEL: f64 = 130.0;
const BAR: f64 = 260.0;
const PERCENT: f64 = 52.0;
const BAR_HEIGHT: f64 = 12.0;
const ROW: f64 = 17.0;
const LINE: f64 = 20.0;
const WIDTH: f64 = 2.0 * MARGIN + LABEL + 3.0 * (BAR + PERCENT);
const LEGEND_COLUMNS: usize = 4;

/// The colour of what no pod uses.
const FREE: &str = "#eef0f2";
/// The colour of daemons, and of what ran before.
const BEFORE: &str = "#57606a";

/// What is drawn: a name and how to read an amount of it.
type Column = (&'static str, fn(&Resources) -> u64);
const COLUMNS: [Column; 3] =
    [("CPU", |r| r.cpu_milli), ("memory", |r| r.memory_bytes), ("GPU", |r| r.gpu_milli)];

/// Nodes that are equal in what they have and what is on them, or all of a type.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    allocatable: Resources,
    before: Resources,
    /// Pods of each kind: how many, and what they request together.
    pods: BTreeMap<String, (u64, Resources)>,
}

/// Nodes of one type.
struct Section {
    title: String,
    /// Rows with how many nodes each stands for, the most frequent first.
    rows: Vec<(Row, u64)>,
}

/// The drawing's text.
pub(crate) fn of(outcome: &Outcome<'_>) -> String {
    let pods = outcome.machines.iter().flat_map(|machine| &machine.pods).map(|(pod, _)| *pod);
    let mut page = Page { svg: Svg::new(), y: MARGIN, palette: Palette::of(pods) };
    let plan = outcome.plan();
    let nodes = counted(plan.launches.len() as u64, "node");
    let title = format!("{nodes} to launch for {:.4} $/h", plan.cost_per_hour());
    page.line(Style::Heading, &title);
    page.legend();
    for section in sections(outcome) {
        page.section(&section);
    }
    page.svg.finish(WIDTH, page.y + MARGIN, &title)
}

fn sections(outcome: &Outcome<'_>) -> Vec<Section> {
    let launched = outcome.lines().into_iter().map(|(line, machines)| {
        let price = dollars(line.price_micros);
        let of = format!("{} ({}, {})", line.instance_type, line.pool, line.capacity_type);
        let nodes = counted(machines.len() as u64, "node");
        Section::of(format!("{of}: {nodes} at {price:.4} $/h"), &machines)
    });
    let existing = outcome.existing_kinds().into_iter().map(|(kind, machines)| {
        let nodes = counted(machines.len() as u64, "node");
        Section::of(format!("{kind}: {nodes} that exist"), &machines)
    });
    let mut sections: Vec<Section> = launched.chain(existing).collect();
    if sections.iter().map(|section| section.rows.len()).sum::<usize>() > MOST_ROWS {
        let long = sections.iter_mut().filter(|section| section.rows.len() > FEW_ROWS);
        long.for_each(Section::average);
    }
    sections
}

impl Section {
    fn of(title: String, machines: &[&Machine<'_>]) -> Self {
        let mut rows: BTreeMap<Row, u64> = BTreeMap::new();
        for machine in machines {
            *rows.entry(Row::of(machine)).or_default() += 1;
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(_, count)| Reverse(*count));
        Self { title, rows }
    }

    /// Bars show shares, so the sum of all nodes has the bars of their average.
    fn average(&mut self) {
        let (mut sum, mut nodes) = (Row::default(), 0);
        for (row, count) in &self.rows {
            (0..*count).for_each(|_| sum.add(row));
            nodes += count;
        }
        self.title.push_str(", on average");
        self.rows = vec![(sum, nodes)];
    }
}

impl Row {
    fn of(machine: &Machine<'_>) -> Self {
        let (allocatable, before) = (machine.allocatable().clone(), machine.before.clone());
        let mut row = Self { allocatable, before, pods: BTreeMap::new() };
        for (pod, _) in &machine.pods {
            let (count, sum) = row.pods.entry(kind(pod)).or_default();
            *count += 1;
            add(sum, &pod.requests);
        }
        row
    }

    fn add(&mut self, other: &Self) {
        add(&mut self.allocatable, &other.allocatable);
        add(&mut self.before, &other.before);
        for (kind, (count, requests)) in &other.pods {
            let (all, sum) = self.pods.entry(kind.clone()).or_default();
            *all += count;
            add(sum, requests);
        }
    }
}

fn add(sum: &mut Resources, part: &Resources) {
    if let Some(more) = sum.checked_add(part) {
        *sum = more;
    }
}

/// The drawing so far, and where it goes on.
struct Page {
    svg: Svg,
    y: f64,
    palette: Palette,
}

impl Page {
    fn line(&mut self, style: Style, text: &str) {
        self.svg.text(MARGIN, self.y + BAR_HEIGHT, style, text);
        self.y += LINE;
    }

    fn legend(&mut self) {
        let before = ("daemons, and what ran before".to_owned(), None, BEFORE);
        let kinds = std::mem::take(&mut self.palette.legend);
        let kinds = kinds.into_iter().map(|(kind, count, colour)| (kind, Some(count), colour));
        let entries: Vec<_> = kinds.chain([before]).collect();
        self.svg.open("legend");
        let width = (WIDTH - 2.0 * MARGIN) / LEGEND_COLUMNS as f64;
        for line in entries.chunks(LEGEND_COLUMNS) {
            for (at, (kind, count, colour)) in line.iter().enumerate() {
                let x = MARGIN + width * at as f64;
                let said = match count {
                    Some(count) => format!("{kind} ({})", counted(*count, "pod")),
                    None => kind.clone(),
                };
                let square = Rect { x, y: self.y, width: BAR_HEIGHT, height: BAR_HEIGHT };
                self.svg.rect(square, colour, &said);
                self.svg.text(x + 1.5 * BAR_HEIGHT, self.y + 10.0, Style::Plain, &said);
            }
            self.y += ROW;
        }
        self.svg.close();
        self.y += LINE / 2.0;
    }

    fn section(&mut self, section: &Section) {
        self.y += LINE / 2.0;
        self.svg.open("type");
        self.line(Style::Heading, &section.title);
        for (at, (name, _)) in COLUMNS.iter().enumerate() {
            self.svg.text(column(at), self.y + 8.0, Style::Small, name);
        }
        self.y += BAR_HEIGHT;
        for (row, count) in &section.rows {
            self.row(row, *count);
        }
        self.svg.close();
    }

    fn row(&mut self, row: &Row, count: u64) {
        self.svg.open("node");
        let label = counted(count, "node");
        self.svg.text(MARGIN, self.y + 10.0, Style::Plain, &label);
        for (at, (name, amount)) in COLUMNS.iter().enumerate() {
            let whole = amount(&row.allocatable);
            if whole > 0 {
                self.bar(row, column(at), (name, *amount), whole);
            }
        }
        self.svg.close();
        self.y += ROW;
    }

    fn bar(&mut self, row: &Row, x: f64, (name, amount): Column, whole: u64) {
        let share = |part: u64| percent(part, whole).unwrap_or(0.0);
        let rect = |x, width| Rect { x, y: self.y, width, height: BAR_HEIGHT };
        self.svg.rect(rect(x, BAR), FREE, &format!("{name} that is free"));
        let before = ("daemons, and what ran before".to_owned(), BEFORE, &row.before);
        let pods = row.pods.iter().map(|(kind, (count, requests))| {
            let said = format!("{kind}: {}, {}", counted(*count, "pod"), size(requests));
            (said, self.palette.colour(kind), requests)
        });
        let (mut used, mut end) = (0, 0.0);
        for (said, colour, requests) in std::iter::once(before).chain(pods) {
            let part = amount(requests);
            // What exceeds its node, as on one that is overcommitted, ends with the bar.
            let width = (share(part) / 100.0 * BAR).min(BAR - end);
            if part > 0 && width > 0.0 {
                self.svg.rect(rect(x + end, width), colour, &said);
                end += width;
            }
            used += part;
        }
        let said = format!("{:.0} %", share(used));
        self.svg.text(x + BAR + 4.0, self.y + 10.0, Style::Small, &said);
    }
}

/// Where a column of bars begins.
fn column(at: usize) -> f64 {
    MARGIN + LABEL + (BAR + PERCENT) * at as f64
}
