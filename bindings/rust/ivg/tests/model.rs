// SPDX-License-Identifier: Apache-2.0

//! Models, their tokens and chat templates, and files that are not what they should be.

mod common;

use common::*;
use ivg::*;
use std::fs;

#[test]
fn a_model_says_what_it_is() {
    let model = tiny();
    let info = model.info();
    assert_eq!(info.architecture.as_deref(), Some("llama"));
    assert_eq!((info.vocabulary_size, info.context_length, info.layer_count), (320, 256, 2));
    assert_eq!((info.begin_token, info.end_token, info.vocabulary_only), (Some(1), Some(2), false));
    assert_eq!(info.file_size, fs::metadata(fixture("tiny-llama.gguf")).unwrap().len());
    assert_eq!(info.path.as_deref(), Some(&*fixture("tiny-llama.gguf")));
    assert!(model.token_ends(2) && !model.token_ends(5) && !model.token_ends(i32::MIN));
    assert_eq!(version_number(), 100);
    assert_eq!(version(), env!("CARGO_PKG_VERSION"));
    assert!(!kernels_name().is_empty());
}

#[test]
fn text_becomes_tokens_and_text_again() {
    let model = tiny();
    for text in ["", "Hello, world", "naïve 🙂 \n\t", "a\0b", &"long ".repeat(5000)] {
        let tokens = model.tokenize(text).unwrap();
        assert_eq!(model.detokenize(&tokens).unwrap(), text.as_bytes());
    }
    assert_eq!(model.detokenize(&model.tokenize(b"\xff\xfe").unwrap()).unwrap(), b"\xff\xfe");
    assert_eq!(model.tokenize("<|im_start|>").unwrap(), [1]);
    let plain = model.tokenize_with("<|im_start|>", &TokenizeOptions::new().special(false)).unwrap();
    assert!(plain.len() > 1 && !plain.contains(&1));
    let skipped = model.detokenize_with(&[1, 70, 2], &DetokenizeOptions::new().skip_control(true)).unwrap();
    assert_eq!(skipped, model.detokenize(&[70]).unwrap());
    fails(model.detokenize(&[320]), ErrorKind::InvalidArgument, "320");
    fails(model.detokenize(&[-1]), ErrorKind::InvalidArgument, "-1");
}

#[test]
fn conversations_are_rendered() {
    let model = tiny();
    assert_eq!(model.chat_family().as_deref(), Some("ChatML"));
    let messages = [ChatMessage::system("Be brief."), ChatMessage::user("Hi ü\0")];
    let start = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi ü\0<|im_end|>\n";
    assert_eq!(model.render_chat(&messages).unwrap(), format!("{start}<|im_start|>assistant\n"));
    let closed = model.render_chat_with(&messages, &ChatOptions::new().generation_prompt(false));
    assert_eq!(closed.unwrap(), start);
    let long = "x".repeat(100_000);
    assert!(model.render_chat(&[ChatMessage::user(&long)]).unwrap().contains(&long));
    fails(model.render_chat(&[]), ErrorKind::InvalidArgument, "");
    fails(model.render_chat(&[ChatMessage::new("wizard", "Hi")]), ErrorKind::InvalidArgument, "wizard");
    fails(
        model.render_chat(&[ChatMessage::new("us\0er", "Hi")]),
        ErrorKind::InvalidArgument,
        "role has a NUL at byte 2",
    );
    let foreign = ChatOptions::new().template("{{ messages | length }}");
    fails(model.render_chat_with(&messages, &foreign), ErrorKind::Unsupported, "");
}

#[test]
fn a_vocabulary_has_tokens_and_no_session() {
    let model = Model::open(fixture("tiny-vocabulary-only.gguf")).unwrap();
    assert!(model.info().vocabulary_only);
    assert_eq!(model.tokenize("Hello").unwrap(), tiny().tokenize("Hello").unwrap());
    fails(model.session(), ErrorKind::Unsupported, "");
}

