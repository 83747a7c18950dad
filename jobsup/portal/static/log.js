// The open log: what a run prints goes on where the page ends. Everything a job wrote becomes text nodes, nothing else.
"use strict";

const LINES_MAX = 5000;
const NEAR_END_PIXELS = 120;

const output = document.getElementById("output");
const list = output ? output.querySelector("ol") : null;
const box = document.getElementById("follow");
const state = document.getElementById("follow-state");
const CLASSES = /^(?:(?:[bdiux]|[fg]\d{1,2}|err)(?: |$))*$/;

let source = null;
let from = output ? output.dataset.from : null;
let line = null;
let hasEnded = false;

function say(text) { if (state) state.textContent = text; }

function open() {
  if (!output || !output.dataset.follow || source || hasEnded || document.hidden) return;
  source = new EventSource(`${output.dataset.follow}?from=${encodeURIComponent(from)}`);
  source.onopen = () => say("live");
  source.onerror = () => say("no answer, trying again");
  source.onmessage = (event) => { from = event.lastEventId; take(JSON.parse(event.data)); };
  source.addEventListener("end", () => { hasEnded = true; close(); say("ended"); });
}

function close() {
  if (source) source.close();
  source = null;
}

function current() {
  if (!line) { line = document.createElement("li"); list.append(line); }
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
    else if (kind === "n") { current(); line = null; }
    else if (kind === "r") current().replaceChildren();
    else if (kind === "g") gap(value);
  }
  while (list.childElementCount > LINES_MAX) list.firstElementChild.remove();
  if (box && box.checked) window.scrollTo(0, document.documentElement.scrollHeight);
}

if (output && output.dataset.follow) {
  // The last line of the page may not be whole yet: what comes goes on in it.
  const last = list.lastElementChild;
  if (output.dataset.open === "yes" && last && !last.classList.contains("gap")) line = last;
  open();
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("wheel", (event) => {
    if (!box) return;
    const left = document.documentElement.scrollHeight - window.scrollY - window.innerHeight;
    if (event.deltaY < 0) box.checked = false;
    else if (left < NEAR_END_PIXELS) box.checked = true;
  }, { passive: true });
  if (box) box.addEventListener("change", () => { if (box.checked) window.scrollTo(0, document.documentElement.scrollHeight); });
}
