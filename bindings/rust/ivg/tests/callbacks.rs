// SPDX-License-Identifier: Apache-2.0

//! Closures of the host: what they get, when they are dropped, and what becomes of their errors and panics.

mod common;

use common::*;
use ivg::*;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Counts how often it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn scored<Score>(score: Score) -> Guidance
where
    Score: Fn(&str, &[Answer<'_>]) -> Result<Vec<f64>, BoxError> + Send + Sync + 'static,
{
    Guidance::builder().scorer(1.0, score).search(Search::chunks(2, 2, 4)).build().unwrap()
}

fn panic_text(caught: Box<dyn std::any::Any + Send>) -> String {
    caught.downcast_ref::<&str>().map(|text| text.to_string()).or(caught.downcast_ref::<String>().cloned()).unwrap()
}

#[test]
fn a_scorer_ranks_answers() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = seen.clone();
    let guidance = scored(move |prompt, answers| {
        assert_eq!(prompt, "Once ü");
        list.lock().unwrap().push((answers.len(), answers.iter().all(|answer| answer.finished)));
        Ok(answers.iter().map(|answer| answer.text.len() as f64).collect())
    });
    let mut session = session(&tiny());
    let found = session.generate("Once ü", &tokens(12).guidance(&guidance)).unwrap();
    assert_eq!(found.score, found.text.len() as f64);
    assert!(found.candidates[0].score >= found.candidates[1].score);
    let calls = std::mem::take(&mut *seen.lock().unwrap()); // after each chunk; the last finds all rows at max_tokens
    assert!(calls.len() == 3 && calls.iter().all(|call| call.0 <= 4), "{calls:?}");
    assert_eq!(calls.iter().map(|call| call.1).collect::<Vec<_>>(), [false, false, true]);
    let scores = session.score(&guidance, "Once ü", &["four", ""]).unwrap();
    assert_eq!(scores, [4.0, 0.0]);
}

#[test]
fn an_error_of_a_scorer_is_the_source_of_the_calls() {
    let mut session = session(&tiny());
    let guidance = scored(|_, _| Err("the judge is asleep".into()));
    let error = session.generate("Once", &tokens(12).guidance(&guidance)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Callback);
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the judge is asleep");
    let short = scored(|_, _| Ok(vec![]));
    let error = session.generate("Once", &tokens(12).guidance(&short)).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("0 scores for 4 answers"), "{error}");
    let nan = scored(|_, answers| Ok(vec![f64::NAN; answers.len()]));
    fails(session.score(&nan, "Once", &["a"]), ErrorKind::Callback, "");
    let mut stream = session.stream("Once", &tokens(12).guidance(&short)).unwrap();
    assert!(stream.next().unwrap().is_err());
    assert!(stream.next().is_none()); // no loop over the same error
    assert!(session.generate("Once", &tokens(5)).is_ok());
}

#[test]
fn a_panic_goes_on_where_the_call_was_made() {
    let mut session = session(&tiny());
    let expected = text(&mut session, "Once", &tokens(8));
    let guidance = scored(|_, _| panic!("the scorer fell over"));
    let caught = catch_unwind(AssertUnwindSafe(|| session.generate("Once", &tokens(12).guidance(&guidance))));
    assert_eq!(panic_text(caught.unwrap_err()), "the scorer fell over");
    let processed = tokens(8).logits_processor(|row| panic!("row {}", row.row));
    let caught = catch_unwind(AssertUnwindSafe(|| session.generate("Once", &processed)));
    assert_eq!(panic_text(caught.unwrap_err()), "row 0");
    assert_eq!(text(&mut session, "Once", &tokens(8)), expected); // the session is as good as before
}

#[test]
fn a_panic_passes_through_sessions_within_sessions() {
    let model = tiny();
    let inner = scored(|_, _| panic!("deep inside"));
    let nested = Mutex::new(session(&model));
    let outer = scored(move |prompt, answers| {
        let mut session = nested.lock().unwrap();
        session.generate(prompt, &tokens(8).guidance(&inner))?;
        Ok(vec![0.0; answers.len()])
    });
    let mut session = session(&model);
    let caught = catch_unwind(AssertUnwindSafe(|| session.generate("Once", &tokens(12).guidance(&outer))));
    assert_eq!(panic_text(caught.unwrap_err()), "deep inside");
}

