//! Copying and freeing transactions that nest, without recursion: whoever decodes one may meet
//! any depth before the store has looked at it.

use std::mem;

use super::request::{Op, Txn};

impl Txn {
    /// The operations that run.
    pub(super) fn branch(&self, succeeded: bool) -> &[Op] {
        if succeeded { &self.success } else { &self.failure }
    }

    fn take_ops(&mut self) -> impl Iterator<Item = Op> + use<> {
        mem::take(&mut self.success).into_iter().chain(mem::take(&mut self.failure))
    }

    fn is_flat(&self) -> bool {
        !self.success.iter().chain(&self.failure).any(|op| matches!(op, Op::Txn(_)))
    }
}

impl Drop for Txn {
    fn drop(&mut self) {
        if self.is_flat() {
            return;
        }
        let mut rest: Vec<Op> = self.take_ops().collect();
        while let Some(op) = rest.pop() {
            if let Op::Txn(mut nested) = op {
                rest.extend(nested.take_ops());
            }
        }
    }
}

impl Clone for Txn {
    fn clone(&self) -> Self {
        let mut outer = Vec::new();
        let mut copy = Copying::of(self);
        loop {
            match copy.step() {
                Step::Down(nested) => outer.push(mem::replace(&mut copy, Copying::of(nested))),
                Step::Done => match outer.pop() {
                    Some(around) => {
                        let nested = mem::replace(&mut copy, around);
                        copy.push(Op::Txn(nested.made));
                    }
                    None => return copy.made,
                },
            }
        }
    }
}

/// A copy that is being made: `made` has the beginning of what `source` has.
struct Copying<'a> {
    source: &'a Txn,
    made: Txn,
}

enum Step<'a> {
    /// The next operation is this one; what is made of it is to be pushed.
    Down(&'a Txn),
    Done,
}

impl<'a> Copying<'a> {
    fn of(source: &'a Txn) -> Self {
        let made = Txn {
            compares: source.compares.clone(),
            success: Vec::with_capacity(source.success.len()),
            failure: Vec::with_capacity(source.failure.len()),
        };
        Self { source, made }
    }

    fn step(&mut self) -> Step<'a> {
        let source = self.source;
        let done = self.made.success.len() + self.made.failure.len();
        for op in source.success.iter().chain(&source.failure).skip(done) {
            match op {
                Op::Txn(nested) => return Step::Down(nested),
                flat => self.push(flat.clone()),
            }
        }
        Step::Done
    }

    fn push(&mut self, op: Op) {
        if self.made.success.len() < self.source.success.len() {
            self.made.success.push(op);
        } else {
            self.made.failure.push(op);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_depth_is_copied_and_dropped() {
        let mut deep = Txn::new().then(Op::put("a", "1"));
        for _ in 0..200_000 {
            deep = Txn::new().or_else(Op::get("b")).or_else(Op::Txn(deep)).then(Op::get("c"));
        }
        let copy = deep.clone();
        drop(deep);
        let mut levels = 0;
        let mut at = &copy;
        while let Some(Op::Txn(nested)) = at.failure.get(1) {
            assert_eq!((at.success.len(), at.failure.len()), (1, 2));
            at = nested;
            levels += 1;
        }
        assert_eq!((levels, at.success.first()), (200_000, Some(&Op::put("a", "1"))));
    }

    #[test]
    fn a_copy_is_equal() {
        let flat = || Txn::new().then(Op::put("a", "1")).or_else(Op::get("a"));
        let nested = flat()
            .when(crate::Compare::version("a", crate::CompareResult::Equal, 1))
            .then(Op::Txn(flat()))
            .then(Op::get("b"))
            .then(Op::Txn(Txn::new()))
            .or_else(Op::Txn(flat().or_else(Op::Txn(flat()))));
        assert_eq!(nested.clone(), nested);
    }
}
