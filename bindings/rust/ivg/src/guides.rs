// SPDX-License-Identifier: Apache-2.0

//! Adapters and value heads.

use crate::error::{create, Error};
use crate::text::Texts;
use crate::Model;
use ivg_sys as sys;
use std::fmt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

/// Low-rank deltas (LoRA) for one model, from a GGUF adapter file as llama.cpp reads and writes them.
///
/// Immutable; a clone is another reference. It keeps its model alive.
#[derive(Clone)]
#[doc(alias = "ivg_adapter")]
pub struct Adapter(Arc<AdapterHandle>);

/// An explicit value model: a head on a model's hidden state, with its own adapter if the file has one.
///
/// A vocabulary head values every next token in one pass; a scalar head values the text so far. Immutable; a clone is
/// another reference. It keeps its model alive.
#[derive(Clone)]
#[doc(alias = "ivg_value_head")]
pub struct ValueHead(Arc<ValueHeadHandle>);

struct AdapterHandle {
    raw: NonNull<sys::ivg_adapter>,
    model: Model,
}

struct ValueHeadHandle {
    raw: NonNull<sys::ivg_value_head>,
    model: Model,
}

// SAFETY: an adapter is immutable, and any thread may use and free it.
unsafe impl Send for AdapterHandle {}
// SAFETY: as above.
unsafe impl Sync for AdapterHandle {}
// SAFETY: a value head is immutable, and any thread may use and free it.
unsafe impl Send for ValueHeadHandle {}
// SAFETY: as above.
unsafe impl Sync for ValueHeadHandle {}

impl Drop for AdapterHandle {
    fn drop(&mut self) {
        // SAFETY: it is ours, and this is the last use.
        unsafe { sys::ivg_adapter_free(self.raw.as_ptr()) }
    }
}

impl Drop for ValueHeadHandle {
    fn drop(&mut self) {
        // SAFETY: it is ours, and this is the last use.
        unsafe { sys::ivg_value_head_free(self.raw.as_ptr()) }
    }
}

impl Adapter {
    /// Opens an adapter for `model`.
    ///
    /// # Errors
    /// `Mismatch` if a tensor does not fit the model, naming it; `NotFound`, `Io`, `CorruptFile`, `Unsupported`.
    #[doc(alias = "ivg_adapter_open")]
    pub fn open(model: &Model, path: impl AsRef<Path>) -> Result<Self, Error> {
        let mut texts = Texts::default();
        let path = texts.path("path", path.as_ref())?;
        // SAFETY: the model is alive and `path` a C string.
        let raw = create(|out, error| unsafe { sys::ivg_adapter_open(out, model.raw(), path, error) })?;
        Ok(Self(Arc::new(AdapterHandle { raw, model: model.clone() })))
    }

    /// The model that the adapter is for.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    pub(crate) fn raw(&self) -> *const sys::ivg_adapter {
        self.0.raw.as_ptr()
    }
}

impl ValueHead {
    /// Opens a value head for `model`. Errors are as in [`Adapter::open`].
    #[doc(alias = "ivg_value_head_open")]
    pub fn open(model: &Model, path: impl AsRef<Path>) -> Result<Self, Error> {
        let mut texts = Texts::default();
        let path = texts.path("path", path.as_ref())?;
        // SAFETY: the model is alive and `path` a C string.
        let raw = create(|out, error| unsafe { sys::ivg_value_head_open(out, model.raw(), path, error) })?;
        Ok(Self(Arc::new(ValueHeadHandle { raw, model: model.clone() })))
    }

    /// The model that the head is for.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    pub(crate) fn raw(&self) -> *const sys::ivg_value_head {
        self.0.raw.as_ptr()
    }
}

impl Model {
    /// Opens an adapter for this model; see [`Adapter::open`].
    pub fn adapter(&self, path: impl AsRef<Path>) -> Result<Adapter, Error> {
        Adapter::open(self, path)
    }

    /// Opens a value head for this model; see [`ValueHead::open`].
    pub fn value_head(&self, path: impl AsRef<Path>) -> Result<ValueHead, Error> {
        ValueHead::open(self, path)
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Adapter").field("model", self.model()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ValueHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ValueHead").field("model", self.model()).finish_non_exhaustive()
    }
}
