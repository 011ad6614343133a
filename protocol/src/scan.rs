//! The one object in a payload, taken apart in a single pass over its bytes.
//!
//! Every request goes through here before anything is known of it, so that the check costs less than the method. What
//! is faulty is not explained, and what is written as next to nobody writes it is not read: both are left to
//! serde_json, which takes its time. What is read here, serde_json reads the same way; the tests hold the two against
//! each other.

use crate::json::Json;

/// Levels inside a member that are followed here: one bit of a `u64` each.
const LEVELS: u32 = 64;

/// `byte` in all eight places.
const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// What JSON knows as white space.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Gives the members of the object that `text` is to `each`, in their order, doubled ones too.
///
/// `None`: `text` is no JSON object, or this is not the way to find out. Some members may have been given by then.
#[inline]
pub(crate) fn members<'a>(text: &'a str, mut each: impl FnMut(&'a [u8], Span<'a>)) -> Option<()> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, has_backslash: false };
    scan.expect(b'{')?;
    let mut quote = scan.token()?;
    if quote == b'}' {
        return scan.ends();
    }
    loop {
        if quote != b'"' {
            return None;
        }
        let start = scan.at;
        let byte = scan.plain()?;
        if byte != b'"' {
            return None;
        }
        let name = text.as_bytes().get(start..scan.at - 1)?;
        scan.expect(b':')?;
        let first = scan.token()?;
        let start = scan.at - 1;
        scan.has_backslash = false;
        scan.value(first)?;
        each(name, Span { text, start, end: scan.at, has_backslash: scan.has_backslash });
        match scan.token()? {
            b',' => quote = scan.token()?,
            b'}' => return scan.ends(),
            _ => return None,
        }
    }
}

/// Where a value lies in the text.
#[derive(Clone, Copy)]
pub(crate) struct Span<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    has_backslash: bool,
}

impl<'a> Span<'a> {
    pub(crate) fn json(self) -> Option<Json<'a>> {
        self.text.get(self.start..self.end).map(|text| Json::checked(text, self.has_backslash))
    }
}

/// A place in the text, behind what was read. What gives `None` leaves it anywhere.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    has_backslash: bool,
}

impl Scan<'_> {
    /// The rest of a value whose first byte was read.
    #[inline]
    fn value(&mut self, mut first: u8) -> Option<()> {
        // The brackets that are open, the innermost in the lowest bit: 1 for an object.
        let (mut open, mut level) = (0u64, 0u32);
        loop {
            match first {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    let next = self.token()?;
                    // The closing bracket of either lies two behind the opening one.
                    if next != first + 2 {
                        if level == LEVELS {
                            return None;
                        }
                        let is_object = first == b'{';
                        open = open << 1 | u64::from(is_object);
                        level += 1;
                        first = if is_object { self.member(next)? } else { next };
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => self.number(first)?,
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                _ => return None,
            }
            // A value has ended, and with it perhaps what it is in.
            loop {
                if level == 0 {
                    return Some(());
                }
                let is_object = open & 1 == 1;
                let next = self.token()?;
                if next == b',' {
                    first = self.token()?;
                    if is_object {
                        first = self.member(first)?;
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

    /// The rest of a member's name whose first byte was read, and the first byte of its value.
    #[inline(always)]
    fn member(&mut self, quote: u8) -> Option<u8> {
        if quote != b'"' {
            return None;
        }
        self.string()?;
        self.expect(b':')?;
        self.token()
    }

    /// The rest of a string whose opening quote was read. Half of a surrogate pair is JSON (RFC 8259, section 8.2).
    #[inline(always)]
    fn string(&mut self) -> Option<()> {
        loop {
            match self.plain()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// The rest of an escape whose backslash was read.
    #[inline(never)]
    fn escape(&mut self) -> Option<()> {
        self.has_backslash = true;
        match self.byte()? {
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

    /// Reads what means nothing in a string, and the byte behind it that means something: a quote, a backslash, or a
    /// control character, which is a fault there.
    #[inline(always)]
    fn plain(&mut self) -> Option<u8> {
        while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            // The highest bit of a byte is set where a subtraction went below nought; above such a byte also by its
            // carry, which the search for the first one never comes to.
            let control = word.wrapping_sub(eight(0x20));
            let quote = (word ^ eight(b'"')).wrapping_sub(eight(1));
            let backslash = (word ^ eight(b'\\')).wrapping_sub(eight(1));
            let found = (control | quote | backslash) & !word & eight(0x80);
            if found != 0 {
                self.at += (found.trailing_zeros() / 8) as usize;
                return self.byte();
            }
            self.at += 8;
        }
        let means_something = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1F);
        self.at += self.bytes.get(self.at..)?.iter().position(means_something)?;
        self.byte()
    }

    /// The rest of a number whose first byte was read. What may follow is for the caller to say: no digit is among it.
    #[inline(never)]
    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.byte()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => {
                self.digits();
            }
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            (self.digits() > 0).then_some(())?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            (self.digits() > 0).then_some(())?;
        }
        Some(())
    }

    /// Digits; gives how many.
    fn digits(&mut self) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    #[inline(never)]
    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(word).then_some(())?;
        self.at += word.len();
        Some(())
    }

    /// The next byte that is no white space.
    #[inline(always)]
    fn token(&mut self) -> Option<u8> {
        loop {
            let byte = self.byte()?;
            if byte > b' ' {
                return Some(byte);
            }
            is_space(byte).then_some(())?;
        }
    }

    #[inline(always)]
    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.token()? == wanted).then_some(())
    }

    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Nothing but white space is left.
    fn ends(&self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        rest.iter().copied().all(is_space).then_some(())
    }
}

#[cfg(test)]
mod tests;
