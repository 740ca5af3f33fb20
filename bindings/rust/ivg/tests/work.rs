// SPDX-License-Identifier: Apache-2.0

//! Sequences, training and quantising.

mod common;

use common::*;
use ivg::*;
use std::fs;

#[test]
fn sequences_fork_and_truncate() {
    let model = tiny();
    let mut session = session(&model);
    let ids = model.tokenize("Once upon a time").unwrap();
    let mut sequence = session.sequence(None).unwrap();
    assert_eq!(sequence.len().unwrap(), 0);
    fails(sequence.logits(), ErrorKind::InvalidArgument, "");
    sequence.evaluate(&ids).unwrap();
    let logits = sequence.logits().unwrap().to_vec();
    assert_eq!(logits.len(), 320);

    let mut fork = sequence.fork().unwrap();
    fork.evaluate(&[70]).unwrap();
    assert_eq!((sequence.len().unwrap(), fork.len().unwrap()), (ids.len(), ids.len() + 1));
    assert_ne!(fork.logits().unwrap(), logits);
    fork.truncate(ids.len() - 1).unwrap();
    fails(fork.logits(), ErrorKind::InvalidArgument, "");
    fork.evaluate(&ids[ids.len() - 1..]).unwrap();
    assert_eq!(fork.logits().unwrap(), logits);

    let adapter = model.adapter(fixture("tiny-adapter.gguf")).unwrap();
    let mut adapted = session.sequence(Some(&adapter)).unwrap();
    adapted.evaluate(&ids).unwrap();
    assert_ne!(adapted.logits().unwrap(), logits);

    fails(sequence.evaluate(&[999]), ErrorKind::InvalidArgument, "999");
    fails(sequence.truncate(usize::MAX), ErrorKind::InvalidArgument, "");
    fails(sequence.evaluate(&[5; 10_000]), ErrorKind::ContextFull, "");
    assert_eq!(sequence.len().unwrap(), ids.len());
    let others = untuned();
    fails(others.session().unwrap().sequence(Some(&adapter)), ErrorKind::Mismatch, "");
}

#[test]
fn a_model_is_quantised() {
    let folder = Folder::new();
    let target = folder.0.join("small.gguf");
    let options = QuantizeOptions::new().thread_count(1);
    let quantize = || Quantizer::new(fixture("tiny-llama.gguf"), &target, "Q8_0", &options);
    let reports: Vec<_> = quantize().unwrap().map(Result::unwrap).collect();
    let last = reports.last().unwrap();
    assert_eq!((last.done, last.ends_tensor), (last.total, true));
    assert!(last.size_out < last.size_in && reports.iter().any(|report| report.error > 0.0));
    assert_eq!(Model::open(&target).unwrap().info().layer_count, 2);

    // A cancelled piece is done again; a quantizer that is dropped leaves what was there.
    let bytes = fs::read(&target).unwrap();
    let mut quantizer = quantize().unwrap();
    quantizer.cancel_handle().cancel();
    fails(quantizer.next().unwrap(), ErrorKind::Cancelled, "");
    quantizer.next().unwrap().unwrap();
    drop(quantizer);
    assert_eq!(fs::read(&target).unwrap(), bytes);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);

    let wrong = |source: &str, kind: &str| Quantizer::new(fixture(source), &target, kind, &options);
    fails(wrong("tiny-llama.gguf", "Q9_Z"), ErrorKind::InvalidArgument, "Q9_Z");
    fails(wrong("tiny-llama.gguf", "Q4\0"), ErrorKind::InvalidArgument, "kind has a NUL");
    fails(wrong("none.gguf", "Q8_0"), ErrorKind::NotFound, "none.gguf");
    fails(wrong("tiny-adapter.gguf", "Q8_0"), ErrorKind::Mismatch, "");
    fails(Quantizer::new(&target, &target, "Q8_0", &options), ErrorKind::InvalidArgument, "");
}

fn pairs(folder: &Folder) -> std::path::PathBuf {
    let line =
        |i: usize| format!("{{\"prompt\": \"Say {i}\", \"chosen\": \" good {i}\", \"rejected\": \" bad {i}\"}}\n");
    folder.file("pairs.jsonl", (0..24).map(line).collect::<String>() + "{\"prompt\": 7}\n")
}

