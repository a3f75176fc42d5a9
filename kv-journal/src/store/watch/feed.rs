//! What happened for all who want the same, and who of them has not looked yet.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use super::inbox::{Inbox, Wake};
use super::sync::Mutex;

/// Revisions that are kept for members who have not read them. Whoever is further behind reads
/// the log of the state, so this only saves looking for them there.
pub(super) const RECENT: usize = 32;

/// What those revisions may take.
pub(super) const RECENT_BYTES: usize = 1 << 20;

/// A group of watchers with the same predicate, and the last revisions that held something for it.
///
/// A member is *parked* when it has read everything: it costs nothing until a revision concerns
/// the group, and then its place is put into its stream's inbox. Invariants:
///
/// - every concerned revision from `since` up to the last one posted is in `recent`;
/// - a parked member has seen every concerned revision but the one that is being announced;
/// - a member that is not parked is in its inbox, or its reader is about to look at it.
///
/// So a parked member misses nothing, and one that is not and whose next revision is before `since`
/// finds the revisions between in the log. When all are parked `recent` is forgotten, so that an
/// idle group keeps no value alive.
pub(super) struct Feed<P> {
    state: Mutex<State<P>>,
}

struct State<P> {
    since: u64,
    recent: Option<Box<Recent<P>>>,
    members: Members,
    awake: u32,
    /// A revision was posted and not all members were told.
    announcing: bool,
}

struct Recent<P> {
    posts: VecDeque<Post<P>>,
    bytes: usize,
}

struct Post<P> {
    revision: u64,
    bytes: usize,
    payload: P,
}

/// Most groups have one member.
enum Members {
    None,
    One(Member),
    Many(Box<Slab<Member>>),
}

struct Member {
    inbox: Arc<Inbox>,
    /// Its place in its stream.
    place: u32,
    parked: bool,
    /// The next revision to look at.
    next: u64,
}

/// What there is for a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Take<P> {
    /// A revision. If it is not the last one the member is to look again.
    Post { revision: u64, payload: P, last: bool },
    /// The log is to be searched, both ends included, and [`Feed::resume`] to be called.
    Behind { from: u64, to: u64 },
    /// Nothing up to what is posted. The member has seen everything before `next`.
    Parked { next: u64 },
}

impl<P: Clone> Feed<P> {
    /// A group without members that hears of every revision from `since` on.
    pub(super) fn new(since: u64) -> Self {
        Self {
            state: Mutex::new(State {
                since,
                recent: None,
                members: Members::None,
                awake: 0,
                announcing: false,
            }),
        }
    }

    /// Adds a member that wants every revision from `next` on, and returns its seat. It is parked
    /// if there is nothing for it yet; otherwise its reader must look at it.
    pub(super) fn join(&self, inbox: Arc<Inbox>, place: u32, next: u64) -> (usize, bool) {
        let mut state = self.state.lock();
        let parked = next >= state.since && state.first_from(next).is_none();
        state.awake += u32::from(!parked);
        let seat = state.members.insert(Member { inbox, place, parked, next });
        (seat, parked)
    }

    /// Removes a member and says whether it was the last one.
    pub(super) fn leave(&self, seat: usize) -> bool {
        let mut state = self.state.lock();
        if let Some(member) = state.members.remove(seat) {
            state.awake -= u32::from(!member.parked);
            state.forget_if_read();
        }
        state.members.len() == 0
    }

    /// Keeps a revision for all members; [`announce`](Self::announce) tells them. False if the
    /// group is younger than the revision.
    pub(super) fn post(&self, revision: u64, bytes: usize, payload: P) -> bool {
        let mut state = self.state.lock();
        if revision < state.since {
            return false;
        }
        state.announcing = true;
        state.keep(Post { revision, bytes, payload });
        true
    }

