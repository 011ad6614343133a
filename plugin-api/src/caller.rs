//! The sender of a request.

use serde::Deserialize;

use crate::Metadata;
use crate::abi::Credentials;

/// The sender of the request that led to a call.
///
/// ```
/// use jackfield_plugin_api::{Caller, Context, Error};
///
/// /// Rejects callers other than the processes of one user.
/// fn require_user(cx: &Context<'_>, uid: u32) -> Result<(), Error> {
///     match cx.caller() {
///         Caller::Local { credentials: Some(found), .. } if found.uid == uid => Ok(()),
///         _ => Err(Error::new(403, "not permitted")),
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// A process of this machine.
    Local {
        /// The path of the socket that it has connected to.
        listener: String,
        /// The credentials of the process, as the kernel reports them; `None` if it reports none.
        credentials: Option<Credentials>,
    },
    /// Another machine, through a proxy.
    Remote {
        /// The path of the socket that the proxy has connected to.
        listener: String,
        /// The name that the peer claims: the member `caller` of the metadata. Nobody has checked
        /// it, so it is for logs and statistics. It must not decide on access.
        claim: Option<String>,
    },
    /// The program of the host itself.
    Program,
    /// Not known: the host has a plugin API before 0.1.1, or reports a kind of caller that this
    /// version of the API does not know.
    Unknown,
}

/// A caller as it crosses the ABI: see `CallerFacts::json`.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reported {
    Local {
        listener: String,
        #[serde(flatten)]
        credentials: Option<ReportedCredentials>,
    },
    Remote {
        listener: String,
    },
    Program {},
}

#[derive(Deserialize)]
struct ReportedCredentials {
    uid: u32,
    gid: u32,
    pid: u32,
}

impl Caller {
    /// The member of the metadata with the claim of a remote caller.
    const CLAIM: &str = "caller";

    /// Reads what the host reports.
    pub(crate) fn read(json: &str, metadata: &Metadata) -> Self {
        match serde_json::from_str(json) {
            Ok(Reported::Local { listener, credentials }) => Self::Local {
                listener,
                credentials: credentials.map(|ReportedCredentials { uid, gid, pid }| Credentials {
                    uid,
                    gid,
                    pid,
                }),
            },
            Ok(Reported::Remote { listener }) => {
                Self::Remote { listener, claim: metadata.get(Self::CLAIM).map(str::to_owned) }
            }
            Ok(Reported::Program {}) => Self::Program,
            Err(_) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{CallerFacts, Origin};

    fn read(origin: Origin, metadata: &str) -> Caller {
        Caller::read(CallerFacts::new(origin).json(), &Metadata::read(metadata))
    }

    #[test]
    fn reads_what_the_host_reports() {
        let credentials = Some(Credentials { uid: 1, gid: u32::MAX, pid: 0 });
        for credentials in [credentials, None] {
            let local = read(Origin::Local { listener: "a \"b\"".into(), credentials }, "");
            assert_eq!(local, Caller::Local { listener: "a \"b\"".into(), credentials });
        }
        assert_eq!(read(Origin::Program, ""), Caller::Program);
    }

    #[test]
    fn takes_the_claim_of_a_remote_caller_from_the_metadata() {
        let remote = || Origin::Remote { listener: "a".into() };
        let expected = |claim: Option<&str>| Caller::Remote {
            listener: "a".to_owned(),
            claim: claim.map(str::to_owned),
        };
        assert_eq!(read(remote(), r#"{"other":"x","caller":"billing"}"#), expected(Some("billing")));
        assert_eq!(read(remote(), ""), expected(None));

        let local = read(Origin::Local { listener: "a".into(), credentials: None }, r#"{"caller":"root"}"#);
        assert_eq!(local, Caller::Local { listener: "a".into(), credentials: None });
    }

    #[test]
    fn does_not_know_the_caller_of_another_host() {
        for json in ["", "{}", r#"{"later":{}}"#, r#"{"local":7}"#] {
            assert_eq!(Caller::read(json, &Metadata::read("")), Caller::Unknown, "{json}");
        }
    }
}
