// The editor looks at what is written while it is written: each side is filled from the other, and the panel below
// says what is wrong, when it would run and what would change. Without it two buttons do the same.
"use strict";

const PAUSE_MILLISECONDS = 350;

const editor = document.getElementById("editor");
const toml = document.getElementById("e-toml");
let asked = 0;
let timer = null;

function fill(fresh, edited) {
  const other = fresh.getElementById("e-toml");
  if (edited === "form" && other) toml.value = other.value;
  if (edited === "toml") {
    for (const field of fresh.querySelectorAll("#fields [name]")) {
      const mine = document.getElementById(field.id);
      if (mine && mine !== document.activeElement) mine.value = field.value;
    }
  }
  const set = document.querySelector("#fields fieldset");
  const theirs = fresh.querySelector("#fields fieldset");
  if (set && theirs) set.disabled = theirs.disabled;
  const panel = fresh.getElementById("panel");
  if (panel) document.getElementById("panel").replaceChildren(...document.importNode(panel, true).childNodes);
}

async function look(edited) {
  const number = ++asked;
  const body = new URLSearchParams(new FormData(editor));
  body.set("edited", edited);
  try {
    const answer = await fetch(editor.action, { method: "POST", body, credentials: "same-origin", redirect: "error" });
    if (!answer.ok || number !== asked) return;
    fill(new DOMParser().parseFromString(await answer.text(), "text/html"), edited);
  } catch { /* the next key tries again */ }
}

editor.addEventListener("input", (event) => {
  const edited = event.target === toml ? "toml" : "form";
  clearTimeout(timer);
  timer = setTimeout(() => look(edited), PAUSE_MILLISECONDS);
});

// A tab in the TOML is two blanks; Escape leaves the field.
toml.addEventListener("keydown", (event) => {
  if (event.key !== "Tab" || event.shiftKey) return;
  event.preventDefault();
  toml.setRangeText("  ", toml.selectionStart, toml.selectionEnd, "end");
});
