//! How a table of the policy is written down.

/// The keys of one table of the policy: name, type and default of each, in one place.
macro_rules! keys {
    ($(#[$about:meta])* pub struct $table:ident { $(pub $key:ident: $kind:ty = $default:expr,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[allow(missing_docs, reason = "helper.toml(5) explains each key")]
        pub struct $table { $(pub $key: $kind,)* }

        impl Default for $table {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }
    };
}
pub(crate) use keys;
