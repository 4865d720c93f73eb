//! Text that must not be logged, compared carelessly or left behind in memory.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A password, ticket or token.
///
/// It has no `Debug` and no `Display`, so it cannot reach a log by accident; its bytes are
/// overwritten when it is dropped. Comparing two secrets takes the same time wherever they differ.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of `text`; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Named so that every place that uses it is easy to find.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` is the same text, in time that depends on the lengths alone.
    pub fn same_as(&self, other: &Secret) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        let mut difference = u8::from(a.len() != b.len());
        for (x, y) in a.iter().zip(b) {
            difference |= x ^ y;
        }
        std::hint::black_box(difference) == 0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_only_when_every_byte_and_the_length_agree() {
        let secret = Secret::new("correct horse".into());
        assert!(secret.same_as(&Secret::new("correct horse".into())));
        assert!(!secret.same_as(&Secret::new("correct horsf".into())));
        assert!(!secret.same_as(&Secret::new("correct hors".into())));
        assert!(!secret.same_as(&Secret::new(String::new())));
    }
}
