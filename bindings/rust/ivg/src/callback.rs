// SPDX-License-Identifier: Apache-2.0

//! Closures of the host, as libivg calls them.
//!
//! Neither an error nor a panic may pass through C. Both are put aside on the calling thread, the C function reports
//! failure, and where the call into libivg was made the error is returned or the panic goes on.

use crate::error::BoxError;
use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// What a closure did instead of returning a value.
pub(crate) enum Failure {
    Error(BoxError),
    Panic(Box<dyn Any + Send>),
}

thread_local! {
    static FAILURE: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// Runs a closure of the host for C. Returns what C expects: 0, or 1 for failure.
pub(crate) fn run(closure: impl FnOnce() -> Result<(), BoxError>) -> i32 {
    let failure = match catch_unwind(AssertUnwindSafe(closure)) {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => Failure::Error(error),
        Err(panic) => Failure::Panic(panic),
    };
    // The first failure of a call is the one to tell. (A thread that is ending has no slot any more.)
    let _ = FAILURE.try_with(|slot| {
        slot.borrow_mut().get_or_insert(failure);
    });
    1
}

/// Takes what a closure put aside during the call that has just ended on this thread.
pub(crate) fn take_failure() -> Option<Failure> {
    FAILURE.try_with(|slot| slot.borrow_mut().take()).ok().flatten()
}

/// A closure as `user_data`: a thin pointer that `finalize` gives back.
pub(crate) fn into_user_data<Closure>(closure: Closure) -> *mut c_void {
    Box::into_raw(Box::new(closure)).cast()
}

/// Drops what `into_user_data` made.
///
/// # Safety
/// `user_data` is from `into_user_data::<Closure>`, and nothing uses it any more.
pub(crate) unsafe extern "C" fn finalize<Closure>(user_data: *mut c_void) {
    // SAFETY: the caller's promise.
    let closure = unsafe { Box::from_raw(user_data.cast::<Closure>()) };
    // A panic while dropping has been printed; there is no call to which it could go on.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(closure)));
}
