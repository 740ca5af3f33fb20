// SPDX-License-Identifier: Apache-2.0

//! How options structs are made: every option has a setter, and none set means the library's default.

/// Declares an options struct. Each line is an option, its type, and the type that its setter takes; `with` lists
/// further fields, which have no setter of this kind and begin empty.
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$option_meta:meta])* $option:ident: $type:ty = $argument:ty,)*
        }
        with { $($field:ident: $field_type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            $(pub(crate) $option: Option<$type>,)*
            $(pub(crate) $field: $field_type,)*
        }

        impl $name {
            /// All defaults.
            pub fn new() -> Self {
                Self::default()
            }

            $(
                $(#[$option_meta])*
                #[must_use]
                pub fn $option(mut self, value: $argument) -> Self {
                    self.$option = Some(value.into());
                    self
                }
            )*
        }
    };
}

pub(crate) use options;

/// A number of which libivg takes 0 for "the default", which nobody means who writes 0.
pub(crate) fn nonzero<Number: Copy + Default + PartialEq>(
    name: &str,
    value: Option<Number>,
) -> Result<Number, crate::Error> {
    match value {
        Some(value) if value == Number::default() => Err(crate::Error::invalid(format!("{name} is 0"))),
        value => Ok(value.unwrap_or_default()),
    }
}
