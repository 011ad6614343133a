//! `allow`: the users and groups that may use a listener, a route or the admin socket.

use std::sync::Arc;

use nix::unistd::{Group, User};
use toml::de::DeValue;

use super::section::Section;
use super::wording::quoted;

/// A set of users and groups. Names are resolved to numbers once, when the configuration is read;
/// reloading the configuration resolves them again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// The named users, and the members of the named groups in the user database; sorted.
    uids: Vec<u32>,

    /// The named groups; sorted.
    gids: Vec<u32>,
}

impl Allow {
    /// Returns the set of these users, and of all processes with one of these effective groups.
    #[must_use]
    pub fn new(uids: impl IntoIterator<Item = u32>, gids: impl IntoIterator<Item = u32>) -> Allow {
        let sorted = |mut ids: Vec<u32>| {
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        Allow { uids: sorted(uids.into_iter().collect()), gids: sorted(gids.into_iter().collect()) }
    }

    /// Returns the set with this user in addition.
    #[must_use]
    pub(super) fn with_user(&self, uid: u32) -> Allow {
        Allow::new(self.uids.iter().copied().chain([uid]), self.gids.iter().copied())
    }

    /// Returns whether a process with this effective user and effective group is in the set.
    #[must_use]
    pub fn allows(&self, uid: u32, gid: u32) -> bool {
        self.uids.binary_search(&uid).is_ok() || self.gids.binary_search(&gid).is_ok()
    }
}

/// An entry of a list: a name that must be resolved, or a number.
enum Entry<'d> {
    Name(&'d str),
    Number(u32),
}

fn parse_entry<'d>(value: &'d DeValue<'d>) -> Option<Entry<'d>> {
    match value {
        DeValue::String(name) => Some(Entry::Name(name)),
        DeValue::Integer(written) => {
            u32::from_str_radix(written.as_str(), written.radix()).ok().map(Entry::Number)
        }
        _ => None,
    }
}

/// Reads the key `allow` of a section. Without the key, nobody is excluded.
pub(super) fn read(section: &Section<'_>) -> Option<Arc<Allow>> {
    const REMEDY: &str = "write names in quotes, or numbers from 0 to 4294967295: [\"www-data\", 1000]";
    let allow = section.optional_section("allow")?;
    let users = allow.list("users", REMEDY, parse_entry);
    let groups = allow.list("groups", REMEDY, parse_entry);
    if let (Some([]), Some([])) = (users.as_deref(), groups.as_deref()) {
        let remedy = "write users or groups, or remove the key".to_owned();
        allow.fault(allow.offset(), format!("{} permits nobody", section.label("allow")), remedy);
    }

    let mut uids = Vec::new();
    let mut gids = Vec::new();
    for (offset, user) in users.into_iter().flatten() {
        uids.extend(resolve_user(&allow, offset, user));
    }
    for (offset, group) in groups.into_iter().flatten() {
        resolve_group(&allow, offset, group, &mut uids, &mut gids);
    }
    allow.close();
    Some(Arc::new(Allow::new(uids, gids)))
}

fn resolve_user(allow: &Section<'_>, offset: usize, user: Entry<'_>) -> Option<u32> {
    match user {
        Entry::Number(uid) => Some(uid),
        Entry::Name(name) => {
            let user = found_or_fault(allow, offset, "user", name, User::from_name(name))?;
            Some(user.uid.as_raw())
        }
    }
}

/// Adds a group and the users that are its members.
fn resolve_group(
    allow: &Section<'_>,
    offset: usize,
    group: Entry<'_>,
    uids: &mut Vec<u32>,
    gids: &mut Vec<u32>,
) {
    let group = match group {
        // A group that only exists as a number has no known members.
        Entry::Number(gid) => {
            gids.push(gid);
            Group::from_gid(gid.into()).ok().flatten()
        }
        Entry::Name(name) => found_or_fault(allow, offset, "group", name, Group::from_name(name)),
    };

    if let Some(group) = group {
        gids.push(group.gid.as_raw());
        // A member that is not a user of this machine cannot connect.
        let members = group.mem.iter().filter_map(|name| User::from_name(name).ok()?);
        uids.extend(members.map(|user| user.uid.as_raw()));
    }
}

/// Returns the result of a lookup in the user database, or adds a fault.
fn found_or_fault<T>(
    allow: &Section<'_>,
    offset: usize,
    kind: &str,
    name: &str,
    result: nix::Result<Option<T>>,
) -> Option<T> {
    let (label, shown) = (allow.label(&format!("{kind}s")), quoted(name));
    let (problem, remedy) = match result {
        Ok(Some(found)) => return Some(found),
        Ok(None) => (
            format!("{label}: the {kind} {shown} does not exist"),
            format!("write the name of an existing {kind}, or a number without quotes"),
        ),
        Err(error) => (
            format!("{label}: the {kind} {shown} cannot be looked up: {error}"),
            format!(
                "write the number of the {kind} without quotes, or repair the name service of the system"
            ),
        ),
    };
    allow.fault(offset, problem, remedy);
    None
}

#[cfg(test)]
mod tests {
    use super::Allow;

    #[test]
    fn allows_a_process_by_its_user_or_its_group() {
        let allow = Allow::new([1000, 33, 33], [7]);
        for (uid, gid, expected) in
            [(33, 0, true), (1000, 7, true), (0, 7, true), (0, 0, false), (7, 33, false)]
        {
            assert_eq!(allow.allows(uid, gid), expected, "{uid}:{gid}");
        }
    }

    #[test]
    fn makes_no_exception_for_root() {
        assert!(!Allow::default().allows(0, 0));
    }
}
