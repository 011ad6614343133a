//! Converts byte offsets of a text to lines and columns.

use std::ops::Range;

/// A place in a configuration file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line, from 1; 0 for a value that does not come from a file.
    pub line: u32,

    /// The column, from 1, in characters (not bytes); 0 for a value that does not come from a file.
    pub column: u32,
}

/// Characters are counted up to every offset that is a multiple of this, so that finding a place at
/// the end of a long line costs no more than at its start.
const STRIDE: usize = 256;

/// The places of one text.
pub(super) struct Positions<'t> {
    text: &'t str,

    /// The offset of the first byte of each line.
    lines: Vec<usize>,

    /// The number of characters that begin before offset `n * STRIDE`.
    characters: Vec<usize>,
}

impl<'t> Positions<'t> {
    pub(super) fn new(text: &'t str) -> Positions<'t> {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(offset, _)| offset + 1)).collect();
        let characters = std::iter::once(0)
            .chain(text.as_bytes().chunks(STRIDE).scan(0, |total, chunk| {
                *total += count_characters(chunk);
                Some(*total)
            }))
            .collect();
        Positions { text, lines, characters }
    }

    /// Returns the place of a byte offset. An offset past the end of the text has the place after
    /// its last character.
    pub(super) fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.line_index(offset);
        let column = self.characters_before(offset) - self.characters_before(self.lines[line]);
        Place { line: to_u32(line + 1), column: to_u32(column + 1) }
    }

    /// Returns the offsets of the line that contains an offset, without its newline.
    pub(super) fn line_of(&self, offset: usize) -> Range<usize> {
        let line = self.line_index(offset.min(self.text.len()));
        let end = self.lines.get(line + 1).map_or(self.text.len(), |next| next - 1);
        self.lines[line]..end
    }

    fn line_index(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset) - 1
    }

    fn characters_before(&self, offset: usize) -> usize {
        let stride = offset / STRIDE;
        self.characters[stride] + count_characters(&self.text.as_bytes()[stride * STRIDE..offset])
    }
}

/// Returns the number of UTF-8 characters that begin in these bytes: all bytes except the
/// continuations `10xx_xxxx`.
fn count_characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Place, Positions};

    #[test]
    fn agrees_with_counting_from_the_start() {
        let line = "aé€😀 ".repeat(100);
        let text = format!("one\n\n{line}\r\n{line}{line}\nlast");
        let positions = Positions::new(&text);
        for offset in (0..=text.len()).filter(|offset| text.is_char_boundary(*offset)) {
            let before = &text[..offset];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().expect("one line at least").chars().count() + 1;
            let place = positions.place(offset);
            assert_eq!((place.line as usize, place.column as usize), (line, column), "offset {offset}");
        }
    }

    #[test]
    fn places_an_offset_past_the_end_at_the_end() {
        assert_eq!(Positions::new("").place(9), Place { line: 1, column: 1 });
        assert_eq!(Positions::new("a\nbc").place(9), Place { line: 2, column: 3 });
        assert_eq!(Positions::new("a\n").place(2), Place { line: 2, column: 1 });
    }
}
