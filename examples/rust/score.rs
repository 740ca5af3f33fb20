// SPDX-License-Identifier: Apache-2.0

//! Introduces usage of scoring from Rust: values texts as answers to a prompt, by what one model finds more probable under
//! one prompt than under another.
//!
//!     cd bindings/rust && cargo run --example score -- model.gguf "The film:" "It was wonderful." "It was dreadful."

use ivg::{Guidance, Implicit, Model, Role};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::{stdout, Write};
use std::process::ExitCode;

fn run(path: &OsStr, prompt: &OsStr, texts: &[OsString]) -> Result<(), Box<dyn Error>> {
    let mut session = Model::open(path)?.session()?;
    let value = Implicit::new()
        .role(Role::Score)
        .tuned_template("I loved it. {prompt}")
        .untuned_template("{prompt}");
    let guidance = Guidance::builder().implicit(value).build()?;
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_encoded_bytes()).collect();
    let mut output = stdout();
    for (score, text) in session
        .score(&guidance, prompt.as_encoded_bytes(), &texts)?
        .iter()
        .zip(texts)
    {
        write!(output, "{score:8.3}  ")?;
        output.write_all(text)?;
        writeln!(output)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let [_, path, prompt, texts @ ..] = arguments.as_slice() else {
        eprintln!("usage: score MODEL PROMPT TEXT...");
        return ExitCode::from(2);
    };
    if texts.is_empty() {
        eprintln!("usage: score MODEL PROMPT TEXT...");
        return ExitCode::from(2);
    }
    if let Err(error) = run(path, prompt, texts) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
