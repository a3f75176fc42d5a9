//! A job in parts that have nothing to do with each other: no machine takes rows of two of them.

use super::job::{Group, Job, Machine};
use crate::core::bits::Bits;

/// A part, and where its rows and machines come from.
#[derive(Debug)]
pub(in crate::core) struct Part {
    pub(in crate::core) job: Job,
    pub(in crate::core) rows: Vec<usize>,
    pub(in crate::core) machines: Vec<usize>,
}

impl Job {
    /// The parts, in the order of their first rows. Where budgets are shared there is one.
    pub(in crate::core) fn parts(self) -> Vec<Part> {
        let mut parent: Vec<usize> = (0..self.rows.len()).collect();
        for machine in &self.machines {
            let mut taken = (0..self.rows.len()).filter(|row| machine.rows.has(*row));
            let Some(first) = taken.next() else { continue };
            for row in taken {
                let (a, b) = (root(&mut parent, first), root(&mut parent, row));
                parent[a.max(b)] = a.min(b);
            }
        }
        let roots: Vec<usize> = (0..parent.len()).map(|row| root(&mut parent, row)).collect();
        let mut firsts = roots.clone();
        firsts.sort_unstable();
        firsts.dedup();
        if firsts.len() == 1 || !self.budgets.is_empty() {
            let (rows, machines) = (self.rows.len(), self.machines.len());
            let (rows, machines) = ((0..rows).collect(), (0..machines).collect());
            return vec![Part { job: self, rows, machines }];
        }
        firsts.into_iter().map(|first| self.part(&roots, first)).collect()
    }

    fn part(&self, roots: &[usize], first: usize) -> Part {
        let rows: Vec<usize> = (0..roots.len()).filter(|row| roots[*row] == first).collect();
        let local = |row: usize| rows.binary_search(&row).ok();
        let bits = |of: &Bits| {
            let members = rows.iter().enumerate().filter(|(_, row)| of.has(**row));
            Bits::collect(rows.len(), members.map(|(at, _)| at))
        };
        let takes = |machine: &usize| rows.iter().any(|row| self.machines[*machine].rows.has(*row));
        let machines: Vec<usize> = (0..self.machines.len()).filter(takes).collect();
        let machine = |at: &usize| {
            let of = &self.machines[*at];
            Machine { rows: bits(&of.rows), ..of.clone() }
        };
        let groups = self.groups.iter().map(|group| Group {
            cap: group.cap,
            rows: group.rows.iter().filter_map(|row| local(*row)).collect(),
        });
        let foes = if self.foes.is_empty() { &[][..] } else { &rows };
        let job = Job {
            rows: rows.iter().map(|row| self.rows[*row].clone()).collect(),
            machines: machines.iter().map(machine).collect(),
            groups: groups.filter(|group| !group.rows.is_empty()).collect(),
            foes: foes.iter().map(|row| bits(&self.foes[*row])).collect(),
            budgets: Vec::new(),
        };
        Part { job, rows, machines }
    }
}

/// Union by the lesser index, with paths halved (Tarjan and van Leeuwen 1984).
fn root(parent: &mut [usize], mut row: usize) -> usize {
    while parent[row] != row {
        parent[row] = parent[parent[row]];
        row = parent[row];
    }
    row
}
