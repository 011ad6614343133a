//! A scanner that splits the JSON object of a payload into its members, in a single pass.
//!
//! Every request passes through it before anything else is known about the request, so the scan
//! must cost less than the method. The scanner therefore neither explains faults nor reads
//! notations that hardly any client uses. In both cases it returns `None`, and the caller falls
//! back to serde_json, which is slower. Whatever the scanner reads, serde_json reads the same way;
//! the tests compare the two.

use crate::json::Json;

/// Nesting levels inside a member that the scanner follows: one bit of a `u64` each.
const LEVELS: u32 = 64;

/// Repeats `byte` in all eight places of a word.
const fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Returns whether `byte` is white space in JSON.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Passes each member of the JSON object `text` to `each`, in order and including duplicates.
///
/// Returns `None` if `text` is not a JSON object, or if the scanner cannot read its notation. Some
/// members may have been passed before.
#[inline]
pub(crate) fn scan_members<'a>(text: &'a str, mut each: impl FnMut(&'a [u8], Span<'a>)) -> Option<()> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, has_backslash: false };
    scan.expect(b'{')?;
    let mut quote = scan.next_token()?;
    if quote == b'}' {
        return scan.expect_end();
    }

    loop {
        if quote != b'"' {
            return None;
        }
        let start = scan.at;
        let byte = scan.next_special()?;
        if byte != b'"' {
            return None;
        }
        let name = text.as_bytes().get(start..scan.at - 1)?;

        scan.expect(b':')?;
        let first = scan.next_token()?;
        let start = scan.at - 1;
        scan.has_backslash = false;
        scan.skip_value(first)?;
        each(name, Span { text, start, end: scan.at, has_backslash: scan.has_backslash });

        match scan.next_token()? {
            b',' => quote = scan.next_token()?,
            b'}' => return scan.expect_end(),
            _ => return None,
        }
    }
}

/// The place of a value in the text.
#[derive(Clone, Copy)]
pub(crate) struct Span<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    has_backslash: bool,
}

impl<'a> Span<'a> {
    pub(crate) fn json(self) -> Option<Json<'a>> {
        self.text.get(self.start..self.end).map(|text| Json::from_checked(text, self.has_backslash))
    }
}

/// A cursor in the text. A method that returns `None` leaves it at an unspecified place.
struct Scan<'a> {
    bytes: &'a [u8],
    /// Offset of the next byte.
    at: usize,
    has_backslash: bool,
}

impl Scan<'_> {
    /// Skips the rest of a value whose first byte was read.
    #[inline]
    fn skip_value(&mut self, mut first: u8) -> Option<()> {
        // The open brackets, the innermost in the lowest bit: 1 for an object.
        let mut open = 0u64;
        let mut level = 0u32;

        loop {
            match first {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    let next = self.next_token()?;
                    // In ASCII, both closing brackets are the opening one plus 2.
                    if next != first + 2 {
                        if level == LEVELS {
                            return None;
                        }
                        let is_object = first == b'{';
                        open = open << 1 | u64::from(is_object);
                        level += 1;
                        first = if is_object { self.skip_name(next)? } else { next };
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => self.skip_number(first)?,
                b't' => self.skip_literal(b"rue")?,
                b'f' => self.skip_literal(b"alse")?,
                b'n' => self.skip_literal(b"ull")?,
                _ => return None,
            }

            // A value has ended. Close the arrays and objects that end with it.
            loop {
                if level == 0 {
                    return Some(());
                }
                let is_object = open & 1 == 1;
                let next = self.next_token()?;
                if next == b',' {
                    first = self.next_token()?;
                    if is_object {
                        first = self.skip_name(first)?;
                    }
                    break;
                }
                if next != if is_object { b'}' } else { b']' } {
                    return None;
                }
                open >>= 1;
                level -= 1;
            }
        }
    }

    /// Skips the rest of a member's name whose first byte was read, and returns the first byte of
    /// its value.
    #[inline(always)]
    fn skip_name(&mut self, quote: u8) -> Option<u8> {
        if quote != b'"' {
            return None;
        }
        self.skip_string()?;
        self.expect(b':')?;
        self.next_token()
    }

    /// Skips the rest of a string whose opening quote was read. An unpaired surrogate is valid JSON
    /// (RFC 8259, section 8.2).
    #[inline(always)]
    fn skip_string(&mut self) -> Option<()> {
        loop {
            match self.next_special()? {
                b'"' => return Some(()),
                b'\\' => self.skip_escape()?,
                _ => return None,
            }
        }
    }

    /// Skips the rest of an escape whose backslash was read.
    #[inline(never)]
    fn skip_escape(&mut self) -> Option<()> {
        self.has_backslash = true;
        match self.next_byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                self.at += 4;
            }
            _ => return None,
        }
        Some(())
    }

    /// Skips ordinary characters of a string and returns the special byte after them: a quote, a
    /// backslash, or a control character, which is a fault in a string.
    #[inline(always)]
    fn next_special(&mut self) -> Option<u8> {
        while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            // A subtraction sets the highest bit of each byte that underflows. A borrow can also
            // set it in bytes above, which does not matter: only the lowest such byte is used.
            let control = word.wrapping_sub(repeat(0x20));
            let quote = (word ^ repeat(b'"')).wrapping_sub(repeat(1));
            let backslash = (word ^ repeat(b'\\')).wrapping_sub(repeat(1));
            let found = (control | quote | backslash) & !word & repeat(0x80);
            if found != 0 {
                self.at += (found.trailing_zeros() / 8) as usize;
                return self.next_byte();
            }
            self.at += 8;
        }

        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1F);
        self.at += self.bytes.get(self.at..)?.iter().position(is_special)?;
        self.next_byte()
    }

    /// Skips the rest of a number whose first byte was read. The caller checks the byte after it
    /// and never accepts a digit there, so that a leading zero is a fault.
    #[inline(never)]
    fn skip_number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next_byte()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => {
                self.skip_digits();
            }
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            (self.skip_digits() > 0).then_some(())?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            (self.skip_digits() > 0).then_some(())?;
        }
        Some(())
    }

    /// Skips digits and returns their number.
    fn skip_digits(&mut self) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// Skips the rest of a literal whose first byte was read.
    #[inline(never)]
    fn skip_literal(&mut self, rest: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(rest).then_some(())?;
        self.at += rest.len();
        Some(())
    }

    /// Returns the next byte that is not white space.
    #[inline(always)]
    fn next_token(&mut self) -> Option<u8> {
        loop {
            let byte = self.next_byte()?;
            if byte > b' ' {
                return Some(byte);
            }
            is_space(byte).then_some(())?;
        }
    }

    #[inline(always)]
    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next_token()? == wanted).then_some(())
    }

    #[inline(always)]
    fn next_byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Returns `Some` if only white space is left.
    fn expect_end(&self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        rest.iter().copied().all(is_space).then_some(())
    }
}

#[cfg(test)]
mod tests;
