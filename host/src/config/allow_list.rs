//! `allow`: the users and groups that may use a listener or a route, resolved to numbers when the file is read.

use std::sync::Arc;

use nix::unistd::{Group, User};
use toml::de::DeValue;

use super::section::Section;
use super::wording::quoted;

/// Who may. Users and groups are looked up once, when the configuration is read; reading it anew looks them up anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// The users named, and the members that the system's database gives for the groups named; sorted.
    uids: Vec<u32>,
    /// The groups named; sorted.
    gids: Vec<u32>,
}

impl Allow {
    /// These users, and whoever has one of these groups as the effective one.
    #[must_use]
    pub fn new(uids: impl IntoIterator<Item = u32>, gids: impl IntoIterator<Item = u32>) -> Allow {
        let sorted = |mut ids: Vec<u32>| {
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        Allow { uids: sorted(uids.into_iter().collect()), gids: sorted(gids.into_iter().collect()) }
    }

    /// Whether a process with this effective user and effective group may.
    #[must_use]
    pub fn lets(&self, uid: u32, gid: u32) -> bool {
        self.uids.binary_search(&uid).is_ok() || self.gids.binary_search(&gid).is_ok()
    }
}

/// One of a list: a name to look up, or the number itself.
enum Named<'d> {
    Name(&'d str),
    Number(u32),
}

fn named<'d>(value: &'d DeValue<'d>) -> Option<Named<'d>> {
    match value {
        DeValue::String(name) => Some(Named::Name(name)),
        DeValue::Integer(written) => {
            u32::from_str_radix(written.as_str(), written.radix()).ok().map(Named::Number)
        }
        _ => None,
    }
}

/// The key `allow` of a listener or a route; `None` where it is not: everybody may.
pub(super) fn read(section: &Section<'_>) -> Option<Arc<Allow>> {
    let allow = section.optional_section("allow")?;
    let users = allow.list("users", "write names in quotes, or numbers: [\"www-data\", 1000]", named);
    let groups = allow.list("groups", "write names in quotes, or numbers: [\"www-data\", 1000]", named);
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    if let (Some([]), Some([])) = (users.as_deref(), groups.as_deref()) {
        let instead = "name users or groups that may, or leave the key out".to_owned();
        allow.fault(allow.offset(), "allow lets nobody in".to_owned(), instead);
    }
    for (offset, user) in users.into_iter().flatten() {
        uids.extend(match user {
            Named::Number(uid) => Some(uid),
            Named::Name(name) => {
                found(&allow, offset, "user", name, User::from_name(name)).map(|user| user.uid.as_raw())
            }
        });
    }
    for (offset, group) in groups.into_iter().flatten() {
        let group = match group {
            // One that has no more than a number here has no members that could be known.
            Named::Number(gid) => {
                gids.push(gid);
                Group::from_gid(gid.into()).ok().flatten()
            }
            Named::Name(name) => found(&allow, offset, "group", name, Group::from_name(name)),
        };
        let Some(group) = group else { continue };
        gids.push(group.gid.as_raw());
        // A member that is no user here cannot connect, either.
        uids.extend(group.mem.iter().filter_map(|name| Some(User::from_name(name).ok()??.uid.as_raw())));
    }
    allow.close();
    Some(Arc::new(Allow::new(uids, gids)))
}

fn found<T>(
    allow: &Section<'_>,
    offset: usize,
    kind: &str,
    name: &str,
    answer: nix::Result<Option<T>>,
) -> Option<T> {
    let (what, instead) = match answer {
        Ok(Some(found)) => return Some(found),
        Ok(None) => (
            format!("there is no {kind} {} here", quoted(name)),
            format!("name a {kind} that there is, or write a number without quotes"),
        ),
        Err(error) => (
            format!("the {kind} {} cannot be looked up: {error}", quoted(name)),
            format!("write the {kind}'s number without quotes, or mend the system's name service"),
        ),
    };
    allow.fault(offset, what, instead);
    None
}

#[cfg(test)]
mod tests {
    use super::Allow;

    #[test]
    fn a_user_or_a_group_is_enough() {
        let allow = Allow::new([1000, 33, 33], [7]);
        for (uid, gid, lets) in [(33, 0, true), (1000, 7, true), (0, 7, true), (0, 0, false), (7, 33, false)]
        {
            assert_eq!(allow.lets(uid, gid), lets, "{uid}:{gid}");
        }
        assert!(!Allow::default().lets(0, 0), "nobody is excepted, not even root");
    }
}
