// Keys: j and k move a mark down and up the page's main list, x ticks, Enter opens; a letter presses the button that
// carries it as data-key. Nothing of it is needed: each has a link or a button.
"use strict";

let at = -1;

function rows() { return [...document.querySelectorAll("[data-keys] tbody tr")]; }

function mark(place) {
  const all = rows();
  for (const row of all) row.classList.remove("at");
  if (!all.length) return;
  at = Math.max(0, Math.min(all.length - 1, place));
  all[at].classList.add("at");
  all[at].scrollIntoView({ block: "nearest" });
}

function marked() { return rows().find((row) => row.classList.contains("at")); }

function tick(row) {
  const box = row && row.querySelector("input[type=checkbox]");
  if (box) box.checked = !box.checked;
}

// What is meant by r or p in a list is what is ticked; when nothing is, it is what is marked.
function choose() {
  const form = document.querySelector("[data-keys]")?.closest("form");
  if (!form || form.querySelector("tbody input:checked")) return true;
  const box = marked()?.querySelector("input[type=checkbox]");
  if (!box) return false;
  box.checked = true;
  return true;
}

function press(key) {
  const button = document.querySelector(`[data-key="${key}"]`);
  if (!button) return false;
  if (button.closest(".bulk") && !choose()) return true;
  if (button.tagName === "SUMMARY") {
    button.parentElement.open = !button.parentElement.open;
    button.parentElement.querySelector("input:not([type=hidden])")?.focus();
  } else button.click();
  return true;
}

function help() {
  const dialog = document.getElementById("keys");
  if (dialog && !dialog.open) dialog.showModal();
}

const MOVES = {
  j: () => mark(at + 1),
  k: () => mark(at - 1),
  x: () => tick(marked()),
  "?": help,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, textarea, select, dialog")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "Enter") {
    const link = event.target === document.body || event.target.id === "main" ? marked()?.querySelector("a") : null;
    if (link) { event.preventDefault(); link.click(); }
    return;
  }
  if (event.key in MOVES) { event.preventDefault(); MOVES[event.key](); return; }
  if (/^[a-zN]$/.test(event.key) && press(event.key)) event.preventDefault();
});

document.addEventListener("click", (event) => { if (event.target.closest("[data-keys-help]")) help(); });
