// SPDX-License-Identifier: Apache-2.0

//! Lets the tests and examples of this crate find libivg.so where it was found to link them.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(folder) = std::env::var("DEP_IVG_LIB_DIR") {
        println!("cargo:rustc-link-arg-tests=-Wl,-rpath,{folder}");
        println!("cargo:rustc-link-arg-examples=-Wl,-rpath,{folder}");
    }
}
