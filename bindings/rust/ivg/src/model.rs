// SPDX-License-Identifier: Apache-2.0

//! Models and their tokens.

use crate::error::{call, check_library, create, Error};
use crate::options::options;
use crate::text::{fill, owned, Texts};
use crate::{GenerateOptions, Session, SessionOptions};
use ivg_sys as sys;
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

/// The number of a token in a model's vocabulary.
pub type Token = i32;

/// A model: memory-mapped weights, their description, a tokenizer.
///
/// Immutable; a clone is another reference to the same model, and any number of sessions and threads may share it. A
/// file that holds only a vocabulary opens too, and serves the token functions.
///
/// ```no_run
/// # fn main() -> Result<(), ivg::Error> {
/// let model = ivg::Model::open("model.gguf")?; // mapped, not loaded: milliseconds
/// println!("{:?}", model.session()?.generate("Once upon a time", &ivg::GenerateOptions::new())?.text);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[doc(alias = "ivg_model")]
pub struct Model(Arc<Handle>);

struct Handle {
    raw: NonNull<sys::ivg_model>,
    info: ModelInfo,
}

// SAFETY: a model is immutable, and any thread may call functions on it and free it.
unsafe impl Send for Handle {}
// SAFETY: as above; all functions on it take `const ivg_model *`, and may run at the same time.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: it is ours, and this is the last use.
        unsafe { sys::ivg_model_free(self.raw.as_ptr()) }
    }
}

/// What a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "ivg_model_info")]
pub struct ModelInfo {
    /// Where its file is; none for a hosted model without one.
    pub path: Option<PathBuf>,
    /// "llama", "qwen2" and so on.
    pub architecture: Option<String>,
    /// The file's `general.name`.
    pub name: Option<String>,
    /// How many tokens there are.
    pub vocabulary_size: u32,
    /// Tokens the model was made for; 0 for a vocabulary-only file.
    pub context_length: u32,
    /// Width of the hidden state.
    pub embedding_length: u32,
    /// How many layers there are.
    pub layer_count: u32,
    /// Whether the file holds no weights.
    pub vocabulary_only: bool,
    /// BOS, if the vocabulary has one.
    pub begin_token: Option<Token>,
    /// EOS, if the vocabulary has one.
    pub end_token: Option<Token>,
    /// Whether the file asks for BOS before a prompt.
    pub adds_begin_token: bool,
    /// How many weights there are.
    pub parameter_count: u64,
    /// Bytes that are mapped.
    pub file_size: u64,
    /// The file's Jinja chat template.
    pub chat_template: Option<String>,
}

options! {
    /// How a text becomes tokens. By default as prompts do: `special` and `begin`.
    pub struct TokenizeOptions {
        /// Text like `<|im_start|>` becomes its control token (default true).
        #[doc(alias = "IVG_TOKENIZE_SPECIAL")]
        special: bool = bool,
        /// BOS is put in front where the file asks for it (default true), unless `special` is set and the text begins with
        /// BOS written out, as rendered chat templates often do.
        #[doc(alias = "IVG_TOKENIZE_BEGIN")]
        begin: bool = bool,
        /// The text goes on behind another: no space is put in front of it (default false).
        #[doc(alias = "IVG_TOKENIZE_CONTINUES")]
        continues: bool = bool,
    }
    with {}
}

options! {
    /// How tokens become text.
    pub struct DetokenizeOptions {
        /// Control tokens are left out of the text (default false).
        #[doc(alias = "IVG_DETOKENIZE_SKIP_CONTROL")]
        skip_control: bool = bool,
        /// The tokens go on behind others, as those of a result do: every space stays (default false).
        #[doc(alias = "IVG_DETOKENIZE_CONTINUES")]
        continues: bool = bool,
    }
    with {}
}

