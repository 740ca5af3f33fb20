// SPDX-License-Identifier: Apache-2.0

//! How to train.

use crate::error::Error;
use crate::model::flag;
use crate::options::{nonzero, options};
use crate::text::Texts;
use ivg_sys as sys;
use std::path::{Path, PathBuf};

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Objective {
    /// -log p of each completion token; the result is an adapter.
    #[doc(alias = "IVG_OBJECTIVE_SUPERVISED")]
    Supervised,
    /// Chosen over rejected, relative to the model or adapter it starts from (DPO); the result is an adapter.
    #[doc(alias = "IVG_OBJECTIVE_PREFERENCE")]
    Preference,
    /// A scalar head on the last token, chosen over rejected (Bradley-Terry).
    #[doc(alias = "IVG_OBJECTIVE_REWARD")]
    Reward,
    /// A head that values every prefix, from the reward of the whole (FUDGE, CD-Q).
    #[doc(alias = "IVG_OBJECTIVE_VALUE")]
    Value,
}

/// A variant of an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// Preference: DPO; with label smoothing the conservative variant.
    #[doc(alias = "IVG_LOSS_SIGMOID")]
    Sigmoid,
    /// Preference: unbiased under label smoothing's share of wrong labels.
    #[doc(alias = "IVG_LOSS_ROBUST")]
    Robust,
    /// Preference: (log-ratio a token - 1 / (2 beta))².
    #[doc(alias = "IVG_LOSS_IPO")]
    Ipo,
    /// Value: half the squared distance of every prefix to the reward (FUDGE).
    #[doc(alias = "IVG_LOSS_REGRESSION")]
    Regression,
    /// Value: cross-entropy of every prefix with the reward, which is within 0 to 1.
    #[doc(alias = "IVG_LOSS_CLASSIFY")]
    Classify,
    /// Value: the expected value of the next token; the reward at the end (CD-Q).
    #[doc(alias = "IVG_LOSS_CDQ")]
    CdQ,
}

/// A projection that an adapter changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // the names say it
pub enum Projection {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

options! {
    /// How to train, beside what is given to [`Trainer::new`](crate::Trainer::new).
    #[doc(alias = "ivg_trainer_options")]
    pub struct TrainerOptions {
        /// The variant of the objective; by default the first of each.
        loss: Loss = Loss,
        /// JSON Lines that are not trained on but measured; by default `evaluation_fraction` of the data.
        evaluation_path: PathBuf = impl Into<PathBuf>,
        /// An adapter, or a value head, to begin with; by default the model itself.
        start_path: PathBuf = impl Into<PathBuf>,
        /// Written while training, and resumed from if it is there.
        checkpoint_path: PathBuf = impl Into<PathBuf>,
        /// Text with `{prompt}` in it, as at inference; by default the bare prompt.
        prompt_template: String = impl Into<String>,
        /// Share of the data that is not trained on (default 0).
        evaluation_fraction: f64 = f64,
        /// Passes over the data (default 1).
        epochs: f64 = f64,
        /// Ends earlier; by default as `epochs` say.
        max_steps: u64 = u64,
        /// Equal seeds give equal files (default 0).
        seed: u64 = u64,
        /// Bytes beside the mapped file (default 1 GiB).
        memory_budget: u64 = u64,
        /// Threads that compute; by default the processors this process may use.
        thread_count: u32 = u32,
        /// Lines a step, at most 4096 (default 16).
        batch_size: u32 = u32,
        /// Of prompt and completion; by default 512, or the context if that is less.
        max_tokens: u32 = u32,
        /// Longer prompts lose their beginning; by default half of `max_tokens`.
        max_prompt_tokens: u32 = u32,
        /// Of a new adapter (default 8).
        rank: u32 = u32,
        /// Of a new adapter, whose scale is `alpha / rank`; by default twice the rank.
        alpha: f32 = f32,
        /// Before the low-rank product, 0 to 0.9 (default 0).
        dropout: f32 = f32,
        /// By default 5e-4 with an adapter, 1e-3 for a head alone.
        learning_rate: f32 = f32,
        /// Share of all steps in which the rate rises (default 0.1); 0: none.
        warmup_fraction: f32 = f32,
        /// Default 0.
        weight_decay: f32 = f32,
        /// Of AdamW (default 0.9).
        beta1: f32 = f32,
        /// Of AdamW (default 0.999).
        beta2: f32 = f32,
        /// Longer gradients are shortened to this (default 1); 0: none are.
        clip_norm: f32 = f32,
        /// Of a preference (default 0.1).
        beta: f32 = f32,
        /// Of a preference, 0 to 0.499 (default 0).
        label_smoothing: f32 = f32,
        /// Steps between evaluations; by default at the end of each epoch.
        evaluate_every: u32 = u32,
        /// Evaluations without a better loss before it ends; by default it never does.
        patience: u32 = u32,
        /// Steps between checkpoints (default 50).
        checkpoint_every: u32 = u32,
        /// Reward and value: no adapter; hidden states are computed once (default false).
        #[doc(alias = "IVG_TRAINER_HEAD_ONLY")]
        head_only: bool = bool,
        /// Completions are not followed by the end token: they may have gone on (default false).
        #[doc(alias = "IVG_TRAINER_NO_END_TOKEN")]
        no_end_token: bool = bool,
        /// A line that cannot be used is an error (default false).
        #[doc(alias = "IVG_TRAINER_STRICT")]
        strict: bool = bool,
        /// Value: a head with an output for every token instead of one (default false).
        #[doc(alias = "IVG_TRAINER_VOCABULARY_HEAD")]
        vocabulary_head: bool = bool,
        /// The learning rate stays after its warm-up, instead of a cosine down to 0 (default false).
        #[doc(alias = "IVG_TRAINER_CONSTANT_RATE")]
        constant_rate: bool = bool,
    }
    with {
        projections: Vec<Projection>,
    }
}

impl TrainerOptions {
    /// Which projections a new adapter changes; all, if this is not called.
    #[must_use]
    pub fn projections(mut self, projections: impl IntoIterator<Item = Projection>) -> Self {
        self.projections.extend(projections);
        self
    }

