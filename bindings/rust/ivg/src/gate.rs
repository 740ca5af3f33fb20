// SPDX-License-Identifier: Apache-2.0

//! One call at a time on a session, its sequences among them.

use crate::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lets one thread in at a time, and refuses a thread that is in already: a closure that the session is running.
#[derive(Default)]
pub(crate) struct Gate {
    turn: Mutex<()>,
    owner: AtomicUsize, // the thread that is in; 0: none
}

/// A turn. Ends when dropped.
pub(crate) struct Turn<'a> {
    gate: &'a Gate,
    _guard: MutexGuard<'a, ()>,
}

impl Gate {
    /// Waits for a turn.
    pub(crate) fn enter(&self) -> Result<Turn<'_>, Error> {
        if self.is_mine() {
            return Err(Error::invalid("a closure that a session runs must not call that session"));
        }
        let guard = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.owner.store(this_thread(), Ordering::Relaxed);
        Ok(Turn { gate: self, _guard: guard })
    }

    /// Whether this thread has the turn. Only the thread itself writes its own mark, so no order is needed.
    pub(crate) fn is_mine(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == this_thread()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.gate.owner.store(0, Ordering::Relaxed);
    }
}

/// A number that no other living thread has.
fn this_thread() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| mark as *const u8 as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_in_is_refused_and_others_wait() {
        let gate = Gate::default();
        let turn = gate.enter().unwrap();
        assert!(gate.enter().is_err());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.enter().is_ok());
            assert!(gate.is_mine());
            drop(turn);
            assert!(waiting.join().unwrap());
        });
        assert!(!gate.is_mine() && gate.enter().is_ok());
    }
}
