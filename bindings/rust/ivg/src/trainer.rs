// SPDX-License-Identifier: Apache-2.0

//! Training adapters and value heads.

use crate::cancel::{Cancel, CancelHandle};
use crate::error::{call, create, Error};
use crate::text::{owned, Texts};
use crate::{Model, Objective, TrainerOptions};
use ivg_sys as sys;
use std::fmt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

/// Trains an adapter or a value head on the CPU, over the mapped weights of a model, which stay as they are.
///
/// Each item of the iterator is one piece of work: some lines of preparation, one step, or one evaluation. After
/// [`Cancelled`](crate::ErrorKind::Cancelled), and after `Io` or `NotFound`, the iterator does that piece again.
///
/// ```no_run
/// use ivg::{Objective, Trainer, TrainerOptions};
/// # fn main() -> Result<(), ivg::Error> {
/// let model = ivg::Model::open("model.gguf")?;
/// let mut trainer = Trainer::new(&model, Objective::Preference, "pairs.jsonl", &TrainerOptions::new().rank(8))?;
/// for report in trainer.by_ref() {
///     let report = report?;
///     println!("{} {}", report.step, report.loss);
/// }
/// trainer.save("tuned.gguf")?;
/// # Ok(()) }
/// ```
#[doc(alias = "ivg_trainer")]
#[must_use = "training goes on while the iterator is read"]
pub struct Trainer(Arc<Core>);

struct Core(NonNull<sys::ivg_trainer>);

// SAFETY: any thread may call functions on a trainer and free it; but for cancelling, `Trainer` makes one call at a time.
unsafe impl Send for Core {}
// SAFETY: all that is shared is cancelling, which any thread may do at any time.
unsafe impl Sync for Core {}

impl Drop for Core {
    fn drop(&mut self) {
        // SAFETY: it is ours, and this is the last use.
        unsafe { sys::ivg_trainer_free(self.0.as_ptr()) }
    }
}

impl Cancel for Core {
    fn cancel(&self) {
        // SAFETY: one atomic store, from any thread, while the trainer is alive.
        unsafe { sys::ivg_trainer_cancel(self.0.as_ptr()) }
    }
}

/// What a piece of training was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReportKind {
    /// Computed reference log-probabilities, or hidden states, of some lines.
    #[doc(alias = "IVG_REPORT_PREPARE")]
    Prepare,
    /// One step of the optimiser.
    #[doc(alias = "IVG_REPORT_TRAIN")]
    Train,
    /// The whole evaluation split.
    #[doc(alias = "IVG_REPORT_EVALUATE")]
    Evaluate,
}

/// What one piece of training has done. Figures that an objective does not have are NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[doc(alias = "ivg_trainer_report")]
pub struct TrainerReport {
    /// What it was.
    pub kind: ReportKind,
    /// Steps of the optimiser so far.
    pub step: u64,
    /// Of the whole run.
    pub step_count: u64,
    /// Of the phase at hand: lines prepared, steps made.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// Tokens that went through the model in this call.
    pub token_count: u64,
    /// Seconds that this call took.
    pub seconds: f64,
    /// `token_count` a second.
    pub tokens_per_second: f64,
    /// Passes over the data so far.
    pub epoch: f64,
    /// What is minimised.
    pub loss: f64,
    /// The optimiser's rate.
    pub learning_rate: f64,
    /// Of the gradient, before clipping.
    pub gradient_norm: f64,
    /// Share of pairs in which chosen is above rejected; evaluating a value: share of pairs of neighbouring lines whose
    /// values are ordered as their rewards.
    pub accuracy: f64,
    /// Mean distance of chosen above rejected: beta times log-ratio, or reward.
    pub margin: f64,
    /// Mean of the same for chosen.
    pub chosen: f64,
    /// Mean of the same for rejected.
    pub rejected: f64,
    /// KL divergence from the model it starts from, mean over completion tokens.
    pub kl: f64,
    /// Between the last prefix's value and the reward.
    pub correlation: f64,
}

/// A line of the data that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "ivg_trainer_problem_info")]
pub struct TrainerProblem {
    /// Whether it is in the evaluation file.
    pub is_evaluation: bool,
    /// Its number; 1 is the first.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What a trainer trains with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "ivg_trainer_info")]
pub struct TrainerInfo {
    /// Layers whose activations stay in memory; those of the others are computed twice.
    pub kept_layers: u32,
    /// Usable lines that are trained on.
    pub example_count: u64,
    /// Usable lines that are evaluated.
    pub evaluation_count: u64,
    /// Trained numbers.
    pub parameter_count: u64,
    /// Steps of the whole run.
    pub step_count: u64,
    /// Steps that a checkpoint brought along.
    pub resumed_step: u64,
    /// Bytes beside the mapped file.
    pub memory: u64,
}

impl Trainer {
    /// Opens and checks the data (JSON Lines in the layouts of TRL), takes the memory, resumes from a checkpoint.
    ///
    /// # Errors
    /// `InvalidArgument` for an option out of its range, or data without a usable line; `NotFound`, `Io`, `CorruptFile`;
    /// `Unsupported` for a model whose training is not known; `Mismatch` for a start file of another model or kind, or a
    /// checkpoint of another run; `OutOfMemory` names the bytes needed and the budget.
    #[doc(alias = "ivg_trainer_create")]
    pub fn new(
        model: &Model,
        objective: Objective,
        data: impl AsRef<Path>,
        options: &TrainerOptions,
    ) -> Result<Self, Error> {
        let raw = options.with_raw(objective, data.as_ref(), |raw| {
            // SAFETY: the model and the options are alive.
            create(|out, error| unsafe { sys::ivg_trainer_create(out, model.raw(), raw, error) })
        })?;
        Ok(Self(Arc::new(Core(raw))))
    }

