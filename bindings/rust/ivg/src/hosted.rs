// SPDX-License-Identifier: Apache-2.0

//! Models whose logits the host computes.

use crate::callback::{finalize, into_user_data, run};
use crate::error::{check_library, create, BoxError, Error};
use crate::text::array;
use crate::{Model, Token};
use ivg_sys as sys;
use std::ffi::c_void;
use std::slice;

/// One row that a hosted model is asked about.
#[derive(Debug)]
#[non_exhaustive]
#[doc(alias = "ivg_hosted_row")]
pub struct HostedRow<'a> {
    /// All its tokens so far, of the prompt and generated.
    pub tokens: &'a [Token],
    /// Where the raw logits of the next token go, one for each token of the vocabulary; zeros at first.
    pub logits: &'a mut [f32],
}

impl Model {
    /// A model whose logits the host computes, to be steered like any other: as a session's base, or a tuned or untuned
    /// guide. Not for adapters, value heads and sequences.
    ///
    /// `vocabulary` gives the tokenizer: a model file with the same vocabulary, or a vocabulary-only one. A row holds at
    /// most `context_length` tokens; 0 means 4096. `logits` runs on the thread that called into the session, and on
    /// several at once if the model serves several sessions. It must not call that session; an error of it fails the
    /// call, and a panic goes on where the call was made.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), ivg::Error> {
    /// # fn my_model(tokens: &[i32], logits: &mut [f32]) {}
    /// let model = ivg::Model::hosted(&ivg::Model::open("vocabulary.gguf")?, 2048, |rows| {
    ///     for row in rows {
    ///         my_model(row.tokens, row.logits);
    ///     }
    ///     Ok(())
    /// })?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "ivg_model_create_hosted")]
    pub fn hosted<Logits>(vocabulary: &Model, context_length: u32, logits: Logits) -> Result<Self, Error>
    where
        Logits: Fn(&mut [HostedRow<'_>]) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        check_library()?;
        let user_data = into_user_data(logits);
        let options = sys::ivg_hosted_options {
            context_length,
            logits: Some(trampoline::<Logits>),
            user_data,
            finalizer: Some(finalize::<Logits>),
            ..Default::default()
        };
        // SAFETY: the options and the model are alive; the closure may be called on any thread until it is finalised.
        match create(|out, error| unsafe { sys::ivg_model_create_hosted(out, vocabulary.raw(), &options, error) }) {
            Ok(raw) => Self::own(raw),
            Err(error) => {
                // SAFETY: on an error the library does not call the finalizer.
                unsafe { finalize::<Logits>(user_data) };
                Err(error)
            }
        }
    }
}

unsafe extern "C" fn trampoline<Logits>(
    user_data: *mut c_void,
    rows: *const sys::ivg_hosted_row,
    count: usize,
    vocabulary_size: usize,
) -> i32
where
    Logits: Fn(&mut [HostedRow<'_>]) -> Result<(), BoxError>,
{
    run(|| {
        // SAFETY: `user_data` is the closure, which lives until it is finalised; the library gives `count` rows.
        let (logits, rows) = unsafe { (&*user_data.cast::<Logits>(), array(rows, count)) };
        let mut rows: Vec<_> = rows
            .iter()
            .map(|row| {
                // SAFETY: each row has room of its own for so many logits, which need not be set yet.
                let logits = unsafe {
                    row.logits.write_bytes(0, vocabulary_size);
                    slice::from_raw_parts_mut(row.logits, vocabulary_size)
                };
                // SAFETY: the library gives so many tokens.
                HostedRow { tokens: unsafe { array(row.tokens, row.token_count) }, logits }
            })
            .collect();
        logits(&mut rows)
    })
}
