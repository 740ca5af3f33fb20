// SPDX-License-Identifier: Apache-2.0

#![doc = include_str!("../../README.md")]
#![deny(missing_docs)]

mod callback;
mod cancel;
mod chat;
mod error;
mod file;
mod gate;
mod generate;
mod guidance;
mod guides;
mod hosted;
mod log;
#[cfg(doctest)]
mod misuse;
mod model;
mod options;
mod parts;
mod quantizer;
mod results;
mod scorer;
mod sequence;
mod session;
mod stream;
mod text;
mod trainer;
mod trainer_options;

pub use cancel::CancelHandle;
pub use chat::{ChatMessage, ChatOptions};
pub use error::{BoxError, Error, ErrorKind};
pub use file::{File, TensorInfo};
pub use generate::{GenerateOptions, LogitsRow};
pub use guidance::{Candidates, FinishedRows, Guidance, GuidanceBuilder, Search};
pub use guides::{Adapter, ValueHead};
pub use hosted::HostedRow;
pub use log::{set_log, silence_log, LogLevel};
pub use model::{DetokenizeOptions, Model, ModelInfo, Token, TokenizeOptions};
pub use parts::{Explicit, Implicit, Nudging, Role};
pub use quantizer::{QuantizeOptions, QuantizeReport, Quantizer};
pub use results::{Candidate, Completion, FinishReason, Timings};
pub use scorer::Answer;
pub use sequence::Sequence;
pub use session::{Session, SessionOptions};
pub use stream::{Step, StepKind, Stream};
pub use trainer::{ReportKind, Trainer, TrainerInfo, TrainerProblem, TrainerReport};
pub use trainer_options::{Loss, Objective, Projection, TrainerOptions};

/// The library's version as a number: major * 10000 + minor * 100 + patch.
#[doc(alias = "ivg_version_number")]
pub fn version_number() -> u32 {
    // SAFETY: it takes nothing and may be called at any time.
    unsafe { ivg_sys::ivg_version_number() }
}

/// The library's version: "major.minor.patch".
#[doc(alias = "ivg_version_string")]
pub fn version() -> String {
    // SAFETY: the string is static.
    unsafe { text::owned(ivg_sys::ivg_version_string()) }.unwrap_or_default()
}

/// The instruction set in use: "portable", "avx2", "avxvnni", "avx512vnni", "neon-dotprod". All give the same bits.
#[doc(alias = "ivg_kernels_name")]
pub fn kernels_name() -> String {
    // SAFETY: the string is static.
    unsafe { text::owned(ivg_sys::ivg_kernels_name()) }.unwrap_or_default()
}
