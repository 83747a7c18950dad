// What pages do by themselves: ages that go on, lists that keep up, light and dark, commands to copy. All of it is
// an extra: without it every page works.
"use strict";

const LIVE_SECONDS = 5;
const BACKOFF_SECONDS_MAX = 60;

const page = document.documentElement;
page.classList.add("has-js");

// Ages: `<time datetime>` is written as an instant and shown as "3 min ago"; the whole instant stays its title.

const STEPS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [Infinity, 86400, "d"]];

function age(instant, now) {
  const seconds = Math.round((now - instant) / 1000);
  const length = Math.abs(seconds);
  if (length < 2) return "now";
  const [, unit, word] = STEPS.find(([limit]) => length < limit);
  const text = `${Math.floor(length / unit)} ${word}`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

// How instants are written: as ages, in UTC as the server does, or on this browser's clock. One that has a clock of its
// own (`data-exact`) is left alone.

const CLOCKS = ["ages", "UTC", "local"];
let clock = "ages";
try { clock = CLOCKS.includes(localStorage.jobsup_clock) ? localStorage.jobsup_clock : "ages"; } catch { /* not kept */ }

const PARTS = { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const onClock = {
  UTC: new Intl.DateTimeFormat("en-GB", { ...PARTS, timeZone: "UTC" }),
  local: new Intl.DateTimeFormat("en-GB", PARTS),
};

function written(instant, now) {
  return clock === "ages" ? age(instant, now) : onClock[clock].format(instant).replace(",", "");
}

function showAges(root = document) {
  const now = Date.now();
  for (const element of root.querySelectorAll("time[datetime]:not([data-exact])")) {
    const text = written(Date.parse(element.dateTime), now);
    if (element.textContent !== text) element.textContent = text;
  }
}

const onGrid = new Intl.DateTimeFormat("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

// Places on a drawing are told in UTC by the server, and on this browser's clock when that is wished.
function showGrid(root = document) {
  for (const element of root.querySelectorAll("[data-grid-clock]")) {
    element.textContent = clock === "local" ? "this browser's clock" : "UTC";
  }
  for (const element of root.querySelectorAll("text[data-instant]")) {
    element.dataset.utc ||= element.textContent;
    element.textContent = clock === "local" ? onGrid.format(Date.parse(element.dataset.instant)) : element.dataset.utc;
  }
}

// What is wider than the screen begins where now is, and stays where it was when it is drawn again.
function showNow() {
  for (const element of document.querySelectorAll(".scroll[data-see]")) {
    element.scrollLeft = element.dataset.see * element.scrollWidth - element.clientWidth / 2;
  }
}

// The names of a drawing's rows stay in sight when it is scrolled.
function keepNames(element) {
  const drawing = element.querySelector("svg.timeline");
  if (!drawing) return;
  const x = 6 + element.scrollLeft * drawing.viewBox.baseVal.width / element.scrollWidth;
  for (const name of drawing.querySelectorAll("text.row-name")) name.setAttribute("x", x.toFixed(1));
}

function replace(part, fresh) {
  const places = Array.from(part.querySelectorAll(".scroll"), (element) => element.scrollLeft);
  part.replaceChildren(...document.importNode(fresh, true).childNodes);
  part.querySelectorAll(".scroll").forEach((element, index) => { element.scrollLeft = places[index] || 0; });
}

function showClock() {
  const button = document.querySelector("[data-clock-switch]");
  if (button) button.textContent = clock;
  showAges();
  showGrid();
}

function switchClock() {
  clock = CLOCKS[(CLOCKS.indexOf(clock) + 1) % CLOCKS.length];
  try { localStorage.jobsup_clock = clock; } catch { /* not kept */ }
  showClock();
}

// Lists that keep up: parts marked `data-live-part` (each with an id) of a `<main data-live>` are fetched again while
// the page is seen, and put in place where they differ. Whoever is typing or choosing in a part is not disturbed.

let liveTag = null;
let wait = LIVE_SECONDS;
let next = 0;
let isAsking = false;
let isWantedAgain = false;

function isBusy(part) {
  return part.contains(document.activeElement) && document.activeElement !== part
    || part.querySelector("input:checked, details[open]") !== null;
}

async function refresh() {
  const headers = { "Cache-Control": "max-age=2", ...(liveTag ? { "If-None-Match": liveTag } : {}) };
  const answer = await fetch(location.href, { headers, credentials: "same-origin", cache: "no-store", redirect: "error" });
  if (answer.status === 304) return;
  if (!answer.ok) throw new Error(String(answer.status));
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  let isWhole = true;
  for (const part of document.querySelectorAll("[data-live-part]")) {
    const other = fresh.getElementById(part.id);
    if (!other) continue;
    if (isBusy(part)) { isWhole = false; continue; }
    const mine = part.dataset.drawn;
    if (mine === other.innerHTML) continue;
    part.dataset.drawn = other.innerHTML;
    replace(part, other);
    showAges(part);
    showGrid(part);
  }
  liveTag = isWhole ? answer.headers.get("ETag") : null;
}

function sayLive(text) {
  const place = document.querySelector("[data-live-state]");
  if (place) place.textContent = text;
}

async function keepUp() {
  clearTimeout(next);
  if (isAsking) { isWantedAgain = true; return; }
  isAsking = true;
  if (!document.hidden) {
    try {
      await refresh();
      wait = LIVE_SECONDS;
      sayLive("live");
    } catch {
      wait = Math.min(wait * 2, BACKOFF_SECONDS_MAX);
      sayLive("no answer, trying again");
    }
  }
  isAsking = false;
  next = setTimeout(keepUp, isWantedAgain ? 0 : wait * 1000);
  isWantedAgain = false;
}

// Whether ticks are dispatched: asked for now and then, and shown in the head of the page.

const PULSE_SECONDS = 15;
let pulseTag = null;

async function showPulse() {
  const place = document.getElementById("pulse");
  if (!place) return;
  if (!document.hidden) {
    try {
      const headers = { "Cache-Control": "max-age=2", ...(pulseTag ? { "If-None-Match": pulseTag } : {}) };
      const answer = await fetch(`${document.body.dataset.root}/pulse`, { headers, credentials: "same-origin", cache: "no-store", redirect: "error" });
      if (answer.ok) {
        pulseTag = answer.headers.get("ETag");
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("pulse-now");
        if (fresh) place.replaceChildren(document.importNode(fresh, true));
      }
    } catch { /* what is shown stays until there is an answer */ }
  }
  setTimeout(showPulse, PULSE_SECONDS * 1000);
}

// Light and dark: kept in a cookie, so that the server draws the page right from the first byte.

function switchTheme() {
  const isDark = page.dataset.theme ? page.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  page.dataset.theme = isDark ? "light" : "dark";
  document.cookie = `jobsup_theme=${page.dataset.theme}; path=${document.body.dataset.root}/; max-age=31536000; samesite=lax`;
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent.trim());
    element.classList.add("copied");
    setTimeout(() => element.classList.remove("copied"), 1200);
  } catch { /* the text can still be selected */ }
}

document.addEventListener("scroll", (event) => { if (event.target.matches?.(".scroll")) keepNames(event.target); }, true);

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-theme-switch]")) switchTheme();
  if (event.target.closest("[data-clock-switch]")) switchClock();
  const line = event.target.closest("[data-copy]");
  if (line) copy(line);
});

// One box that checks all others of its table.
document.addEventListener("change", (event) => {
  const all = event.target.closest("[data-check-all]");
  if (!all) return;
  for (const box of all.closest("form").querySelectorAll("input[type=checkbox][name]")) box.checked = all.checked;
});

// `/` goes to the filter.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  const places = ["[data-find]", ".filters input[type=search], .filters input[type=text]", "[data-find-jobs]"];
  const filter = places.map((place) => document.querySelector(place)).find((field) => field);
  if (filter) { event.preventDefault(); filter.focus(); }
});

showClock();
showNow();
showPulse();
setInterval(() => showAges(), 1000);
if (document.querySelector("main[data-live]")) {
  next = setTimeout(keepUp, LIVE_SECONDS * 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) keepUp(); });
  document.addEventListener("jobsup:ended", keepUp);
}