impl Model {
    /// Maps a model file (GGUF). Milliseconds: weights are neither read nor copied.
    ///
    /// The file must not be changed while it is open.
    ///
    /// # Errors
    /// `NotFound`, `Io`, `CorruptFile`; `Unsupported` names the architecture, tensor type or tokenizer; `Mismatch` for
    /// an adapter or value head file.
    #[doc(alias = "ivg_model_open")]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        check_library()?;
        let mut texts = Texts::default();
        let path = texts.path("path", path.as_ref())?;
        // SAFETY: `path` is a C string, and no options means the defaults.
        let raw = create(|out, error| unsafe { sys::ivg_model_open(out, path, std::ptr::null(), error) })?;
        Self::own(raw)
    }

    /// Takes a new handle.
    pub(crate) fn own(raw: NonNull<sys::ivg_model>) -> Result<Self, Error> {
        let mut info = sys::ivg_model_info::default();
        // SAFETY: the handle is alive and `info` as large as it says.
        let described = call(|error| unsafe { sys::ivg_model_information(raw.as_ptr(), &mut info, error) });
        // SAFETY: the strings are borrowed from the model, which is alive.
        let info = unsafe { ModelInfo::of(&info) };
        let handle = Handle { raw, info }; // frees the model if it could not be described
        described.map(|_| Self(Arc::new(handle)))
    }

    pub(crate) fn raw(&self) -> *const sys::ivg_model {
        self.0.raw.as_ptr()
    }

    /// What the model is.
    #[doc(alias = "ivg_model_information")]
    pub fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// A session on this model with default options; [`Session::new`] takes others.
    pub fn session(&self) -> Result<Session, Error> {
        Session::new(self, &SessionOptions::new())
    }

    /// The token ids of a prompt: special tokens in it are parsed, BOS is added where the file asks for it.
    pub fn tokenize(&self, text: impl AsRef<[u8]>) -> Result<Vec<Token>, Error> {
        self.tokenize_with(text, &TokenizeOptions::new())
    }

    /// The token ids of a text. Bytes that are not UTF-8 are tokenised one by one.
    #[doc(alias = "ivg_model_tokenize")]
    pub fn tokenize_with(&self, text: impl AsRef<[u8]>, options: &TokenizeOptions) -> Result<Vec<Token>, Error> {
        let text = text.as_ref();
        let flags = flag(options.special.unwrap_or(true), sys::IVG_TOKENIZE_SPECIAL)
            | flag(options.begin.unwrap_or(true), sys::IVG_TOKENIZE_BEGIN)
            | flag(options.continues.unwrap_or(false), sys::IVG_TOKENIZE_CONTINUES);
        fill(text.len() / 2 + 16, 0, |tokens, capacity, count, error| {
            let (start, length) = (text.as_ptr().cast(), text.len());
            // SAFETY: the text and the buffer are as long as said.
            unsafe { sys::ivg_model_tokenize(self.raw(), start, length, flags, tokens, capacity, count, error) }
        })
    }

    /// The bytes that tokens stand for; not necessarily whole characters.
    pub fn detokenize(&self, tokens: &[Token]) -> Result<Vec<u8>, Error> {
        self.detokenize_with(tokens, &DetokenizeOptions::new())
    }

    /// The bytes that tokens stand for.
    ///
    /// # Errors
    /// `InvalidArgument` for an id outside the vocabulary.
    #[doc(alias = "ivg_model_detokenize")]
    pub fn detokenize_with(&self, tokens: &[Token], options: &DetokenizeOptions) -> Result<Vec<u8>, Error> {
        let flags = flag(options.skip_control.unwrap_or(false), sys::IVG_DETOKENIZE_SKIP_CONTROL)
            | flag(options.continues.unwrap_or(false), sys::IVG_DETOKENIZE_CONTINUES);
        fill(8 * tokens.len() + 64, 0, |buffer: *mut u8, capacity, needed, error| {
            let (start, count, buffer) = (tokens.as_ptr(), tokens.len(), buffer.cast());
            // SAFETY: the tokens and the buffer are as long as said.
            unsafe { sys::ivg_model_detokenize(self.raw(), start, count, flags, buffer, capacity, needed, error) }
        })
    }

    /// Whether a token ends a text (EOS and its relatives).
    #[doc(alias = "ivg_model_token_ends")]
    pub fn token_ends(&self, token: Token) -> bool {
        // SAFETY: the handle is alive; any number may be asked about.
        unsafe { sys::ivg_model_token_ends(self.raw(), token) != 0 }
    }

    /// Bytes that a session with one such request takes beside the mapped files: an upper bound, and what is compared
    /// with the budget.
    #[doc(alias = "ivg_memory_required")]
    pub fn memory_required(
        &self,
        session: &SessionOptions,
        request: &GenerateOptions,
        prompt_token_count: usize,
    ) -> Result<u64, Error> {
        let (session, guidance, mut bytes) = (session.raw(), request.raw_guidance(), 0);
        request.with_raw(|request| {
            // SAFETY: all pointers are to living values.
            call(|error| unsafe {
                sys::ivg_memory_required(self.raw(), &session, request, guidance, prompt_token_count, &mut bytes, error)
            })
        })?;
        Ok(bytes)
    }
}

impl ModelInfo {
    /// # Safety
    /// The strings are NULL or alive.
    unsafe fn of(info: &sys::ivg_model_info) -> Self {
        let token = |token: i32| (token >= 0).then_some(token);
        // SAFETY: the caller's promise.
        let text = |text| unsafe { owned(text) };
        Self {
            // SAFETY: the caller's promise.
            path: unsafe { path(info.path) },
            architecture: text(info.architecture),
            name: text(info.name),
            vocabulary_size: info.vocabulary_size,
            context_length: info.context_length,
            embedding_length: info.embedding_length,
            layer_count: info.layer_count,
            vocabulary_only: info.vocabulary_only != 0,
            begin_token: token(info.begin_token),
            end_token: token(info.end_token),
            adds_begin_token: info.adds_begin_token != 0,
            parameter_count: info.parameter_count,
            file_size: info.file_size,
            chat_template: text(info.chat_template),
        }
    }
}

/// # Safety
/// `text` is NULL or ends with a NUL.
unsafe fn path(text: *const std::ffi::c_char) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: the caller's promise.
    let bytes = (!text.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(text) }.to_bytes())?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
}

pub(crate) fn flag(set: bool, flag: u32) -> u32 {
    if set {
        flag
    } else {
        0
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.info();
        formatter.debug_struct("Model").field("path", &info.path).field("name", &info.name).finish_non_exhaustive()
    }
}
