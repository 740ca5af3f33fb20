// SPDX-License-Identifier: Apache-2.0

//! Programs that must not compile, each beside one that differs only in what is wrong with it, and does compile.

/// A session may move to another thread, but two cannot use it at once.
///
/// ```
/// fn moves<T: Send>() {}
/// moves::<ivg::Session>();
/// ```
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<ivg::Session>();
/// ```
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<ivg::Sequence>();
/// ```
mod threads {}

/// A session has one stream at a time.
///
/// ```no_run
/// fn run(session: &mut ivg::Session, options: &ivg::GenerateOptions) -> Result<(), ivg::Error> {
///     let mut first = session.stream("one", options)?;
///     first.next();
///     let mut second = session.stream("two", options)?;
///     second.next();
///     Ok(())
/// }
/// ```
///
/// ```compile_fail,E0499
/// fn run(session: &mut ivg::Session, options: &ivg::GenerateOptions) -> Result<(), ivg::Error> {
///     let mut first = session.stream("one", options)?;
///     let mut second = session.stream("two", options)?;
///     first.next();
///     second.next();
///     Ok(())
/// }
/// ```
mod one_stream {}

/// A stream does not outlive its session, and logits not the next call on their sequence.
///
/// ```compile_fail,E0515
/// fn run(model: &ivg::Model) -> Result<ivg::Stream<'static>, ivg::Error> {
///     let mut session = model.session()?;
///     session.stream("one", &ivg::GenerateOptions::new())
/// }
/// ```
///
/// ```no_run
/// fn run(sequence: &mut ivg::Sequence) -> Result<f32, ivg::Error> {
///     let first = sequence.logits()?[0];
///     sequence.evaluate(&[1])?;
///     Ok(first)
/// }
/// ```
///
/// ```compile_fail,E0499
/// fn run(sequence: &mut ivg::Sequence) -> Result<f32, ivg::Error> {
///     let logits = sequence.logits()?;
///     sequence.evaluate(&[1])?;
///     Ok(logits[0])
/// }
/// ```
mod borrows {}

/// Closures may be called on any thread, long after they were given.
///
/// ```
/// let count = std::sync::Arc::new(std::sync::Mutex::new(0));
/// ivg::Guidance::builder().scorer(1.0, move |_, answers| {
///     *count.lock().unwrap() += 1;
///     Ok(vec![0.0; answers.len()])
/// });
/// ```
///
/// ```compile_fail,E0277
/// let count = std::rc::Rc::new(std::cell::Cell::new(0));
/// ivg::Guidance::builder().scorer(1.0, move |_, answers| {
///     count.set(1);
///     Ok(vec![0.0; answers.len()])
/// });
/// ```
///
/// ```compile_fail,E0373
/// fn run() -> ivg::GuidanceBuilder {
///     let scores = vec![0.0];
///     ivg::Guidance::builder().scorer(1.0, |_, _| Ok(scores.clone()))
/// }
/// ```
mod closures {}

/// What a logits processor is lent cannot be kept.
///
/// ```compile_fail,E0521
/// let kept = std::sync::Mutex::new(Vec::<&'static [i32]>::new());
/// ivg::GenerateOptions::new().logits_processor(move |row| {
///     kept.lock().unwrap().push(row.tokens);
///     Ok(())
/// });
/// ```
mod lent {}
