// The log: what a run prints goes on where the page ends, what was printed before comes in by scrolling. Everything a
// job wrote becomes text nodes, nothing else.
"use strict";

const LINES_MAX = 5000;
const NEAR_PIXELS = 240;
const ROUNDS_MAX = 8;

const output = document.getElementById("output");
const list = output ? output.querySelector("ol") : null;
const box = document.getElementById("follow");
const wrap = document.getElementById("wrap");
const state = document.getElementById("follow-state");
const CLASSES = /^(?:(?:[bdiux]|[fg]\d{1,2}|err)(?: |$))*$/;

const AGAIN_SECONDS = 3;

let source = null;
let from = output ? output.dataset.from : null;
let line = null;
let lineAt = null;
let hasEnded = false;
let isLoading = false;

function say(text) { if (state) state.textContent = text; }

function distance() { return document.documentElement.scrollHeight - window.scrollY - window.innerHeight; }

function toEnd() { window.scrollTo(0, document.documentElement.scrollHeight); }

// The stream of a run that goes on.

function open() {
  if (!output || !output.dataset.follow || source || hasEnded || document.hidden) return;
  source = new EventSource(`${output.dataset.follow}?from=${encodeURIComponent(from)}`);
  source.onopen = () => say("live");
  source.onerror = () => {
    say("no answer, trying again");
    // A browser asks again by itself after a cut, but never after an answer such as 503.
    if (source.readyState === EventSource.CLOSED) { close(); setTimeout(open, AGAIN_SECONDS * 1000); }
  };
  source.onmessage = (event) => { from = event.lastEventId; take(JSON.parse(event.data)); };
  source.addEventListener("end", () => { hasEnded = true; close(); say("ended"); document.dispatchEvent(new Event("jobsup:ended")); });
}

function close() {
  if (source) source.close();
  source = null;
}

function current() {
  if (!line) {
    line = document.createElement("li");
    if (lineAt !== null && !document.getElementById(`p${lineAt}`)) line.id = `p${lineAt}`;
    list.append(line);
  }
  return line;
}

function write(text, classes) {
  const place = current();
  if (!classes || !CLASSES.test(classes)) { place.append(text); return; }
  const span = document.createElement("span");
  span.className = classes;
  span.textContent = text;
  if (span.classList.contains("err")) place.classList.add("err-line");
  place.append(span);
}

function gap(count) {
  const item = document.createElement("li");
  item.className = "gap";
  item.textContent = `${count} bytes are not kept`;
  list.append(item);
  line = null;
}

function take(tokens) {
  const empty = document.getElementById("no-output");
  if (empty) empty.remove();
  for (const [kind, value, classes] of tokens) {
    if (kind === "t") write(value, classes);
    else if (kind === "n") { current(); line = null; lineAt = value; }
    else if (kind === "r") current().replaceChildren();
    else if (kind === "g") gap(value);
  }
  if (list.childElementCount > LINES_MAX) {
    while (list.childElementCount > LINES_MAX) list.firstElementChild.remove();
    output.dataset.earlier = String(Math.max(0, placeOf(list.querySelector("li[id]")) - 48 * 1024));
  }
  if (box && box.checked) toEnd();
}

// Pages before and after, by scrolling. Each line knows its place, so none comes in twice.

function placeOf(item) { return item ? Number(item.id.slice(1)) : 0; }

async function page(at) {
  const answer = await fetch(`${output.dataset.page}?at=${at}`, { credentials: "same-origin", redirect: "error" });
  if (!answer.ok) throw new Error(String(answer.status));
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("output");
  return { lines: [...document.importNode(fresh, true).querySelectorAll("li")], ...fresh.dataset };
}