#[test]
fn files_that_are_not_models_are_errors() {
    let folder = Folder::new();
    fails(Model::open("no/such/model.gguf"), ErrorKind::NotFound, "no/such/model.gguf");
    fails(Model::open("a\0b"), ErrorKind::InvalidArgument, "path has a NUL at byte 1");
    fails(Model::open(""), ErrorKind::NotFound, "");
    fails(Model::open(folder.file("empty", "")), ErrorKind::CorruptFile, "empty");
    fails(Model::open(folder.file("text", "not a model at all")), ErrorKind::CorruptFile, "text");
    fails(Model::open(fixture("tiny-adapter.gguf")), ErrorKind::Mismatch, "tiny-adapter.gguf");
    assert!(Model::open(&folder.0).is_err());
    let model = tiny();
    fails(model.adapter("missing.gguf"), ErrorKind::NotFound, "missing.gguf");
    fails(model.adapter("a\0"), ErrorKind::InvalidArgument, "NUL");
    fails(model.value_head("missing.gguf"), ErrorKind::NotFound, "missing.gguf");
    let other = Model::open(fixture("tiny-qwen2.gguf")).unwrap();
    assert!(other.adapter(fixture("tiny-adapter.gguf")).is_err());
    assert!(model.adapter(fixture("tiny-llama.gguf")).is_err());
}

#[test]
fn a_corrupt_file_never_does_more_than_fail() {
    let folder = Folder::new();
    let bytes = fs::read(fixture("tiny-value-lora.gguf")).unwrap();
    let model = fs::read(fixture("tiny-vocabulary-only.gguf")).unwrap();
    for cut in [4, 8, 23, 24, 100, 1000, model.len() / 2] {
        assert!(Model::open(folder.file("cut.gguf", &model[..cut])).is_err(), "{cut} bytes");
    }
    // Every byte of the header turned around, one at a time: an error, or a file that can be used.
    let trunk = tiny();
    for place in (0..600).step_by(3) {
        let mut changed = bytes.clone();
        changed[place] ^= 0xff;
        let path = folder.file("changed.gguf", &changed);
        let opened = trunk.value_head(&path);
        if let Err(error) = &opened {
            assert!(!error.message().is_empty() && error.kind() != ErrorKind::Internal, "{place}: {error}");
        }
        let mut changed = model.clone();
        changed[place] ^= 0x81;
        if let Ok(model) = Model::open(folder.file("changed.gguf", &changed)) {
            let _ = model.tokenize("Hello, world");
        }
        if let Ok(file) = File::open(folder.0.join("changed.gguf")) {
            (0..file.metadata_count()).for_each(|index| drop(file.metadata_json(index, 4)));
        }
    }
}

#[test]
fn a_file_is_looked_into() {
    let file = File::open(fixture("tiny-llama.gguf")).unwrap();
    assert_eq!(file.metadata("general.architecture").unwrap().as_deref(), Some("\"llama\""));
    assert_eq!(file.metadata("no.such.key").unwrap(), None);
    let tokens = (0..file.metadata_count()).find(|&i| file.metadata_key(i).as_deref() == Some("tokenizer.ggml.tokens"));
    let short = file.metadata_json(tokens.unwrap(), 3).unwrap();
    let long = file.metadata_json(tokens.unwrap(), u64::MAX).unwrap();
    assert!(short.len() < 100 && long.len() > 1000, "{short}");
    assert_eq!(file.metadata_key(file.metadata_count()), None);
    fails(file.metadata_json(u64::MAX, 1), ErrorKind::InvalidArgument, "");
    fails(file.tensor(file.tensor_count()), ErrorKind::InvalidArgument, "");
    let tensor = (0..file.tensor_count()).map(|i| file.tensor(i).unwrap()).find(|t| t.name == "token_embd.weight");
    let tensor = tensor.unwrap();
    assert_eq!((tensor.kind.as_str(), tensor.shape.as_slice(), tensor.size), ("F32", &[64, 320][..], 64 * 320 * 4));
}

#[test]
fn memory_is_known_beforehand() {
    let model = tiny();
    let plain = model.memory_required(&SessionOptions::new(), &tokens(10), 10).unwrap();
    let wide = Guidance::builder().search(Search::samples(16)).build().unwrap();
    let many = model.memory_required(&SessionOptions::new(), &tokens(10).guidance(&wide), 10).unwrap();
    assert!(0 < plain && plain < many);
    let budget = Session::new(&model, &SessionOptions::new().memory_budget(1000).thread_count(1));
    let refused = budget.and_then(|mut session| session.generate("Hello", &tokens(10)));
    fails(refused, ErrorKind::OutOfMemory, "1000");
}
