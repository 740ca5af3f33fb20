// SPDX-License-Identifier: Apache-2.0

//! Generating: what comes out, how often the same, and what is refused.

mod common;

use common::*;
use ivg::*;
use std::process::Command;
use std::thread;

#[test]
fn equal_seeds_give_equal_text() {
    let model = tiny();
    let first = text(&mut session(&model), "Once", &tokens(40));
    let many = Session::new(&model, &SessionOptions::new().thread_count(3)).unwrap().generate("Once", &tokens(40));
    assert_eq!(many.unwrap().text, first);
    assert_ne!(text(&mut session(&model), "Once", &tokens(40).seed(8)), first);
    let greedy = || text(&mut session(&model), "Once", &tokens(20).temperature(0.0).seed(1));
    assert_eq!(greedy(), greedy());
    assert_eq!(greedy(), text(&mut session(&model), "Once", &tokens(20).top_k(1)));
    assert_eq!(greedy(), text(&mut session(&model), "Once", &tokens(20).top_p(0.0).top_k(0)));
}

#[test]
fn steps_add_up_to_the_completion() {
    let model = tiny();
    let mut session = session(&model);
    let mut stream = session.stream("Once", &tokens(30).top_log_probabilities(3).attribution(true)).unwrap();
    let steps: Vec<Step> = stream.by_ref().map(Result::unwrap).collect();
    assert!(stream.next().is_none());
    let completion = stream.completion().unwrap();
    assert_eq!(steps.iter().map(|step| step.text.as_str()).collect::<String>(), completion.text);
    assert_eq!(steps.iter().filter_map(|step| step.token).collect::<Vec<_>>(), completion.tokens);
    assert_eq!(steps.last().unwrap().finish_reason, Some(FinishReason::Length));
    assert!(steps[..steps.len() - 1].iter().all(|step| step.finish_reason.is_none()));
    let drawn = steps.iter().filter(|step| step.token.is_some());
    assert!(drawn
        .clone()
        .all(|step| step.kind == StepKind::Token && step.top.len() == 3 && step.log_probability <= 0.0));
    assert!(drawn.clone().all(|step| step.top.windows(2).all(|pair| pair[0].1 >= pair[1].1)));
    let row = &completion.candidates[0];
    assert_eq!((row.tokens.len(), row.log_probabilities.len()), (30, 30));
    assert_eq!(row.base_log_probabilities.as_ref().unwrap().len(), 30);
    let sum: f64 = row.log_probabilities.iter().map(|&value| f64::from(value)).sum();
    assert!((sum - row.log_probability).abs() < 1e-3);
    assert_eq!((completion.token_count, completion.nudges.len(), completion.nudged_share), (30, 0, 0.0));
    assert!(completion.prompt_token_count > 0 && completion.memory_used > 0);
}

#[test]
fn text_ends_where_it_should() {
    let model = tiny();
    let mut session = session(&model);
    let whole = text(&mut session, "Once", &tokens(60));
    let stop: String = whole.chars().skip(8).take(3).collect();
    let cut = session.generate("Once", &tokens(60).stop_string("never in there").stop_string(&stop)).unwrap();
    assert_eq!(cut.finish_reason, Some(FinishReason::Stop));
    assert_eq!(cut.text, whole[..whole.find(&stop).unwrap()]);
    let tokens_drawn = session.generate("Once", &tokens(60)).unwrap().tokens;
    let last = tokens_drawn[5];
    let ended = session.generate("Once", &tokens(60).ignore_end(false).end_tokens([last])).unwrap();
    assert_eq!(ended.finish_reason, Some(FinishReason::End));
    assert!(
        ended.tokens.len() <= 6
            && (ended.tokens.last() == Some(&last) || model.token_ends(ended.tokens[ended.tokens.len() - 1]))
    );
    let banned = session.generate("Once", &tokens(60).banned_tokens(tokens_drawn.clone())).unwrap();
    assert!(banned.tokens.iter().all(|token| !tokens_drawn.contains(token)));
}

#[test]
fn a_stream_may_be_dropped_half_read() {
    let model = tiny();
    let mut session = session(&model);
    let whole = text(&mut session, "Once", &tokens(20));
    let mut stream = session.stream("Once", &tokens(20)).unwrap();
    stream.next().unwrap().unwrap();
    drop(stream);
    let half = session.completion().unwrap();
    assert!(half.finish_reason.is_none() && half.tokens.len() == 1);
    let again = session.generate("Once", &tokens(20)).unwrap();
    assert_eq!(again.text, whole);
    assert!(again.reused_token_count > 0);
}

