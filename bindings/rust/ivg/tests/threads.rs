// SPDX-License-Identifier: Apache-2.0

//! What may be shared, what may be sent, and stopping from elsewhere.

mod common;

use common::*;
use ivg::*;
use std::sync::mpsc::sync_channel;
use std::sync::Mutex;
use std::thread;

const _: () = {
    const fn shared<T: Send + Sync + Clone>() {}
    const fn sent<T: Send>() {}
    shared::<Model>();
    shared::<Adapter>();
    shared::<ValueHead>();
    shared::<Guidance>();
    shared::<CancelHandle>();
    shared::<GenerateOptions>();
    shared::<Step>();
    shared::<Completion>();
    sent::<Session>();
    sent::<Stream<'_>>();
    sent::<Sequence>();
    sent::<Trainer>();
    sent::<Quantizer>();
    const fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<Error>();
    const fn file<T: Send + Sync>() {}
    file::<File>();
};

#[test]
fn another_thread_cancels_a_running_call() {
    let model = tiny();
    let mut session = session(&model);
    let expected = text(&mut session, "Once", &tokens(20));

    // In the fifth step the logits processor hands over to another thread, and waits until that has cancelled.
    let handle = session.cancel_handle();
    let (ask, asked) = sync_channel::<()>(0);
    let (done, cancelled) = sync_channel::<()>(0);
    let canceller = thread::spawn(move || {
        asked.recv().unwrap();
        handle.cancel();
        done.send(()).unwrap();
    });
    let ends = Mutex::new(Some((ask, cancelled)));
    let options = tokens(20).logits_processor(move |row| {
        if row.tokens.len() == 4 {
            if let Some((ask, cancelled)) = ends.lock().unwrap().take() {
                ask.send(())?;
                cancelled.recv()?;
            }
        }
        Ok(())
    });
    let mut generated = String::new();
    let mut cancelled = 0;
    for step in session.stream("Once", &options).unwrap() {
        match step {
            Ok(step) => generated += &step.text,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
                cancelled += 1; // and go on
            }
        }
    }
    canceller.join().unwrap();
    assert_eq!((generated, cancelled), (expected, 1));
}

#[test]
fn cancelling_ahead_stops_the_next_call() {
    let mut session = session(&tiny());
    session.cancel_handle().cancel();
    fails(session.generate("Once", &tokens(5)), ErrorKind::Cancelled, "");
    assert_eq!(session.generate("Once", &tokens(5)).unwrap().tokens.len(), 5);
    let mut sequence = session.sequence(None).unwrap();
    session.cancel_handle().cancel();
    fails(sequence.evaluate(&[5, 6, 7]), ErrorKind::Cancelled, "");
    assert_eq!(sequence.len().unwrap(), 0);
    sequence.evaluate(&[5, 6, 7]).unwrap();
}

#[test]
fn a_handle_outlives_its_session() {
    let session = session(&tiny());
    let handle = session.cancel_handle();
    let other = handle.clone();
    drop(session);
    thread::spawn(move || handle.cancel()).join().unwrap();
    other.cancel();
}

#[test]
fn a_sequence_waits_for_its_session() {
    let model = tiny();
    let mut session = session(&model);
    let expected = text(&mut session, "Once", &tokens(60));
    let mut sequence = session.sequence(None).unwrap();
    sequence.evaluate(&[5, 6]).unwrap();
    let logits = sequence.logits().unwrap().to_vec();
    let other = thread::spawn(move || {
        for _ in 0..100 {
            let mut fork = sequence.fork().unwrap();
            fork.truncate(1).unwrap();
            fork.evaluate(&[6]).unwrap();
            assert_eq!(fork.logits().unwrap(), logits);
        }
    });
    for _ in 0..5 {
        assert_eq!(text(&mut session, "Once", &tokens(60)), expected);
    }
    other.join().unwrap();
}

#[test]
fn a_guidance_is_shared_by_sessions() {
    let model = tiny();
    let untuned = untuned();
    let guidance = Guidance::builder()
        .implicit(Implicit::new().tuned_model(&untuned))
        .scorer(1.0, |_, answers| Ok(answers.iter().map(|answer| answer.text.len() as f64).collect()))
        .search(Search::chunks(2, 2, 4))
        .build()
        .unwrap();
    let expected = text(&mut session(&model), "Once", &tokens(16).guidance(&guidance));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let found = text(&mut session(&model), "Once", &tokens(16).guidance(&guidance));
                assert_eq!(found, expected);
            });
        }
    });
}
