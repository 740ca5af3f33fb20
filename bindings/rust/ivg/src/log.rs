// SPDX-License-Identifier: Apache-2.0

//! Messages of the library.

use crate::callback::{finalize, into_user_data};
use crate::text::owned;
use ivg_sys as sys;
use std::ffi::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogLevel {
    /// Something that is probably not wanted.
    #[doc(alias = "IVG_LOG_WARNING")]
    Warning,
    /// What is going on.
    #[doc(alias = "IVG_LOG_INFO")]
    Info,
}

impl LogLevel {
    fn raw(self) -> i32 {
        match self {
            Self::Warning => sys::IVG_LOG_WARNING,
            Self::Info => sys::IVG_LOG_INFO,
        }
    }
}

/// The library takes one call at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Sends messages up to `level` to `sink`, in place of the one before. The library is silent until this is called.
///
/// Process-wide. The sink may be called on any thread, also on several at once. It must not call libivg, which may wait
/// for it without end. A panic in it is printed and goes no further.
///
/// ```
/// ivg::set_log(ivg::LogLevel::Info, |level, message| eprintln!("{level:?}: {message}"));
/// ivg::silence_log();
/// ```
#[doc(alias = "ivg_log_set")]
pub fn set_log<Sink: Fn(LogLevel, &str) + Send + Sync + 'static>(level: LogLevel, sink: Sink) {
    let user_data = into_user_data(sink);
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the sink may be called on any thread until it is finalised.
    unsafe { sys::ivg_log_set(level.raw(), Some(trampoline::<Sink>), user_data, Some(finalize::<Sink>)) }
}

/// Makes the library silent again, and drops the sink.
#[doc(alias = "ivg_log_set")]
pub fn silence_log() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: no sink is silence.
    unsafe { sys::ivg_log_set(sys::IVG_LOG_NONE, None, ptr::null_mut(), None) }
}

unsafe extern "C" fn trampoline<Sink: Fn(LogLevel, &str)>(user_data: *mut c_void, level: i32, message: *const c_char) {
    // SAFETY: `user_data` is the sink, which lives until it is finalised; the message is a C string.
    let (sink, message) = unsafe { (&*user_data.cast::<Sink>(), owned(message).unwrap_or_default()) };
    let level = if level == sys::IVG_LOG_WARNING { LogLevel::Warning } else { LogLevel::Info };
    let _ = catch_unwind(AssertUnwindSafe(|| sink(level, &message)));
}
