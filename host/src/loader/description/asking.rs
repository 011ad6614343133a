//! The end of the child process: asks the plugin for each part of its description.

use std::borrow::Cow;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use jackfield_plugin_api::abi::{LifecycleError, Root};

use super::{DESCRIPTION_MAX, PartAnswer, part_at};
use crate::host_thread::HostThread;
use crate::log::ShortDuration;

/// The number of parts that hang after which no further part is asked for. Each keeps a thread.
const HANGS_MAX: usize = 4;

/// Time that a thread has to leave the process after its last part, at least.
const THREAD_EXIT_MAX: Duration = Duration::from_millis(250);

/// One part as the plugin returned it, or the reason why it is missing.
type Answer = Result<String, Cow<'static, str>>;

/// Asks for the parts of all methods, on a thread of its own, for at most `limit`, and passes each
/// answer to `report`, in order. The answers are fewer if the time has passed. Returns whether all
/// code of the plugin has returned: if not, it must not be closed.
pub(crate) fn ask(
    root: Root,
    methods: usize,
    limit: Duration,
    report: &mut dyn FnMut(PartAnswer<'_>),
) -> bool {
    let describe = move |place: usize, left: usize| describe(&root, place, methods, left);
    Asking { until: Instant::now() + limit, report, next: 0, left: DESCRIPTION_MAX }.run(describe)
}

/// The progress of asking.
struct Asking<'a> {
    until: Instant,
    report: &'a mut dyn FnMut(PartAnswer<'_>),

    /// The place of the next part in the order.
    next: usize,

    /// Bytes that the further documents may have together.
    left: usize,
}

/// The reason why a thread is not asked any more.
enum AskEnd {
    /// There are no further parts.
    Done,
    /// A part hangs.
    Hangs,
    /// The time for all parts has passed.
    TimedOut,
}

impl Asking<'_> {
    /// Asks `describe` for one part after the other, given its place and the size that is left,
    /// until it returns `None`.
    fn run(mut self, describe: impl Fn(usize, usize) -> Option<Answer> + Copy + Send + 'static) -> bool {
        let mut hangs = 0;
        loop {
            let Ok(thread) = AskingThread::spawn(describe) else {
                (self.report)(Err("the system cannot start another thread"));
                return hangs == 0;
            };
            match self.ask_thread(&thread) {
                AskEnd::Done => {
                    let until = self.until.max(Instant::now() + THREAD_EXIT_MAX);
                    return thread.join_before(until) && hangs == 0;
                }
                AskEnd::Hangs if hangs + 1 < HANGS_MAX => hangs += 1,
                AskEnd::Hangs | AskEnd::TimedOut => return false,
            }
        }
    }

    /// Asks for one part at a time. An answer is reported before the next part is asked for, so
    /// that the host knows which part was asked for if that ends the process.
    fn ask_thread(&mut self, thread: &AskingThread) -> AskEnd {
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                (self.report)(Err("the time for the whole description had passed"));
                return AskEnd::TimedOut;
            }
            // Half of it, so that there is time for the other parts if this one hangs.
            let part_limit = left / 2;

            match thread.ask(self.next, self.left, part_limit) {
                Ok(Some(answer)) => {
                    self.next += 1;
                    self.left -= answer.as_ref().map_or(0, String::len).min(self.left);
                    (self.report)(answer.as_deref().map_err(|why| &**why));
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.next += 1;
                    let shown = ShortDuration(part_limit);
                    (self.report)(Err(&format!("it did not return within {shown}")));
                    return AskEnd::Hangs;
                }
                Ok(None) | Err(RecvTimeoutError::Disconnected) => return AskEnd::Done,
            }
        }
    }
}

/// A thread that runs the code of the plugin.
struct AskingThread {
    thread: HostThread,

    /// Takes the place of a part, and the size that it may have.
    places: Sender<(usize, usize)>,

    answers: Receiver<Option<Answer>>,
}

