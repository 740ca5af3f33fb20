// SPDX-License-Identifier: Apache-2.0

//! Introduces usage of chat templates from Rust: a conversation whose messages are lines of the input.
//!
//!     cd bindings/rust && cargo run --example chat -- model.gguf

use ivg::{ChatMessage, GenerateOptions, Model};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::{stdin, stdout, Write};
use std::process::ExitCode;

fn run(path: &OsStr) -> Result<(), Box<dyn Error>> {
    let model = Model::open(path)?;
    let mut session = model.session()?;
    let options = GenerateOptions::new().temperature(0.0).max_tokens(60);
    let mut conversation = vec![ChatMessage::system("You are a helpful assistant.")];
    let mut output = stdout();
    for line in stdin().lines() {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        writeln!(output, "> {line}")?;
        conversation.push(ChatMessage::user(line));

        // What the session computed for the conversation so far is not computed again.
        let mut answer = String::new();
        for step in session.stream(model.render_chat(&conversation)?, &options)? {
            let text = step?.text;
            write!(output, "{text}")?;
            output.flush()?;
            answer += &text;
        }
        writeln!(output)?;
        conversation.push(ChatMessage::assistant(answer));
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let [_, path] = arguments.as_slice() else {
        eprintln!("usage: chat MODEL < messages");
        return ExitCode::from(2);
    };
    if let Err(error) = run(path) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
