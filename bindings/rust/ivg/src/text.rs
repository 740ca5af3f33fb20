// SPDX-License-Identifier: Apache-2.0

//! Texts, paths and arrays on their way through C.

use crate::error::{call, Error, ErrorKind};
use ivg_sys as sys;
use std::ffi::{c_char, CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{ptr, slice};

/// Strings that an options struct points to, kept until the call has been made.
#[derive(Default)]
pub(crate) struct Texts(Vec<CString>);

impl Texts {
    /// A C string, NULL for none. `what` names the option in an error.
    pub(crate) fn optional(&mut self, what: &str, text: Option<&str>) -> Result<*const c_char, Error> {
        text.map_or(Ok(ptr::null()), |text| self.text(what, text))
    }

    pub(crate) fn text(&mut self, what: &str, text: &str) -> Result<*const c_char, Error> {
        self.bytes(what, text.as_bytes())
    }

    pub(crate) fn path(&mut self, what: &str, path: &Path) -> Result<*const c_char, Error> {
        self.bytes(what, path.as_os_str().as_bytes())
    }

    pub(crate) fn optional_path(&mut self, what: &str, path: &Option<PathBuf>) -> Result<*const c_char, Error> {
        path.as_ref().map_or(Ok(ptr::null()), |path| self.path(what, path))
    }

    fn bytes(&mut self, what: &str, bytes: &[u8]) -> Result<*const c_char, Error> {
        let text = CString::new(bytes)
            .map_err(|error| Error::invalid(format!("{what} has a NUL at byte {}", error.nul_position())))?;
        self.0.push(text); // what it points to stays where it is when the list grows
        Ok(self.0[self.0.len() - 1].as_ptr())
    }
}

/// Pointers to texts and their lengths, which C takes side by side. They borrow from `texts`.
pub(crate) fn pointers<Text: AsRef<[u8]>>(texts: &[Text]) -> (Vec<*const c_char>, Vec<usize>) {
    // Asked once: what is another's code may give another slice the next time.
    texts.iter().map(AsRef::as_ref).map(|bytes| (bytes.as_ptr().cast::<c_char>(), bytes.len())).unzip()
}

/// A copy of a C string; `None` for NULL.
///
/// # Safety
/// `text` is NULL or ends with a NUL.
pub(crate) unsafe fn owned(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// A copy of a text of a known length.
///
/// # Safety
/// `text` is NULL, or `length` bytes can be read there.
pub(crate) unsafe fn owned_sized(text: *const c_char, length: usize) -> String {
    // SAFETY: the caller's promise.
    String::from_utf8_lossy(unsafe { array(text.cast::<u8>(), length) }).into_owned()
}

/// An array of C, empty for NULL.
///
/// # Safety
/// `first` is NULL, or `count` elements can be read there for as long as the result lives.
pub(crate) unsafe fn array<'a, Element>(first: *const Element, count: usize) -> &'a [Element] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(first, count) }
}

/// Fills a buffer whose size the library knows better: once with a good guess, again if it says how much it needs.
///
/// `function` gets the buffer, its capacity, where the needed size goes, and the error. `extra` elements beyond the
/// needed size are given to it (a NUL), and cut off.
pub(crate) fn fill<Element: Clone + Default>(
    guess: usize,
    extra: usize,
    mut function: impl FnMut(*mut Element, usize, *mut usize, *mut *mut sys::ivg_error) -> sys::ivg_status,
) -> Result<Vec<Element>, Error> {
    let mut buffer = vec![Element::default(); guess + extra];
    for _ in 0..2 {
        let mut needed = 0;
        let mut too_small = false;
        let result = call(|error| {
            let status = function(buffer.as_mut_ptr(), buffer.len(), &mut needed, error);
            too_small = status == sys::IVG_ERROR_BUFFER_TOO_SMALL;
            status
        });
        if !too_small {
            result?;
            buffer.truncate(needed);
            return Ok(buffer);
        }
        buffer.resize(needed + extra, Element::default());
    }
    Err(Error::new(ErrorKind::Internal, "the buffer was as large as asked for, and was called too small"))
}

/// A text of the library that has to be UTF-8.
pub(crate) fn utf8(bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::Internal, "libivg gave a text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A type as safe code may write it: each call of `as_ref` gives the other slice.
    #[derive(Default)]
    struct Alternating {
        calls: Cell<usize>,
    }

    impl Alternating {
        const SLICES: [&'static [u8]; 2] = [b"a", b"many bytes"];
    }

    impl AsRef<[u8]> for Alternating {
        fn as_ref(&self) -> &[u8] {
            let call = self.calls.replace(self.calls.get() + 1);
            Self::SLICES[call % 2]
        }
    }

    #[test]
    fn a_pointer_and_its_length_are_of_the_same_slice() {
        let texts = [Alternating::default(), Alternating { calls: Cell::new(1) }];
        let (starts, lengths) = pointers(&texts);
        assert_eq!(lengths, [1, 10]);
        for (start, slice) in starts.iter().zip(Alternating::SLICES) {
            assert_eq!(*start, slice.as_ptr().cast());
        }
    }

    #[test]
    fn a_nul_is_refused_and_named() {
        let error = Texts::default().text("tuned_template", "a\0b").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.to_string(), "tuned_template has a NUL at byte 1");
    }

    #[test]
    fn a_buffer_grows_once_to_what_is_needed() {
        let mut calls = 0;
        let filled = fill::<u8>(1, 1, |buffer, capacity, needed, _| {
            calls += 1;
            // SAFETY: `needed` points to a number, and `buffer` to `capacity` bytes.
            unsafe {
                *needed = 5;
                if capacity < 6 {
                    return sys::IVG_ERROR_BUFFER_TOO_SMALL;
                }
                ptr::copy_nonoverlapping(c"hello".as_ptr().cast(), buffer, 6);
            }
            sys::IVG_OK
        });
        assert_eq!((filled.unwrap(), calls), (b"hello".to_vec(), 2));
        let never = fill::<u8>(1, 0, |_, _, _, _| sys::IVG_ERROR_BUFFER_TOO_SMALL);
        assert_eq!(never.unwrap_err().kind(), ErrorKind::Internal);
    }
}