impl AskingThread {
    fn spawn(describe: impl Fn(usize, usize) -> Option<Answer> + Send + 'static) -> io::Result<Self> {
        let (places, asked) = channel();
        let (sender, answers) = channel();
        let thread = HostThread::spawn("describe", move || {
            for (place, left) in asked {
                // If nothing receives it, it has taken too long, and nothing more is asked.
                let _ = sender.send(describe(place, left));
            }
        })?;
        Ok(Self { thread, places, answers })
    }

    fn ask(&self, place: usize, left: usize, limit: Duration) -> Result<Option<Answer>, RecvTimeoutError> {
        self.places.send((place, left)).map_err(|_| RecvTimeoutError::Disconnected)?;
        self.answers.recv_timeout(limit)
    }

    /// Returns whether the thread has left the process before `until`.
    fn join_before(self, until: Instant) -> bool {
        let Self { thread, places, .. } = self;
        drop(places);
        thread.join_before(until).is_ok()
    }
}

/// Asks the plugin for one part; `None` behind the last one.
fn describe(root: &Root, place: usize, methods: usize, left: usize) -> Option<Answer> {
    let (method, part) = part_at(place, methods)?;
    let method = u32::try_from(method).unwrap_or(u32::MAX);
    let document = root.describe(method, part as u32, left).map_err(|error| match error {
        LifecycleError::Panicked(text) => format!("it panicked: {text}").into(),
        LifecycleError::Refused(_) => {
            format!("all documents together would be larger than {} KiB", DESCRIPTION_MAX >> 10).into()
        }
    });
    Some(document.and_then(|document| String::from_utf8(document).map_err(|_| "it is not UTF-8".into())))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Asks a plugin that is a function, and returns the answers and whether all code has returned.
    fn answers(
        limit: Duration,
        describe: impl Fn(usize, usize) -> Option<Answer> + Copy + Send + 'static,
    ) -> (Vec<Result<String, String>>, bool) {
        let mut answers = Vec::new();
        let mut report =
            |answer: PartAnswer<'_>| answers.push(answer.map(str::to_owned).map_err(str::to_owned));
        let asking =
            Asking { until: Instant::now() + limit, report: &mut report, next: 0, left: DESCRIPTION_MAX };
        let has_returned = asking.run(describe);
        (answers, has_returned)
    }

    fn hang() -> ! {
        loop {
            thread::park();
        }
    }

    #[test]
    fn passes_the_size_that_is_left_to_each_part() {
        let (answers, has_returned) = answers(Duration::from_secs(30), |place, left| {
            (place < 3).then(|| if place == 1 { Err("no".into()) } else { Ok(left.to_string()) })
        });
        let second = DESCRIPTION_MAX - DESCRIPTION_MAX.to_string().len();
        let expected = [Ok(DESCRIPTION_MAX.to_string()), Err("no".to_owned()), Ok(second.to_string())];
        assert_eq!(answers, expected);
        assert!(has_returned);
    }

    #[test]
    fn asks_for_the_other_parts_on_another_thread_if_one_hangs() {
        let (answers, has_returned) = answers(Duration::from_secs(2), |place, _| match place {
            1 => hang(),
            0 | 2 => Some(Ok(place.to_string())),
            _ => None,
        });
        assert_eq!((&answers[0], &answers[2]), (&Ok("0".to_owned()), &Ok("2".to_owned())));
        let why = answers[1].as_ref().unwrap_err();
        assert!(why.starts_with("it did not return within "), "{why}");
        assert_eq!((answers.len(), has_returned), (3, false));
    }

    #[test]
    fn gives_up_after_several_parts_that_hang_or_when_the_time_has_passed() {
        let (answers, has_returned) = answers(Duration::from_millis(100), |_, _| hang());
        assert!((1..=HANGS_MAX).contains(&answers.len()), "{answers:?}");
        assert!(answers.iter().all(Result::is_err) && !has_returned);
    }
}
