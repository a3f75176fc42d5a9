//! What pods of different rows may not do together on one machine.

use std::collections::BTreeSet;

use super::bits::Bits;
use super::board::Board;
use super::groups::{HOSTNAME, Kind};
use super::pack::{Group, Job};
use super::problem::Shape;
use crate::model::HostPort;

/// What rows may not do together on one machine.
pub(super) struct Neighbours<'n, 'a> {
    pub(super) board: &'n Board<'a>,
    /// By row.
    pub(super) shapes: &'n [&'n Shape<'a>],
}

impl Neighbours<'_, '_> {
    /// With `proof` only that is written which its checker knows of: how many pods with the same
    /// required constraint go on one machine.
    pub(super) fn write(&self, job: &mut Job, proof: bool) {
        let mut foes: Vec<(usize, usize)> = Vec::new();
        for group in self.groups() {
            if proof && !self.board.groups.get(group).is_required() {
                continue;
            }
            let carriers = self.rows(|shape| shape.ties.carries.iter().any(|(g, _)| *g == group));
            let both = self.rows(|shape| shape.ties.carries.contains(&(group, true)));
            match self.board.groups.get(group).kind() {
                Kind::Spread(spread) => cap(job, &both, u64::from(spread.max_skew)),
                Kind::Apart | Kind::Avoid => {
                    let meant = self.rows(|shape| shape.ties.meant_by.contains(&group));
                    cap(job, &both, 1);
                    let pairs = carriers.iter().flat_map(|a| meant.iter().map(move |b| (*a, *b)));
                    foes.extend(pairs.filter(|(a, b)| a != b));
                }
                Kind::Near => {}
            }
        }
        let ported = self.rows(|shape| !proof && !shape.ports.is_empty());
        for a in &ported {
            for b in ported.iter().filter(|b| clash(self.shapes[*a].ports, self.shapes[**b].ports))
            {
                if a == b {
                    job.rows[*a].cap = 1;
                } else {
                    foes.push((*a, *b));
                }
            }
        }
        if !foes.is_empty() && !proof {
            job.foes = vec![Bits::new(job.rows.len()); job.rows.len()];
            for (a, b) in foes {
                job.foes[a].insert(b);
                job.foes[b].insert(a);
            }
        }
    }

    /// The groups by hostname that some row carries.
    fn groups(&self) -> BTreeSet<usize> {
        let carried = self.shapes.iter().flat_map(|shape| &shape.ties.carries);
        let groups = carried.map(|(group, _)| *group);
        groups.filter(|group| self.board.groups.get(*group).topology() == HOSTNAME).collect()
    }

    fn rows(&self, which: impl Fn(&Shape<'_>) -> bool) -> Vec<usize> {
        (0..self.shapes.len()).filter(|row| which(self.shapes[*row])).collect()
    }
}

fn cap(job: &mut Job, rows: &[usize], most: u64) {
    match rows {
        [] => {}
        [row] => job.rows[*row].cap = job.rows[*row].cap.min(most),
        rows => job.groups.push(Group { cap: most, rows: rows.to_vec() }),
    }
}

fn clash(a: &[HostPort], b: &[HostPort]) -> bool {
    a.iter().any(|port| b.iter().any(|other| port.conflicts(other)))
}
