//! Imports between the files of a crate run one way.
//!
//! A file imports another if a `use` or a path in its code leads there, re-exports followed.
//! Declaring a child module and re-exporting its items is not an import: a folder's `mod.rs` does
//! both.

use std::collections::{BTreeMap, BTreeSet};

use super::assert_at_most;
use super::tree::{code, rust_files_below};

const CRATES: [&str; 5] =
    ["host/src", "plugin-api/src", "protocol/src", "clients/rust/src", "clients/rust-build/src"];

/// How often a re-export of a re-export is followed.
const RE_EXPORTS: usize = 6;

type Path = Vec<String>;

/// A crate's modules by their path, and where their `use` items lead.
#[derive(Default)]
struct Modules {
    files: BTreeMap<Path, String>,
    re_exports: BTreeMap<(Path, String), (Path, String)>,
}

#[test]
fn files_do_not_import_each_other_in_cycles() {
    let mut cycles = Vec::new();
    for directory in CRATES {
        let imports = imports(directory);
        cycles.extend(imports.keys().filter_map(|file| cycle_through(file, &imports)));
    }
    cycles.sort();
    cycles.dedup();
    assert_at_most(0, &cycles, "imports between files run one way");
}

/// Returns the imports between the files of a crate, tests left out.
fn imports(directory: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut modules = Modules::default();
    let mut uses = Vec::new();
    for file in rust_files_below(directory) {
        let name = file.path[directory.len() + 1..].to_owned();
        if name == "main.rs" || name.split('/').any(|part| part == "tests" || part == "tests.rs") {
            continue;
        }
        // A visibility such as `pub(in crate::connection)` is not an import.
        let source = code(&file.text).replace("(in crate::", "(in ");
        let product = source.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let module = module_of(&name);
        modules.files.insert(module.clone(), name.clone());
        uses.push((name, module, product));
    }

    for (_, module, product) in &uses {
        for (is_public, path) in use_paths(product) {
            if let Some((target, item)) = modules.resolve(&path, module).filter(|_| is_public) {
                modules.re_exports.insert((module.clone(), item.clone()), (target, item));
            }
        }
    }

    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, module, product) in &uses {
        let targets = imports.entry(name.clone()).or_default();
        let used = use_paths(product).into_iter().chain(qualified_paths(product));
        for (is_public, path) in used {
            let Some((target, item)) = modules.resolve(&path, module) else { continue };
            let is_own_child = target.starts_with(module) && target.len() > module.len();
            if is_public && is_own_child {
                continue;
            }
            targets.insert(modules.defining_file(target, item));
        }
        targets.remove(name);
        targets.remove("");
    }
    imports
}

impl Modules {
    /// Returns the module that `path`, written in `module`, leads into, and the item in it.
    fn resolve(&self, path: &Path, module: &Path) -> Option<(Path, String)> {
        let mut rest = path.as_slice();
        let mut current = module.clone();
        match rest.first()?.as_str() {
            "crate" => current.clear(),
            "self" => {}
            "super" => drop(current.pop()),
            first => {
                let mut child = module.clone();
                child.push(first.to_owned());
                self.files.contains_key(&child).then_some(())?;
                return self.descend(module.clone(), rest);
            }
        }
        rest = &rest[1..];
        while rest.first().is_some_and(|part| part == "super") {
            current.pop();
            rest = &rest[1..];
        }
        self.descend(current, rest)
    }

    fn descend(&self, mut module: Path, mut rest: &[String]) -> Option<(Path, String)> {
        while let Some(part) = rest.first() {
            let mut child = module.clone();
            child.push(part.clone());
            if !self.files.contains_key(&child) {
                break;
            }
            module = child;
            rest = &rest[1..];
        }
        Some((module, rest.first().cloned().unwrap_or_default()))
    }

    fn defining_file(&self, mut module: Path, mut item: String) -> String {
        for _ in 0..RE_EXPORTS {
            let Some((target, name)) = self.re_exports.get(&(module.clone(), item.clone())) else { break };
            (module, item) = (target.clone(), name.clone());
        }
        self.files.get(&module).cloned().unwrap_or_default()
    }
}

fn module_of(file: &str) -> Path {
    let stem = file.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "lib" || stem == "mod" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

/// Returns every path that a `use` item names, and whether it is exported again.
fn use_paths(code: &str) -> Vec<(bool, Path)> {
    let mut paths = Vec::new();
    for statement in code.split(';') {
        let Some(at) = statement.rfind("use ") else { continue };
        let before = statement[..at].lines().next_back().unwrap_or_default().trim();
        let is_statement = before.is_empty() || before.starts_with("pub");
        if is_statement {
            let mut found = Vec::new();
            flatten(&statement[at + 4..], &Vec::new(), &mut found);
            paths.extend(found.into_iter().map(|path| (before.starts_with("pub"), path)));
        }
    }
    paths
}

/// Takes a use tree apart into single paths.
fn flatten(tree: &str, prefix: &Path, paths: &mut Vec<Path>) {
    let parts = |text: &str| {
        let parts = text.split("::").map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect::<Path>()
    };
    let tree = tree.trim();
    let mut path = prefix.clone();

    let Some(open) = tree.find('{') else {
        path.extend(parts(tree.split(" as ").next().unwrap_or_default()));
        if path.len() > prefix.len() {
            paths.push(path);
        }
        return;
    };
    path.extend(parts(&tree[..open]));

    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut begin) = (0, 0);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                flatten(&inner[begin..at], &path, paths);
                begin = at + 1;
            }
            _ => {}
        }
    }
    flatten(&inner[begin..], &path, paths);
}

/// Returns the paths in code that begin with `crate`, `self` or `super`.
fn qualified_paths(code: &str) -> Vec<(bool, Path)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c: char| !is_word(c)).filter(|word| word.contains("::"));
    let paths = words.map(|word| word.split("::").map(str::to_owned).collect::<Path>());
    let is_local = |path: &Path| matches!(path[0].as_str(), "crate" | "self" | "super");
    paths.filter(|path| is_local(path)).map(|path| (false, path)).collect()
}

/// Returns the shortest cycle through `file`, written from its first file on.
fn cycle_through(file: &str, imports: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let mut queue = std::collections::VecDeque::from([vec![file.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = queue.pop_front() {
        for next in imports.get(path.last()?).into_iter().flatten() {
            if next == file {
                let first = path.iter().enumerate().min_by_key(|(_, name)| *name)?.0;
                let rotated: Vec<_> = path[first..].iter().chain(&path[..first]).cloned().collect();
                return Some(rotated.join(" -> "));
            }
            if seen.insert(next.clone()) {
                let mut longer = path.clone();
                longer.push(next.clone());
                queue.push_back(longer);
            }
        }
    }
    None
}

#[test]
fn finds_a_cycle_and_follows_re_exports() {
    let tree = |edges: &[(&str, &str)]| {
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            imports.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        imports
    };
    let cyclic = tree(&[("b", "c"), ("c", "a"), ("a", "b"), ("d", "a")]);
    assert_eq!(cycle_through("b", &cyclic).as_deref(), Some("a -> b -> c"));
    assert_eq!(cycle_through("d", &cyclic), None);
    let mut paths = Vec::new();
    flatten("crate::{a::B, c::{self, D as E}, f}", &Vec::new(), &mut paths);
    let names: Vec<_> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(names, ["crate::a::B", "crate::c::self", "crate::c::D", "crate::f"]);
}
