// SPDX-License-Identifier: Apache-2.0

//! Why a call failed.

use ivg_sys as sys;
use std::fmt;
use std::ptr;

/// What a closure of the host may fail with: any error; a `&str` or `String` becomes one by `into()`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a call failed: a kind for the program, and a sentence for a person.
///
/// The message names the file, the field and the bound. Of a failure within a closure of the host,
/// [`source`](std::error::Error::source) is what the closure returned.
#[derive(Debug)]
#[doc(alias = "ivg_error")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<BoxError>,
}

/// The kinds of errors. Later versions may add some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "ivg_status")]
pub enum ErrorKind {
    /// An option or argument is out of its range.
    InvalidArgument,
    /// The memory budget, or the machine's memory, does not suffice.
    OutOfMemory,
    /// The system refused to read, map or write a file.
    Io,
    /// A file contradicts its own format.
    CorruptFile,
    /// A valid file or request of a kind that this version does not know.
    Unsupported,
    /// A [`CancelHandle`](crate::CancelHandle) asked to stop; nothing else.
    Cancelled,
    /// A prompt or sequence is longer than the context.
    ContextFull,
    /// Two models, or an adapter or head and a model, do not fit together; or this crate and the library.
    Mismatch,
    /// There is no such file.
    NotFound,
    /// A closure of the host reported failure or gave unusable values.
    Callback,
    /// A defect of libivg; please report the message.
    Internal,
}

impl ErrorKind {
    fn of(status: sys::ivg_status) -> Self {
        match status {
            sys::IVG_ERROR_INVALID_ARGUMENT => Self::InvalidArgument,
            sys::IVG_ERROR_OUT_OF_MEMORY => Self::OutOfMemory,
            sys::IVG_ERROR_IO => Self::Io,
            sys::IVG_ERROR_CORRUPT_FILE => Self::CorruptFile,
            sys::IVG_ERROR_UNSUPPORTED => Self::Unsupported,
            sys::IVG_ERROR_CANCELLED => Self::Cancelled,
            sys::IVG_ERROR_CONTEXT_FULL => Self::ContextFull,
            sys::IVG_ERROR_MISMATCH => Self::Mismatch,
            sys::IVG_ERROR_NOT_FOUND => Self::NotFound,
            sys::IVG_ERROR_CALLBACK => Self::Callback,
            _ => Self::Internal,
        }
    }
}

impl Error {
    /// What kind of failure it is.
    #[doc(alias = "ivg_error_status")]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// One sentence for a person.
    #[doc(alias = "ivg_error_message")]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn caused_by(mut self, source: BoxError) -> Self {
        self.source = Some(source);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// Makes a call of libivg, and turns its status and error into a result: a status that is not an error, or the error.
pub(crate) fn call(function: impl FnOnce(*mut *mut sys::ivg_error) -> sys::ivg_status) -> Result<i32, Error> {
    let mut error: *mut sys::ivg_error = ptr::null_mut();
    let status = function(&mut error);
    if status >= 0 {
        return Ok(status);
    }
    // SAFETY: the library has set `error`, which is ours now, or left it NULL.
    let message = unsafe {
        let text = if error.is_null() { sys::ivg_status_string(status) } else { sys::ivg_error_message(error) };
        let message = crate::text::owned(text).unwrap_or_default();
        sys::ivg_error_free(error);
        message
    };
    Err(Error::new(ErrorKind::of(status), message))
}

/// Makes a call that writes a new handle.
pub(crate) fn create<Handle>(
    function: impl FnOnce(*mut *mut Handle, *mut *mut sys::ivg_error) -> sys::ivg_status,
) -> Result<ptr::NonNull<Handle>, Error> {
    let mut out: *mut Handle = ptr::null_mut();
    call(|error| function(&mut out, error))?;
    ptr::NonNull::new(out).ok_or_else(|| Error::new(ErrorKind::Internal, "libivg returned no handle"))
}

/// Checks that the library is one that this crate may run with: of the same major version, and not older.
pub(crate) fn check_library() -> Result<(), Error> {
    check_version(crate::version_number())
}

fn check_version(number: u32) -> Result<(), Error> {
    // A later library of the same major version has all that the crate knows. The linker's soname says the same, but not
    // for a library that was named libivg.so by hand.
    let fits = number / 10000 == sys::IVG_VERSION_MAJOR && number >= sys::IVG_VERSION_NUMBER;
    if fits {
        return Ok(());
    }
    let name = |number: u32| format!("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
    let (found, made) = (name(number), name(sys::IVG_VERSION_NUMBER));
    Err(Error::new(
        ErrorKind::Mismatch,
        format!(
            "the library is libivg {found}, but this crate was made for {made}: it needs that or a later one with the same \
             first number"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_library_of_the_same_major_version_is_accepted_and_others_are_refused() {
        assert!(check_library().is_ok());
        assert_eq!(sys::IVG_VERSION_NUMBER, 100);
        for later in [100, 101, 200, 1234, 9999] {
            assert!(check_version(later).is_ok(), "{later}");
        }
        for (other, name) in
            [(0, "0.0.0"), (99, "0.0.99"), (10000, "1.0.0"), (20100, "2.1.0"), (u32::MAX, "429496.72.95")]
        {
            let error = check_version(other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Mismatch);
            let message = format!("the library is libivg {name}, but this crate was made for 0.1.0: ");
            assert!(error.to_string().starts_with(&message), "{error}");
        }
    }

    #[test]
    fn unknown_statuses_are_internal() {
        assert_eq!(call(|_| -77).unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(call(|_| sys::IVG_ERROR_IO).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(call(|_| sys::IVG_DONE).unwrap(), sys::IVG_DONE);
    }
}
