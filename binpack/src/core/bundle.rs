//! Launches for pods that must be on one node with certain others.

use super::board::Board;
use super::budget::Budgets;
use super::existing::Where;
use super::groups::{HOSTNAME, Kind};
use super::launching::Launcher;
use super::lots::{Market, shares_a_node};
use super::problem::Shape;

impl<'a> Launcher<'_, 'a> {
    /// Launches for pods that must be on one node with certain others: with as many of them as
    /// there are, and one of those others if none is there yet.
    pub(super) fn bundle(
        &self,
        market: &Market<'_, '_>,
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
        budgets: &mut Budgets,
    ) {
        for at in 0..shapes.len() {
            if !shares_a_node(board, &shapes[at]) {
                continue;
            }
            while shapes[at].left() > 0 && self.bundle_one(at, market, board, shapes, budgets) {}
        }
    }

    fn bundle_one(
        &self,
        at: usize,
        market: &Market<'_, '_>,
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
        budgets: &mut Budgets,
    ) -> bool {
        let partner = match partner(at, board, shapes) {
            Partner::None => None,
            Partner::One(shape) => Some(shape),
            Partner::Missing => return false,
        };
        let (own, other) = (&shapes[at], partner.map(|partner| &shapes[partner]));
        let mut candidates = market.of(own);
        if let Some(other) = other {
            candidates.keep(&market.of(other));
        }
        let mut best: Option<(u64, u64, usize)> = None;
        for offer in (0..self.offers.all.len()).filter(|offer| candidates.has(*offer)) {
            let of = &self.offers.all[offer];
            let mut room = of.room.clone();
            if let Some(other) = other {
                room.take(&other.demand, 1, drop);
            }
            let n = room.count(&own.demand).min(own.left());
            let better =
                best.is_none_or(|(most, price, _)| n > most || n == most && of.price < price);
            if n > 0 && better && budgets.allow(&budgets.draws(of, board.input)) {
                best = Some((n, of.price, offer));
            }
        }
        let Some((.., offer)) = best else { return false };
        let site = board.open(self.offers, offer);
        let before = shapes[at].left();
        if let Some(partner) = partner {
            // One of them is enough: the others are packed with the rest.
            let mut others = shapes[partner].pods.split_off(1);
            self.placer.place(board, &mut shapes[partner..=partner], Where::These(&[site]));
            shapes[partner].pods.append(&mut others);
        }
        self.placer.place(board, &mut shapes[at..=at], Where::These(&[site]));
        if board.is_unused(site) {
            board.close_last();
        } else {
            budgets.take(&budgets.draws(&self.offers.all[offer], board.input), 1);
        }
        shapes[at].left() < before
    }
}

/// Whose pod has to come along with those that must share a node.
enum Partner {
    /// Nobody's: they are the first of their like.
    None,
    /// One of this shape.
    One(usize),
    /// One that is not there, or has its place where no room is left.
    Missing,
}

fn partner(at: usize, board: &Board<'_>, shapes: &[Shape<'_>]) -> Partner {
    let mut found = Partner::None;
    for (group, means) in &shapes[at].ties.carries {
        let of = board.groups.get(*group);
        if of.kind() != Kind::Near || of.topology() != HOSTNAME {
            continue;
        }
        let meant = |shape: &Shape<'_>| shape.left() > 0 && shape.ties.meant_by.contains(group);
        let other = (0..shapes.len()).filter(|other| *other != at && meant(&shapes[*other]));
        let mut free = other.filter(|other| !shares_a_node(board, &shapes[*other]));
        // The first of a kind is well by itself only as long as there is no other one elsewhere.
        match free.next() {
            Some(other) => found = Partner::One(other),
            None if *means && of.total().meant == 0 => {}
            None => return Partner::Missing,
        }
    }
    found
}
