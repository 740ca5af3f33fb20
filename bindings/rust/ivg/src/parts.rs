// SPDX-License-Identifier: Apache-2.0

//! The parts of a guidance.

use crate::error::{call, Error};
use crate::options::{nonzero, options};
use crate::text::Texts;
use crate::{Adapter, Model, ValueHead};
use ivg_sys as sys;
use std::ptr::{self, NonNull};

pub(crate) use crate::scorer::Scorer;

/// What a part of a guidance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Changes every token's distribution.
    #[doc(alias = "IVG_ROLE_TILT")]
    Tilt,
    /// Ranks whole rows at the end of each chunk.
    #[doc(alias = "IVG_ROLE_SCORE")]
    Score,
    /// Both.
    Both,
}

impl Role {
    fn raw(role: Option<Self>) -> u32 {
        match role {
            None => 0,
            Some(Self::Tilt) => sys::IVG_ROLE_TILT,
            Some(Self::Score) => sys::IVG_ROLE_SCORE,
            Some(Self::Both) => sys::IVG_ROLE_TILT | sys::IVG_ROLE_SCORE,
        }
    }
}

options! {
    /// An implicit value: what a tuned small model finds more probable than its untuned self.
    ///
    /// Models that are not named are the adapter's, else the session's. Without untuned model, adapter and template, the
    /// base model's own row is the untuned one. A template is a text in which `{prompt}` stands for the request's prompt;
    /// a text without it is a prompt of its own.
    ///
    /// ```
    /// let value = ivg::Implicit::new().tuned_template("A happy review: {prompt}").untuned_template("A review: {prompt}");
    /// ```
    #[doc(alias = "ivg_implicit_options")]
    pub struct Implicit {
        /// The strength: 1 is usual (and the default), 0 turns it off, negative values steer away.
        weight: f64 = f64,
        /// What it does; by default [`Role::Tilt`].
        role: Role = Role,
        /// The tuned model.
        tuned_model: Model = &Model,
        /// The tuned model is this adapter's model with the adapter on.
        tuned_adapter: Adapter = &Adapter,
        /// What the tuned model reads.
        tuned_template: String = impl Into<String>,
        /// The untuned model.
        untuned_model: Model = &Model,
        /// The untuned model is this adapter's model with the adapter on.
        untuned_adapter: Adapter = &Adapter,
        /// What the untuned model reads.
        untuned_template: String = impl Into<String>,
        /// Whether a score is divided by the number of tokens (default false).
        length_average: bool = bool,
    }
    with {}
}

/// An explicit value: a trained prefix scorer.
#[derive(Clone, Debug)]
#[doc(alias = "ivg_explicit_options")]
pub struct Explicit {
    head: ValueHead,
    weight: f64,
    role: Option<Role>,
    template: Option<String>,
}

impl Explicit {
    /// The value that a head gives.
    pub fn new(head: &ValueHead) -> Self {
        Self { head: head.clone(), weight: 1.0, role: None, template: None }
    }

    /// The strength: 1 is usual (and the default), 0 turns it off, negative values steer away.
    #[must_use]
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// What it does; by default [`Role::Score`].
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// What the head's model reads: a text in which `{prompt}` stands for the request's prompt.
    #[must_use]
    pub fn template(mut self, template: impl Into<String>) -> Self {
        self.template = Some(template.into());
        self
    }

    pub(crate) fn add_to(&self, guidance: NonNull<sys::ivg_guidance>) -> Result<(), Error> {
        let mut texts = Texts::default();
        let options = sys::ivg_explicit_options {
            role: Role::raw(self.role),
            head: self.head.raw(),
            template_text: texts.optional("template", self.template.as_deref())?,
            ..Default::default()
        };
        // SAFETY: everything is alive, and no other thread knows the guidance yet.
        call(|error| unsafe { sys::ivg_guidance_add_explicit(guidance.as_ptr(), &options, self.weight, error) })?;
        Ok(())
    }
}

