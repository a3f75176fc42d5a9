//! Crashes at any time, with any part of what was not synced.

use proptest::prelude::*;

use super::*;

#[test]
fn what_was_found_at_open_survives_the_next_crash() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 2, 10)).unwrap();
    disk.set_faults(Faults { fail_file_sync: true, ..Faults::default() });
    log.append(tail.epoch, 3, &batch(2, 2, 700)).unwrap_err();
    disk.set_faults(Faults::default());
    drop(log);
    // The process ends and the system goes on: its cache has all of the batch, the disk a part.
    let (mut log, _) = open(&disk).unwrap();
    let found = payloads(&mut log);
    assert_eq!(found, [batch(0, 2, 10), batch(2, 2, 700)].concat());
    disk.crash(|| false);
    assert_eq!(payloads(&mut open(&disk).unwrap().0), found);
}

#[derive(Debug, Clone)]
enum Op {
    Append {
        records: u64,
        size: usize,
    },
    Fence,
    Spare,
    Trim {
        back: u64,
    },
    Full {
        capacity: usize,
    },
    OnlyGrowing,
    Roomy,
    FailSync,
    /// The process ends, the system goes on.
    Kill,
    Crash {
        kept: Vec<bool>,
        again: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let kept = prop::collection::vec(any::<bool>(), 1..40);
    prop_oneof![
        8 => (1..6u64, 0..600usize).prop_map(|(records, size)| Op::Append { records, size }),
        1 => Just(Op::Fence),
        2 => Just(Op::Spare),
        1 => (0..20u64).prop_map(|back| Op::Trim { back }),
        1 => (0..12_000usize).prop_map(|capacity| Op::Full { capacity }),
        1 => Just(Op::OnlyGrowing),
        1 => Just(Op::Roomy),
        1 => Just(Op::FailSync),
        1 => Just(Op::Kill),
        3 => (kept, any::<bool>()).prop_map(|(kept, again)| Op::Crash { kept, again }),
    ]
}

/// What may be in the journal: everything acknowledged and not trimmed, then perhaps one batch of
/// unknown outcome.
struct Model {
    first_seq: u64,
    acknowledged: Vec<Bytes>,
    unknown: Vec<Bytes>,
}

impl Model {
    fn next_seq(&self) -> u64 {
        self.first_seq + self.acknowledged.len() as u64
    }

    fn check(&mut self, log: &mut Log) {
        assert_eq!(log.tail().unwrap().first_seq, self.first_seq);
        let found = payloads(log);
        let with_unknown = [&self.acknowledged[..], &self.unknown[..]].concat();
        assert!(
            found == self.acknowledged || found == with_unknown,
            "found {} records, {} acknowledged, {} unknown",
            found.len(),
            self.acknowledged.len(),
            self.unknown.len(),
        );
        self.acknowledged = found;
        self.unknown.clear();
    }

    fn append(&mut self, log: &mut Log, epoch: u64, records: Vec<Bytes>) {
        match log.append(epoch, self.next_seq(), &records) {
            Ok(()) => self.acknowledged.extend(records),
            // In flight at the crash that must follow.
            Err(error) if error.kind() == ErrorKind::Unknown => self.unknown = records,
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::Exhausted | ErrorKind::Unavailable | ErrorKind::Closed
                ),
                "{error}"
            ),
        }
    }

    fn trim(&mut self, log: &mut Log, back: u64) {
        if log.trim(self.next_seq().saturating_sub(back)).is_ok() {
            let first_seq = log.tail().unwrap().first_seq;
            self.acknowledged.drain(..(first_seq - self.first_seq) as usize);
            self.first_seq = first_seq;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_crash_loses_or_invents_a_batch(ops in prop::collection::vec(op(), 1..40)) {
        let disk = SimDisk::default();
        let (mut log, _, mut tail) = take(&disk);
        let mut model = Model { first_seq: 1, acknowledged: Vec::new(), unknown: Vec::new() };
        let mut number = 0;
        for op in ops {
            match op {
                Op::Append { records, size } => {
                    model.append(&mut log, tail.epoch, batch(number, records, size));
                    number += 7;
                }
                Op::Fence => tail.epoch = log.fence(tail.epoch + 1).map_or(tail.epoch, |t| t.epoch),
                Op::Spare if log.wants_spare() => prepare_spare(&mut log),
                Op::Spare => {}
                Op::Trim { back } => model.trim(&mut log, back),
                Op::Full { capacity } => {
                    disk.set_faults(Faults { capacity: Some(capacity), ..Faults::default() });
                }
                Op::OnlyGrowing => {
                    disk.set_faults(Faults { no_preallocation: true, ..Faults::default() });
                }
                Op::Roomy => disk.set_faults(Faults::default()),
                Op::FailSync => {
                    disk.set_faults(Faults { fail_file_sync: true, ..Faults::default() });
                }
                Op::Kill => {
                    drop(log);
                    disk.set_faults(Faults::default());
                    (log, _, tail) = take(&disk);
                    model.check(&mut log);
                }
                Op::Crash { kept, again } => {
                    drop(log);
                    let mut kept = kept.into_iter().cycle();
                    disk.crash(|| kept.next().unwrap_or_default());
                    if again {
                        // In the middle of what opening writes, or right after it.
                        model.check(&mut open(&disk).unwrap().0);
                        disk.crash(|| kept.next().unwrap_or_default());
                    }
                    (log, _, tail) = take(&disk);
                    model.check(&mut log);
                }
            }
        }
        drop(log);
        disk.crash(|| false);
        model.check(&mut open(&disk).unwrap().0);
    }
}
