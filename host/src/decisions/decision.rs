//! One decision about a plugin content.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use jackfield_plugin_api::manifest::DeclaredMethod;
use serde::{Deserialize, Serialize};

use crate::loader::{LoadError, LoadErrorReason};

/// The longest explanation that is kept, in bytes.
const MAX_WHY: usize = 512;

/// The one who made a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub(crate) enum Decider {
    /// The host, after a failed probation or after crashes.
    Host,
    /// An operator, by command.
    Operator {
        /// The user, if it is certain.
        uid: Option<u32>,
    },
}

impl Decider {
    /// Returns the word for JSON and metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Operator { .. } => "operator",
        }
    }
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host"),
            Self::Operator { uid: Some(uid) } => write!(f, "uid {uid}"),
            Self::Operator { uid: None } => f.write_str("an operator"),
        }
    }
}

/// A content that does not serve, although nothing is wrong with its file; or one that runs in a
/// worker, although its plugin is configured to run in the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// The hash of the content.
    pub(crate) hash: String,

    #[serde(flatten)]
    pub(crate) by: Decider,

    /// When it was made, in seconds since 1970.
    pub(crate) at: u64,

    /// The event that led to it, as a sentence without its final stop.
    pub(crate) why: String,
}

impl Decision {
    /// Returns a decision that is made now.
    pub(crate) fn now(hash: String, by: Decider, mut why: String) -> Self {
        why.truncate(why.floor_char_boundary(MAX_WHY));
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { hash, by, at, why }
    }

    /// Returns whether the decision to run the plugin in a worker applies to this content. A
    /// decision of the host is about the content that crashed. An operator decides about the
    /// plugin.
    pub(crate) fn isolates(&self, hash: &str) -> bool {
        match self.by {
            Decider::Host => self.hash == hash,
            Decider::Operator { .. } => true,
        }
    }

    /// Returns the reason for which the content does not serve.
    pub(crate) fn reason(&self) -> LoadErrorReason {
        match self.by {
            Decider::Host => LoadErrorReason::ProbationFailed,
            Decider::Operator { .. } => LoadErrorReason::RolledBack,
        }
    }

    /// Returns the refusal of the content of `plugin`, which declares these methods.
    pub(crate) fn refusal(&self, plugin: &str, declared: &[DeclaredMethod]) -> LoadError {
        let Self { by, why, .. } = self;
        let refused = match by {
            Decider::Host => {
                let detail = format_args!("{why} and was rolled back; install a corrected file");
                LoadError::new(self.reason(), detail)
            }
            Decider::Operator { .. } => {
                let detail = format_args!(
                    "{by} rolled it back ({why}); install another file or run \
                     \"jackfield plugin reload {plugin}\""
                );
                LoadError::new(self.reason(), detail)
            }
        };
        refused.with_methods(declared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_who_decided_and_the_remedy() {
        let by = Decider::Operator { uid: Some(1000) };
        let decision = Decision::now("00".to_owned(), by, "from generation 3".to_owned());
        assert_eq!(
            decision.refusal("device", &[]).to_string(),
            "rolled-back: uid 1000 rolled it back (from generation 3); install another file or run \
             \"jackfield plugin reload device\""
        );

        let why = "generation 3 failed its probation".to_owned();
        let decision = Decision::now("00".to_owned(), Decider::Host, why);
        assert_eq!(
            decision.refusal("device", &[]).to_string(),
            "probation-failed: generation 3 failed its probation and was rolled back; install a corrected file"
        );
        assert_eq!(Decider::Operator { uid: None }.to_string(), "an operator");
    }

    #[test]
    fn cuts_a_long_explanation_at_a_character() {
        let decision = Decision::now(String::new(), Decider::Host, format!("x{}", "ü".repeat(MAX_WHY)));
        assert_eq!(decision.why.len(), MAX_WHY - 1);
    }
}