    /// Stops the running piece, from any thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::new(self.0.clone())
    }

    /// Writes the adapter or value head as it is now; with an evaluation split and `patience`, after the end: as it was at
    /// its best. The file appears complete, or not at all.
    ///
    /// # Errors
    /// `NotFound` for a folder that does not exist; `Io`.
    #[doc(alias = "ivg_trainer_save")]
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut texts = Texts::default();
        let path = texts.path("path", path.as_ref())?;
        // SAFETY: this is the only call but for cancelling, and `path` a C string.
        call(|error| unsafe { sys::ivg_trainer_save(self.raw(), path, error) })?;
        Ok(())
    }

    /// Writes the checkpoint now.
    ///
    /// # Errors
    /// `InvalidArgument` without a `checkpoint_path`; `Io`.
    #[doc(alias = "ivg_trainer_checkpoint")]
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        // SAFETY: this is the only call but for cancelling.
        call(|error| unsafe { sys::ivg_trainer_checkpoint(self.raw(), error) })?;
        Ok(())
    }

    /// How many lines were left out.
    #[doc(alias = "ivg_trainer_problem_count")]
    pub fn problem_count(&self) -> u64 {
        // SAFETY: the trainer is alive.
        unsafe { sys::ivg_trainer_problem_count(self.raw()) }
    }

    /// A line that was left out. The first 1000 of each file are described; `None` past them.
    #[doc(alias = "ivg_trainer_problem")]
    pub fn problem(&self, index: u64) -> Option<TrainerProblem> {
        let mut problem = sys::ivg_trainer_problem_info::default();
        // SAFETY: the trainer is alive, and `problem` as large as it says.
        call(|error| unsafe { sys::ivg_trainer_problem(self.raw(), index, &mut problem, error) }).ok()?;
        Some(TrainerProblem {
            is_evaluation: problem.is_evaluation != 0,
            line: problem.line,
            // SAFETY: the string is borrowed from the trainer.
            reason: unsafe { owned(problem.reason) }.unwrap_or_default(),
        })
    }

    /// What it trains with.
    #[doc(alias = "ivg_trainer_describe")]
    pub fn info(&self) -> TrainerInfo {
        let mut info = sys::ivg_trainer_info::default();
        // SAFETY: the trainer is alive, and `info` as large as it says.
        unsafe { sys::ivg_trainer_describe(self.raw(), &mut info) };
        TrainerInfo {
            kept_layers: info.kept_layers,
            example_count: info.example_count,
            evaluation_count: info.evaluation_count,
            parameter_count: info.parameter_count,
            step_count: info.step_count,
            resumed_step: info.resumed_step,
            memory: info.memory,
        }
    }

    fn raw(&self) -> *mut sys::ivg_trainer {
        self.0 .0.as_ptr()
    }
}

impl Iterator for Trainer {
    type Item = Result<TrainerReport, Error>;

    /// Does the next piece of work.
    #[doc(alias = "ivg_trainer_next")]
    fn next(&mut self) -> Option<Self::Item> {
        let mut report = sys::ivg_trainer_report::default();
        // SAFETY: this is the only call but for cancelling, and `report` as large as it says.
        match call(|error| unsafe { sys::ivg_trainer_next(self.raw(), &mut report, error) }) {
            Ok(sys::IVG_DONE) => None,
            Ok(_) => Some(Ok(TrainerReport::of(&report))),
            Err(error) => Some(Err(error)),
        }
    }
}

impl TrainerReport {
    fn of(raw: &sys::ivg_trainer_report) -> Self {
        Self {
            kind: match raw.kind {
                sys::IVG_REPORT_PREPARE => ReportKind::Prepare,
                sys::IVG_REPORT_EVALUATE => ReportKind::Evaluate,
                _ => ReportKind::Train,
            },
            step: raw.step,
            step_count: raw.step_count,
            done: raw.done,
            total: raw.total,
            token_count: raw.token_count,
            seconds: raw.seconds,
            tokens_per_second: raw.tokens_per_second,
            epoch: raw.epoch,
            loss: raw.loss,
            learning_rate: raw.learning_rate,
            gradient_norm: raw.gradient_norm,
            accuracy: raw.accuracy,
            margin: raw.margin,
            chosen: raw.chosen,
            rejected: raw.rejected,
            kl: raw.kl,
            correlation: raw.correlation,
        }
    }
}

impl fmt::Debug for Trainer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Trainer").field("info", &self.info()).finish_non_exhaustive()
    }
}
