// SPDX-License-Identifier: Apache-2.0

//! Sessions: the state of generating.

use crate::callback::{take_failure, Failure};
use crate::cancel::{Cancel, CancelHandle};
use crate::error::{call, create, Error};
use crate::gate::{Gate, Turn};
use crate::generate::LogitsProcessor;
use crate::model::flag;
use crate::options::options;
use crate::results::read_completion;
use crate::text::pointers;
use crate::{Adapter, Completion, GenerateOptions, Guidance, Model, Sequence, Stream, Timings};
use ivg_sys as sys;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

options! {
    /// How a session works.
    #[doc(alias = "ivg_session_options")]
    pub struct SessionOptions {
        /// Threads that compute; by default the processors this process may use.
        thread_count: u32 = u32,
        /// Tokens a sequence may hold; by default the model's context, capped by the memory budget.
        context_length: u32 = u32,
        /// Bytes beside the mapped files; by default three quarters of the machine's memory.
        memory_budget: u64 = u64,
        /// Measure where time goes, for [`Session::timings`] (default false).
        timings: bool = bool,
    }
    with {}
}

impl SessionOptions {
    pub(crate) fn raw(&self) -> sys::ivg_session_options {
        sys::ivg_session_options {
            thread_count: self.thread_count.unwrap_or(0),
            context_length: self.context_length.unwrap_or(0),
            memory_budget: self.memory_budget.unwrap_or(0),
            timings: flag(self.timings.unwrap_or(false), 1),
            ..Default::default()
        }
    }
}

/// The state of generating on one model: key/value memory, scratch, worker threads, one request at a time.
///
/// What a request has computed for its prompt is reused by the next one that begins alike. A session may move to another
/// thread, and serves one call at a time. It keeps its model alive.
#[doc(alias = "ivg_session")]
pub struct Session {
    core: Arc<Core>,
    model: Model,
    not_sync: PhantomData<Cell<()>>,
}

/// What sessions, their sequences and cancel handles share.
pub(crate) struct Core {
    raw: NonNull<sys::ivg_session>,
    gate: Gate,
    /// That of the request under way, to which C points.
    logits_processor: Mutex<Option<LogitsProcessor>>,
    /// Sequences that were dropped within a closure that the session runs, where they cannot be freed.
    dropped: Mutex<Vec<Dropped>>,
}

struct Dropped(NonNull<sys::ivg_sequence>);

// SAFETY: any thread may free a sequence.
unsafe impl Send for Dropped {}
// SAFETY: any thread may call functions on a session and free it.
unsafe impl Send for Core {}
// SAFETY: the gate lets one call at a time through; cancelling needs no turn.
unsafe impl Sync for Core {}

impl Drop for Core {
    fn drop(&mut self) {
        // SAFETY: it is ours, and this is the last use; the logits processor is dropped after it.
        unsafe { sys::ivg_session_free(self.raw.as_ptr()) }
    }
}

impl Cancel for Core {
    fn cancel(&self) {
        // SAFETY: one atomic store, from any thread, while the session is alive.
        unsafe { sys::ivg_session_cancel(self.raw.as_ptr()) }
    }
}

impl Core {
    /// Makes a call in which closures of the host may run.
    ///
    /// A closure's error becomes the source of the call's; its panic goes on here, when the session is free again.
    pub(crate) fn call(
        &self,
        function: impl FnOnce(*mut sys::ivg_session, *mut *mut sys::ivg_error) -> sys::ivg_status,
    ) -> Result<i32, Error> {
        let turn = self.gate.enter()?;
        let result = call(|error| function(self.raw.as_ptr(), error));
        let failure = take_failure();
        self.leave(turn);
        match failure {
            Some(Failure::Panic(panic)) => resume_unwind(panic),
            Some(Failure::Error(source)) => result.map_err(|error| error.caused_by(source)),
            None => result,
        }
    }

    /// Makes calls in which no closures of the host run.
    pub(crate) fn enter<Out>(
        &self,
        function: impl FnOnce(*mut sys::ivg_session) -> Result<Out, Error>,
    ) -> Result<Out, Error> {
        let turn = self.gate.enter()?;
        let result = function(self.raw.as_ptr());
        self.leave(turn);
        result
    }

    fn leave(&self, turn: Turn<'_>) {
        let dropped = std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner));
        for sequence in dropped {
            // SAFETY: nothing else uses it, and it is this thread's turn.
            unsafe { sys::ivg_sequence_free(sequence.0.as_ptr()) }
        }
        drop(turn);
    }

    /// Frees a sequence; at the end of the turn if this thread has it.
    pub(crate) fn free(&self, sequence: NonNull<sys::ivg_sequence>) {
        match self.gate.enter() {
            // SAFETY: nothing else uses it, and it is this thread's turn.
            Ok(_turn) => unsafe { sys::ivg_sequence_free(sequence.as_ptr()) },
            Err(_) => self.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(Dropped(sequence)),
        }
    }
}

impl Session {
    /// A session on a base model.
    ///
    /// # Errors
    /// `InvalidArgument`; `Unsupported` for a vocabulary-only model; `OutOfMemory`.
    #[doc(alias = "ivg_session_create")]
    pub fn new(model: &Model, options: &SessionOptions) -> Result<Self, Error> {
        let options = options.raw();
        // SAFETY: the model and the options are alive.
        let raw = create(|out, error| unsafe { sys::ivg_session_create(out, model.raw(), &options, error) })?;
        let core = Core { raw, gate: Gate::default(), logits_processor: Mutex::default(), dropped: Mutex::default() };
        Ok(Self { core: Arc::new(core), model: model.clone(), not_sync: PhantomData })
    }

