//! What a plan comes to: a table for people.

use std::collections::BTreeMap;
use std::fmt;

use binpack::{Input, Plan, ReasonKind, Relaxation, Resources};

use crate::check::{Bound, Checked};
use crate::machine::Machine;
use crate::planning::{Planned, Stop};
use crate::text::{Table, counted, dollars, percent_cell, size, thousands};

/// A plan with all that is said of it.
pub(crate) struct Outcome<'a> {
    pub(crate) input: &'a Input,
    pub(crate) planned: &'a Planned,
    pub(crate) checked: &'a Checked,
    pub(crate) machines: Vec<Machine<'a>>,
}

/// Nodes that a table shows as one line.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) nodes: u64,
    pub(crate) pods: u64,
    pub(crate) cost_micros: u64,
    pub(crate) used: Resources,
    pub(crate) allocatable: Resources,
}

/// What nodes of one line have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line<'a> {
    pub(crate) instance_type: &'a str,
    pub(crate) pool: &'a str,
    pub(crate) capacity_type: &'a str,
    pub(crate) price_micros: u64,
}

/// Pods without a place for one reason.
pub(crate) struct Grief<'a> {
    pub(crate) kind: ReasonKind,
    pub(crate) message: &'a str,
    /// In the order of the input.
    pub(crate) pods: Vec<&'a str>,
}

impl Sum {
    pub(crate) fn of<'m>(machines: impl IntoIterator<Item = &'m Machine<'m>>) -> Self {
        let mut sum = Self::default();
        for machine in machines {
            sum.nodes += 1;
            sum.pods += machine.pods.len() as u64;
            sum.cost_micros = sum.cost_micros.saturating_add(machine.price_micros().unwrap_or(0));
            sum.used = added(&sum.used, &machine.used);
            sum.allocatable = added(&sum.allocatable, machine.allocatable());
        }
        sum
    }

    /// The shares of CPU, memory and GPUs that are used, as cells.
    fn shares(&self) -> [String; 3] {
        let (used, all) = (&self.used, &self.allocatable);
        [
            percent_cell(used.cpu_milli, all.cpu_milli),
            percent_cell(used.memory_bytes, all.memory_bytes),
            percent_cell(used.gpu_milli, all.gpu_milli),
        ]
    }
}

fn added(sum: &Resources, part: &Resources) -> Resources {
    sum.checked_add(part).unwrap_or_else(|| sum.clone())
}

impl<'a> Outcome<'a> {
    pub(crate) fn new(input: &'a Input, planned: &'a Planned, checked: &'a Checked) -> Self {
        let machines = Machine::all(input, &planned.plan);
        Self { input, planned, checked, machines }
    }

    pub(crate) fn plan(&self) -> &'a Plan {
        &self.planned.plan
    }

    pub(crate) fn launched(&self) -> impl Iterator<Item = &Machine<'a>> {
        self.machines.iter().filter(|machine| machine.launch().is_some())
    }

    /// Nodes that exist and get a pod.
    pub(crate) fn existing_used(&self) -> impl Iterator<Item = &Machine<'a>> {
        let exists = |machine: &&Machine<'_>| machine.launch().is_none();
        self.machines.iter().filter(exists).filter(|machine| !machine.pods.is_empty())
    }

    /// The same by their type, or by their size where they don't say it.
    pub(crate) fn existing_kinds(&self) -> BTreeMap<String, Vec<&Machine<'a>>> {
        let mut kinds: BTreeMap<String, Vec<&Machine<'a>>> = BTreeMap::new();
        for machine in self.existing_used() {
            let of_size = || size(machine.allocatable());
            let kind = machine.instance_type().map_or_else(of_size, str::to_owned);
            kinds.entry(kind).or_default().push(machine);
        }
        kinds
    }

    /// What is launched by what it is, the dearest line first.
    pub(crate) fn lines(&self) -> Vec<(Line<'a>, Vec<&Machine<'a>>)> {
        let mut lines: BTreeMap<Line<'a>, Vec<&Machine<'a>>> = BTreeMap::new();
        for (machine, launch) in self.launched().filter_map(|m| Some((m, m.launch()?))) {
            let line = Line {
                instance_type: &launch.instance_type,
                pool: &launch.pool,
                capacity_type: launch.capacity_type.as_str(),
                price_micros: launch.price_micros,
            };
            lines.entry(line).or_default().push(machine);
        }
        let mut lines: Vec<_> = lines.into_iter().collect();
        let cost = |(line, nodes): &(Line<'_>, Vec<_>)| line.price_micros * nodes.len() as u64;
        lines.sort_by_key(|line| std::cmp::Reverse(cost(line)));
        lines
    }

    /// Pods without a place by their reasons, the most frequent first.
    pub(crate) fn griefs(&self) -> Vec<Grief<'a>> {
        let mut griefs: BTreeMap<(ReasonKind, &'a str), Vec<&'a str>> = BTreeMap::new();
        for unplaced in &self.plan().unplaced {
            let reason = (unplaced.reason.kind, &*unplaced.reason.message);
            griefs.entry(reason).or_default().push(&unplaced.pod);
        }
        let mut griefs: Vec<Grief<'a>> = griefs
            .into_iter()
            .map(|((kind, message), pods)| Grief { kind, message, pods })
            .collect();
        griefs.sort_by_key(|grief| std::cmp::Reverse(grief.pods.len()));
        griefs
    }

    /// How often each kind of preference was given up.
    pub(crate) fn relaxations(&self) -> BTreeMap<Relaxation, u64> {
        let mut counts = BTreeMap::new();
        for relaxation in self.plan().relaxed.iter().flat_map(|relaxed| &relaxed.relaxations) {
            *counts.entry(*relaxation).or_default() += 1;
        }
        counts
    }

    /// The lower bound, unless it is refuted: in millionths of a dollar per hour.
    pub(crate) fn lower_bound_micros(&self) -> Option<u64> {
        match self.checked.bound {
            Bound::Refuted(_) => None,
            _ => self.plan().certificate.as_ref().map(|c| c.lower_bound_micros),
        }
    }
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_launches(f)?;
        self.write_existing(f)?;
        self.write_pods(f)?;
        self.write_costs(f)?;
        let (plan, planned) = (self.plan(), self.planned);
        let stopped = match planned.stopped {
            None if plan.cut_short => ", cut short",
            None => "",
            Some(Stop::Deadline) => ", stopped by the deadline",
            Some(Stop::Interrupt) => ", stopped by Ctrl-C",
        };
        let (seconds, steps) = (planned.elapsed.as_secs_f64(), u64::from(plan.iterations));
        writeln!(f, "time: {seconds:.2} s of planning, {}{stopped}", counted(steps, "step"))?;
        writeln!(f, "checked: {}", self.checked)
    }
}