options! {
    /// Nudging ([arXiv 2410.09300](https://arxiv.org/abs/2410.09300)): where the base's most probable token has a
    /// probability below `threshold`, a small tuned model, the nudger, writes the next words.
    ///
    /// Needs no training and no common vocabulary. Always greedy; only the nudger ends the answer. A
    /// [`Completion`](crate::Completion) says which bytes the nudger wrote.
    #[doc(alias = "ivg_nudging_options")]
    pub struct Nudging {
        /// The nudger; by default the adapter's model. One of the two is required.
        nudger_model: Model = &Model,
        /// The nudger is this adapter's model with the adapter on.
        nudger_adapter: Adapter = &Adapter,
        /// What the nudger reads: a text in which `{prompt}` stands for the request's prompt. The base's is
        /// [`GenerateOptions::prompt_template`](crate::GenerateOptions::prompt_template).
        nudger_template: String = impl Into<String>,
        /// Default 0.3; 0 never nudges after a round's first word, above 1 always does.
        threshold: f32 = f32,
        /// Tokens that one side draws at a time, at most 1024 (default 16).
        burst: u32 = u32,
        /// Default 150.
        max_rounds: u32 = u32,
    }
    with {}
}

impl From<&Model> for Model {
    /// Another reference to the same model.
    fn from(model: &Model) -> Self {
        model.clone()
    }
}

impl From<&Adapter> for Adapter {
    /// Another reference to the same adapter.
    fn from(adapter: &Adapter) -> Self {
        adapter.clone()
    }
}

fn model(model: &Option<Model>) -> *const sys::ivg_model {
    model.as_ref().map_or(ptr::null(), Model::raw)
}

fn adapter(adapter: &Option<Adapter>) -> *const sys::ivg_adapter {
    adapter.as_ref().map_or(ptr::null(), Adapter::raw)
}

impl Implicit {
    pub(crate) fn add_to(&self, guidance: NonNull<sys::ivg_guidance>) -> Result<(), Error> {
        let mut texts = Texts::default();
        let options = sys::ivg_implicit_options {
            role: Role::raw(self.role),
            tuned_model: model(&self.tuned_model),
            tuned_adapter: adapter(&self.tuned_adapter),
            tuned_template: texts.optional("tuned_template", self.tuned_template.as_deref())?,
            untuned_model: model(&self.untuned_model),
            untuned_adapter: adapter(&self.untuned_adapter),
            untuned_template: texts.optional("untuned_template", self.untuned_template.as_deref())?,
            length_average: u32::from(self.length_average.unwrap_or(false)),
            ..Default::default()
        };
        let weight = self.weight.unwrap_or(1.0);
        // SAFETY: everything is alive, and no other thread knows the guidance yet.
        call(|error| unsafe { sys::ivg_guidance_add_implicit(guidance.as_ptr(), &options, weight, error) })?;
        Ok(())
    }
}

impl Nudging {
    /// Calls a function with the C form of the options.
    pub(crate) fn with_raw<Out>(
        &self,
        function: impl FnOnce(&sys::ivg_nudging_options) -> Result<Out, Error>,
    ) -> Result<Out, Error> {
        let mut texts = Texts::default();
        let options = sys::ivg_nudging_options {
            burst: nonzero("burst", self.burst)?,
            nudger_model: model(&self.nudger_model),
            nudger_adapter: adapter(&self.nudger_adapter),
            nudger_template: texts.optional("nudger_template", self.nudger_template.as_deref())?,
            threshold: match self.threshold {
                None => 0.0,
                Some(0.0) => sys::IVG_THRESHOLD_NEVER,
                Some(value) if value < 0.0 => {
                    return Err(Error::invalid(format!("threshold is {value}; it must be at least 0")))
                }
                Some(value) => value,
            },
            max_rounds: nonzero("max_rounds", self.max_rounds)?,
            ..Default::default()
        };
        function(&options)
    }
}
