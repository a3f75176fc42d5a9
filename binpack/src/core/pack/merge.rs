//! Rows that are the same to every machine.

use super::job::{Group, Job, Machine, Row};
use crate::core::bits::Bits;
use crate::core::hash::QuickMap;
use crate::core::room::Demand;

/// What a machine sees of a row. A row that is limited by itself stays apart.
type Seen = (Demand, Bits, Vec<usize>, Option<Bits>, Option<usize>);

impl Job {
    /// The same job with rows that are alike as one, and by row those that became it.
    pub(in crate::core) fn merged(self) -> (Self, Vec<Vec<usize>>) {
        let mut index: QuickMap<Seen, usize> = QuickMap::default();
        let mut members: Vec<Vec<usize>> = Vec::new();
        let mut merged: Vec<usize> = Vec::with_capacity(self.rows.len());
        for (row, seen) in self.seen().into_iter().enumerate() {
            let at = *index.entry(seen).or_insert(members.len());
            if at == members.len() {
                members.push(Vec::new());
            }
            members[at].push(row);
            merged.push(at);
        }
        if members.len() == self.rows.len() {
            return (self, members);
        }
        let bits = |of: &Bits| Bits::collect(members.len(), of.iter().map(|row| merged[row]));
        let row = |of: &Vec<usize>| Row {
            count: of.iter().map(|row| self.rows[*row].count).sum(),
            ..self.rows[of[0]].clone()
        };
        let group = |of: &Group| {
            let mut rows: Vec<usize> = of.rows.iter().map(|row| merged[*row]).collect();
            rows.sort_unstable();
            rows.dedup();
            Group { cap: of.cap, rows }
        };
        let foes = members.iter().filter_map(|of| self.foes.get(of[0])).map(bits).collect();
        let machines = self.machines.iter();
        let machines = machines.map(|of| Machine { rows: bits(&of.rows), ..of.clone() }).collect();
        let rows = members.iter().map(row).collect();
        let groups = self.groups.iter().map(group).collect();
        (Self { rows, machines, groups, foes, budgets: self.budgets }, members)
    }

    fn seen(&self) -> Vec<Seen> {
        let machines = self.machines.len();
        let mut taken_by = vec![Bits::new(machines); self.rows.len()];
        for (at, machine) in self.machines.iter().enumerate() {
            machine.rows.iter().for_each(|row| taken_by[row].insert(at));
        }
        let mut groups = vec![Vec::new(); self.rows.len()];
        for (at, group) in self.groups.iter().enumerate() {
            group.rows.iter().for_each(|row| groups[*row].push(at));
        }
        let rows = self.rows.iter().zip(taken_by).zip(groups).enumerate();
        rows.map(|(at, ((row, taken_by), groups))| {
            let alone = (row.cap != u64::MAX).then_some(at);
            (row.demand.clone(), taken_by, groups, self.foes.get(at).cloned(), alone)
        })
        .collect()
    }
}
