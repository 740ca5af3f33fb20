// SPDX-License-Identifier: Apache-2.0

//! What "better" means, and how to search for it.

use crate::error::{call, create, Error};
use crate::parts::{Explicit, Implicit, Nudging, Scorer};
use crate::scorer::Answer;
use crate::BoxError;
use ivg_sys as sys;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// What "better" means and how to search for it; given to [`GenerateOptions::guidance`](crate::GenerateOptions::guidance).
///
/// Parts in the role [`Tilt`](crate::Role::Tilt) change every token's distribution, parts in the role
/// [`Score`](crate::Role::Score) rank whole rows at the end of each chunk. Immutable; a clone is another reference, and
/// any number of sessions and threads may share it. It keeps its models, adapters and heads alive.
///
/// | method | parts | [`Search`] |
/// |---|---|---|
/// | plain sampling | none | none |
/// | EFT | implicit or explicit, tilt | none |
/// | best of N | any, score | `Search::best_of(n)` |
/// | chunk-level beam search | any, score | `Search::chunks(w, k, l)` |
/// | IVG | implicit tilt and explicit score | `Search::chunks(w, k, l)` |
/// | n samples, all kept | none, or tilt | `Search::samples(n)` |
/// | nudging | [`nudging`](GuidanceBuilder::nudging), alone | none |
///
/// ```no_run
/// use ivg::{Explicit, Guidance, Implicit, Search};
/// # fn main() -> Result<(), ivg::Error> {
/// let small = ivg::Model::open("small.gguf")?;
/// let guidance = Guidance::builder()
///     .implicit(Implicit::new().tuned_adapter(&small.adapter("tuned-dpo.gguf")?).untuned_model(&small))
///     .explicit(Explicit::new(&small.value_head("value-fudge.gguf")?))
///     .search(Search::chunks(4, 4, 5))
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[doc(alias = "ivg_guidance")]
pub struct Guidance(Arc<Handle>);

struct Handle {
    raw: NonNull<sys::ivg_guidance>,
    nudges: bool,
}

// SAFETY: a guidance is built by one thread and immutable then; any thread may use and free it. The closures in it are
// Send and Sync.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: it is ours, and this is the last use.
        unsafe { sys::ivg_guidance_free(self.raw.as_ptr()) }
    }
}

/// How many rows are drawn, and when the best are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "ivg_guidance_options")]
pub struct Search {
    width: u32,
    successors: u32,
    chunk: u32,
    finished_rows: FinishedRows,
    dedupe: bool,
    candidates: Candidates,
}

/// What becomes of rows that have finished before the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishedRows {
    /// A finished row keeps one slot and competes, at no cost.
    #[default]
    #[doc(alias = "IVG_FINISHED_POOL")]
    Pool,
    /// A finished row is copied like any other.
    #[doc(alias = "IVG_FINISHED_TILE")]
    Tile,
}

/// Which tokens may be drawn where parts tilt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Candidates {
    /// The top-k of the tilted logits.
    #[default]
    #[doc(alias = "IVG_CANDIDATES_TILTED")]
    Tilted,
    /// Only the base's top-k are tilted.
    #[doc(alias = "IVG_CANDIDATES_BASE")]
    Base,
}

impl Search {
    /// Draws `width` * `successors` rows, keeps the best `width` after every `chunk` tokens, and copies each `successors`
    /// times. Good starts: 4, 4, 5 for short text; 2, 2, 30 for chat. A `chunk` of 0 selects once, at the end.
    pub fn chunks(width: u32, successors: u32, chunk: u32) -> Self {
        let (finished_rows, candidates) = (FinishedRows::Pool, Candidates::Tilted);
        Self { width, successors, chunk, finished_rows, dedupe: false, candidates }
    }

    /// Draws `n` whole answers and keeps the best one. 16 is a good start.
    pub fn best_of(n: u32) -> Self {
        Self::chunks(1, n, 0)
    }

    /// Draws `n` answers and keeps all.
    pub fn samples(n: u32) -> Self {
        Self::chunks(n, 1, 0)
    }

    /// What becomes of rows that have finished before the others.
    #[must_use]
    pub fn finished_rows(mut self, finished_rows: FinishedRows) -> Self {
        self.finished_rows = finished_rows;
        self
    }

    /// Whether of kept rows with equal text only the best stays.
    #[must_use]
    pub fn dedupe(mut self, dedupe: bool) -> Self {
        self.dedupe = dedupe;
        self
    }

    /// Which tokens may be drawn where parts tilt.
    #[must_use]
    pub fn candidates(mut self, candidates: Candidates) -> Self {
        self.candidates = candidates;
        self
    }

