// SPDX-License-Identifier: Apache-2.0

//! What generating brings.

use crate::error::{call, Error};
use crate::text::{array, owned_sized};
use crate::Token;
use ivg_sys as sys;
use std::ops::Range;
use std::ptr;

/// Why a row has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishReason {
    /// An end token, which is not part of the text.
    #[doc(alias = "IVG_FINISH_END")]
    End,
    /// A stop string, which is not part of the text.
    #[doc(alias = "IVG_FINISH_STOP")]
    Stop,
    /// `max_tokens`.
    #[doc(alias = "IVG_FINISH_LENGTH")]
    Length,
    /// The nudger said the same a fourth time in a row, which is not part of the text.
    #[doc(alias = "IVG_FINISH_REPEAT")]
    Repeat,
    /// [`Nudging::max_rounds`](crate::Nudging::max_rounds).
    #[doc(alias = "IVG_FINISH_ROUNDS")]
    Rounds,
    /// A reason that this version of the crate does not know.
    Other,
}

/// A request as a whole. The text and what belongs to it are those of the best row.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[doc(alias = "ivg_result")]
pub struct Completion {
    /// The text of the best row.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// Why it has ended; `None` while the request is under way.
    pub finish_reason: Option<FinishReason>,
    /// Its score; 0 without parts that score.
    pub score: f64,
    /// The rows that were kept, best first.
    pub candidates: Vec<Candidate>,
    /// Tokens of the base prompt.
    pub prompt_token_count: u64,
    /// Of these, taken from an earlier request.
    pub reused_token_count: u64,
    /// Tokens sampled over all rows.
    pub token_count: u64,
    /// Seconds until the first token.
    pub prompt_seconds: f64,
    /// Seconds after it.
    pub generate_seconds: f64,
    /// Bytes beside the mapped files, as compared with the budget.
    pub memory_used: u64,
    /// Which bytes of the text a nudger wrote, in order.
    #[doc(alias = "ivg_session_nudges")]
    pub nudges: Vec<Range<usize>>,
    /// The nudger's share of the answer's tokens, 0 to 1.
    pub nudged_share: f64,
}

/// One kept row.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[doc(alias = "ivg_candidate")]
pub struct Candidate {
    /// Its text without stop string and end token; invalid bytes are U+FFFD.
    pub text: String,
    /// Its tokens, with the end token if that was its end; with nudging those of the nudger in its own vocabulary.
    pub tokens: Vec<Token>,
    /// Why it has ended.
    pub finish_reason: Option<FinishReason>,
    /// The score of the whole row; 0 without parts that score.
    pub score: f64,
    /// The sum over its tokens.
    pub log_probability: f64,
    /// A token's log-probability under the guided distribution at temperature 1.
    pub log_probabilities: Vec<f32>,
    /// A token's log-probability under the base model alone; with `attribution`.
    pub base_log_probabilities: Option<Vec<f32>>,
    /// A token's value by each guide, in the order they were added: the log-ratio of an implicit value, the Q of an
    /// explicit one; NaN if not in hand. With `attribution`.
    pub guide_values: Option<Vec<Vec<f32>>>,
}

/// Where the time of a session's calls went since its creation, in seconds of the calling thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
#[doc(alias = "ivg_timings")]
pub struct Timings {
    /// Forward passes over a model's weights.
    pub pass_count: u64,
    /// Rows (tokens) of all passes together.
    pub row_count: u64,
    /// Reading the tokens' embeddings.
    pub embed_seconds: f64,
    /// Norms, and rounding for quantised weights.
    pub normalize_seconds: f64,
    /// Query, key, value and attention output.
    pub projection_seconds: f64,
    /// Rotation, storing keys and values, scores and mixtures.
    pub attention_seconds: f64,
    /// Gate, up, activation and down.
    pub feed_forward_seconds: f64,
    /// The final norm, logits, heads, log-probabilities.
    pub output_seconds: f64,
    /// Penalties, tilts, drawing.
    pub sample_seconds: f64,
    /// Adding up scores, selecting rows; their passes count above.
    pub score_seconds: f64,
    /// Everything else within the calls.
    pub other_seconds: f64,
}

