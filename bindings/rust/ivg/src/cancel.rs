// SPDX-License-Identifier: Apache-2.0

//! Stopping calls from elsewhere.

use std::fmt;
use std::sync::Arc;

/// Stops the running call of a [`Session`](crate::Session), [`Trainer`](crate::Trainer) or
/// [`Quantizer`](crate::Quantizer), from any thread.
///
/// The running call, or else the next one, fails with [`Cancelled`](crate::ErrorKind::Cancelled), also while it reads a
/// prompt; what it belongs to stays usable. Cancelling is one atomic store, which a signal handler may do too. A handle
/// keeps the memory of what it belongs to until the handle is dropped.
#[derive(Clone)]
pub struct CancelHandle(Arc<dyn Cancel + Send + Sync>);

pub(crate) trait Cancel {
    fn cancel(&self);
}

impl CancelHandle {
    pub(crate) fn new(core: Arc<impl Cancel + Send + Sync + 'static>) -> Self {
        Self(core)
    }

    /// Stops the running call, or else the next one.
    #[doc(alias = "ivg_session_cancel")]
    #[doc(alias = "ivg_trainer_cancel")]
    #[doc(alias = "ivg_quantizer_cancel")]
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CancelHandle")
    }
}
