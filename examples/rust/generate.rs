// SPDX-License-Identifier: Apache-2.0

//! Introduces usage of libivg from Rust: opens a model, streams a continuation of a prompt, and reports every error.
//!
//!     cd bindings/rust && cargo run --example generate -- model.gguf "Once upon a time"

use ivg::{GenerateOptions, Model};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::{stdout, Write};
use std::process::ExitCode;

fn run(path: &OsStr, prompt: &OsStr) -> Result<(), Box<dyn Error>> {
    let prompt = prompt.as_encoded_bytes();
    let mut session = Model::open(path)?.session()?;
    let steps = session.stream(prompt, &GenerateOptions::new().max_tokens(64).seed(1))?;
    let mut output = stdout();
    output.write_all(prompt)?;
    for step in steps {
        write!(output, "{}", step?.text)?;
        output.flush()?;
    }
    writeln!(output)?;
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let [_, path, prompt] = arguments.as_slice() else {
        eprintln!("usage: generate MODEL PROMPT");
        return ExitCode::from(2);
    };
    if let Err(error) = run(path, prompt) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
