// SPDX-License-Identifier: Apache-2.0

//! The C functions of libivg, as `ivg.h` declares them. The crate `ivg` is the safe way to use them.
//!
//! `ivg.h` is the manual: what each function returns, who owns what, and which thread may call. Structs begin as
//! `Default::default()`, which sets `struct_size` and leaves all other fields zero, the default of each.
//!
//! The build script looks for the library in the folder that the environment variable `IVG_LIB_DIR` names by an absolute
//! path, then asks `pkg-config` for `ivg`. Build scripts of crates that depend on this one find the folder in
//! `DEP_IVG_LIB_DIR`.

#![no_std]
#![allow(non_camel_case_types)]

#[rustfmt::skip]
#[allow(clippy::derivable_impls)] // the same form for every struct
mod bindings;

pub use bindings::*;
