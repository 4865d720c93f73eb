//! Waiting for the end, and reloading until it comes.

use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::reload::Reloader;
use crate::service_manager;

/// Waits for SIGTERM, SIGINT or an end that the API asks for; each SIGHUP before it reloads.
pub async fn wait_for_the_end(reloader: &Arc<Reloader>) -> anyhow::Result<()> {
    let watch = |kind| signal(kind).context("cannot watch for signals");
    let mut terminate = watch(SignalKind::terminate())?;
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut hangup = watch(SignalKind::hangup())?;
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = reloader.hub.ending.asked() => return Ok(()),
            _ = hangup.recv() => {
                reload(reloader).await;
                continue;
            }
        };
        tracing::warn!("Received signal {name}, initiating shutdown...");
        return Ok(());
    }
}

async fn reload(reloader: &Arc<Reloader>) {
    tracing::info!("Received SIGHUP, reloading");
    service_manager::reloading();
    let reloader = reloader.clone();
    // Files and the database may be slow.
    match tokio::task::spawn_blocking(move || reloader.reload()).await {
        Ok(report) => report.log(),
        Err(error) => tracing::error!("reload: {error}"),
    }
    service_manager::reloaded();
}
