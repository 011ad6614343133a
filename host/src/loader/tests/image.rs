//! Makes shared libraries of a few hundred bytes, with or without a fault.

use jackfield_plugin_api::abi::root_symbol;
use jackfield_plugin_api::manifest::{NOTE_OWNER, NOTE_OWNER_LEN, NOTE_TYPE};

pub(super) const PT_LOAD: u32 = 1;
pub(super) const PT_DYNAMIC: u32 = 2;
pub(super) const PT_NOTE: u32 = 4;
pub(super) const PT_TLS: u32 = 7;
pub(super) const PT_GNU_STACK: u32 = 0x6474_e551;
pub(super) const R: u32 = 4;
pub(super) const W: u32 = 2;
pub(super) const X: u32 = 1;

#[cfg(target_arch = "x86_64")]
pub(super) const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
pub(super) const MACHINE: u16 = 183;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hash {
    Gnu,
    SysV,
}

/// The content of the file. The default is a valid plugin.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) class: u8,
    pub(super) machine: u16,
    pub(super) kind: u16,
    pub(super) load: u32,
    pub(super) stack: Option<u32>,
    pub(super) needed: Vec<&'static str>,
    /// Entries of the dynamic table with a string as value.
    pub(super) strings: Vec<(u64, &'static str)>,
    /// Further entries of the dynamic table.
    pub(super) flags: Vec<(u64, u64)>,
    /// The size of the thread-local variables in memory.
    pub(super) tls: Option<u64>,
    pub(super) symbol: String,
    pub(super) defined: bool,
    pub(super) hash: Hash,
    pub(super) manifests: Vec<String>,
}

pub(super) fn manifest(api: &str, panic: &str, methods: &[&str]) -> String {
    let methods: Vec<String> =
        methods.iter().map(|name| format!(r#"{{"name":"{name}","run":"inline"}}"#)).collect();
    format!(
        r#"{{"manifest":1,"api":"{api}","package":"p","version":"1.2.3","panic":"{panic}","methods":[{}]}}"#,
        methods.join(",")
    )
}

impl Default for Image {
    fn default() -> Self {
        Self {
            class: 2,
            machine: MACHINE,
            kind: 3,
            load: R | X,
            stack: Some(R | W),
            needed: vec!["libc.so.6"],
            strings: Vec::new(),
            flags: Vec::new(),
            tls: None,
            symbol: root_symbol().to_str().unwrap().to_owned(),
            defined: true,
            hash: Hash::Gnu,
            manifests: vec![manifest(jackfield_plugin_api::API_VERSION, "unwind", &["a.b"])],
        }
    }
}

fn note(kind: u32, owner: &[u8], owner_len: u32, text: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [owner_len, u32::try_from(text.len()).unwrap(), kind] {
        note.extend(word.to_le_bytes());
    }
    note.extend(owner);
    note.extend(text);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// Returns a hash table with one bucket that contains symbol 1.
fn hash_table(style: Hash, symbol: &str) -> Vec<u8> {
    let words: Vec<u32> = match style {
        Hash::SysV => vec![1, 2, 1, 0, 0],
        Hash::Gnu => {
            let add = |hash: u32, byte: u8| hash.wrapping_mul(33).wrapping_add(u32::from(byte));
            vec![1, 1, 1, 0, u32::MAX, u32::MAX, 1, symbol.bytes().fold(5381, add) | 1]
        }
    };
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

impl Image {
    /// Returns the file: header, program headers, notes, strings, symbols, hash table, dynamic
    /// table, and one section header. Addresses are offsets, and one segment loads everything.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut names = vec![0];
        let mut name = |text: &str| {
            let at = names.len() as u64;
            names.extend(text.bytes().chain([0]));
            at
        };
        let symbol = name(&self.symbol);
        let mut dynamic: Vec<(u64, u64)> = self.needed.iter().map(|needed| (1, name(needed))).collect();
        dynamic.extend(self.strings.iter().map(|(tag, text)| (*tag, name(text))));
        dynamic.extend(&self.flags);
        let headers = 3 + u64::from(self.stack.is_some()) + u64::from(self.tls.is_some());
        let mut notes = note(3, b"GNU\0", 4, &[0xab, 0xcd, 0xef, 0x01]);
        for manifest in &self.manifests {
            notes.extend(note(NOTE_TYPE, &NOTE_OWNER, NOTE_OWNER_LEN, manifest.as_bytes()));
        }
        let mut symbols = vec![0; 24];
        symbols.extend(u32::try_from(symbol).unwrap().to_le_bytes());
        symbols.extend([0x11, 0, u8::from(self.defined), 0]);
        symbols.extend([64_u64, 8].into_iter().flat_map(u64::to_le_bytes));
        let hash = hash_table(self.hash, &self.symbol);

        let aligned = |at: u64| at.next_multiple_of(8);
        let notes_at = 64 + headers * 56;
        let names_at = aligned(notes_at + notes.len() as u64);
        let symbols_at = aligned(names_at + names.len() as u64);
        let hash_at = aligned(symbols_at + symbols.len() as u64);
        let dynamic_at = aligned(hash_at + hash.len() as u64);
        let hash_tag = if self.hash == Hash::Gnu { 0x6fff_fef5 } else { 4 };
        dynamic.extend([
            (5, names_at),
            (10, names.len() as u64),
            (6, symbols_at),
            (11, 24),
            (hash_tag, hash_at),
        ]);
        dynamic.push((0, 0));
        let sections_at = dynamic_at + dynamic.len() as u64 * 16;
        let size = sections_at + 64;

        let mut file = vec![0x7f, b'E', b'L', b'F', self.class, 1, 1];
        file.resize(16, 0);
        for half in [self.kind, self.machine, 1, 0] {
            file.extend(half.to_le_bytes());
        }
        for word in [0, 64, sections_at] {
            file.extend(word.to_le_bytes());
        }
        for half in [0, 0, 64, 56, u16::try_from(headers).unwrap(), 64, 1, 0] {
            file.extend(half.to_le_bytes());
        }
        let mut header = |kind: u32, flags: u32, at: u64, length: u64, align: u64| {
            file.extend([kind, flags].into_iter().flat_map(u32::to_le_bytes));
            let memory = if kind == PT_TLS { self.tls.unwrap_or(0) } else { length };
            file.extend([at, at, at, length, memory, align].into_iter().flat_map(u64::to_le_bytes));
        };
        header(PT_LOAD, self.load, 0, size, 4096);
        header(PT_NOTE, R, notes_at, notes.len() as u64, 4);
        header(PT_DYNAMIC, R | W, dynamic_at, dynamic.len() as u64 * 16, 8);
        if let Some(stack) = self.stack {
            header(PT_GNU_STACK, stack, 0, 0, 16);
        }
        if self.tls.is_some() {
            header(PT_TLS, R, 0, 0, 8);
        }
        for (at, part) in [(notes_at, &notes), (names_at, &names), (symbols_at, &symbols), (hash_at, &hash)] {
            file.resize(usize::try_from(at).unwrap(), 0);
            file.extend(part);
        }
        file.resize(usize::try_from(dynamic_at).unwrap(), 0);
        file.extend(dynamic.iter().flat_map(|(tag, value)| [*tag, *value]).flat_map(u64::to_le_bytes));
        file.resize(usize::try_from(size).unwrap(), 0);
        file
    }
}
