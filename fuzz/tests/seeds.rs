//! Every target with every seed, and with what a few thousand small changes make of it: the same ones each time. What a
//! long run finds is kept as a vector or a test of its own.

use jackfield_fuzz::{TARGETS, Target, seeds};

/// Changed copies of each seed.
const CHANGED: u32 = 20;

/// Xorshift: the same numbers everywhere.
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % end.max(1)
    }
}

/// A byte set, removed or repeated, or the end cut off: up to three such changes.
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
fn every_seed_and_its_changes_hold() {
    for (name, target) in TARGETS {
        println!("{name}");
        replay(name, target);
    }
    jackfield_fuzz::remove_file();
}

#[test]
fn the_seeds_reach_what_they_are_for() {
    let vectors = seeds::vectors();
    assert!(vectors.len() > 80, "{} vectors", vectors.len());
    // Sound files among those that are looked through to the manifest, and faulty ones.
    let sound = seeds::of("elf").into_iter().filter(|(name, _)| name.starts_with("sound")).count();
    assert_eq!(sound, 2);
}

/// A target that cannot fail is worth nothing: one that is wrong about a single vector is seen.
#[test]
#[should_panic(expected = "planted")]
fn a_planted_fault_is_seen() {
    let wrong = |input: &[u8]| assert!(!input.ends_with(b"\"method\":\"\\udc00\"}"), "planted");
    replay("envelope", wrong);
}
