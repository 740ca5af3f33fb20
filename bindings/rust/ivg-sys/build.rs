// SPDX-License-Identifier: Apache-2.0

//! Finds libivg.so: in the folder that IVG_LIB_DIR names by an absolute path, or else where pkg-config says.

use std::path::{Path, PathBuf};
use std::process::{exit, Command};
use std::{env, fs};

/// The names by which the linker and the program look for the library.
const NAMES: [&str; 2] = ["libivg.so", "libivg.so.0"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["IVG_LIB_DIR", "PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "DOCS_RS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if env::var_os("DOCS_RS").is_some() {
        return; // documentation needs no library
    }
    match find() {
        Ok(folder) => link(&folder),
        Err(reason) => {
            eprintln!("ivg-sys: {reason}");
            eprintln!(
                "  set IVG_LIB_DIR to the folder that holds libivg.so (after `make lib`: \"$PWD/.build/release\"),"
            );
            eprintln!("  or install libivg and have PKG_CONFIG_PATH name the folder of its ivg.pc.");
            exit(1);
        }
    }
}

/// The folder of libivg.so, or why there is none.
fn find() -> Result<PathBuf, String> {
    if let Some(given) = env::var_os("IVG_LIB_DIR").filter(|folder| !folder.is_empty()) {
        if !Path::new(&given).is_absolute() {
            return Err(format!("IVG_LIB_DIR is {given:?}: it must be absolute: build scripts run in another folder"));
        }
        let folder = fs::canonicalize(&given).map_err(|error| format!("IVG_LIB_DIR is {given:?}: {error}"))?;
        return holding(folder).map_err(|folder| format!("there is no libivg.so in {folder:?} (IVG_LIB_DIR)"));
    }
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let asked = Command::new(program).args(["--variable=libdir", "ivg"]).output();
    let output = asked.map_err(|error| format!("IVG_LIB_DIR is not set, and pkg-config did not start: {error}"))?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || folder.is_empty() {
        return Err("IVG_LIB_DIR is not set, and pkg-config does not know ivg.".to_owned());
    }
    holding(PathBuf::from(folder)).map_err(|folder| format!("there is no libivg.so in {folder:?} (pkg-config)"))
}

fn holding(folder: PathBuf) -> Result<PathBuf, PathBuf> {
    if NAMES.iter().any(|name| folder.join(name).exists()) {
        Ok(folder)
    } else {
        Err(folder)
    }
}

fn link(folder: &Path) {
    let library = NAMES.iter().map(|name| folder.join(name)).find(|path| path.exists());
    // Cargo lets programs that it runs (`cargo run`, `cargo test`, documentation tests) find libraries in folders of
    // its own only: there the library gets a link under both names. Programs in use find an installed library.
    if let (Some(library), Some(own)) = (library, env::var_os("OUT_DIR").map(PathBuf::from)) {
        println!("cargo:rerun-if-changed={}", library.display());
        for name in NAMES {
            let _ = fs::remove_file(own.join(name)); // of an earlier run
            #[cfg(unix)]
            let _ = std::os::unix::fs::symlink(&library, own.join(name)); // without it, LD_LIBRARY_PATH is needed
        }
        println!("cargo:rustc-link-search=native={}", own.display());
    }
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=dylib=ivg");
    println!("cargo:lib_dir={}", folder.display());
}