impl Outcome<'_> {
    fn write_launches(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.plan().launches.is_empty() {
            return writeln!(f, "nothing to launch\n");
        }
        let header = [
            "to launch",
            "pool or group",
            "paid",
            "nodes",
            "$/h each",
            "$/h",
            "pods",
            "CPU %",
            "memory %",
            "GPU %",
        ];
        let mut table = Table::new(header);
        let row = |table: &mut Table, names: [String; 3], each: String, sum: &Sum| {
            let [name, pool, paid] = names;
            let [cpu, memory, gpu] = sum.shares();
            let (nodes, pods) = (thousands(sum.nodes), thousands(sum.pods));
            let cost = format!("{:.4}", dollars(sum.cost_micros));
            table.row([name, pool, paid, nodes, each, cost, pods, cpu, memory, gpu]);
        };
        for (line, machines) in self.lines() {
            let names = [line.instance_type, line.pool, line.capacity_type].map(str::to_owned);
            let each = format!("{:.4}", dollars(line.price_micros));
            row(&mut table, names, each, &Sum::of(machines));
        }
        let together = ["together", "", ""].map(str::to_owned);
        row(&mut table, together, String::new(), &Sum::of(self.launched()));
        writeln!(f, "{}", table.render())?;
        let grown = self.plan().scale_ups(self.input);
        grown.iter().try_for_each(|scale_up| writeln!(f, "{scale_up}"))?;
        if grown.is_empty() { Ok(()) } else { writeln!(f) }
    }

    fn write_existing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.input.nodes.is_empty() {
            return Ok(());
        }
        let mut table =
            Table::new(["existing nodes used", "nodes", "new pods", "CPU %", "memory %", "GPU %"]);
        let all = Sum::of(self.existing_used());
        let sums =
            self.existing_kinds().into_iter().map(|(kind, machines)| (kind, Sum::of(machines)));
        let of = format!("of {}", thousands(self.input.nodes.len() as u64));
        for (kind, sum) in sums.chain([(of, all)]) {
            let [cpu, memory, gpu] = sum.shares();
            table.row([kind, thousands(sum.nodes), thousands(sum.pods), cpu, memory, gpu]);
        }
        writeln!(f, "{}", table.render())
    }

    fn write_pods(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan();
        let (placed, unplaced) = (plan.bindings.len() as u64, plan.unplaced.len() as u64);
        let [placed, unplaced] = [placed, unplaced].map(thousands);
        writeln!(f, "pods: {placed} placed, {unplaced} without a place")?;
        for Grief { message, pods, .. } in self.griefs() {
            writeln!(f, "  {}: {message}", counted(pods.len() as u64, "pod"))?;
        }
        let relaxations = self.relaxations();
        if !relaxations.is_empty() {
            let count = counted(plan.relaxed.len() as u64, "pod");
            let kinds = relaxations.iter().map(|(kind, n)| format!("{kind:?} {}", thousands(*n)));
            let kinds = kinds.collect::<Vec<_>>().join(", ");
            writeln!(f, "preferences given up: by {count} ({kinds})")?;
        }
        if !plan.evictions.is_empty() {
            writeln!(f, "evicted: {}", counted(plan.evictions.len() as u64, "pod"))?;
            for eviction in &plan.evictions {
                writeln!(f, "  {eviction}")?;
            }
        }
        Ok(())
    }

    fn write_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan();
        writeln!(f, "cost: {:.4} $/h", plan.cost_per_hour())?;
        if let Some(bound) = self.lower_bound_micros() {
            let gap =
                plan.gap_percent().map_or_else(String::new, |gap| format!(", gap {gap:.2} %"));
            let proved = match self.checked.bound {
                Bound::Proved(_) => "proved",
                _ => "not decided",
            };
            writeln!(f, "lower bound: {:.4} $/h ({proved}){gap}", dollars(bound))?;
        }
        let left_out = plan.certificate.iter().flat_map(|certificate| &certificate.left_out);
        let left_out = left_out.map(|what| &**what).collect::<Vec<_>>().join(", ");
        if !left_out.is_empty() {
            writeln!(f, "the bound leaves out: {left_out}")?;
        }
        Ok(())
    }
}
