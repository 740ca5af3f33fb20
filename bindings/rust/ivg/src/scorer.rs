// SPDX-License-Identifier: Apache-2.0

//! The host's own scorer.

use crate::callback::{finalize, into_user_data, run};
use crate::error::{call, BoxError, Error};
use crate::text::array;
use ivg_sys as sys;
use std::borrow::Cow;
use std::ffi::{c_char, c_void};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// An answer so far, as a scorer gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<'a> {
    /// Its text. One that a stop string ended still has it at its end; invalid bytes are U+FFFD.
    pub text: Cow<'a, str>,
    /// Whether it is complete.
    pub finished: bool,
}

pub(crate) type ScoreFunction = dyn Fn(&str, &[Answer<'_>]) -> Result<Vec<f64>, BoxError> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Scorer {
    pub(crate) weight: f64,
    pub(crate) score: Arc<ScoreFunction>,
}

impl fmt::Debug for Scorer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scorer").field("weight", &self.weight).finish_non_exhaustive()
    }
}

impl Scorer {
    pub(crate) fn add_to(self, guidance: NonNull<sys::ivg_guidance>) -> Result<(), Error> {
        let user_data = into_user_data(self.score);
        let options = sys::ivg_scorer_options {
            score: Some(trampoline),
            user_data,
            finalizer: Some(finalize::<Arc<ScoreFunction>>),
            ..Default::default()
        };
        // SAFETY: everything is alive, and no other thread knows the guidance yet. The closure may be called on any thread
        // until it is finalised.
        call(|error| unsafe { sys::ivg_guidance_add_scorer(guidance.as_ptr(), &options, self.weight, error) })
            // SAFETY: on an error the library does not call the finalizer.
            .inspect_err(|_| unsafe { finalize::<Arc<ScoreFunction>>(user_data) })?;
        Ok(())
    }
}

// What the library gives is what `ivg_scorer_fn` says: `count` texts with their lengths, and room for as many scores.
unsafe extern "C" fn trampoline(
    user_data: *mut c_void,
    prompt: *const c_char,
    prompt_length: usize,
    texts: *const *const c_char,
    text_lengths: *const usize,
    finished: *const i32,
    count: usize,
    scores: *mut f64,
) -> i32 {
    run(|| {
        // SAFETY: `user_data` is the closure, which lives until it is finalised; the library's arrays are as long as said.
        let (score, prompt, texts, lengths, finished) = unsafe {
            let score = &*user_data.cast::<Arc<ScoreFunction>>();
            let prompt = array(prompt.cast::<u8>(), prompt_length);
            (score, prompt, array(texts, count), array(text_lengths, count), array(finished, count))
        };
        let answers: Vec<_> = (0..count)
            .map(|index| {
                // SAFETY: each text is as long as its length says.
                let text = unsafe { array(texts[index].cast::<u8>(), lengths[index]) };
                Answer {
                    text: String::from_utf8_lossy(text),
                    finished: finished.get(index).is_some_and(|&mark| mark != 0),
                }
            })
            .collect();
        let values = score(&String::from_utf8_lossy(prompt), &answers)?;
        if values.len() != count {
            return Err(format!("the scorer returned {} scores for {count} answers", values.len()).into());
        }
        // SAFETY: there is room for `count` scores.
        unsafe { scores.copy_from_nonoverlapping(values.as_ptr(), count) };
        Ok(())
    })
}
