//! Edits that make a type wider: every value of the type before is one of the type after, and not
//! the other way round.

use crate::types::{Member, Members, Type};

/// Makes one place of a type wider, the first one from number `at` where the edit applies.
pub(crate) type Edit = fn(&mut Type, bool) -> bool;

/// The edits by name. Each gets a place and whether it is one of several alternatives, and returns
/// whether it applied.
pub(crate) const EDITS: &[(&str, Edit)] = &[
    ("a lower minimum", |of, _| match of {
        Type::Integer(least, _) => step(least, -1),
        _ => false,
    }),
    ("a higher maximum", |of, _| match of {
        Type::Integer(_, greatest) => step(greatest, 1),
        _ => false,
    }),
    ("a number", |of, _| matches!(of, Type::Integer(..)) && set(of, Type::Number)),
    ("a longer text", |of, _| match of {
        Type::Text(_, Some(greatest)) => {
            *greatest += 1;
            true
        }
        _ => false,
    }),
    ("a shorter text", |of, _| match of {
        Type::Text(least @ 1.., _) => {
            *least -= 1;
            true
        }
        _ => false,
    }),
    ("any length", |of, _| match of {
        Type::Text(_, greatest @ Some(_)) | Type::Array(_, _, greatest @ Some(_)) => {
            *greatest = None;
            true
        }
        _ => false,
    }),
    ("fewer items", |of, _| match of {
        Type::Array(_, least @ 1.., _) => {
            *least -= 1;
            true
        }
        _ => false,
    }),
    ("one more value", |of, _| match of {
        Type::Enum(values) => {
            values.push(format!("more{}", values.len()));
            true
        }
        _ => false,
    }),
    ("any text", |of, _| matches!(of, Type::Enum(_)) && set(of, Type::Text(0, None))),
    ("null", |of, is_alternative| {
        !is_alternative
            && !matches!(of, Type::Option(_) | Type::Null | Type::Any | Type::OrBoolean(_))
            && wrap(of, Type::Option)
    }),
    ("a boolean", |of, is_alternative| {
        !is_alternative
            && !matches!(of, Type::Option(_) | Type::Boolean | Type::Any | Type::OrBoolean(_))
            && wrap(of, Type::OrBoolean)
    }),
    ("any value", |of, is_alternative| !is_alternative && *of != Type::Any && set(of, Type::Any)),
    ("an optional member", |of, _| {
        members(of).is_some_and(|members| match members.list.iter_mut().find(|member| member.is_required) {
            Some(member) => {
                member.is_required = false;
                true
            }
            None => false,
        })
    }),
    ("without a required member", |of, _| {
        members(of).is_some_and(|members| {
            let at = members.list.iter().position(|member| member.is_required && !members.is_closed);
            at.map(|at| members.list.remove(at)).is_some()
        })
    }),
    ("one more member of a closed object", |of, _| {
        members(of).is_some_and(|members| members.is_closed && add(members, false))
    }),
    ("one more variant", |of, _| match of {
        Type::Tagged(variants) => {
            variants.push(Members { list: Vec::new(), is_closed: false });
            true
        }
        Type::External(variants) => {
            variants.push(Type::Boolean);
            true
        }
        _ => false,
    }),
];

/// Edits that make a type wider only for those who send it: a result without them never had more.
pub(crate) const OPENING: &[(&str, Edit)] =
    &[("further members", |of, _| members(of).is_some_and(|members| std::mem::take(&mut members.is_closed)))];

/// Edits that break neither those who send a type nor those who receive it.
pub(crate) const NEUTRAL: &[(&str, Edit)] = &[("one more optional member", |of, _| {
    members(of).is_some_and(|members| !members.is_closed && add(members, false))
})];

fn step(bound: &mut i64, by: i64) -> bool {
    *bound += by;
    true
}

fn set(of: &mut Type, other: Type) -> bool {
    *of = other;
    true
}

fn wrap(of: &mut Type, into: fn(Box<Type>) -> Type) -> bool {
    let inner = std::mem::replace(of, Type::Null);
    set(of, into(Box::new(inner)))
}

fn members(of: &mut Type) -> Option<&mut Members> {
    match of {
        Type::Object(members) => Some(members),
        Type::Tagged(variants) => variants.first_mut(),
        _ => None,
    }
}

fn add(members: &mut Members, is_required: bool) -> bool {
    members.list.push(Member {
        name: format!("added{}", members.list.len()),
        is_required,
        of: Type::Text(0, None),
    });
    true
}

/// Applies an edit at the first place from `start` where it applies.
pub(crate) fn apply(of: &Type, start: usize, edit: Edit) -> Option<Type> {
    let mut count = 0;
    visit(&mut of.clone(), false, &mut |_, _| {
        count += 1;
        false
    });
    (0..count).find_map(|at| {
        let mut edited = of.clone();
        let mut place = 0;
        let is_done = visit(&mut edited, false, &mut |of, is_alternative| {
            place += 1;
            place - 1 == (start + at) % count && edit(of, is_alternative)
        });
        is_done.then_some(edited)
    })
}

/// Calls `edit` for each place until it returns `true`.
fn visit(of: &mut Type, is_alternative: bool, edit: &mut dyn FnMut(&mut Type, bool) -> bool) -> bool {
    if edit(of, is_alternative) {
        return true;
    }
    let mut in_members =
        |members: &mut Members| members.list.iter_mut().any(|member| visit(&mut member.of, false, edit));
    match of {
        Type::Object(members) => in_members(members),
        Type::Tagged(variants) => variants.iter_mut().any(in_members),
        Type::Tuple(list) | Type::External(list) => list.iter_mut().any(|of| visit(of, false, edit)),
        Type::Array(of, ..) | Type::Map(of) => visit(of, false, edit),
        Type::Option(of) | Type::OrBoolean(of) => visit(of, true, edit),
        _ => false,
    }
}
