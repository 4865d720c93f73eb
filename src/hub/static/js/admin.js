// The list of users: acts on many with progress, and stays true without being loaded again.
import { call, t } from "hub/api";

const REFRESH_MS = 5000;
const PENDING_MS = 1200;
const AT_ONCE = 6;

const form = document.getElementById("bulk");
const body = document.getElementById("users");
const all = document.getElementById("choose-all");
const area = document.getElementById("bulk-progress");
const said = document.getElementById("bulk-status");
const results = document.getElementById("bulk-results");
const bar = area.querySelector("progress");

const boxes = () => [...body.querySelectorAll("input[name=user]")];
const part = encodeURIComponent;

function countChosen() {
  const chosen = boxes().filter((box) => box.checked).length;
  all.checked = chosen > 0 && chosen === boxes().length;
  all.indeterminate = chosen > 0 && !all.checked;
}
all.addEventListener("change", () => {
  for (const box of boxes()) box.checked = all.checked;
});
body.addEventListener("change", countChosen);

// Replaces the rows that are different in the page as the hub shows it now; a row with the focus waits.
async function refresh() {
  const answer = await fetch(location.href, { redirect: "manual" }).catch(() => null);
  if (!answer || answer.type !== "basic" || !answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const old = new Map([...body.querySelectorAll("[data-key]")].map((row) => [row.dataset.key, row]));
  const chosen = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  const held = document.activeElement?.closest("[data-key]")?.dataset.key;
  const rows = [...page.querySelectorAll("#users [data-key]")].map((row) => {
    const known = old.get(row.dataset.key);
    if (known && (row.dataset.key === held || known.dataset.was === row.innerHTML)) return known;
    const fresh = document.importNode(row, true);
    fresh.dataset.was = row.innerHTML;
    const box = fresh.querySelector("input[name=user]");
    if (box) box.checked = chosen.has(box.value);
    return fresh;
  });
  if (rows.length) body.replaceChildren(...rows);
  for (const mark of [".figures-line", ".count"]) {
    const fresh = page.querySelector(mark);
    if (fresh) document.querySelector(mark).textContent = fresh.textContent;
  }
  dispatchEvent(new Event("hub:changed"));
}

let timer;
function later() {
  clearTimeout(timer);
  const pending = body.querySelector("[data-state=starting], [data-state=stopping]");
  timer = setTimeout(async () => {
    if (!document.hidden) await refresh();
    later();
  }, pending ? PENDING_MS : REFRESH_MS);
}
later();

// One server of one user, as "start/alice/lab".
function act(wish) {
  const [action, user, server] = wish.split("/");
  const path = server ? `users/${part(user)}/servers/${part(server)}` : `users/${part(user)}/server`;
  return call(action === "start" ? "POST" : "DELETE", path);
}

// Does all of it, a few at a time; each gets a line when it is done.
async function run(wishes) {
  area.hidden = false;
  results.replaceChildren();
  bar.max = wishes.length;
  let done = 0;
  let failed = 0;
  const tell = () => {
    bar.value = done + failed;
    said.textContent = t("{done} of {total} done, {failed} failed", { done, total: wishes.length, failed });
  };
  tell();
  const waiting = [...wishes];
  const worker = async () => {
    for (let wish = waiting.shift(); wish; wish = waiting.shift()) {
      const line = document.createElement("li");
      const name = document.createElement("strong");
      name.textContent = wish.split("/").slice(1).filter(Boolean).join("/");
      const outcome = document.createElement("span");
      outcome.textContent = t(wish.startsWith("start") ? "Starting {name} …" : "Stopping {name} …", { name: "" });
      line.append(name, " ", outcome);
      results.append(line);
      try {
        await act(wish);
        done += 1;
        outcome.textContent = t("Done");
        line.className = "result-ok";
      } catch (error) {
        failed += 1;
        outcome.textContent = error.message;
        line.className = "result-failed";
      }
      tell();
    }
  };
  later();
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  await refresh();
}

// Of a user who is chosen: the servers that run, or the default one.
function wishesOf(action, user) {
  const rows = [...body.querySelectorAll("[data-key]")].filter((row) => row.dataset.key.split("/")[0] === user);
  const active = (row) => !["stopped", "failed"].includes(row.dataset.state);
  if (action === "stop") return rows.filter(active).map((row) => `stop/${row.dataset.key}`);
  return rows.slice(0, 1).filter((row) => !active(row)).map((row) => `start/${row.dataset.key}`);
}

form.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (button?.name === "do") {
    event.preventDefault();
    button.blur();
    run([button.value]);
    return;
  }
  const [action, every] = (button?.value ?? "").split("-");
  if (!["start", "stop"].includes(action)) return;
  event.preventDefault();
  const chosen = boxes().filter((box) => every || box.checked).map((box) => box.value);
  if (chosen.length) run(chosen.flatMap((user) => wishesOf(action, user)));
  else boxes()[0]?.focus();
});

// A filter takes effect when it is chosen.
for (const field of document.querySelectorAll(".admin-search select, #pagination-limit")) {
  field.addEventListener("change", () => field.form.requestSubmit());
}
document.getElementById("active-servers-filter").addEventListener("change", (event) => {
  const state = event.target.form.elements.state;
  state.value = event.target.checked ? "active" : "";
  event.target.form.requestSubmit();
});