#[test]
fn sessions_on_several_threads_share_a_model() {
    let model = tiny();
    let expected: Vec<String> = (0..4).map(|seed| text(&mut session(&model), "Once", &tokens(40).seed(seed))).collect();
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let model = model.clone();
            thread::spawn(move || {
                let mut session = session(&model);
                (0..5).map(|_| text(&mut session, "Once", &tokens(40).seed(seed))).collect::<Vec<_>>()
            })
        })
        .collect();
    drop(model); // the sessions keep it
    for (thread, expected) in threads.into_iter().zip(expected) {
        assert!(thread.join().unwrap().iter().all(|text| *text == expected));
    }
}

#[test]
fn a_session_moves_to_another_thread() {
    let mut session = session(&tiny());
    let here = text(&mut session, "Once", &tokens(10));
    let there = thread::spawn(move || text(&mut session, "Once", &tokens(10))).join().unwrap();
    assert_eq!(here, there);
}

#[test]
fn anything_may_be_dropped_in_any_order() {
    let model = tiny();
    let adapter = model.adapter(fixture("tiny-adapter.gguf")).unwrap();
    let head = model.value_head(fixture("tiny-value-lora.gguf")).unwrap();
    let value = Implicit::new().tuned_adapter(&adapter).role(Role::Tilt);
    let search = Search::chunks(2, 2, 3);
    let guidance = Guidance::builder().implicit(value).explicit(Explicit::new(&head)).search(search).build().unwrap();
    let mut session = session(&model);
    drop((model, adapter, head));
    let options = tokens(12).guidance(&guidance);
    let mut sequence = session.sequence(None).unwrap();
    let handle = session.cancel_handle();
    let mut stream = session.stream("Once", &options).unwrap();
    drop((guidance, options));
    assert!(stream.next().unwrap().is_ok());
    assert_eq!(stream.finish().unwrap().candidates.len(), 2);
    drop(session);
    sequence.evaluate(&[5, 6]).unwrap();
    assert_eq!(sequence.logits().unwrap().len(), 320);
    drop(sequence);
    handle.cancel(); // keeps the session
}

#[test]
fn sequences_in_one_batch_have_the_bits_of_each_alone() {
    let model = tiny();
    let adapter = model.adapter(fixture("tiny-adapter.gguf")).unwrap();
    let mut session = session(&model);
    let mut alone = Vec::new();
    for (adapter, tokens) in [(None, &[5, 6, 7][..]), (Some(&adapter), &[9][..])] {
        let mut sequence = session.sequence(adapter).unwrap();
        sequence.evaluate(tokens).unwrap();
        alone.push(sequence.logits().unwrap().to_vec());
    }
    let mut first = session.sequence(None).unwrap();
    let mut second = session.sequence(Some(&adapter)).unwrap();
    Sequence::evaluate_batch(&mut [(&mut first, &[5, 6, 7]), (&mut second, &[9])]).unwrap();
    assert_eq!(first.logits().unwrap(), alone[0]);
    assert_eq!(second.logits().unwrap(), alone[1]);

    Sequence::evaluate_batch(&mut []).unwrap();
    let mut strange = model.session().unwrap().sequence(None).unwrap();
    fails(
        Sequence::evaluate_batch(&mut [(&mut first, &[1]), (&mut strange, &[1])]),
        ErrorKind::InvalidArgument,
        "another session",
    );
    fails(
        Sequence::evaluate_batch(&mut [(&mut first, &[1]), (&mut second, &[-1])]),
        ErrorKind::InvalidArgument,
        "vocabulary",
    );
    assert_eq!((first.len().unwrap(), second.len().unwrap(), strange.len().unwrap()), (3, 1, 0));
}

