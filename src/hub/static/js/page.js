// Every page: theme, menu, relative times, dialogs.
import { t } from "hub/api";

const root = document.documentElement;

document.getElementById("dark-theme-toggle")?.addEventListener("click", () => {
  const theme = root.dataset.bsTheme === "dark" ? "light" : "dark";
  root.dataset.bsTheme = theme;
  try {
    localStorage.setItem("jupyterhub-bs-theme", theme);
  } catch {
    // Storage is off: the choice holds for this page.
  }
});

const toggler = document.querySelector(".navbar-toggler");
toggler?.addEventListener("click", () => {
  const open = document.getElementById("thenavbar").classList.toggle("show");
  toggler.setAttribute("aria-expanded", String(open));
});

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => {
    if (event.target.closest(".btn-close, [data-dismiss]")) dialog.close();
  });
}

// Copies what stands beside the button; where the browser does not let it, the text is marked to be copied.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = t("Copied");
    } catch {
      getSelection().selectAllChildren(source);
    }
  });
}

const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat(root.lang);
function writeTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
    if (Number.isNaN(seconds)) continue;
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
    time.title = new Date(time.dateTime).toLocaleString(root.lang);
    time.textContent = unit === "second" ? t("just now") : relative.format(Math.round(seconds / size), unit);
  }
}
writeTimes();
addEventListener("hub:changed", writeTimes);

// What looks like a button works like one.
document.addEventListener("keydown", (event) => {
  if (event.key === " " && event.target.matches("a[role=button]")) {
    event.preventDefault();
    event.target.click();
  }
});

// The page of a server that is not running keeps the fragment of the address it stands for.
const start = document.querySelector("a#start");
if (start && location.hash) start.href += location.hash;
const wait = Number(start?.dataset.implicitSpawnSeconds);
if (wait > 0) setTimeout(() => start.click(), wait * 1000);

// A page of something pending looks whether it has come to an end, and only then changes under the reader.
const pending = document.querySelector("[data-poll]");
if (pending) {
  setInterval(async () => {
    const answer = await fetch(location.href, { redirect: "manual" }).catch(() => null);
    if (!answer) return;
    const same = answer.type === "basic" && (await answer.text()).includes(`data-poll="${pending.dataset.poll}"`);
    if (!same) location.reload();
  }, 2000);
}

// The counter of redirects is the hub's own affair.
const here = new URL(location.href);
if (here.searchParams.has("redirects")) {
  here.searchParams.delete("redirects");
  history.replaceState(null, "", here);
}

// Says that the scripts of this page, all of them modules, have run.
addEventListener("load", () => {
  window._jupyterhub_page_loaded = true;
});
