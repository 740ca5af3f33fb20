// SPDX-License-Identifier: Apache-2.0

//! Evaluated tokens, for hosts that bring their own loop.

use crate::error::{call, create, Error};
use crate::session::Core;
use crate::text::array;
use crate::{Adapter, Token};
use ivg_sys as sys;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// A sequence of evaluated tokens within a session, for hosts that bring their own loop.
///
/// Sequences share the session's memory, keep it alive, and stay valid across its requests. Calls on them and on the
/// session wait for each other.
///
/// ```no_run
/// # fn main() -> Result<(), ivg::Error> {
/// # let model = ivg::Model::open("model.gguf")?;
/// let mut sequence = model.session()?.sequence(None)?;
/// sequence.evaluate(&model.tokenize("Once upon a")?)?;
/// let other = sequence.fork()?; // costs nothing until it differs
/// println!("{:?}", sequence.logits()?.first());
/// # Ok(()) }
/// ```
#[doc(alias = "ivg_sequence")]
pub struct Sequence {
    raw: NonNull<sys::ivg_sequence>,
    session: Arc<Core>,
}

// SAFETY: any thread may use and free a sequence; the session's gate lets one call at a time through.
unsafe impl Send for Sequence {}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.session.free(self.raw);
    }
}

impl Sequence {
    pub(crate) fn create(session: &Arc<Core>, adapter: Option<&Adapter>) -> Result<Self, Error> {
        let adapter = adapter.map_or(ptr::null(), Adapter::raw);
        let raw = session.enter(|raw| {
            // SAFETY: the session and the adapter are alive, and it is this thread's turn.
            create(|out, error| unsafe { sys::ivg_sequence_create(out, raw, adapter, error) })
        })?;
        Ok(Self { raw, session: session.clone() })
    }

    /// A copy, at no cost until it differs.
    ///
    /// # Errors
    /// `OutOfMemory`.
    #[doc(alias = "ivg_sequence_fork")]
    pub fn fork(&mut self) -> Result<Self, Error> {
        let raw = self.session.enter(|_| {
            // SAFETY: the sequence is alive, and it is this thread's turn.
            create(|out, error| unsafe { sys::ivg_sequence_fork(out, self.raw.as_ptr(), error) })
        })?;
        Ok(Self { raw, session: self.session.clone() })
    }

    /// Appends tokens and computes their states.
    ///
    /// # Errors
    /// `InvalidArgument` for an id outside the vocabulary; `ContextFull`, `OutOfMemory`, `Cancelled`: all leave the
    /// sequence as it was.
    #[doc(alias = "ivg_sequence_evaluate")]
    pub fn evaluate(&mut self, tokens: &[Token]) -> Result<(), Error> {
        self.session.call(|_, error| {
            // SAFETY: the sequence is alive, it is this thread's turn, and there are so many tokens.
            unsafe { sys::ivg_sequence_evaluate(self.raw.as_ptr(), tokens.as_ptr(), tokens.len(), error) }
        })?;
        Ok(())
    }

    /// Appends tokens to several sequences of one session, in one pass over the weights for all of them: users with an
    /// adapter each cost little more together than one alone. The logits are those of each alone, to the bit.
    ///
    /// # Errors
    /// As `evaluate`, and `InvalidArgument` for sequences of different sessions; all are left as they were.
    #[doc(alias = "ivg_sequence_evaluate_batch")]
    pub fn evaluate_batch(extensions: &mut [(&mut Self, &[Token])]) -> Result<(), Error> {
        let Some((first, _)) = extensions.first() else { return Ok(()) };
        let session = first.session.clone();
        // Only one session's turn is taken.
        if let Some(other) = extensions.iter().position(|(it, _)| !Arc::ptr_eq(&it.session, &session)) {
            return Err(Error::invalid(format!("sequence {other} belongs to another session than the first")));
        }
        let batch: Vec<_> = extensions
            .iter()
            .map(|(it, tokens)| sys::ivg_sequence_extension {
                sequence: it.raw.as_ptr(),
                tokens: tokens.as_ptr(),
                token_count: tokens.len(),
            })
            .collect();
        session.call(|_, error| {
            // SAFETY: the sequences are alive and of this session, it is this thread's turn, and each has so many tokens.
            unsafe { sys::ivg_sequence_evaluate_batch(batch.as_ptr(), batch.len(), error) }
        })?;
        Ok(())
    }

    /// Forgets all but the first `length` tokens. Logits are gone until the next `evaluate`.
    ///
    /// # Errors
    /// `InvalidArgument` if it has fewer.
    #[doc(alias = "ivg_sequence_truncate")]
    pub fn truncate(&mut self, length: usize) -> Result<(), Error> {
        self.session.enter(|_| {
            // SAFETY: the sequence is alive, and it is this thread's turn.
            call(|error| unsafe { sys::ivg_sequence_truncate(self.raw.as_ptr(), length, error) })
        })?;
        Ok(())
    }

    /// How many tokens it holds.
    ///
    /// # Errors
    /// `InvalidArgument` within a closure that the session runs.
    #[doc(alias = "ivg_sequence_length")]
    #[allow(clippy::len_without_is_empty)] // it is fallible
    pub fn len(&self) -> Result<usize, Error> {
        // SAFETY: the sequence is alive, and it is this thread's turn.
        self.session.enter(|_| Ok(unsafe { sys::ivg_sequence_length(self.raw.as_ptr()) }))
    }

    /// The raw logits after the last evaluated token, one for each token of the vocabulary.
    ///
    /// # Errors
    /// `InvalidArgument` before any `evaluate`.
    #[doc(alias = "ivg_sequence_logits")]
    pub fn logits(&mut self) -> Result<&[f32], Error> {
        let (mut logits, mut count) = (ptr::null(), 0);
        self.session.enter(|_| {
            // SAFETY: the sequence is alive, and it is this thread's turn.
            call(|error| unsafe { sys::ivg_sequence_logits(self.raw.as_ptr(), &mut logits, &mut count, error) })
        })?;
        // SAFETY: there are so many, borrowed until the next call on the sequence, which has to borrow it mutably again.
        Ok(unsafe { array(logits, count) })
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sequence")
    }
}
