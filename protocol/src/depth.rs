//! How deep the brackets of a JSON text are nested, without recursion.

use crate::limits::DEPTH_MAX;

/// Nesting over [`DEPTH_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooDeep {
    /// Offset of the bracket that opens the first level over the limit.
    pub(crate) at: usize,
    /// The deepest level anywhere in the text.
    pub(crate) deepest: usize,
}

/// Checks the nesting of `text`. What is not JSON is measured by its brackets all the same.
pub(crate) fn check(text: &[u8]) -> Result<(), TooDeep> {
    // Nearly every payload has fewer brackets than levels are allowed, in or out of strings, and so needs no look
    // at where its strings begin and end. Counting bytes is many times faster than that look.
    if text.len() <= DEPTH_MAX || opening_brackets(text) <= DEPTH_MAX {
        return Ok(());
    }
    scan(text)
}

/// How many `[` and `{` there are, in strings too.
fn opening_brackets(text: &[u8]) -> usize {
    // `[` and `{` differ in one bit only. Sums of 128 bytes fit a u8, which lets the compiler count with vectors.
    const CHUNK: usize = 128;
    let in_chunk = |chunk: &[u8]| -> u8 { chunk.iter().map(|byte| u8::from(byte & 0xDF == b'[')).sum() };
    text.chunks(CHUNK).map(|chunk| usize::from(in_chunk(chunk))).sum()
}

fn scan(text: &[u8]) -> Result<(), TooDeep> {
    let (mut level, mut deepest, mut first) = (0usize, 0usize, None);
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => {
                level += 1;
                if level > DEPTH_MAX {
                    first = first.or(Some(at));
                    deepest = deepest.max(level);
                }
            }
            b']' | b'}' => level = level.saturating_sub(1),
            _ => {}
        }
    }
    first.map_or(Ok(()), |at| Err(TooDeep { at, deepest }))
}

/// Goes from behind a string's opening quote to behind its closing one.
fn skip_string<'a>(bytes: &mut impl Iterator<Item = (usize, &'a u8)>) {
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[{".repeat(levels).split_at(levels).0, "}]".repeat(levels).split_at(levels).0)
    }

    #[test]
    fn counts_levels_not_brackets() {
        assert_eq!(check(nested(DEPTH_MAX).as_bytes()), Ok(()));
        assert_eq!(
            check(nested(DEPTH_MAX + 1).as_bytes()),
            Err(TooDeep { at: DEPTH_MAX, deepest: DEPTH_MAX + 1 })
        );
        assert_eq!(check("[]".repeat(10_000).as_bytes()), Ok(()), "side by side is not deep");
    }

    #[test]
    fn brackets_in_strings_are_text() {
        let text = format!(r#"["{}\"{}\\", 1]"#, "[".repeat(500), "{".repeat(500));
        assert_eq!(check(text.as_bytes()), Ok(()));
        let text = format!(r#"["\\",{}"#, "[".repeat(500));
        assert!(check(text.as_bytes()).is_err(), "the string ended before the brackets");
    }

    #[test]
    fn every_opening_bracket_is_counted_and_nothing_else() {
        let every_byte: Vec<u8> = (0..=255).collect();
        assert_eq!(opening_brackets(&every_byte), 2);
        assert_eq!(opening_brackets(&[b'['; 1000]), 1000, "a chunk's sum does not overflow");
    }
}
