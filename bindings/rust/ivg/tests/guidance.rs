// SPDX-License-Identifier: Apache-2.0

//! Values, searches and nudging do what they say.

mod common;

use common::*;
use ivg::*;

fn guided(guidance: GuidanceBuilder, options: GenerateOptions) -> Completion {
    let guidance = guidance.build().unwrap();
    session(&tiny()).generate("Once", &options.guidance(&guidance)).unwrap()
}

#[test]
fn a_weight_of_zero_changes_nothing() {
    let plain = text(&mut session(&tiny()), "Once", &tokens(30));
    let value = Implicit::new().tuned_model(&untuned()).weight(0.0);
    assert_eq!(guided(Guidance::builder().implicit(value), tokens(30)).text, plain);
    assert_eq!(guided(Guidance::builder(), tokens(30)).text, plain);
}

#[test]
fn the_base_as_untuned_gives_the_tuned_model() {
    let other = untuned();
    let expected = text(&mut session(&other), "Once", &tokens(20).temperature(0.0));
    let value = Implicit::new().tuned_model(&other);
    assert_eq!(guided(Guidance::builder().implicit(value), tokens(20).temperature(0.0)).text, expected);
}

#[test]
fn attribution_tells_each_guide() {
    let model = tiny();
    let adapter = model.adapter(fixture("tiny-adapter.gguf")).unwrap();
    let head = model.value_head(fixture("tiny-value-vocabulary.gguf")).unwrap();
    assert_eq!(adapter.model().info(), model.info());
    assert_eq!(head.model().info(), model.info());
    let guidance = Guidance::builder()
        .implicit(Implicit::new().tuned_adapter(&adapter).untuned_model(&model).role(Role::Both))
        .explicit(Explicit::new(&head).role(Role::Tilt).weight(0.5).template("{prompt}"))
        .build()
        .unwrap();
    let row =
        &session(&model).generate("Once", &tokens(12).guidance(&guidance).attribution(true)).unwrap().candidates[0];
    let values = row.guide_values.as_ref().unwrap();
    assert_eq!(values.len(), 12);
    assert!(values.iter().all(|of_token| of_token.len() == 2 && of_token.iter().all(|value| value.is_finite())));
    // The score of an implicit value is the sum of its log-ratios.
    let sum: f64 = values.iter().map(|of_token| f64::from(of_token[0])).sum();
    assert!((sum - row.score).abs() < 1e-3, "{sum} {}", row.score);
}

