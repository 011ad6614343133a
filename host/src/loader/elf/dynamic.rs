//! The dynamic table of an ELF file: flags, needed libraries, and the symbol of the plugin table,
//! which is looked up in the same way as the dynamic loader does it.

use std::ffi::CStr;

use jackfield_plugin_api::abi::{C_SYMBOL, root_symbol};
use object::LittleEndian as Le;
use object::elf::{
    DF_1_PIE, DF_STATIC_TLS, DF_TEXTREL, DT_AUXILIARY, DT_FILTER, DT_FLAGS, DT_FLAGS_1, DT_GNU_HASH, DT_HASH,
    DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, DT_SYMTAB, DT_TEXTREL, Dyn64, DynamicTag,
    SHN_UNDEF, STB_GLOBAL, STB_GNU_UNIQUE, STB_WEAK, STV_DEFAULT, STV_PROTECTED, Sym64,
};
use object::read::ReadRef;

use super::super::load_error::{LoadError, LoadErrorReason};
use super::bounds::{malformed, truncated};
use super::segments::Segments;

/// The largest dynamic table that is read, in bytes (4,096 entries). Libraries have about thirty
/// entries.
const TABLE_MAX: u64 = 64 << 10;
/// The longest string that is read, in bytes.
const STRING_MAX: u64 = 4096;
/// The most symbols of one hash bucket that are compared. Linkers aim at fewer than ten.
const CHAIN_MAX: u32 = 4096;

/// The parts of the dynamic table that the host uses.
pub(super) struct DynamicSection {
    /// The libraries that the dynamic loader will look for.
    pub(super) needed: Vec<String>,

    /// Whether the dynamic loader would find the symbol of the root module.
    pub(super) exports_root: bool,

    /// Whether it would find that of a plugin in C.
    pub(super) exports_c_table: bool,

    /// Whether code reaches thread-local variables at a fixed distance from the thread pointer.
    pub(super) has_static_tls: bool,
}

struct Table<'a, 's, R> {
    data: R,
    segments: &'s Segments<'a>,
    entries: &'a [Dyn64<Le>],
}

/// Checks the dynamic table.
pub(super) fn read<'a, R: ReadRef<'a>>(
    data: R,
    segments: &Segments<'a>,
) -> Result<DynamicSection, LoadError> {
    let (offset, length) = segments.dynamic()?;
    if length > TABLE_MAX {
        return Err(malformed(format_args!("the dynamic table is larger than {} KiB", TABLE_MAX >> 10)));
    }

    let count = usize::try_from(length).unwrap_or(0) / size_of::<Dyn64<Le>>();
    let entries = data.read_slice_at(offset, count).map_err(|()| truncated("the dynamic table lies"))?;
    let table = Table { data, segments, entries };
    let flags = table.check_flags()?;
    Ok(DynamicSection {
        needed: table.needed()?,
        exports_root: table.exports(root_symbol())?,
        exports_c_table: table.exports(C_SYMBOL)?,
        has_static_tls: flags & DF_STATIC_TLS.0 != 0,
    })
}

impl<'a, R: ReadRef<'a>> Table<'a, '_, R> {
    /// Returns the values of one tag, up to the entry that ends the table.
    fn values(&self, tag: DynamicTag) -> impl Iterator<Item = u64> {
        let entries = self.entries.iter().take_while(|entry| entry.d_tag.get(Le) != DT_NULL);
        entries.filter(move |entry| entry.d_tag.get(Le) == tag).map(|entry| entry.d_val.get(Le))
    }

    /// Returns the value of one tag.
    fn value(&self, tag: DynamicTag) -> Option<u64> {
        // glibc uses the last entry of a tag that occurs twice.
        self.values(tag).last()
    }

    /// Refuses executables, relocations in code, and library search paths. Returns `DT_FLAGS`.
    fn check_flags(&self) -> Result<u64, LoadError> {
        if self.value(DT_FLAGS_1).is_some_and(|flags| flags & DF_1_PIE.0 != 0) {
            return Err(LoadError::new(
                LoadErrorReason::ElfType,
                "the file is an executable; set crate-type = [\"cdylib\"]",
            ));
        }

        let flags = self.value(DT_FLAGS).unwrap_or(0);
        if self.value(DT_TEXTREL).is_some() || flags & DF_TEXTREL.0 != 0 {
            let detail = "the dynamic loader would have to modify the code; build all of it with -fPIC";
            return Err(LoadError::new(LoadErrorReason::TextRelocations, detail));
        }

        for tag in [DT_RPATH, DT_RUNPATH] {
            if let Some(path) = self.value(tag) {
                let detail = format!(
                    "the file sets a search path for libraries ({:?}); link it without -rpath",
                    self.string(path)?
                );
                return Err(LoadError::new(LoadErrorReason::RunPath, detail));
            }
        }
        Ok(flags)
    }

    /// Returns the needed libraries. Each of them runs its own constructors in the host.
    fn needed(&self) -> Result<Vec<String>, LoadError> {
        let mut needed = Vec::new();
        for tag in [DT_NEEDED, DT_AUXILIARY, DT_FILTER] {
            for name in self.values(tag) {
                let name = self.string(name)?;
                // The loader looks for a name without a slash in the directories of the system. It
                // first replaces `$ORIGIN` and similar variables by paths.
                if name.is_empty() || name.contains(['/', '$']) {
                    let detail =
                        format!("the file requires the library {name:?} by its path; link it by its name");
                    return Err(LoadError::new(LoadErrorReason::ForeignLibrary, detail));
                }
                needed.push(name);
            }
        }
        Ok(needed)
    }