    /// The base model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Stops calls on this session, from any thread.
    #[doc(alias = "ivg_session_cancel")]
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::new(self.core.clone())
    }

    /// Generates a text.
    ///
    /// The prompt is raw text, or bytes, in which special tokens are parsed; BOS is added only where the file asks for it.
    ///
    /// # Errors
    /// Those of [`stream`](Self::stream) and of its steps. After `Cancelled` [`completion`](Self::completion) is what there
    /// is so far.
    pub fn generate(&mut self, prompt: impl AsRef<[u8]>, options: &GenerateOptions) -> Result<Completion, Error> {
        self.stream(prompt, options)?.finish()
    }

    /// Starts a request, whose steps are the items of the result; a request that was under way is dropped.
    ///
    /// Computes nothing yet: the first step reads the prompt.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), ivg::Error> {
    /// # let mut session = ivg::Model::open("model.gguf")?.session()?;
    /// for step in session.stream("Once upon a time", &ivg::GenerateOptions::new().seed(1))? {
    ///     print!("{}", step?.text);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument`; `ContextFull` if prompt and `max_tokens` exceed the context; `OutOfMemory` names the bytes needed
    /// and the budget; `Mismatch` if vocabularies of guides that tilt differ.
    #[doc(alias = "ivg_session_begin")]
    pub fn stream(&mut self, prompt: impl AsRef<[u8]>, options: &GenerateOptions) -> Result<Stream<'_>, Error> {
        let prompt = prompt.as_ref();
        options.with_raw(|raw| {
            self.core.enter(|session| {
                let (start, length) = (prompt.as_ptr().cast(), prompt.len());
                let guidance = options.raw_guidance();
                // SAFETY: all pointers are to living values, which are copied, but for the logits processor, which is kept
                // below until another request has begun.
                call(|error| unsafe { sys::ivg_session_begin(session, start, length, raw, guidance, error) })
            })
        })?;
        let mut kept = self.core.logits_processor.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *kept, options.logits_processor.clone());
        drop(kept);
        drop(old);
        Ok(Stream::new(self))
    }

    /// The current request as a whole: complete at its end, before it what there is so far.
    ///
    /// # Errors
    /// `InvalidArgument` if no request was begun.
    #[doc(alias = "ivg_session_result")]
    #[doc(alias = "ivg_session_candidate")]
    #[doc(alias = "ivg_session_nudges")]
    pub fn completion(&mut self) -> Result<Completion, Error> {
        self.core.enter(|session| {
            // SAFETY: it is this thread's turn.
            unsafe { read_completion(session) }
        })
    }

    /// Where the time of the session's calls went since its creation.
    ///
    /// # Errors
    /// `InvalidArgument` if the session was made without [`SessionOptions::timings`].
    #[doc(alias = "ivg_session_timings")]
    pub fn timings(&self) -> Result<Timings, Error> {
        let mut timings = sys::ivg_timings::default();
        self.core.enter(|session| {
            // SAFETY: the session is alive and `timings` as large as it says.
            call(|error| unsafe { sys::ivg_session_timings(session, &mut timings, error) })
        })?;
        Ok(Timings::of(&timings))
    }

    /// An empty sequence on the session's model, or on the model with an adapter.
    ///
    /// # Errors
    /// `Mismatch` for an adapter of another model; `OutOfMemory`.
    #[doc(alias = "ivg_sequence_create")]
    pub fn sequence(&mut self, adapter: Option<&Adapter>) -> Result<Sequence, Error> {
        Sequence::create(&self.core, adapter)
    }

    /// The value of each text as a beginning of an answer to `prompt`, by the parts of `guidance` that score. A request
    /// under way is dropped.
    ///
    /// # Errors
    /// As [`stream`](Self::stream); `InvalidArgument` if no part scores; `Cancelled`, `Callback`.
    pub fn score<Text: AsRef<[u8]>>(
        &mut self,
        guidance: &Guidance,
        prompt: impl AsRef<[u8]>,
        texts: &[Text],
    ) -> Result<Vec<f64>, Error> {
        self.score_flags(guidance, prompt.as_ref(), texts, 0)
    }

    /// The value of each text as a complete answer to `prompt`: the scorer sees its end token after them. Otherwise as
    /// [`score`](Self::score).
    #[doc(alias = "IVG_SCORE_ENDED")]
    pub fn score_ended<Text: AsRef<[u8]>>(
        &mut self,
        guidance: &Guidance,
        prompt: impl AsRef<[u8]>,
        texts: &[Text],
    ) -> Result<Vec<f64>, Error> {
        self.score_flags(guidance, prompt.as_ref(), texts, sys::IVG_SCORE_ENDED)
    }

    #[doc(alias = "ivg_session_score")]
    fn score_flags<Text: AsRef<[u8]>>(
        &mut self,
        guidance: &Guidance,
        prompt: &[u8],
        texts: &[Text],
        flags: u32,
    ) -> Result<Vec<f64>, Error> {
        let mut scores = vec![0.0; texts.len()];
        let (starts, lengths) = pointers(texts);
        self.core.call(|session, error| {
            let (prompt, length, count) = (prompt.as_ptr().cast(), prompt.len(), starts.len());
            let (starts, lengths, scores) = (starts.as_ptr(), lengths.as_ptr(), scores.as_mut_ptr());
            let guidance = guidance.raw();
            // SAFETY: all texts are as long as said, and there is room for a score for each.
            unsafe {
                sys::ivg_session_score(session, guidance, prompt, length, starts, lengths, count, flags, scores, error)
            }
        })?;
        Ok(scores)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("model", &self.model).finish_non_exhaustive()
    }
}
