//! Runs every target with every seed and with a few thousand small changes of the seeds, the same
//! ones each time. Findings of long runs are kept as vectors or as other tests.

use jackfield_fuzz::{TARGETS, Target, seeds};

/// The number of changed copies of each seed.
const CHANGED: u32 = 20;

/// A xorshift generator, which yields the same numbers on every machine.
struct Numbers(u32);

impl Numbers {
    /// Returns a number below `end`, or 0 if `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % end.max(1)
    }
}

/// Makes one to three changes: sets, removes or repeats a byte, or truncates the input.
fn change(input: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(input.len());
        let byte = [0, 1, 0x7f, 0xff, b'"', b'{', b'\n'][numbers.below(7)];
        match numbers.below(5) {
            _ if input.is_empty() => input.push(byte),
            0 => input[at] = byte,
            1 => input[at] ^= 1 << numbers.below(8),
            2 => drop(input.remove(at)),
            3 => input.insert(at, input[at]),
            _ => input.truncate(at),
        }
    }
}

fn replay(name: &str, target: Target) {
    let seeds = seeds::of(name);
    assert!(seeds.len() >= 15, "{name} has {} seeds", seeds.len());
    let mut numbers = Numbers(0x9e37_79b9);
    for (_, input) in seeds {
        target(&input);
        for _ in 0..CHANGED {
            let mut changed = input.clone();
            change(&mut changed, &mut numbers);
            target(&changed);
        }
    }
}

#[test]
fn accepts_every_seed_and_its_changes() {
    for (name, target) in TARGETS {
        println!("{name}");
        replay(name, target);
    }
    jackfield_fuzz::remove_file();
}

#[test]
fn generates_enough_seeds() {
    let vectors = seeds::vectors();
    assert!(vectors.len() > 80, "{} vectors", vectors.len());
    // The other files are faulty.
    let sound = seeds::of("elf").into_iter().filter(|(name, _)| name.starts_with("sound")).count();
    assert_eq!(sound, 2);
}

/// The target here handles a single vector wrongly, which the replay must detect.
#[test]
#[should_panic(expected = "planted")]
fn detects_a_planted_fault() {
    let wrong = |input: &[u8]| assert!(!input.ends_with(b"\"method\":\"\\udc00\"}"), "planted");
    replay("envelope", wrong);
}
