// SPDX-License-Identifier: Apache-2.0

//! Where the test models are, and what several tests need.

#![allow(dead_code)] // not every test needs all of it

use ivg::{Error, ErrorKind, GenerateOptions, Model, Session, SessionOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// A file of Tests/Fixtures.
pub fn fixture(name: &str) -> PathBuf {
    root().join("Tests/Fixtures").join(name)
}

/// A random llama with 320 tokens.
pub fn tiny() -> Model {
    Model::open(fixture("tiny-llama.gguf")).unwrap()
}

/// Another model with the vocabulary of `tiny`.
pub fn untuned() -> Model {
    Model::open(fixture("tiny-llama-untuned.gguf")).unwrap()
}

/// SmolLM2-135M-Instruct: `IVG_TEST_MODEL`, or what `make model` fetches. Says so if it is missing.
pub fn real() -> Option<PathBuf> {
    let usual = root().join(".build/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    let path = env::var_os("IVG_TEST_MODEL").map_or(usual, PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is missing (make model)", path.display());
    None
}

pub fn session(model: &Model) -> Session {
    Session::new(model, &SessionOptions::new().thread_count(1)).unwrap()
}

/// A request that runs to its `count` tokens.
pub fn tokens(count: u32) -> GenerateOptions {
    GenerateOptions::new().max_tokens(count).ignore_end(true).seed(7)
}

pub fn text(session: &mut Session, prompt: &str, options: &GenerateOptions) -> String {
    session.generate(prompt, options).unwrap().text
}

#[track_caller]
pub fn fails<Out>(result: Result<Out, Error>, kind: ErrorKind, part: &str) {
    let error = result.err().expect("it should have failed");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(part), "{error}");
}

/// A folder of a test's own, which goes with it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("ivg-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