pub(crate) fn finish_reason(raw: u32) -> Option<FinishReason> {
    Some(match raw {
        sys::IVG_FINISH_NONE => return None,
        sys::IVG_FINISH_END => FinishReason::End,
        sys::IVG_FINISH_STOP => FinishReason::Stop,
        sys::IVG_FINISH_LENGTH => FinishReason::Length,
        sys::IVG_FINISH_REPEAT => FinishReason::Repeat,
        sys::IVG_FINISH_ROUNDS => FinishReason::Rounds,
        _ => FinishReason::Other,
    })
}

/// Copies the current request's results.
///
/// # Safety
/// `session` is alive, and no other call on it is running.
pub(crate) unsafe fn read_completion(session: *mut sys::ivg_session) -> Result<Completion, Error> {
    let mut result = sys::ivg_result::default();
    // SAFETY: the caller's promise; `result` is as large as it says.
    call(|error| unsafe { sys::ivg_session_result(session, &mut result, error) })?;
    let mut candidates = Vec::new();
    for index in 0..result.candidate_count {
        let mut row = sys::ivg_candidate::default();
        // SAFETY: as above; what the row points to is borrowed until the next call.
        candidates.push(unsafe {
            call(|error| sys::ivg_session_candidate(session, index, &mut row, error))?;
            Candidate::of(&row, result.guide_count as usize)
        });
    }
    let (mut spans, mut count, mut share) = (ptr::null(), 0, 0.0);
    // SAFETY: as above; the spans are borrowed until the next call.
    let spans = unsafe {
        call(|error| sys::ivg_session_nudges(session, &mut spans, &mut count, &mut share, error))?;
        array(spans, count)
    };
    let best = candidates.first();
    Ok(Completion {
        text: best.map_or_else(String::new, |row| row.text.clone()),
        tokens: best.map_or_else(Vec::new, |row| row.tokens.clone()),
        finish_reason: finish_reason(result.finish_reason),
        score: best.map_or(0.0, |row| row.score),
        prompt_token_count: result.prompt_token_count,
        reused_token_count: result.reused_token_count,
        token_count: result.token_count,
        prompt_seconds: result.prompt_seconds,
        generate_seconds: result.generate_seconds,
        memory_used: result.memory_used,
        nudges: spans.iter().map(|span| span.start as usize..(span.start + span.length) as usize).collect(),
        nudged_share: share,
        candidates,
    })
}

impl Candidate {
    /// # Safety
    /// What `row` points to is alive.
    unsafe fn of(row: &sys::ivg_candidate, guide_count: usize) -> Self {
        let count = row.token_count;
        // SAFETY: the caller's promise; the arrays are as long as said.
        let (text, tokens, own, base, values) = unsafe {
            let values = array(row.guide_values, count * guide_count);
            let base = array(row.base_log_probabilities, count);
            let own = array(row.log_probabilities, count);
            (owned_sized(row.text, row.text_length), array(row.tokens, count), own, base, values)
        };
        let of_token = |index| values[index * guide_count..][..guide_count].to_vec();
        Self {
            text,
            tokens: tokens.to_vec(),
            finish_reason: finish_reason(row.finish_reason),
            score: row.score,
            log_probability: row.log_probability,
            log_probabilities: own.to_vec(),
            base_log_probabilities: (!row.base_log_probabilities.is_null()).then(|| base.to_vec()),
            guide_values: (!row.guide_values.is_null()).then(|| (0..count).map(of_token).collect()),
        }
    }
}

impl Timings {
    pub(crate) fn of(raw: &sys::ivg_timings) -> Self {
        Self {
            pass_count: raw.pass_count,
            row_count: raw.row_count,
            embed_seconds: raw.embed_seconds,
            normalize_seconds: raw.normalize_seconds,
            projection_seconds: raw.projection_seconds,
            attention_seconds: raw.attention_seconds,
            feed_forward_seconds: raw.feed_forward_seconds,
            output_seconds: raw.output_seconds,
            sample_seconds: raw.sample_seconds,
            score_seconds: raw.score_seconds,
            other_seconds: raw.other_seconds,
        }
    }
}
