// SPDX-License-Identifier: Apache-2.0

//! The steps of a request.

use crate::error::{Error, ErrorKind};
use crate::results::finish_reason;
use crate::text::{array, owned_sized};
use crate::{CancelHandle, Completion, FinishReason, Session, Token};
use ivg_sys as sys;

/// The steps of a request, as they come. Made by [`Session::stream`], which it borrows.
///
/// The iterator ends with the text. After [`Cancelled`](ErrorKind::Cancelled) it may go on; after any other error it has
/// ended. It may be dropped half read.
#[derive(Debug)]
#[must_use = "nothing is generated before the first step"]
pub struct Stream<'session> {
    session: &'session mut Session,
    has_ended: bool,
}

/// One token, or with several rows one chunk, or what a nudger wrote.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[doc(alias = "ivg_step")]
pub struct Step {
    /// What the step is.
    pub kind: StepKind,
    /// New text that will not change any more: whole characters, may be empty.
    pub text: String,
    /// The token; `None` for a chunk, a nudge, and text alone that was held back.
    pub token: Option<Token>,
    /// Of `token` under the guided distribution at temperature 1, untruncated.
    pub log_probability: f32,
    /// The score of the leading row; 0 without parts that score.
    pub value: f64,
    /// Why the text has ended: `Some` in the last step.
    pub finish_reason: Option<FinishReason>,
    /// The most probable tokens with their log-probabilities, if `top_log_probabilities` asked for them; one row only.
    pub top: Vec<(Token, f32)>,
}

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepKind {
    /// A token; with nudging text of the base.
    #[doc(alias = "IVG_STEP_TOKEN")]
    Token,
    /// A selection of rows.
    #[doc(alias = "IVG_STEP_CHUNK")]
    Chunk,
    /// Text of the nudger: some words, or nothing where only the end is new.
    #[doc(alias = "IVG_STEP_NUDGE")]
    Nudge,
}

impl<'session> Stream<'session> {
    pub(crate) fn new(session: &'session mut Session) -> Self {
        Self { session, has_ended: false }
    }

    /// Generates to the end and returns the request as a whole.
    pub fn finish(mut self) -> Result<Completion, Error> {
        for step in self.by_ref() {
            step?;
        }
        self.session.completion()
    }

    /// The request as a whole: complete at the end, before it what there is so far.
    pub fn completion(&mut self) -> Result<Completion, Error> {
        self.session.completion()
    }

    /// Stops the running step, from any thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.session.cancel_handle()
    }

    #[doc(alias = "ivg_session_next")]
    fn step(&mut self) -> Result<Option<Step>, Error> {
        let mut step = sys::ivg_step::default();
        let mut read = None;
        self.session.core().call(|session, error| {
            // SAFETY: it is this thread's turn, and `step` is as large as it says.
            let status = unsafe { sys::ivg_session_next(session, &mut step, error) };
            if status == sys::IVG_OK {
                // SAFETY: what the step points to is borrowed until the next call on the session.
                read = Some(unsafe { Step::of(&step) });
            }
            status
        })?;
        Ok(read)
    }
}

impl Iterator for Stream<'_> {
    type Item = Result<Step, Error>;

    /// The next token or chunk; the first call also reads the prompt.
    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let step = self.step().transpose();
        self.has_ended = match &step {
            Some(Ok(step)) => step.finish_reason.is_some(),
            Some(Err(error)) => error.kind() != ErrorKind::Cancelled,
            None => true,
        };
        step
    }
}

impl std::iter::FusedIterator for Stream<'_> {}

impl Step {
    /// # Safety
    /// What `step` points to is alive.
    unsafe fn of(step: &sys::ivg_step) -> Self {
        // SAFETY: the caller's promise; the arrays are as long as said.
        let (text, top_tokens, top_values) = unsafe {
            let count = step.top_count as usize;
            let text = owned_sized(step.text, step.text_length);
            (text, array(step.top_tokens, count), array(step.top_log_probabilities, count))
        };
        Self {
            kind: match step.kind {
                sys::IVG_STEP_CHUNK => StepKind::Chunk,
                sys::IVG_STEP_NUDGE => StepKind::Nudge,
                _ => StepKind::Token,
            },
            text,
            token: (step.token >= 0).then_some(step.token),
            log_probability: step.log_probability,
            value: step.value,
            finish_reason: finish_reason(step.finish_reason),
            top: top_tokens.iter().copied().zip(top_values.iter().copied()).collect(),
        }
    }
}
