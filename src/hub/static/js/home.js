// Home: stop, add and delete servers without leaving the page.
import { api, t } from "hub/api";

const user = encodeURIComponent(window.jhdata.user ?? "");
const status = document.getElementById("action-status");

// Waits until the server is gone, then shows the page anew.
async function stopped(server) {
  for (let tries = 0; tries < 60; tries += 1) {
    await new Promise((done) => setTimeout(done, 500));
    const answer = await api("GET", `users/${user}`);
    const model = await answer.json();
    if (!model.servers?.[server]) break;
  }
  location.reload();
}

async function act(button, text, call, server) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  status.textContent = text;
  try {
    await call();
    await stopped(server);
  } catch {
    button.removeAttribute("aria-disabled");
    status.textContent = "";
  }
}

const stop = document.getElementById("stop");
stop?.addEventListener("click", (event) => {
  event.preventDefault();
  act(stop, t("Stopping your server …"), () => api("DELETE", `users/${user}/server`), "");
});

// Puts off the end of an idle server: it counts as used now.
for (const button of document.querySelectorAll(".keep-running")) {
  button.addEventListener("click", async () => {
    const now = new Date().toISOString();
    const servers = { [button.dataset.serverName]: { last_activity: now } };
    await api("POST", `users/${user}/activity`, { servers, last_activity: now });
    button.closest(".idle-warning").remove();
  });
}

for (const row of document.querySelectorAll("tr[data-server-name]")) {
  const name = row.dataset.serverName;
  const path = `users/${user}/servers/${encodeURIComponent(name)}`;
  row.querySelector(".stop-server").addEventListener("click", (event) => {
    event.preventDefault();
    act(event.currentTarget, t("Stopping {name} …", { name }), () => api("DELETE", path), name);
  });
  row.querySelector(".delete-server").form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!confirm(t("Delete the server {name}?", { name }))) return;
    await api("DELETE", path, { remove: true });
    row.remove();
  });
}
