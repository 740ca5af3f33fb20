// SPDX-License-Identifier: Apache-2.0

//! GGUF files, looked into.

use crate::error::{call, check_library, create, Error};
use crate::text::{fill, owned, utf8, Texts};
use ivg_sys as sys;
use std::fmt;
use std::path::Path;
use std::ptr::NonNull;

/// A GGUF file, opened only to look inside: metadata and tensor list.
///
/// ```no_run
/// # fn main() -> Result<(), ivg::Error> {
/// let file = ivg::File::open("model.gguf")?;
/// for index in 0..file.metadata_count() {
///     println!("{:?} = {}", file.metadata_key(index), file.metadata_json(index, 8)?);
/// }
/// # Ok(()) }
/// ```
#[doc(alias = "ivg_file")]
pub struct File(NonNull<sys::ivg_file>);

// SAFETY: a file is immutable, and any thread may use and free it.
unsafe impl Send for File {}
// SAFETY: as above; functions on it may run at the same time.
unsafe impl Sync for File {}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: it is ours, and this is the last use.
        unsafe { sys::ivg_file_free(self.0.as_ptr()) }
    }
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "ivg_tensor_info")]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// "F16", "Q4_0" and so on.
    pub kind: String,
    /// Its dimensions, the fastest (columns) first.
    pub shape: Vec<u64>,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes that it takes.
    pub size: u64,
}

impl File {
    /// Maps a GGUF file (v2 or v3) and checks its header.
    ///
    /// # Errors
    /// `NotFound`, `Io`, `CorruptFile`, `Unsupported`.
    #[doc(alias = "ivg_file_open")]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        check_library()?;
        let mut texts = Texts::default();
        let path = texts.path("path", path.as_ref())?;
        // SAFETY: `path` is a C string.
        Ok(Self(create(|out, error| unsafe { sys::ivg_file_open(out, path, error) })?))
    }

    /// How many metadata entries there are.
    #[doc(alias = "ivg_file_metadata_count")]
    pub fn metadata_count(&self) -> u64 {
        // SAFETY: the file is alive.
        unsafe { sys::ivg_file_metadata_count(self.0.as_ptr()) }
    }

    /// The name of an entry, in file order; `None` past the end.
    #[doc(alias = "ivg_file_metadata_key")]
    pub fn metadata_key(&self, index: u64) -> Option<String> {
        // SAFETY: the file is alive, and the string borrowed from it.
        unsafe { owned(sys::ivg_file_metadata_key(self.0.as_ptr(), index)) }
    }

    /// The value of an entry as JSON; of an array its first `max_elements`.
    ///
    /// # Errors
    /// `InvalidArgument` past the end.
    #[doc(alias = "ivg_file_metadata_json")]
    pub fn metadata_json(&self, index: u64, max_elements: u64) -> Result<String, Error> {
        let json = fill(255, 1, |buffer: *mut u8, capacity, needed, error| {
            let (file, buffer) = (self.0.as_ptr(), buffer.cast());
            // SAFETY: the file is alive, and the buffer as long as said.
            unsafe { sys::ivg_file_metadata_json(file, index, max_elements, buffer, capacity, needed, error) }
        })?;
        utf8(json)
    }

    /// The value of the entry with a name as JSON, in full; `None` if there is no such entry.
    pub fn metadata(&self, key: &str) -> Result<Option<String>, Error> {
        let index = (0..self.metadata_count()).find(|&index| self.metadata_key(index).as_deref() == Some(key));
        index.map(|index| self.metadata_json(index, u64::MAX)).transpose()
    }

    /// How many tensors there are.
    #[doc(alias = "ivg_file_tensor_count")]
    pub fn tensor_count(&self) -> u64 {
        // SAFETY: the file is alive.
        unsafe { sys::ivg_file_tensor_count(self.0.as_ptr()) }
    }

    /// A tensor, in file order.
    ///
    /// # Errors
    /// `InvalidArgument` past the end.
    #[doc(alias = "ivg_file_tensor")]
    pub fn tensor(&self, index: u64) -> Result<TensorInfo, Error> {
        let mut info = sys::ivg_tensor_info::default();
        // SAFETY: the file is alive, and `info` as large as it says.
        call(|error| unsafe { sys::ivg_file_tensor(self.0.as_ptr(), index, &mut info, error) })?;
        // SAFETY: the strings are borrowed from the file.
        let (name, kind) = unsafe { (owned(info.name), owned(info.r#type)) };
        Ok(TensorInfo {
            name: name.unwrap_or_default(),
            kind: kind.unwrap_or_default(),
            shape: info.shape.into_iter().take(info.dimension_count as usize).collect(),
            offset: info.offset,
            size: info.size,
        })
    }
}

impl fmt::Debug for File {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("File").field("tensor_count", &self.tensor_count()).finish_non_exhaustive()
    }
}