    /// Returns the string at `offset` of the string table.
    fn string(&self, offset: u64) -> Result<String, LoadError> {
        let text =
            self.string_bytes(offset).ok_or_else(|| malformed("a name lies outside of the string table"))?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn string_bytes(&self, offset: u64) -> Option<&'a [u8]> {
        let table = self.value(DT_STRTAB)?;
        let length = self.value(DT_STRSZ)?;
        let start = self.segments.offset_of(table, length)?;
        let end = length.min(offset.checked_add(STRING_MAX)?);
        (offset < end).then(|| self.data.read_bytes_at_until(start + offset..start + end, 0).ok()).flatten()
    }

    /// Returns the 32-bit number at an address that the file gives.
    fn number(&self, address: Option<u64>) -> Option<u32> {
        let offset = self.segments.offset_of(address?, 4)?;
        self.data.read_bytes_at(offset, 4).ok()?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Returns whether `dlsym` would find the symbol `name` in this file itself.
    fn exports(&self, name: &CStr) -> Result<bool, LoadError> {
        let name = name.to_bytes();
        let found = match (self.value(DT_GNU_HASH), self.value(DT_HASH)) {
            (Some(table), _) => self.find_by_gnu_hash(table, name),
            (None, Some(table)) => self.find_by_sysv_hash(table, name),
            (None, None) => Some(false),
        };
        found.ok_or_else(|| malformed("the symbol hash table refers beyond the end of the file"))
    }

    /// Looks a symbol up in a GNU hash table; `None` if the table leads out of the file or
    /// has an endless chain.
    ///
    /// The table contains the number of buckets, the first symbol, the number of 64-bit words of
    /// the Bloom filter, and its shift; then the filter, the buckets, and the chains. The entries
    /// of a chain are hashes, the last of them with its lowest bit set.
    fn find_by_gnu_hash(&self, table: u64, name: &[u8]) -> Option<bool> {
        let hash =
            name.iter().fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)));
        let header = |word: u64| self.number(table.checked_add(word * 4));
        let bucket_count = header(0)?;
        let first_symbol = header(1)?;
        let filter_words = header(2)?;
        if bucket_count == 0 {
            return Some(false);
        }

        let bucket_table = table.checked_add(16 + u64::from(filter_words) * 8)?;
        let mut symbol = self.number(bucket_table.checked_add(u64::from(hash % bucket_count) * 4))?;
        if symbol == 0 {
            return Some(false);
        }

        let chain_table = bucket_table.checked_add(u64::from(bucket_count) * 4)?;
        for _ in 0..CHAIN_MAX {
            let link = u64::from(symbol.checked_sub(first_symbol)?);
            let entry = self.number(chain_table.checked_add(link * 4))?;
            if entry | 1 == hash | 1 && self.is_exported(symbol, name)? {
                return Some(true);
            }
            if entry & 1 == 1 {
                return Some(false);
            }
            symbol = symbol.checked_add(1)?;
        }
        None
    }

    /// Looks a symbol up in a System V hash table; `None` if the table leads out of the file
    /// or has an endless chain.
    ///
    /// The table contains the number of buckets and of chains, the buckets, and the chains. Each
    /// entry of a chain is the next symbol.
    fn find_by_sysv_hash(&self, table: u64, name: &[u8]) -> Option<bool> {
        let hash = name.iter().fold(0_u32, |hash, byte| {
            let hash = (hash << 4).wrapping_add(u32::from(*byte));
            let high = hash & 0xf000_0000;
            (hash ^ (high >> 24)) & !high
        });

        let bucket_count = self.number(Some(table))?;
        if bucket_count == 0 {
            return Some(false);
        }
        let entry = |index: u64| self.number(table.checked_add(8 + index * 4));
        let mut symbol = entry(u64::from(hash % bucket_count))?;

        for _ in 0..CHAIN_MAX {
            if symbol == 0 {
                return Some(false);
            }
            if self.is_exported(symbol, name)? {
                return Some(true);
            }
            symbol = entry(u64::from(bucket_count) + u64::from(symbol))?;
        }
        None
    }

    /// Returns whether this symbol has the name `wanted`, is defined in this file, and exported.
    fn is_exported(&self, number: u32, wanted: &[u8]) -> Option<bool> {
        let size = size_of::<Sym64<Le>>() as u64;
        let address = self.value(DT_SYMTAB)?.checked_add(u64::from(number) * size)?;
        let symbol = self.data.read_at::<Sym64<Le>>(self.segments.offset_of(address, size)?).ok()?;
        let name = self.string_bytes(u64::from(symbol.st_name.get(Le)))?;

        Some(
            name == wanted
                && symbol.st_shndx.get(Le) != SHN_UNDEF
                && [STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE].contains(&symbol.st_bind())
                && [STV_DEFAULT, STV_PROTECTED].contains(&symbol.st_visibility())
                && self.segments.maps(symbol.st_value.get(Le)),
        )
    }
}
