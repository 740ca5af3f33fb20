// SPDX-License-Identifier: Apache-2.0

//! The declarations agree with the C compiler's reading of ivg.h, and the library with both.

use ivg_sys::*;
use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

include!("generated/layout.rs");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// A C program that prints what `expected` returns.
fn program() -> String {
    let mut text = String::from("#include <ivg.h>\n#include <stdio.h>\nint main(void) {\n");
    for (name, _, fields) in STRUCTS {
        writeln!(text, "printf(\"{name} %zu\\n\", sizeof({name}));").unwrap();
        for (field, _) in *fields {
            writeln!(text, "printf(\"{name}.{field} %zu\\n\", offsetof({name}, {field}));").unwrap();
        }
    }
    for (name, _) in CONSTANTS {
        writeln!(text, "printf(\"{name} %.6f\\n\", (double){name});").unwrap();
    }
    text + "return 0;\n}\n"
}

fn expected() -> String {
    let mut text = String::new();
    for (name, size, fields) in STRUCTS {
        writeln!(text, "{name} {size}").unwrap();
        for (field, offset) in *fields {
            writeln!(text, "{name}.{field} {offset}").unwrap();
        }
    }
    for (name, value) in CONSTANTS {
        writeln!(text, "{name} {value:.6}").unwrap();
    }
    text
}

#[test]
fn structs_and_constants_are_those_of_the_c_compiler() {
    let folder = env::temp_dir().join(format!("ivg-layout-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (source, binary) = (folder.join("layout.c"), folder.join("layout"));
    fs::write(&source, program()).unwrap();
    let compiled =
        Command::new("cc").arg("-I").arg(root().join("include")).arg(&source).arg("-o").arg(&binary).status();
    let Ok(status) = compiled else {
        eprintln!("skipped: there is no C compiler (cc)");
        return;
    };
    assert!(status.success());
    let printed = Command::new(&binary).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(STRUCTS.len() > 20 && CONSTANTS.len() > 60);
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), expected());
}

#[test]
fn the_library_has_every_function() {
    let header = fs::read_to_string(root().join("include/ivg.h")).unwrap();
    let found = functions();
    assert!(found.iter().all(|function| !function.is_null()));
    assert_eq!(found.len(), header.matches("\nIVG_API ").count());
}

#[test]
fn the_version_is_that_of_the_header_the_library_and_the_crate() {
    let header = fs::read_to_string(root().join("include/ivg.h")).unwrap();
    let part = |name: &str| {
        let line = header.lines().find(|line| line.starts_with(&format!("#define IVG_VERSION_{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(format!("{}.{}.{}", part("MAJOR"), part("MINOR"), part("PATCH")), env!("CARGO_PKG_VERSION"));
    // SAFETY: it takes nothing and may be called at any time.
    assert_eq!(unsafe { ivg_version_number() }, IVG_VERSION_NUMBER);
}

#[test]
fn defaults_are_those_of_the_library() {
    let mut options = ivg_generate_options { max_tokens: 7, ..Default::default() };
    // SAFETY: the struct is as large as the size says.
    unsafe { ivg_generate_options_init(&mut options, size_of::<ivg_generate_options>() as u32) };
    assert_eq!(format!("{options:?}"), format!("{:?}", ivg_generate_options::default()));
}
