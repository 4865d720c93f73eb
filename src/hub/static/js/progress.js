// The start of a server, as it happens.
import { api, t } from "hub/api";

const bar = document.getElementById("progress-bar");
const reader = document.getElementById("sr-progress");
const message = document.getElementById("progress-message");
const log = document.getElementById("progress-log");
const details = document.getElementById("progress-details");
const stopForm = document.getElementById("stop-server-form");
const stopStatus = document.getElementById("stop-server-status");

const script = document.querySelector("script[data-progress-url]");
const url = new URL(script.dataset.progressUrl, location.origin);
url.searchParams.set("_xsrf", window.jhdata.xsrf_token);
const events = new EventSource(url);
let failures = 0;

// The stream tells the whole story each time it is opened.
events.onopen = () => {
  failures = 0;
  log.replaceChildren();
};

events.onmessage = (event) => {
  const data = JSON.parse(event.data);
  if (data.progress !== undefined) {
    bar.style.width = `${data.progress}%`;
    bar.setAttribute("aria-valuenow", data.progress);
    reader.textContent = `${data.progress}%`;
  }
  const text = t(data.message ?? "");
  if (text) {
    message.textContent = text;
    const line = document.createElement("div");
    line.className = "progress-log-event";
    line.textContent = text;
    log.append(line);
  }
  if (data.ready) {
    events.close();
    location.reload();
  }
  if (data.failed) {
    events.close();
    bar.classList.add("bg-danger");
    details.open = true;
    stopForm.hidden = true;
    // The page knows more: the step, the server's last words, what to do.
    setTimeout(() => location.reload(), 1200);
  }
};

// A hub that restarts comes back: the browser tries again by itself. If not, the page says so.
events.onerror = () => {
  failures += 1;
  if (events.readyState === EventSource.CLOSED || failures > 3) {
    events.close();
    message.textContent = t("The connection to the hub is lost. Trying again …");
    setTimeout(() => location.reload(), 3000);
  }
};

stopForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  stopStatus.textContent = t("Stopping your server …");
  stopForm.querySelector("button").disabled = true;
  try {
    await api("DELETE", stopForm.dataset.api);
    events.close();
    location.reload();
  } catch {
    stopStatus.textContent = "";
    stopForm.querySelector("button").disabled = false;
  }
});
