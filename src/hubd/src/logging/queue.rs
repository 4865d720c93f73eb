//! Lines on their way out of the program, which never waits for whoever reads them: a journal that hangs, a pipe that
//! nobody empties or a terminal on hold must not stop anybody's work.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::Level;

/// Bytes of lines that wait at most; further ones are counted, not kept. A busy day's log of ten minutes.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// Takes lines away, and may be slow in it.
pub type Sink = Box<dyn FnMut(Level, &[u8]) + Send>;

/// Lines that wait for a sink.
pub struct Queue {
    /// Whether somebody has to take the lines, who may be slow.
    has_reader: bool,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    lines: VecDeque<(Level, Vec<u8>)>,
    bytes: usize,
    /// Lines that found no room since the last one that went out.
    lost: u64,
    /// Who takes them: as long as it is here, whoever logs writes.
    sink: Option<Sink>,
    /// Whether the thread is writing one.
    writing: bool,
}

impl Queue {
    /// A queue whose lines go out at once, until [`Queue::detach`].
    pub fn new(sink: Sink) -> Arc<Self> {
        Self::with(sink, true)
    }

    /// One whose lines always go out at once: nobody has to read a file.
    pub fn to_file(sink: Sink) -> Arc<Self> {
        Self::with(sink, false)
    }

    fn with(sink: Sink, has_reader: bool) -> Arc<Self> {
        let state = State { lines: VecDeque::new(), bytes: 0, lost: 0, sink: Some(sink), writing: false };
        Arc::new(Self { has_reader, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Takes a line over.
    pub fn put(&self, level: Level, line: Vec<u8>) {
        let mut state = self.state();
        if let Some(sink) = &mut state.sink {
            sink(level, &line);
        } else if state.bytes + line.len() > WAITING_BYTES_MAX {
            state.lost += 1;
        } else {
            state.bytes += line.len();
            state.lines.push_back((level, line));
            self.changed.notify_all();
        }
    }

    /// From here on a thread of its own writes lines, so that nobody who logs waits.
    ///
    /// # Errors
    /// There can be no thread; then everything stays as it is.
    pub fn detach(self: &Arc<Self>) -> std::io::Result<()> {
        if !self.has_reader {
            return Ok(());
        }
        let queue = self.clone();
        let thread = std::thread::Builder::new().name("log".to_owned());
        let sink = self.state().sink.take();
        let Some(sink) = sink else { return Ok(()) };
        // Kept aside, so that it is still there if there is no thread to give it to.
        let kept = Arc::new(Mutex::new(Some(sink)));
        let given = kept.clone();
        let started = thread.spawn(move || {
            let sink = given.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(sink) = sink {
                queue.write_for_ever(sink);
            }
        });
        if started.is_err() {
            self.state().sink = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        started.map(drop)
    }

    fn write_for_ever(&self, mut sink: Sink) {
        loop {
            let waiting = self.changed.wait_while(self.state(), |state| state.lines.is_empty());
            let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
            let Some((level, line)) = state.lines.pop_front() else { continue };
            state.bytes -= line.len();
            state.writing = true;
            drop(state);
            sink(level, &line);
            let mut state = self.state();
            state.writing = false;
            let lost = std::mem::take(&mut state.lost);
            drop(state);
            self.changed.notify_all();
            if lost > 0 {
                tracing::warn!(lost, "log lines were lost, because nobody took them for a while");
            }
        }
    }

    /// Waits until all lines are out, at most `limit`: for the end of the program.
    pub fn flush(&self, limit: Duration) {
        let all_out = |state: &mut State| !state.lines.is_empty() || state.writing;
        // Whoever does not read until then does without.
        drop(self.changed.wait_timeout_while(self.state(), limit, all_out));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes whole lines to the queue.
#[derive(Clone)]
pub struct QueueWriter(pub Arc<Queue>);

impl std::io::Write for QueueWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // The level stands in the line.
        self.0.put(Level::INFO, bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// A queue with a thread, what it writes, and a way to let it write so many lines.
    fn slow() -> (Arc<Queue>, Receiver<String>, SyncSender<()>) {
        let (written, lines) = sync_channel(100_000);
        let (allow, allowed) = sync_channel(100_000);
        let queue = Queue::new(Box::new(move |_, line| {
            if allowed.recv().is_ok() {
                written.send(String::from_utf8(line.to_vec()).unwrap()).unwrap();
            }
        }));
        queue.detach().unwrap();
        (queue, lines, allow)
    }

    #[test]
    fn whoever_logs_waits_for_nobody_and_what_is_lost_is_counted() {
        let (queue, lines, allow) = slow();
        let line = vec![b'x'; 1024];
        let count = 2 * WAITING_BYTES_MAX / line.len();
        for _ in 0..count {
            queue.put(Level::INFO, line.clone());
        }
        let kept = {
            let state = queue.state();
            assert!(state.bytes <= WAITING_BYTES_MAX);
            count - usize::try_from(state.lost).unwrap()
        };
        assert!((WAITING_BYTES_MAX / line.len()..count).contains(&kept), "{kept}");
        for _ in 0..kept {
            allow.send(()).unwrap();
        }
        for _ in 0..kept {
            assert_eq!(lines.recv_timeout(SOON).unwrap().len(), line.len());
        }
        queue.flush(SOON);
        let state = queue.state();
        assert_eq!((state.lost, state.bytes, state.lines.len()), (0, 0, 0));
    }

    #[test]
    fn the_end_waits_for_lines_but_not_for_ever() {
        let (queue, lines, allow) = slow();
        queue.put(Level::INFO, b"one".to_vec());
        queue.flush(Duration::from_millis(10));
        assert!(lines.try_recv().is_err());
        allow.send(()).unwrap();
        queue.flush(SOON);
        assert_eq!(lines.try_recv().unwrap(), "one");
    }

    #[test]
    fn without_a_thread_lines_go_out_at_once_and_in_order() {
        let (written, lines) = sync_channel(10);
        let queue = Queue::new(Box::new(move |level, line| written.send((level, line.to_vec())).unwrap()));
        queue.put(Level::WARN, b"one".to_vec());
        assert_eq!(lines.try_recv().unwrap(), (Level::WARN, b"one".to_vec()));
        queue.put(Level::INFO, b"two".to_vec());
        queue.detach().unwrap();
        queue.put(Level::INFO, b"three".to_vec());
        queue.flush(SOON);
        let rest: Vec<_> = lines.try_iter().map(|(_, line)| line).collect();
        assert_eq!(rest, [b"two".to_vec(), b"three".to_vec()]);
    }
}