#[test]
fn an_adapter_is_trained() {
    let folder = Folder::new();
    let model = tiny();
    let options = TrainerOptions::new()
        .epochs(3.0)
        .max_steps(6)
        .batch_size(4)
        .rank(4)
        .projections([Projection::Query, Projection::Value])
        .loss(Loss::Sigmoid)
        .evaluation_fraction(0.2)
        .checkpoint_path(folder.0.join("checkpoint"))
        .learning_rate(5e-3)
        .thread_count(1)
        .seed(3);
    let train = |options: &TrainerOptions| Trainer::new(&model, Objective::Preference, pairs(&folder), options);
    let mut trainer = train(&options).unwrap();
    let info = trainer.info();
    assert_eq!((info.step_count, info.resumed_step), (6, 0));
    assert!(info.example_count + info.evaluation_count == 24 && info.parameter_count > 0);
    assert_eq!((trainer.problem_count(), trainer.problem(1)), (1, None));
    let problem = trainer.problem(0).unwrap();
    assert!(problem.line == 25 && !problem.is_evaluation && !problem.reason.is_empty());

    trainer.cancel_handle().cancel();
    fails(trainer.next().unwrap(), ErrorKind::Cancelled, "");
    let reports: Vec<_> = trainer.by_ref().map(Result::unwrap).collect();
    let losses: Vec<_> = reports.iter().filter(|r| r.kind == ReportKind::Train).map(|r| r.loss).collect();
    assert_eq!(losses.len(), 6);
    assert!((losses[0] - 2f64.ln()).abs() < 1e-3, "{losses:?}"); // DPO begins at log 2
    assert!(losses[5] < losses[0] && reports.iter().any(|report| report.kind == ReportKind::Evaluate));
    trainer.checkpoint().unwrap();
    let adapter = folder.0.join("tuned.gguf");
    trainer.save(&adapter).unwrap();
    fails(trainer.save(folder.0.join("no/such/folder.gguf")), ErrorKind::NotFound, "");
    fails(trainer.save("a\0"), ErrorKind::InvalidArgument, "NUL");
    let value = Implicit::new().tuned_adapter(&model.adapter(&adapter).unwrap()).untuned_model(&model);
    let guidance = Guidance::builder().implicit(value).build().unwrap();
    assert!(session(&model).generate("Say", &tokens(5).guidance(&guidance)).is_ok());

    assert_eq!(train(&options).unwrap().info().resumed_step, 6); // from the checkpoint
    fails(train(&options.clone().seed(4)), ErrorKind::Mismatch, "");
    fails(train(&TrainerOptions::new().strict(true)), ErrorKind::InvalidArgument, "25");
    fails(train(&TrainerOptions::new().rank(0)), ErrorKind::InvalidArgument, "rank is 0");
    fails(train(&TrainerOptions::new().dropout(7.0)), ErrorKind::InvalidArgument, "dropout");
    let missing = Trainer::new(&model, Objective::Supervised, "missing.jsonl", &TrainerOptions::new());
    fails(missing, ErrorKind::NotFound, "missing.jsonl");
}

#[test]
fn a_value_head_is_trained() {
    let folder = Folder::new();
    let model = tiny();
    let line = |i: usize| format!("{{\"prompt\": \"Say\", \"completion\": \" word {i}\", \"reward\": {}}}\n", i % 2);
    let data = folder.file("samples.jsonl", (0..16).map(line).collect::<String>());
    let options = TrainerOptions::new().max_steps(3).batch_size(4).head_only(true).thread_count(1);
    let mut trainer = Trainer::new(&model, Objective::Value, data, &options).unwrap();
    assert!(trainer.by_ref().all(|report| report.is_ok()));
    let path = folder.0.join("value.gguf");
    trainer.save(&path).unwrap();
    let guidance = Guidance::builder().explicit(Explicit::new(&model.value_head(path).unwrap())).build().unwrap();
    assert!(session(&model).score(&guidance, "Say", &[" word"]).unwrap()[0].is_finite());
}