async function loadEarlier() {
  const first = placeOf(list.querySelector("li[id]"));
  const found = [];
  let at = output.dataset.earlier;
  let earlier;
  for (let round = 0; round < ROUNDS_MAX && at !== undefined && Number(at) < first; round++) {
    const part = await page(at);
    if (!round) earlier = part.earlier;
    found.push(...part.lines.filter((item) => !item.id || placeOf(item) < first));
    at = part.later;
  }
  const height = document.documentElement.scrollHeight;
  list.prepend(...found);
  window.scrollBy(0, document.documentElement.scrollHeight - height);
  if (earlier === undefined) delete output.dataset.earlier;
  else output.dataset.earlier = earlier;
  if (list.childElementCount > LINES_MAX) {
    if (box) box.checked = false;
    hasEnded = true;
    close();
    while (list.childElementCount > LINES_MAX) list.lastElementChild.remove();
    output.dataset.later = String(placeOf(list.lastElementChild));
    list.lastElementChild.remove();
  }
}

async function loadLater() {
  const part = await page(output.dataset.later);
  const known = new Set([...list.children].map((item) => item.id).filter(Boolean));
  list.append(...part.lines.filter((item) => !known.has(item.id)));
  if (part.later === undefined) delete output.dataset.later;
  else output.dataset.later = part.later;
  while (list.childElementCount > LINES_MAX) list.firstElementChild.remove();
  output.dataset.earlier = String(Math.max(0, placeOf(list.querySelector("li[id]")) - 48 * 1024));
  if (output.dataset.earlier === "0" && list.querySelector("#p0")) delete output.dataset.earlier;
}

async function scrolled() {
  if (isLoading || !output) return;
  const isNearTop = output.getBoundingClientRect().top > -NEAR_PIXELS && window.scrollY > 0;
  isLoading = true;
  try {
    if (isNearTop && output.dataset.earlier !== undefined) await loadEarlier();
    else if (distance() < NEAR_PIXELS && output.dataset.later !== undefined) await loadLater();
  } catch { say("no answer"); } finally { isLoading = false; }
}

// Hits of a search: n and N go from one to the next.

function go(step) {
  const hits = [...document.querySelectorAll("[data-hit]")];
  if (!hits.length) return;
  const here = location.hash.slice(2);
  const at = hits.findIndex((hit) => hit.dataset.hit === here);
  const next = hits[(at < 0 ? (step > 0 ? 0 : hits.length - 1) : at + step + hits.length) % hits.length];
  if (document.getElementById(`p${next.dataset.hit}`)) location.hash = `p${next.dataset.hit}`;
  else location.assign(next.href);
}

function setWrap(isOn) {
  output.classList.toggle("nowrap", !isOn);
  try { localStorage.jobsup_wrap = isOn ? "yes" : "no"; } catch { /* not kept */ }
}

if (output) {
  const wanted = /^#p(\d+)$/.exec(location.hash);
  const inPage = new URLSearchParams(location.search).get("at");
  if (wanted && !document.getElementById(`p${wanted[1]}`) && inPage !== wanted[1]) {
    location.replace(`${output.dataset.page}?at=${wanted[1]}${location.hash}`);
  }
  let keepsWrap = true;
  try { keepsWrap = localStorage.jobsup_wrap !== "no"; } catch { /* not kept */ }
  wrap.checked = keepsWrap;
  setWrap(keepsWrap);
  wrap.addEventListener("change", () => setWrap(wrap.checked));
  // A press on a line's left edge makes it the page's address.
  list.addEventListener("click", (event) => {
    const item = event.target.closest("li[id]");
    if (item && event.clientX - item.getBoundingClientRect().left < 14) location.hash = item.id;
  });
  window.addEventListener("scroll", scrolled, { passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    if (event.key === "n") go(1);
    else if (event.key === "N") go(-1);
    else if (event.key === "End" && box) { box.checked = true; toEnd(); }
  });
}

if (output && output.dataset.follow) {
  // The last line of the page may not be whole yet: what comes goes on in it.
  const last = list.lastElementChild;
  if (output.dataset.open === "yes" && last && !last.classList.contains("gap")) line = last;
  else lineAt = Number(output.dataset.end);
  open();
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("wheel", (event) => {
    if (!box) return;
    if (event.deltaY < 0) box.checked = false;
    else if (distance() < NEAR_PIXELS / 2) box.checked = true;
  }, { passive: true });
  if (box) box.addEventListener("change", () => { if (box.checked) toEnd(); });
}
