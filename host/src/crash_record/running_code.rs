//! The numbers by which the record names plugin code: a generation, and a method or lifecycle
//! phase.

/// The generation of all lifecycle phases in a worker process.
pub(crate) const WORKER_GENERATION: u64 = u32::MAX as u64;

/// The number of a generation and the number of a method in one word. The word is never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunningCode(u64);

impl RunningCode {
    /// Combines two numbers; `generation` counts from 1.
    pub(crate) fn new(generation: u64, method: u32) -> Self {
        // No process lives long enough for more than 2^32 generations. If one did, the record would
        // name the wrong generation.
        let generation = u32::try_from(generation).unwrap_or(u32::MAX);
        Self(u64::from(generation) << 32 | u64::from(method))
    }

    /// Returns the code of a call in a worker process, where the number of a call identifies it.
    pub(crate) fn of_call(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number of the call that the code runs for in a worker process; 0 if it runs for
    /// none.
    pub(crate) fn call(self) -> u64 {
        // No worker gets so many calls that a number looks like the generation.
        if self.generation() == WORKER_GENERATION { 0 } else { self.0 }
    }

    /// Interprets a word of a record slot.
    pub(super) fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Returns the word for a record slot.
    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// Returns the number of the generation.
    pub(crate) fn generation(self) -> u64 {
        self.0 >> 32
    }

    /// Returns the number of the method, or of the lifecycle phase.
    pub(crate) fn method(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }
}

/// Plugin code that runs outside of calls, recorded under a method number that no method has.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum LifecyclePhase {
    /// The code is opened and the instance started.
    Start = u32::MAX,
    /// The instance is stopped.
    Stop = u32::MAX - 1,
    /// The instance exports its state.
    ExportState = u32::MAX - 2,
    /// The instance imports the state of the previous generation.
    ImportState = u32::MAX - 3,
    /// The code is closed.
    Close = u32::MAX - 4,
    /// A waker of the plugin is called.
    Wake = u32::MAX - 5,
}

impl LifecyclePhase {
    const ALL: [Self; 6] =
        [Self::Start, Self::Stop, Self::ExportState, Self::ImportState, Self::Close, Self::Wake];

    /// Returns this phase of a generation.
    pub(crate) fn in_generation(self, generation: u64) -> RunningCode {
        RunningCode::new(generation, self as u32)
    }

    /// Returns the name for logs, metrics and `plugin list`. The parentheses distinguish it from
    /// the name of a method.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Start => "(start)",
            Self::Stop => "(stop)",
            Self::ExportState => "(hand-over)",
            Self::ImportState => "(take-over)",
            Self::Close => "(close)",
            Self::Wake => "(wake)",
        }
    }
}

/// Returns the name of a method or lifecycle phase, or its number if `methods` does not contain it.
pub(super) fn method_name(number: u32, methods: &[String]) -> String {
    let phase = LifecyclePhase::ALL.into_iter().find(|phase| *phase as u32 == number);
    let method = usize::try_from(number).ok().and_then(|index| methods.get(index)).map(String::as_str);

    phase.map(LifecyclePhase::name).or(method).map_or_else(|| format!("#{number}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_numbers_that_it_was_made_of() {
        let code = RunningCode::new(7, 1);
        assert_eq!((code.generation(), code.method()), (7, 1));
        let phase = LifecyclePhase::Close.in_generation(8);
        assert_eq!((phase.generation(), phase.method()), (8, u32::MAX - 4));
    }

    #[test]
    fn tells_the_calls_of_a_worker_from_its_lifecycle_phases() {
        assert_eq!(RunningCode::of_call(7).call(), 7);
        assert_eq!(LifecyclePhase::Wake.in_generation(WORKER_GENERATION).call(), 0);
    }

    #[test]
    fn names_methods_phases_and_unknown_numbers() {
        let methods = ["p.a".to_owned(), "p.b".to_owned()];
        assert_eq!(method_name(1, &methods), "p.b");
        assert_eq!(method_name(2, &methods), "#2");
        assert_eq!(method_name(LifecyclePhase::ExportState as u32, &methods), "(hand-over)");
        assert_eq!(method_name(LifecyclePhase::Start as u32, &[]), "(start)");
    }
}