#[test]
fn a_search_keeps_the_best_rows() {
    let head = tiny().value_head(fixture("tiny-value-scalar.gguf")).unwrap();
    let part = || Guidance::builder().explicit(Explicit::new(&head));
    let found = guided(part().search(Search::chunks(3, 2, 4)), tokens(12));
    assert_eq!(found.candidates.len(), 3);
    assert!(found.candidates.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert_eq!((found.text.as_str(), found.score), (found.candidates[0].text.as_str(), found.candidates[0].score));
    let best = guided(part().search(Search::best_of(4)), tokens(8));
    let all = guided(part().search(Search::samples(4)), tokens(8));
    assert_eq!((best.candidates.len(), all.candidates.len()), (1, 4));
    assert_eq!(best.text, all.text);
    let tiled = Search::chunks(2, 2, 4).finished_rows(FinishedRows::Tile).candidates(Candidates::Base).dedupe(true);
    assert!(!guided(part().search(tiled), tokens(12)).candidates.is_empty());

    let guidance = part().search(Search::chunks(2, 2, 4)).build().unwrap();
    let mut session = session(&tiny());
    let steps: Vec<_> = session.stream("Once", &tokens(12).guidance(&guidance)).unwrap().map(Result::unwrap).collect();
    assert!(steps.iter().all(|step| step.kind == StepKind::Chunk && step.token.is_none()));
}

#[test]
fn texts_are_scored() {
    let model = tiny();
    let head = model.value_head(fixture("tiny-value-scalar.gguf")).unwrap();
    let guidance = Guidance::builder().explicit(Explicit::new(&head)).build().unwrap();
    let mut session = session(&model);
    let scores = session.score(&guidance, "Is it good?", &["Yes.", "No.", "", "Yes."]).unwrap();
    assert_eq!(scores[0], scores[3]);
    assert_ne!(scores[0], scores[1]);
    assert_ne!(session.score_ended(&guidance, "Is it good?", &["Yes."]).unwrap()[0], scores[0]);
    assert_eq!(session.score(&guidance, "Is it good?", &[] as &[&str]).unwrap(), []);
    let tilt = Guidance::builder().explicit(Explicit::new(&head).role(Role::Tilt)).build().unwrap();
    fails(session.score(&tilt, "Is it good?", &["Yes."]), ErrorKind::InvalidArgument, "");
}

#[test]
fn what_does_not_fit_is_refused() {
    let model = tiny();
    let other = Model::open(fixture("tiny-other-vocabulary.gguf")).unwrap();
    let tilt = Guidance::builder().implicit(Implicit::new().tuned_model(&other)).build().unwrap();
    fails(session(&model).generate("Once", &tokens(5).guidance(&tilt)), ErrorKind::Mismatch, "");
    let adapter = model.adapter(fixture("tiny-adapter.gguf")).unwrap();
    let wrong = Implicit::new().tuned_model(&untuned()).tuned_adapter(&adapter);
    fails(Guidance::builder().implicit(wrong).build(), ErrorKind::Mismatch, "");
    let invalid = |builder: GuidanceBuilder, part| fails(builder.build(), ErrorKind::InvalidArgument, part);
    invalid(Guidance::builder().implicit(Implicit::new().tuned_template("\0")), "tuned_template has a NUL");
    invalid(Guidance::builder().implicit(Implicit::new().tuned_model(&other).weight(f64::NAN)), "weight");
    invalid(Guidance::builder().search(Search::chunks(0, 1, 1)), "width is 0");
    let huge = Guidance::builder().search(Search::chunks(u32::MAX, u32::MAX, u32::MAX)).build();
    assert!(huge.and_then(|huge| session(&model).generate("Once", &tokens(5).guidance(&huge))).is_err());
}

#[test]
fn a_nudger_writes_where_the_base_is_not_sure() {
    let model = tiny();
    let nudger = Model::open(fixture("tiny-other-vocabulary.gguf")).unwrap();
    let nudging = || Nudging::new().nudger_model(&nudger).burst(8).max_rounds(20);
    let guidance = Guidance::builder().nudging(nudging().threshold(2.0)).build().unwrap();
    let mut session = session(&model);
    let options = GenerateOptions::new().max_tokens(30).guidance(&guidance);
    let steps: Vec<_> = session.stream("Once", &options).unwrap().map(Result::unwrap).collect();
    assert!(steps.iter().any(|step| step.kind == StepKind::Nudge));
    let completion = session.completion().unwrap();
    assert!(completion.nudged_share > 0.0 && completion.nudged_share <= 1.0);
    assert!(completion.nudges.iter().all(|span| completion.text.get(span.clone()).is_some()));
    let warm = options.clone().temperature(0.9);
    fails(session.generate("Once", &warm), ErrorKind::InvalidArgument, "");
    let both = Guidance::builder().nudging(nudging()).implicit(Implicit::new().tuned_model(&untuned())).build();
    fails(both, ErrorKind::InvalidArgument, "");
    fails(Guidance::builder().nudging(Nudging::new()).build(), ErrorKind::InvalidArgument, "");
    fails(Guidance::builder().nudging(nudging().threshold(-1.0)).build(), ErrorKind::InvalidArgument, "threshold");
    assert!(Guidance::builder().nudging(nudging().threshold(0.0)).build().is_ok());
}