    /// Calls a function with the C form of the options.
    pub(crate) fn with_raw<Out>(
        &self,
        objective: Objective,
        data: &Path,
        function: impl FnOnce(&sys::ivg_trainer_options) -> Result<Out, Error>,
    ) -> Result<Out, Error> {
        let mut texts = Texts::default();
        let paths = sys::ivg_trainer_options {
            objective: objective.raw(),
            loss: self.loss.map_or(sys::IVG_LOSS_DEFAULT, Loss::raw),
            flags: self.flags(),
            data_path: texts.path("data", data)?,
            evaluation_path: texts.optional_path("evaluation_path", &self.evaluation_path)?,
            start_path: texts.optional_path("start_path", &self.start_path)?,
            checkpoint_path: texts.optional_path("checkpoint_path", &self.checkpoint_path)?,
            prompt_template: texts.optional("prompt_template", self.prompt_template.as_deref())?,
            ..Default::default()
        };
        function(&self.with_rates(self.with_sizes(paths)?)?)
    }

    fn with_sizes(&self, options: sys::ivg_trainer_options) -> Result<sys::ivg_trainer_options, Error> {
        Ok(sys::ivg_trainer_options {
            max_steps: nonzero("max_steps", self.max_steps)?,
            seed: self.seed.unwrap_or(0),
            memory_budget: self.memory_budget.unwrap_or(0),
            thread_count: self.thread_count.unwrap_or(0),
            batch_size: nonzero("batch_size", self.batch_size)?,
            max_tokens: nonzero("max_tokens", self.max_tokens)?,
            max_prompt_tokens: nonzero("max_prompt_tokens", self.max_prompt_tokens)?,
            rank: nonzero("rank", self.rank)?,
            projections: self.projections.iter().fold(0, |bits, projection| bits | projection.raw()),
            evaluate_every: nonzero("evaluate_every", self.evaluate_every)?,
            patience: nonzero("patience", self.patience)?,
            checkpoint_every: nonzero("checkpoint_every", self.checkpoint_every)?,
            ..options
        })
    }

    fn with_rates(&self, options: sys::ivg_trainer_options) -> Result<sys::ivg_trainer_options, Error> {
        // In C 0 is the default, and none is negative.
        let none_or = |value: Option<f32>| if value == Some(0.0) { -1.0 } else { value.unwrap_or(0.0) };
        Ok(sys::ivg_trainer_options {
            evaluation_fraction: self.evaluation_fraction.unwrap_or(0.0),
            epochs: nonzero("epochs", self.epochs)?,
            alpha: nonzero("alpha", self.alpha)?,
            dropout: self.dropout.unwrap_or(0.0),
            learning_rate: nonzero("learning_rate", self.learning_rate)?,
            warmup_fraction: none_or(self.warmup_fraction),
            weight_decay: self.weight_decay.unwrap_or(0.0),
            beta1: nonzero("beta1", self.beta1)?,
            beta2: nonzero("beta2", self.beta2)?,
            clip_norm: none_or(self.clip_norm),
            beta: nonzero("beta", self.beta)?,
            label_smoothing: self.label_smoothing.unwrap_or(0.0),
            ..options
        })
    }

    fn flags(&self) -> u32 {
        let set = |option: Option<bool>, bit| flag(option.unwrap_or(false), bit);
        set(self.head_only, sys::IVG_TRAINER_HEAD_ONLY)
            | set(self.no_end_token, sys::IVG_TRAINER_NO_END_TOKEN)
            | set(self.strict, sys::IVG_TRAINER_STRICT)
            | set(self.vocabulary_head, sys::IVG_TRAINER_VOCABULARY_HEAD)
            | set(self.constant_rate, sys::IVG_TRAINER_CONSTANT_RATE)
    }
}

impl Objective {
    fn raw(self) -> u32 {
        match self {
            Self::Supervised => sys::IVG_OBJECTIVE_SUPERVISED,
            Self::Preference => sys::IVG_OBJECTIVE_PREFERENCE,
            Self::Reward => sys::IVG_OBJECTIVE_REWARD,
            Self::Value => sys::IVG_OBJECTIVE_VALUE,
        }
    }
}

impl Loss {
    fn raw(self) -> u32 {
        match self {
            Self::Sigmoid => sys::IVG_LOSS_SIGMOID,
            Self::Robust => sys::IVG_LOSS_ROBUST,
            Self::Ipo => sys::IVG_LOSS_IPO,
            Self::Regression => sys::IVG_LOSS_REGRESSION,
            Self::Classify => sys::IVG_LOSS_CLASSIFY,
            Self::CdQ => sys::IVG_LOSS_CDQ,
        }
    }
}

impl Projection {
    fn raw(self) -> u32 {
        match self {
            Self::Query => sys::IVG_PROJECTION_QUERY,
            Self::Key => sys::IVG_PROJECTION_KEY,
            Self::Value => sys::IVG_PROJECTION_VALUE,
            Self::Output => sys::IVG_PROJECTION_OUTPUT,
            Self::Gate => sys::IVG_PROJECTION_GATE,
            Self::Up => sys::IVG_PROJECTION_UP,
            Self::Down => sys::IVG_PROJECTION_DOWN,
        }
    }
}
