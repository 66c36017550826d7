//! A text that must not appear in logs, in `check-config`, or in an error.

use serde::{Deserialize, Serialize, Serializer};

/// The name under which the settings reader recognises a [`Secret`] and keeps its value out of what it reports.
pub(crate) const TYPE_NAME: &str = "freshet::Secret";

/// What stands in a secret's place wherever it would be shown.
pub const REDACTED: &str = "[redacted]";

/// In a settings file either the value itself (`password = "…"`) or, better, the name of a file that holds it
/// (`password_file = "/run/secrets/password"`).
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "freshet::Secret")]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value. Whoever calls this must not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_itself_to_nobody() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[redacted]\"");
        assert_eq!(secret.expose(), "hunter2");
        assert!(std::any::type_name::<Secret>().ends_with("Secret"));
    }
}
