// SPDX-License-Identifier: Apache-2.0

//! Writing models anew with fewer bits for their weights.

use crate::cancel::{Cancel, CancelHandle};
use crate::error::{call, check_library, create, Error};
use crate::model::flag;
use crate::options::options;
use crate::text::{owned, Texts};
use ivg_sys as sys;
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

options! {
    /// How a model is quantised.
    #[doc(alias = "ivg_quantize_options")]
    pub struct QuantizeOptions {
        /// The type of the output matrix, also if it is the embedding; by default as the mix says.
        output_type: String = impl Into<String>,
        /// The type of the token embedding; by default as the mix says.
        embedding_type: String = impl Into<String>,
        /// A file of importance weights as llama.cpp writes them ("imatrix").
        importance: PathBuf = impl Into<PathBuf>,
        /// Every matrix gets the type that the mix has for most, where its rows allow it (default false).
        #[doc(alias = "IVG_QUANTIZE_PURE")]
        pure: bool = bool,
        /// Threads that compute; by default the processors this process may use.
        thread_count: u32 = u32,
        /// Bytes beside the mapped files (default 1 GiB).
        memory_budget: u64 = u64,
    }
    with {}
}

/// Writes a model anew with fewer bits, one piece after the other: the items of the iterator.
///
/// The file appears under its name when the iterator has ended, and not before. After [`Cancelled`] the iterator goes on
/// with the same piece; after any other error the unfinished file is gone, and further items are the same error.
///
/// ```no_run
/// # fn main() -> Result<(), ivg::Error> {
/// let quantizer = ivg::Quantizer::new("model.F16.gguf", "small.gguf", "Q4_K_M", &ivg::QuantizeOptions::new())?;
/// for report in quantizer {
///     let report = report?;
///     println!("{} {:.0} %", report.tensor, 100.0 * report.done as f64 / report.total as f64);
/// }
/// # Ok(()) }
/// ```
///
/// [`Cancelled`]: crate::ErrorKind::Cancelled
#[doc(alias = "ivg_quantizer")]
#[must_use = "the file is written while the iterator is read"]
pub struct Quantizer(Arc<Core>);

struct Core(NonNull<sys::ivg_quantizer>);

// SAFETY: any thread may call functions on a quantizer and free it; but for cancelling, `Quantizer` makes one call at a time.
unsafe impl Send for Core {}
// SAFETY: all that is shared is cancelling, which any thread may do at any time.
unsafe impl Sync for Core {}

impl Drop for Core {
    fn drop(&mut self) {
        // SAFETY: it is ours, and this is the last use.
        unsafe { sys::ivg_quantizer_free(self.0.as_ptr()) }
    }
}

impl Cancel for Core {
    fn cancel(&self) {
        // SAFETY: one atomic store, from any thread, while the quantizer is alive.
        unsafe { sys::ivg_quantizer_cancel(self.0.as_ptr()) }
    }
}

/// What one piece of quantising has done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[doc(alias = "ivg_quantize_report")]
pub struct QuantizeReport {
    /// The tensor's place, in file order.
    pub tensor_index: u64,
    /// Of how many.
    pub tensor_count: u64,
    /// Its name.
    pub tensor: String,
    /// Its type in the source: "F16".
    pub source_type: String,
    /// Its type in the target: "Q4_K".
    pub target_type: String,
    /// Whether this was the tensor's last piece.
    pub ends_tensor: bool,
    /// Bytes of the source's tensors so far.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// Bytes of all tensors in the source.
    pub size_in: u64,
    /// Bytes of all tensors in the target, when it is complete.
    pub size_out: u64,
    /// Root mean square of what rounding changed in this tensor so far, divided by that of its weights.
    pub error: f64,
    /// Seconds that this piece took.
    pub seconds: f64,
}

impl Quantizer {
    /// Opens and checks the files. `kind` is a mix as llama.cpp names it, such as "Q4_K_M".
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown type, or a target that is a file which is read; `Mismatch` for a source that is no
    /// whole model, or weights of another model; `NotFound` (of the target: its folder), `Io`, `CorruptFile`,
    /// `Unsupported`; `OutOfMemory` names the bytes needed and the budget.
    #[doc(alias = "ivg_quantizer_create")]
    pub fn new(
        source: impl AsRef<Path>,
        target: impl AsRef<Path>,
        kind: &str,
        options: &QuantizeOptions,
    ) -> Result<Self, Error> {
        check_library()?;
        let mut texts = Texts::default();
        let source = texts.path("source", source.as_ref())?;
        let target = texts.path("target", target.as_ref())?;
        let raw = sys::ivg_quantize_options {
            flags: flag(options.pure.unwrap_or(false), sys::IVG_QUANTIZE_PURE),
            thread_count: options.thread_count.unwrap_or(0),
            r#type: texts.text("kind", kind)?,
            output_type: texts.optional("output_type", options.output_type.as_deref())?,
            embedding_type: texts.optional("embedding_type", options.embedding_type.as_deref())?,
            importance_path: texts.optional_path("importance", &options.importance)?,
            memory_budget: options.memory_budget.unwrap_or(0),
            ..Default::default()
        };
        // SAFETY: the options and the strings are alive.
        let raw = create(|out, error| unsafe { sys::ivg_quantizer_create(out, source, target, &raw, error) })?;
        Ok(Self(Arc::new(Core(raw))))
    }

    /// Stops the running piece, from any thread. While a handle lives, an unfinished file stays on the disk.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::new(self.0.clone())
    }
}

impl Iterator for Quantizer {
    type Item = Result<QuantizeReport, Error>;

    /// Does the next piece, some milliseconds of work.
    #[doc(alias = "ivg_quantizer_next")]
    fn next(&mut self) -> Option<Self::Item> {
        let mut report = sys::ivg_quantize_report::default();
        // SAFETY: this is the only call but for cancelling, and `report` as large as it says.
        match call(|error| unsafe { sys::ivg_quantizer_next(self.0 .0.as_ptr(), &mut report, error) }) {
            Ok(sys::IVG_DONE) => None,
            // SAFETY: the strings are borrowed from the quantizer.
            Ok(_) => Some(Ok(unsafe { QuantizeReport::of(&report) })),
            Err(error) => Some(Err(error)),
        }
    }
}

impl QuantizeReport {
    /// # Safety
    /// The strings are NULL or alive.
    unsafe fn of(raw: &sys::ivg_quantize_report) -> Self {
        // SAFETY: the caller's promise.
        let text = |text| unsafe { owned(text) }.unwrap_or_default();
        Self {
            tensor_index: raw.tensor_index,
            tensor_count: raw.tensor_count,
            tensor: text(raw.tensor),
            source_type: text(raw.source_type),
            target_type: text(raw.target_type),
            ends_tensor: raw.ends_tensor != 0,
            done: raw.done,
            total: raw.total,
            size_in: raw.size_in,
            size_out: raw.size_out,
            error: raw.error,
            seconds: raw.seconds,
        }
    }
}

impl fmt::Debug for Quantizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Quantizer")
    }
}
