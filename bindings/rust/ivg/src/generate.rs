// SPDX-License-Identifier: Apache-2.0

//! How a request is generated.

use crate::callback::run;
use crate::error::{BoxError, Error};
use crate::model::flag;
use crate::options::{nonzero, options};
use crate::text::{array, Texts};
use crate::{Guidance, Token};
use ivg_sys as sys;
use std::ffi::c_void;
use std::sync::Arc;
use std::{fmt, ptr, slice};

options! {
    /// How a request is generated.
    ///
    /// Order within a step: banned tokens, guidance, repetition penalty, logits processor, temperature, top-k, top-p,
    /// min-p.
    ///
    /// ```
    /// let options = ivg::GenerateOptions::new().max_tokens(40).temperature(0.8).seed(1).stop_string("\n");
    /// ```
    #[doc(alias = "ivg_generate_options")]
    pub struct GenerateOptions {
        /// Hard bound on generated tokens (default 128).
        max_tokens: u32 = u32,
        /// Equal seeds give equal text (default 0).
        seed: u64 = u64,
        /// Default 0.7; 0 is greedy: always the most probable token.
        #[doc(alias = "IVG_GREEDY")]
        temperature: f32 = f32,
        /// Draw from the `top_k` most probable tokens (default 50); 0: from all.
        #[doc(alias = "IVG_TOP_K_OFF")]
        top_k: u32 = u32,
        /// Draw from the most probable tokens that together have this probability (default 1: off).
        top_p: f32 = f32,
        /// Drop tokens below `min_p` times the largest probability (default 0: off).
        min_p: f32 = f32,
        /// Divides positive and multiplies negative logits of tokens seen before (default 1: off).
        repetition_penalty: f32 = f32,
        /// How many alternatives a step reports, at most 64 (default 0).
        top_log_probabilities: u32 = u32,
        /// What the base model reads: a text in which `{prompt}` stands for the prompt. Guides have their own.
        prompt_template: String = impl Into<String>,
        /// Treat end tokens as ordinary ones (default false).
        #[doc(alias = "IVG_GENERATE_IGNORE_END")]
        ignore_end: bool = bool,
        /// Keep per-token log-probabilities of the base model and values of each guide (default false).
        #[doc(alias = "IVG_GENERATE_ATTRIBUTION")]
        attribution: bool = bool,
        /// What "better" means and how to search for it; plain sampling without it.
        guidance: Guidance = &Guidance,
    }
    with {
        stop_strings: Vec<String>,
        end_tokens: Vec<Token>,
        banned_tokens: Vec<Token>,
        logits_processor: Option<LogitsProcessor>,
    }
}

impl From<&Guidance> for Guidance {
    /// Another reference to the same guidance.
    fn from(guidance: &Guidance) -> Self {
        guidance.clone()
    }
}

pub(crate) type ProcessFunction = dyn Fn(LogitsRow<'_>) -> Result<(), BoxError> + Send + Sync;

/// In a box, so that C's one pointer is enough for it.
#[derive(Clone)]
pub(crate) struct LogitsProcessor(Arc<Box<ProcessFunction>>);

/// What a logits processor may look at and change.
#[derive(Debug)]
#[non_exhaustive]
pub struct LogitsRow<'a> {
    /// The number of the row.
    pub row: u32,
    /// The row's generated tokens so far.
    pub tokens: &'a [Token],
    /// The tilted logits on their raw scale, one for each token of the vocabulary.
    pub logits: &'a mut [f32],
}

impl GenerateOptions {
    /// Adds a text that ends a row before its first occurrence, wherever token borders are.
    #[must_use]
    pub fn stop_string(mut self, text: impl Into<String>) -> Self {
        self.stop_strings.push(text.into());
        self
    }

    /// Adds tokens that end a row, beside the model's own.
    #[must_use]
    pub fn end_tokens(mut self, tokens: impl IntoIterator<Item = Token>) -> Self {
        self.end_tokens.extend(tokens);
        self
    }

    /// Adds tokens that are never generated.
    #[must_use]
    pub fn banned_tokens(mut self, tokens: impl IntoIterator<Item = Token>) -> Self {
        self.banned_tokens.extend(tokens);
        self
    }