#[test]
fn a_closure_cannot_call_the_session_that_runs_it() {
    let mut session = session(&tiny());
    let sequence = session.sequence(None).unwrap();
    let slot = Mutex::new(Some(sequence));
    let guidance = scored(move |_, answers| {
        if let Some(mut sequence) = slot.lock().unwrap().take() {
            let error = sequence.evaluate(&[5]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(sequence.len().is_err() && sequence.fork().is_err());
            // and here it is dropped, which has to wait for the end of the call
        }
        Ok(vec![0.0; answers.len()])
    });
    assert!(session.generate("Once", &tokens(12).guidance(&guidance)).is_ok());
    assert!(session.generate("Once", &tokens(12)).is_ok());
}

#[test]
fn a_logits_processor_changes_what_is_drawn() {
    let model = tiny();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let options = tokens(6).logits_processor(move |row| {
        assert_eq!((row.row, row.tokens.len(), row.logits.len()), (0, count.fetch_add(1, Ordering::SeqCst), 320));
        row.logits.fill(f32::NEG_INFINITY);
        row.logits[70] = 0.0;
        Ok(())
    });
    assert_eq!(session(&model).generate("Once", &options).unwrap().tokens, [70; 6]);
    assert_eq!(calls.load(Ordering::SeqCst), 6);
    let failing = tokens(6).logits_processor(|_| Err("no".into()));
    fails(session(&model).generate("Once", &failing), ErrorKind::Callback, "");
    let nonsense = tokens(6).logits_processor(|row| {
        row.logits.fill(f32::NAN);
        Ok(())
    });
    assert!(session(&model).generate("Once", &nonsense).is_err());
}

#[test]
fn closures_live_as_long_as_they_are_needed() {
    let model = tiny();
    let drops = Arc::new(AtomicUsize::new(0));
    let dropped = || drops.load(Ordering::SeqCst);
    let counted = || Counted(drops.clone());

    let (scorer, processor) = (counted(), counted());
    let guidance = scored(move |_, answers| {
        let _ = &scorer;
        Ok(vec![0.0; answers.len()])
    });
    let options = tokens(12).guidance(&guidance).logits_processor(move |_| {
        let _ = &processor;
        Ok(())
    });
    let mut session = session(&model);
    let mut stream = session.stream("Once", &options).unwrap();
    drop((guidance, options));
    stream.next().unwrap().unwrap(); // both are still called
    assert_eq!(dropped(), 0);
    session.generate("Once", &tokens(3)).unwrap();
    drop(session);
    assert_eq!(dropped(), 2);

    // Not when a part is refused either, and a panic while dropping stays inside.
    let refused = counted();
    let builder = Guidance::builder().scorer(f64::NAN, move |_, _| {
        let _ = &refused;
        Ok(vec![])
    });
    assert!(builder.build().is_err());
    assert_eq!(dropped(), 3);
    struct Explosive;
    impl Drop for Explosive {
        fn drop(&mut self) {
            panic!("while dropping");
        }
    }
    let explosive = Explosive;
    drop(scored(move |_, answers| {
        let _ = &explosive;
        Ok(vec![0.0; answers.len()])
    }));
}

#[test]
fn a_hosted_model_is_steered_like_any_other() {
    let model = tiny();
    let expected = text(&mut session(&model), "Once", &tokens(12));
    let drops = Arc::new(AtomicUsize::new(0));
    let guard = Counted(drops.clone());
    let inner = Mutex::new(session(&model));
    let hosted = Model::hosted(&model, 256, move |rows| {
        let _ = &guard;
        for row in rows {
            assert!(row.logits.iter().all(|&logit| logit == 0.0));
            let mut sequence = inner.lock().unwrap().sequence(None)?;
            sequence.evaluate(row.tokens)?;
            row.logits.copy_from_slice(sequence.logits()?);
        }
        Ok(())
    });
    let hosted = hosted.unwrap();
    assert_eq!(hosted.info().vocabulary_size, 320);
    let mut steered = session(&hosted);
    assert_eq!(text(&mut steered, "Once", &tokens(12)), expected);
    drop((hosted, steered));
    assert_eq!(drops.load(Ordering::SeqCst), 1);

    let failing = Model::hosted(&model, 0, |_| Err("out of order".into())).unwrap();
    fails(session(&failing).generate("Once", &tokens(3)), ErrorKind::Callback, "");
    let silent = Model::hosted(&model, 0, |_| Ok(())).unwrap(); // all logits stay zero
    assert_eq!(session(&silent).generate("Once", &tokens(3)).unwrap().tokens.len(), 3);
    let guide = Guidance::builder().implicit(Implicit::new().tuned_model(&silent)).build().unwrap();
    assert!(session(&model).generate("Once", &tokens(3).guidance(&guide)).is_ok());
}

#[test]
fn the_log_goes_where_it_is_sent() {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let drops = Arc::new(AtomicUsize::new(0));
    let (list, guard) = (messages.clone(), Counted(drops.clone()));
    set_log(LogLevel::Info, move |level, message| {
        let _ = &guard;
        list.lock().unwrap().push((level, message.to_owned()));
    });
    let _model = tiny();
    assert!(messages.lock().unwrap().iter().any(|(_, message)| message.contains("tiny-llama.gguf")));
    set_log(LogLevel::Info, |_, _| panic!("a sink that panics"));
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    let _model = tiny();
    silence_log();
    let count = messages.lock().unwrap().len();
    let _model = tiny();
    assert_eq!(messages.lock().unwrap().len(), count);
}
