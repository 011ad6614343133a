//! The nesting depth of a JSON text, checked without recursion.

use crate::limits::DEPTH_MAX;

/// Nesting over [`DEPTH_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooDeep {
    /// Offset of the bracket that opens the first level over the limit.
    pub(crate) at: usize,
    /// The deepest level in the whole text.
    pub(crate) deepest: usize,
}

/// Checks the nesting of `text`, which need not be JSON: only its brackets and strings matter.
pub(crate) fn check(text: &[u8]) -> Result<(), TooDeep> {
    // Nearly every payload has fewer brackets, in or out of strings, than the limit allows levels.
    // Counting bytes is many times faster than finding where the strings begin and end.
    if text.len() <= DEPTH_MAX || count_opening_brackets(text) <= DEPTH_MAX {
        return Ok(());
    }
    measure(text)
}

/// Counts every `[` and `{`, including those in strings.
fn count_opening_brackets(text: &[u8]) -> usize {
    // `[` and `{` differ in one bit only. The sum over 128 bytes fits a u8, which lets the compiler
    // vectorize the loop.
    const CHUNK: usize = 128;
    let in_chunk = |chunk: &[u8]| -> u8 { chunk.iter().map(|byte| u8::from(byte & 0xDF == b'[')).sum() };
    text.chunks(CHUNK).map(|chunk| usize::from(in_chunk(chunk))).sum()
}

fn measure(text: &[u8]) -> Result<(), TooDeep> {
    let mut level = 0usize;
    let mut deepest = 0usize;
    let mut first = None;
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

/// Advances from behind the opening quote of a string to behind its closing quote.
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
    fn counts_levels_and_not_brackets() {
        assert_eq!(check(nested(DEPTH_MAX).as_bytes()), Ok(()));
        assert_eq!(
            check(nested(DEPTH_MAX + 1).as_bytes()),
            Err(TooDeep { at: DEPTH_MAX, deepest: DEPTH_MAX + 1 })
        );
        assert_eq!(check("[]".repeat(10_000).as_bytes()), Ok(()), "adjacent brackets are not nested");
    }

    #[test]
    fn ignores_brackets_in_strings() {
        let text = format!(r#"["{}\"{}\\", 1]"#, "[".repeat(500), "{".repeat(500));
        assert_eq!(check(text.as_bytes()), Ok(()));
        let text = format!(r#"["\\",{}"#, "[".repeat(500));
        assert!(check(text.as_bytes()).is_err(), "the string ended before the brackets");
    }

    #[test]
    fn counts_every_opening_bracket_and_nothing_else() {
        let every_byte: Vec<u8> = (0..=255).collect();
        assert_eq!(count_opening_brackets(&every_byte), 2);
        assert_eq!(count_opening_brackets(&[b'['; 1000]), 1000, "the sum of a chunk does not overflow");
    }
}