    /// The host's own step in sampling: may change the logits of a row.
    ///
    /// It runs on the thread that called the session, and must not call that session: such a call fails. An error of it
    /// fails the step with [`Callback`](crate::ErrorKind::Callback); a panic goes on where the call was made.
    #[must_use]
    #[doc(alias = "ivg_logits_processor_fn")]
    pub fn logits_processor<Process>(mut self, process: Process) -> Self
    where
        Process: Fn(LogitsRow<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.logits_processor = Some(LogitsProcessor(Arc::new(Box::new(process))));
        self
    }

    pub(crate) fn raw_guidance(&self) -> *const sys::ivg_guidance {
        self.guidance.as_ref().map_or(ptr::null(), Guidance::raw)
    }

    /// Calls a function with the C form of the options. A request needs a clone of the logits processor for as long as it
    /// may run.
    pub(crate) fn with_raw<Out>(
        &self,
        function: impl FnOnce(&sys::ivg_generate_options) -> Result<Out, Error>,
    ) -> Result<Out, Error> {
        let mut texts = Texts::default();
        let stops = self.stop_strings.iter().map(|stop| texts.text("stop_string", stop));
        let stops = stops.collect::<Result<Vec<_>, _>>()?;
        let options = sys::ivg_generate_options {
            max_tokens: nonzero("max_tokens", self.max_tokens)?,
            seed: self.seed.unwrap_or(0),
            temperature: self.raw_temperature()?,
            // Nothing is left of no probability at all but the most probable token.
            top_p: if self.top_p == Some(0.0) { f32::from_bits(1) } else { self.top_p.unwrap_or(0.0) },
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: nonzero("repetition_penalty", self.repetition_penalty)?,
            top_k: if self.top_k == Some(0) { sys::IVG_TOP_K_OFF } else { self.top_k.unwrap_or(0) },
            flags: flag(self.ignore_end.unwrap_or(false), sys::IVG_GENERATE_IGNORE_END)
                | flag(self.attribution.unwrap_or(false), sys::IVG_GENERATE_ATTRIBUTION),
            top_log_probabilities: self.top_log_probabilities.unwrap_or(0),
            prompt_template: texts.optional("prompt_template", self.prompt_template.as_deref())?,
            stop_strings: stops.as_ptr(),
            stop_string_count: stops.len(),
            end_tokens: self.end_tokens.as_ptr(),
            end_token_count: self.end_tokens.len(),
            banned_tokens: self.banned_tokens.as_ptr(),
            banned_token_count: self.banned_tokens.len(),
            logits_processor: self.logits_processor.as_ref().map(|_| trampoline as _),
            logits_processor_data: self.logits_processor.as_ref().map_or(ptr::null_mut(), LogitsProcessor::user_data),
            ..Default::default()
        };
        function(&options)
    }

    /// In C 0 is the default, and greedy is negative. Nudging is greedy, and knows no other default.
    fn raw_temperature(&self) -> Result<f32, Error> {
        match self.temperature {
            None if self.guidance.as_ref().is_some_and(Guidance::nudges) => Ok(sys::IVG_GREEDY),
            None => Ok(0.0),
            Some(0.0) => Ok(sys::IVG_GREEDY),
            Some(value) if value < 0.0 => {
                Err(Error::invalid(format!("temperature is {value}; it must not be negative")))
            }
            Some(value) => Ok(value),
        }
    }
}

impl LogitsProcessor {
    /// The processor as C knows it: valid while one of its clones lives.
    fn user_data(&self) -> *mut c_void {
        Arc::as_ptr(&self.0).cast_mut().cast()
    }
}

impl fmt::Debug for LogitsProcessor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LogitsProcessor")
    }
}

unsafe extern "C" fn trampoline(
    user_data: *mut c_void,
    row: u32,
    tokens: *const i32,
    token_count: usize,
    logits: *mut f32,
    vocabulary_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: the session keeps the processor for as long as the request may run; the library's arrays are
        // as long as said, and the logits are lent to this call alone.
        unsafe {
            let process = &*user_data.cast::<Box<ProcessFunction>>();
            let logits = slice::from_raw_parts_mut(logits, vocabulary_size);
            process(LogitsRow { row, tokens: array(tokens, token_count), logits })
        }
    })
}