    /// Tells the parked members from seat `from` on of the revision that was posted last, as far as
    /// `budget` goes. Returns the seat to go on with, unless all are told.
    pub(super) fn announce(
        &self,
        revision: u64,
        from: usize,
        budget: &mut usize,
        wakes: &mut Vec<Wake>,
    ) -> Option<usize> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let seats = state.members.seats();
        let until = seats.min(from.saturating_add(*budget));
        *budget -= until - from;
        for seat in from..until {
            let Some(member) = state.members.get_mut(seat) else { continue };
            // A start that lies in the future is not there yet.
            if member.parked && member.next <= revision {
                member.next = revision;
                state.awake += 1;
                wakes.extend(member.unpark());
            }
        }
        if until < seats {
            return Some(until);
        }
        state.announcing = false;
        state.forget_if_read();
        None
    }

    /// What there is for a member; afterwards it has seen that.
    pub(super) fn take(&self, seat: usize) -> Option<Take<P>> {
        let mut state = self.state.lock();
        let since = state.since;
        let member = state.members.get(seat)?;
        let (next, parked) = (member.next, member.parked);
        if !parked && next < since {
            return Some(Take::Behind { from: next, to: since - 1 });
        }
        let found = state.first_from(next).map(|(post, last)| Take::Post {
            revision: post.revision,
            payload: post.payload.clone(),
            last,
        });
        let (next, parked) = match &found {
            Some(Take::Post { revision, last, .. }) => (revision + 1, *last),
            _ => (next, true),
        };
        state.move_to(seat, next, parked);
        Some(found.unwrap_or(Take::Parked { next }))
    }

    /// Whether the member has seen everything that it was told of.
    pub(super) fn is_parked(&self, seat: usize) -> bool {
        self.state.lock().members.get(seat).is_some_and(|member| member.parked)
    }

    /// The member has seen everything before `next`, by reading the log, and is to look again.
    pub(super) fn resume(&self, seat: usize, next: u64) {
        self.state.lock().move_to(seat, next, false);
    }

    /// The revisions from `missed` on and before `since` were lost before they could be posted.
    /// Every member that may have wanted one is to look for them in the log, and will be told there.
    pub(super) fn skip(&self, missed: u64, since: u64, wakes: &mut Vec<Wake>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.since = state.since.max(since);
        state.recent = None;
        for seat in 0..state.members.seats() {
            let Some(member) = state.members.get_mut(seat) else { continue };
            if member.parked && member.next < since {
                member.next = member.next.max(missed);
                state.awake += 1;
                wakes.extend(member.unpark());
            }
        }
    }
}

#[cfg(test)]
impl<P> Feed<P> {
    /// How many revisions are kept.
    pub(super) fn kept(&self) -> usize {
        self.state.lock().recent.as_ref().map_or(0, |recent| recent.posts.len())
    }
}

impl<P> State<P> {
    fn keep(&mut self, post: Post<P>) {
        let recent = self.recent.get_or_insert_default();
        recent.bytes += post.bytes;
        recent.posts.push_back(post);
        while recent.posts.len() > RECENT || recent.bytes > RECENT_BYTES {
            let Some(oldest) = recent.posts.pop_front() else { break };
            recent.bytes -= oldest.bytes;
            self.since = oldest.revision + 1;
        }
    }

    /// The first kept revision at or after `next`, and whether it is the last one.
    fn first_from(&self, next: u64) -> Option<(&Post<P>, bool)> {
        let posts = &self.recent.as_ref()?.posts;
        let at = posts.partition_point(|post| post.revision < next);
        Some((posts.get(at)?, at + 1 == posts.len()))
    }

    fn move_to(&mut self, seat: usize, next: u64, parked: bool) {
        if let Some(member) = self.members.get_mut(seat) {
            self.awake -= u32::from(!member.parked);
            self.awake += u32::from(!parked);
            (member.next, member.parked) = (next, parked);
        }
        self.forget_if_read();
    }

    fn forget_if_read(&mut self) {
        if self.awake > 0 || self.announcing {
            return;
        }
        if let Some(newest) = self.recent.take().and_then(|mut recent| recent.posts.pop_back()) {
            self.since = newest.revision + 1;
        }
    }
}

impl<P> Default for Recent<P> {
    fn default() -> Self {
        Self { posts: VecDeque::new(), bytes: 0 }
    }
}

impl Member {
    /// Whom to wake, if anybody.
    fn unpark(&mut self) -> Option<Wake> {
        self.parked = false;
        Some(self.inbox.put(self.place)).filter(|wake| wake.0.is_some())
    }
}

impl Members {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(members) => members.len(),
        }
    }

    /// Every member's seat is below this.
    fn seats(&self) -> usize {
        match self {
            Self::Many(members) => members.capacity(),
            few => few.len(),
        }
    }

    fn get(&self, seat: usize) -> Option<&Member> {
        match self {
            Self::One(member) if seat == 0 => Some(member),
            Self::Many(members) => members.get(seat),
            Self::None | Self::One(_) => None,
        }
    }

    fn get_mut(&mut self, seat: usize) -> Option<&mut Member> {
        match self {
            Self::One(member) if seat == 0 => Some(member),
            Self::Many(members) => members.get_mut(seat),
            Self::None | Self::One(_) => None,
        }
    }

    fn insert(&mut self, member: Member) -> usize {
        match std::mem::replace(self, Self::None) {
            Self::None => {
                *self = Self::One(member);
                0
            }
            Self::One(first) => {
                // A new slab gives its first entry seat 0, which `first` has had so far.
                let mut members = Slab::with_capacity(4);
                members.insert(first);
                let seat = members.insert(member);
                *self = Self::Many(Box::new(members));
                seat
            }
            Self::Many(mut members) => {
                let seat = members.insert(member);
                *self = Self::Many(members);
                seat
            }
        }
    }

    fn remove(&mut self, seat: usize) -> Option<Member> {
        let removed = match self {
            Self::Many(members) => members.try_remove(seat),
            Self::One(_) if seat == 0 => {
                return match std::mem::replace(self, Self::None) {
                    Self::One(member) => Some(member),
                    Self::None | Self::Many(_) => None,
                };
            }
            Self::None | Self::One(_) => None,
        };
        if self.len() == 0 {
            *self = Self::None;
        }
        removed
    }
}