    fn raw(&self) -> Result<sys::ivg_guidance_options, Error> {
        if self.width == 0 || self.successors == 0 {
            return Err(Error::invalid(format!(
                "width is {} and successors {}; both must be at least 1",
                self.width, self.successors
            )));
        }
        Ok(sys::ivg_guidance_options {
            width: self.width,
            successors: self.successors,
            chunk: self.chunk,
            finished_rows: match self.finished_rows {
                FinishedRows::Pool => sys::IVG_FINISHED_POOL,
                FinishedRows::Tile => sys::IVG_FINISHED_TILE,
            },
            dedupe: u32::from(self.dedupe),
            candidates: match self.candidates {
                Candidates::Tilted => sys::IVG_CANDIDATES_TILTED,
                Candidates::Base => sys::IVG_CANDIDATES_BASE,
            },
            ..Default::default()
        })
    }
}

impl Default for Search {
    /// One row.
    fn default() -> Self {
        Self::chunks(1, 1, 0)
    }
}

/// Collects the parts of a [`Guidance`], in the order in which results list their values.
#[derive(Clone, Debug, Default)]
#[must_use = "build() makes the guidance"]
pub struct GuidanceBuilder {
    search: Search,
    parts: Vec<Part>,
    nudging: Option<Nudging>,
}

#[derive(Clone, Debug)]
enum Part {
    Implicit(Implicit),
    Explicit(Explicit),
    Scorer(Scorer),
}

impl Guidance {
    /// A guidance without parts, to add them.
    #[doc(alias = "ivg_guidance_create")]
    pub fn builder() -> GuidanceBuilder {
        GuidanceBuilder::default()
    }

    pub(crate) fn raw(&self) -> *const sys::ivg_guidance {
        self.0.raw.as_ptr()
    }

    /// Whether a small model nudges the base.
    pub(crate) fn nudges(&self) -> bool {
        self.0.nudges
    }
}

impl GuidanceBuilder {
    /// How to search; one row if this is not called.
    pub fn search(mut self, search: Search) -> Self {
        self.search = search;
        self
    }

    /// Adds an implicit value. Any number may be added.
    #[doc(alias = "ivg_guidance_add_implicit")]
    pub fn implicit(mut self, value: Implicit) -> Self {
        self.parts.push(Part::Implicit(value));
        self
    }

    /// Adds an explicit value. Any number may be added.
    #[doc(alias = "ivg_guidance_add_explicit")]
    pub fn explicit(mut self, value: Explicit) -> Self {
        self.parts.push(Part::Explicit(value));
        self
    }

    /// Adds a scorer of the host with its weight, in the role [`Score`](crate::Role::Score).
    ///
    /// It gets the prompt and the answers so far, and returns one score for each answer. It runs on the thread that called
    /// the session, and on several at once if several sessions share the guidance. It must not call that session: such a
    /// call fails. An error of it fails the call with [`Callback`](crate::ErrorKind::Callback); a panic goes on where the
    /// call was made.
    ///
    /// ```no_run
    /// let guidance = ivg::Guidance::builder()
    ///     .scorer(1.0, |_prompt, answers| Ok(answers.iter().map(|answer| answer.text.len() as f64).collect()))
    ///     .search(ivg::Search::best_of(8))
    ///     .build();
    /// ```
    #[doc(alias = "ivg_guidance_add_scorer")]
    pub fn scorer<Score>(mut self, weight: f64, score: Score) -> Self
    where
        Score: Fn(&str, &[Answer<'_>]) -> Result<Vec<f64>, BoxError> + Send + Sync + 'static,
    {
        self.parts.push(Part::Scorer(Scorer { weight, score: Arc::new(score) }));
        self
    }

    /// Has a small model nudge the base. Stands alone, without parts and search.
    #[doc(alias = "ivg_guidance_set_nudging")]
    pub fn nudging(mut self, nudging: Nudging) -> Self {
        self.nudging = Some(nudging);
        self
    }

    /// The guidance.
    ///
    /// # Errors
    /// `InvalidArgument` names the option or part that is wrong; `Mismatch` if an adapter is for another model.
    pub fn build(self) -> Result<Guidance, Error> {
        crate::error::check_library()?;
        let options = self.search.raw()?;
        // SAFETY: the options are alive.
        let raw = create(|out, error| unsafe { sys::ivg_guidance_create(out, &options, error) })?;
        let handle = Handle { raw, nudges: self.nudging.is_some() }; // frees the guidance if a part is refused
        for part in self.parts {
            match part {
                Part::Implicit(part) => part.add_to(handle.raw)?,
                Part::Explicit(part) => part.add_to(handle.raw)?,
                Part::Scorer(part) => part.add_to(handle.raw)?,
            }
        }
        if let Some(nudging) = self.nudging {
            nudging.with_raw(|options| {
                // SAFETY: both are alive, and no other thread knows the guidance yet.
                call(|error| unsafe { sys::ivg_guidance_set_nudging(handle.raw.as_ptr(), options, error) })
            })?;
        }
        Ok(Guidance(Arc::new(handle)))
    }
}

impl fmt::Debug for Guidance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guidance").field("nudges", &self.0.nudges).finish_non_exhaustive()
    }
}
