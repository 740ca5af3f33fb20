// SPDX-License-Identifier: Apache-2.0

//! Lets the tests and examples of this crate find libivg.so where it was found to link them.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let Ok(folder) = std::env::var("DEP_IVG_LIB_DIR") else { return };
    println!("cargo:rustc-env=IVG_TEST_LIB_DIR={folder}"); // for tests that compile C
                                                           // Cargo refuses the argument for a kind of target that the package does not have: outside of libivg's repository.
    for (kind, sources) in [("tests", "tests"), ("examples", "../../../examples/rust")] {
        if std::path::Path::new(sources).exists() {
            println!("cargo:rustc-link-arg-{kind}=-Wl,-rpath,{folder}");
        }
    }
}
