//! `hubd upgrade-db` and `hubd backup`: what can be done to the database without running.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use anyhow::Context;
use hubd_store::{CopyProgress, Existing, Progress, Schema, Step, StoreError};
use tokio::signal::unix::{SignalKind, signal};

/// Brings the database to the schema of this version, after a copy beside it.
pub fn upgrade(database: &Path) -> anyhow::Result<()> {
    let Schema::Older { found, steps } = hubd_store::inspect(database)? else {
        println!("{}: nothing to upgrade", database.display());
        return Ok(());
    };
    println!("{}: schema {found}, {} steps to do", database.display(), steps.len());
    let database = database.to_path_buf();
    interruptible(move |stop| {
        let copy = hubd_store::upgrade(&database, SystemTime::now(), &mut |progress| {
            match progress {
                Progress::Copying(copied) => show(copied),
                Progress::Copied(copy) => println!("copied to {}", copy.display()),
                Progress::Stepped(step) => println!("{}", line(step)),
            }
            go_on(stop)
        })?;
        if copy.is_some() {
            println!("done; hubd can be started. The copy is the way back: keep it until all is well");
        }
        Ok(())
    })
}

/// The same before a start: to the log, and not to be interrupted.
pub fn upgrade_for_start(database: &Path) -> anyhow::Result<()> {
    let copy = hubd_store::upgrade(database, SystemTime::now(), &mut |progress| {
        match progress {
            Progress::Copying(_) => {}
            Progress::Copied(copy) => {
                tracing::info!("Backing up {} => {}", database.display(), copy.display());
            }
            Progress::Stepped(step) => {
                tracing::info!("Upgrading the database to {}: {}", step.revision, step.what);
            }
        }
        ControlFlow::Continue(())
    })?;
    if copy.is_some() {
        tracing::info!("Upgraded {}", database.display());
    }
    Ok(())
}

/// Lists what an upgrade would do.
pub fn list(database: &Path) -> anyhow::Result<()> {
    match hubd_store::inspect(database)? {
        Schema::New => println!("{}: no database yet, the first start makes it", database.display()),
        Schema::Current => println!("{}: nothing to upgrade", database.display()),
        Schema::Older { found, steps } => {
            println!("{}: schema {found}, these steps would be done:", database.display());
            for step in steps {
                println!("{}", line(step));
            }
        }
    }
    Ok(())
}

/// Copies the database, also one that is in use.
pub fn backup(database: &Path, to: &Path, existing: Existing) -> anyhow::Result<()> {
    let (from, target) = (database.to_path_buf(), to.to_path_buf());
    let result = interruptible(move |stop| {
        hubd_store::backup(&from, &target, existing, &mut |copied| {
            show(copied);
            go_on(stop)
        })
    });
    match result {
        Err(error) if matches!(error.downcast_ref(), Some(StoreError::Exists(_))) => {
            Err(error.context("nothing was copied; --force replaces it"))
        }
        other => other,
    }?;
    let bytes = std::fs::metadata(to).with_context(|| format!("cannot look at {}", to.display()))?.len();
    println!("{} copied to {} ({bytes} bytes, mode 0600)", database.display(), to.display());
    Ok(())
}

fn line(step: &Step) -> String {
    format!("  {} (JupyterHub {}): {}", step.revision, step.release, step.what)
}

/// One line that counts, where somebody looks on.
fn show(copied: CopyProgress) {
    let mut terminal = std::io::stderr();
    if !terminal.is_terminal() || copied.total == 0 {
        return;
    }
    let percent = copied.done * 100 / copied.total;
    let end = if copied.done == copied.total { "\n" } else { "" };
    write!(terminal, "\rcopying: {percent} %{end}").ok();
}

fn go_on(stop: &AtomicBool) -> ControlFlow<()> {
    if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Does `work`, and tells it when SIGINT or SIGTERM wants it to end; it cleans up itself.
fn interruptible(
    work: impl FnOnce(&AtomicBool) -> Result<(), StoreError> + Send + 'static,
) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let watch = |kind| signal(kind).context("cannot watch for signals");
        let (mut interrupt, mut terminate) =
            (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?);
        let stop = Arc::new(AtomicBool::new(false));
        let mut working = tokio::task::spawn_blocking({
            let stop = Arc::clone(&stop);
            move || work(&stop)
        });
        tokio::select! {
            done = &mut working => return done.context("the work was not done")?.map_err(Into::into),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.store(true, Ordering::Relaxed);
        working.await.context("the work was not done")?.map_err(Into::into)
    })
}
