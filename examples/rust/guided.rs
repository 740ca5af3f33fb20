// SPDX-License-Identifier: Apache-2.0

//! Introduces usage of guidance from Rust: an implicit value from one model under two prompts steers every token, and
//! ranks the rows of a chunk-level beam search (W 2, K 2, L 10).
//!
//!     cd bindings/rust && cargo run --example guided -- model.gguf "The film was"

use ivg::{GenerateOptions, Guidance, Implicit, Model, Role, Search};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::{stdout, Write};
use std::process::ExitCode;

fn run(path: &OsStr, prompt: &OsStr) -> Result<(), Box<dyn Error>> {
    let mut session = Model::open(path)?.session()?;
    // Models that are not named are the session's own. A trained pair would be two files here.
    let value = Implicit::new()
        .role(Role::Both)
        .tuned_template("A review by someone who loved it: {prompt}")
        .untuned_template("A review: {prompt}");
    let guidance = Guidance::builder()
        .implicit(value)
        .search(Search::chunks(2, 2, 10))
        .build()?;
    let options = GenerateOptions::new()
        .guidance(&guidance)
        .max_tokens(40)
        .seed(1);

    let mut output = stdout();
    for step in session.stream(prompt.as_encoded_bytes(), &options)? {
        write!(output, "{}", step?.text)?;
        output.flush()?;
    }
    writeln!(output)?;
    // Rows that were kept, best first, with their scores.
    for (index, row) in session.completion()?.candidates.iter().enumerate() {
        writeln!(
            output,
            "{index}: score {:.3}, {} tokens",
            row.score,
            row.tokens.len()
        )?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let [_, path, prompt] = arguments.as_slice() else {
        eprintln!("usage: guided MODEL PROMPT");
        return ExitCode::from(2);
    };
    if let Err(error) = run(path, prompt) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