#[test]
fn options_out_of_their_range_are_refused() {
    let model = tiny();
    let mut session = session(&model);
    let invalid = |result: Result<Completion, Error>, part| fails(result, ErrorKind::InvalidArgument, part);
    let options = GenerateOptions::new;
    invalid(session.generate("Once", &options().max_tokens(0)), "max_tokens");
    invalid(session.generate("Once", &options().temperature(-1.0)), "temperature");
    invalid(session.generate("Once", &options().temperature(f32::NAN)), "temperature");
    invalid(session.generate("Once", &options().top_p(7.0)), "top_p");
    invalid(session.generate("Once", &options().min_p(f32::INFINITY)), "min_p");
    invalid(session.generate("Once", &options().repetition_penalty(-3.0)), "repetition_penalty");
    invalid(session.generate("Once", &options().top_log_probabilities(u32::MAX)), "top_log_probabilities");
    invalid(session.generate("Once", &options().prompt_template("a\0{prompt}")), "prompt_template has a NUL");
    invalid(session.generate("Once", &options().stop_string("\0")), "stop_string has a NUL");
    invalid(session.generate("Once", &options().banned_tokens([i32::MIN])), "banned_tokens");
    fails(session.generate("Once", &options().max_tokens(u32::MAX)), ErrorKind::ContextFull, "");
    fails(session.generate("x".repeat(100_000), &options()), ErrorKind::ContextFull, "");
    assert!(Session::new(&model, &SessionOptions::new().thread_count(u32::MAX)).is_err());
    fails(session.timings(), ErrorKind::InvalidArgument, "timings");
    assert!(session.generate("Once", &tokens(3)).is_ok()); // none of it has broken the session
    let mut fresh = model.session().unwrap();
    fails(fresh.completion(), ErrorKind::InvalidArgument, "");
}

#[test]
fn invalid_utf8_is_a_prompt_too() {
    let mut session = session(&tiny());
    let completion = session.generate(b"\xff\xfe\x80", &tokens(5)).unwrap();
    assert_eq!(completion.tokens.len(), 5);
    assert_eq!(session.generate("", &tokens(5)).unwrap().tokens.len(), 5);
}

#[test]
fn timings_say_where_time_went() {
    let mut session = Session::new(&tiny(), &SessionOptions::new().timings(true)).unwrap();
    session.generate("Once", &tokens(10)).unwrap();
    let timings = session.timings().unwrap();
    assert!(timings.pass_count >= 10 && timings.row_count >= timings.pass_count);
    assert!(timings.feed_forward_seconds > 0.0);
}

/// The C example, compiled against the same library.
fn c_example(folder: &Folder, name: &str, model: &std::path::Path, prompt: &str) -> Option<Vec<u8>> {
    let library = env!("IVG_TEST_LIB_DIR");
    let program = folder.0.join(name);
    let compiled = Command::new("cc")
        .args(["-std=c11".into(), format!("-I{}", root().join("include").display())])
        .arg(root().join(format!("examples/c/{name}.c")))
        .args(["-o".into(), program.display().to_string(), format!("-L{library}"), "-livg".into()])
        .arg(format!("-Wl,-rpath,{library}"))
        .status();
    let Ok(status) = compiled else {
        eprintln!("skipped: there is no C compiler (cc)");
        return None;
    };
    assert!(status.success());
    let output = Command::new(program).arg(model).arg(prompt).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(output.stdout)
}

#[test]
fn the_same_request_gives_the_same_bytes_as_in_c() {
    let folder = Folder::new();
    for path in [Some(fixture("tiny-llama.gguf")), real()].into_iter().flatten() {
        let mut session = Model::open(&path).unwrap().session().unwrap();
        if let Some(printed) = c_example(&folder, "generate", &path, "The film was") {
            let options = GenerateOptions::new().max_tokens(64).seed(1);
            let completion = session.generate("The film was", &options).unwrap();
            assert_eq!(String::from_utf8(printed).unwrap(), format!("The film was{}\n", completion.text));
        }
        if let Some(printed) = c_example(&folder, "guided", &path, "The film was") {
            let value = Implicit::new()
                .role(Role::Both)
                .tuned_template("A review by someone who loved it: {prompt}")
                .untuned_template("A review: {prompt}");
            let guidance = Guidance::builder().implicit(value).search(Search::chunks(2, 2, 10)).build().unwrap();
            let options = GenerateOptions::new().max_tokens(40).seed(1).guidance(&guidance);
            let completion = session.generate("The film was", &options).unwrap();
            let mut expected = completion.text.clone() + "\n";
            for (index, row) in completion.candidates.iter().enumerate() {
                expected += &format!("{index}: score {:.3}, {} tokens\n", row.score, row.tokens.len());
            }
            assert_eq!(String::from_utf8(printed).unwrap(), expected);
        }
    }
}
