//! Other programs that write to the database, for instance `sqlite3` in a shell.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use hubd_store::StoreError;

use crate::Hub;

/// For how long what they wrote may go unnoticed, in milliseconds: to look costs as much as all else that is done to find
/// out who asks. What hubd itself writes counts at once.
const UNNOTICED_MILLIS: u64 = 10;

/// When somebody looked last, in milliseconds since 1970.
#[derive(Default)]
pub(crate) struct Looked(AtomicU64);

impl Hub {
    /// Looks whether others wrote to the database, if that was not done a moment ago: at the start of everything that may
    /// be answered from memory.
    pub(crate) fn notice_others(&self) -> Result<(), StoreError> {
        let since_1970 = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        let looked = self.looked.0.load(Ordering::Acquire);
        if now.checked_sub(looked).is_some_and(|age| age < UNNOTICED_MILLIS) {
            return Ok(());
        }
        self.store.notice_changes()?;
        self.looked.0.store(now, Ordering::Release);
        Ok(())
    }
}
