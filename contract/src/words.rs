//! The words of a name, and the ways in which programming languages join them.
//!
//! Names of methods, members and types come from their authors (`device.status.update`,
//! `deviceId`, `HTTPServer`). Code that is generated for a language writes them as its users do.

/// Returns the words of a name in lower case.
///
/// A word ends at every character that is neither a letter nor a digit, before a capital letter
/// that follows a small letter or a digit, and before the last of several capital letters if a
/// small letter follows it. A name without letters and digits has no words.
#[must_use]
pub fn split(name: &str) -> Vec<String> {
    let characters: Vec<char> = name.chars().collect();
    let mut words = Vec::new();
    let mut word = String::new();

    for (index, &character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| characters.get(index));
        let after = characters.get(index + 1);
        let is_end = !character.is_alphanumeric()
            || character.is_uppercase()
                && (before.is_some_and(|before| before.is_lowercase() || before.is_numeric())
                    || after.is_some_and(|after| after.is_lowercase()));
        if is_end && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        }
    }

    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Returns the name as `StatusUpdate`.
#[must_use]
pub fn pascal_case(name: &str) -> String {
    split(name).iter().map(|word| capitalized(word)).collect()
}

/// Returns the name as `statusUpdate`.
#[must_use]
pub fn camel_case(name: &str) -> String {
    let words = split(name);
    let capital = words.iter().skip(1).map(|word| capitalized(word));
    words.first().cloned().into_iter().chain(capital).collect()
}

/// Returns the name as `status_update`.
#[must_use]
pub fn snake_case(name: &str) -> String {
    split(name).join("_")
}

/// Returns whether a name can be the name of a type as its author wrote it, such as `HTTPServer`:
/// ASCII letters and digits that begin with a capital letter and are not all capital.
#[must_use]
pub fn is_type_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|character| character.is_ascii_alphanumeric())
        && name.chars().any(|character| character.is_ascii_lowercase())
}

/// Replaces every character but ASCII by a space, for languages or compilers that do not accept
/// every letter in an identifier.
#[must_use]
pub fn ascii(name: &str) -> String {
    name.chars().map(|character| if character.is_ascii() { character } else { ' ' }).collect()
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_words_of_a_name() {
        for (name, words) in [
            ("device.status.update", "device status update"),
            ("deviceId", "device id"),
            ("HTTPServer", "http server"),
            ("ID", "id"),
            ("sha256Sum", "sha256 sum"),
            ("Status_2", "status 2"),
            ("--a  b--", "a b"),
            ("größeÄndern", "größe ändern"),
            ("<=", ""),
            ("", ""),
        ] {
            assert_eq!(split(name).join(" "), words, "{name}");
        }
    }

    #[test]
    fn joins_words_as_languages_do() {
        assert_eq!(pascal_case("device.status_update"), "DeviceStatusUpdate");
        assert_eq!(camel_case("device.status_update"), "deviceStatusUpdate");
        assert_eq!(snake_case("deviceID"), "device_id");
        assert_eq!(camel_case("???"), "");
        assert_eq!(["HTTPServer", "OK", "status"].map(is_type_name), [true, false, false]);
        assert_eq!(snake_case(&ascii("größeB")), "gr_e_b");
    }
}
