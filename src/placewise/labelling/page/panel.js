// Everything beside the canvas: names, counts, the list of keypoints as buttons.

import { ACTIONS, keyOf, run } from "./actions.js";
import { choose, chosen, ghosts, known, many, middle, names, objects, say, sure } from "./labels.js";
import { state } from "./store.js";

const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const TOOLS = ["undo", "redo", "hidden", "absent", "clear", "repeat", "swap", "add", "accept"];
const WORDS = {
  undo: "Undo", redo: "Redo", hidden: "Hidden", absent: "Absent", clear: "Remove",
  repeat: "Copy last", swap: "Left ↔ right", add: "New object", accept: "Accept",
};

export function make(tag, values = {}, ...inside) {
  const one = document.createElement(tag);
  for (const [key, value] of Object.entries(values)) {
    if (key.startsWith("on")) one.addEventListener(key.slice(2), value);
    else if (key in one && key !== "list") one[key] = value;
    else one.setAttribute(key, value);
  }
  one.append(...inside);
  return one;
}

// The colour and shape of a keypoint, as it is drawn on the image.
export function sign(index, hollow = false) {
  const { colour, shape } = state.marks[index % state.marks.length];
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const kinds = {
    disc: ["circle", { cx: 8, cy: 8, r: 5.5 }],
    square: ["rect", { x: 3, y: 3, width: 10, height: 10 }],
    diamond: ["path", { d: "M8 1.2 14.8 8 8 14.8 1.2 8Z" }],
  };
  const [tag, numbers] = kinds[shape];
  const drawn = document.createElementNS(SVG, tag);
  const style = { ...numbers, fill: hollow ? "none" : colour, stroke: hollow ? colour : "#00000080", "stroke-width": hollow ? 2 : 1 };
  for (const [key, value] of Object.entries(style)) drawn.setAttribute(key, value);
  svg.append(drawn);
  return svg;
}

export function build() {
  at("actions").replaceChildren(...TOOLS.map((name) => {
    const keys = keyOf(name);
    const button = make("button", { title: ACTIONS[name][0] }, WORDS[name]);
    button.dataset.action = name;
    if (keys.length) button.append(make("kbd", {}, keys[0]));
    return button;
  }));
  for (const name of ["next", "previous", "auto"]) {
    const button = document.querySelector(`[data-action=${name}]`);
    button.title = `${ACTIONS[name][0]} (${keyOf(name)[0]})`;
    if (name !== "auto") button.append(make("kbd", {}, keyOf(name)[0]));
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button");
  if (!button) return;
  if (button.dataset.action) run(button.dataset.action);
  // after a click of the mouse the keys mean the image again, not this button
  if (event.detail > 0 && !button.closest("dialog")) at("canvas").focus({ preventScroll: true });
});

export function paint() {
  const image = state.images[state.at];
  at("name").textContent = image ? short(image.name) : "placewise";
  at("name").title = image?.name ?? "";
  document.title = image ? `${image.name} – placewise` : "placewise label";
  at("place").textContent = image ? `${state.at + 1} of ${state.images.length}` : "";
  news();
  keypoints();
}

const short = (name) => middle(name, 44);

export function news() {
  const { info } = state;
  at("bar").max = Math.max(1, info.total ?? 1);
  at("bar").value = info.done ?? 0;
  const left = (info.total ?? 0) - (info.done ?? 0);
  at("done").textContent = state.definition ? `${info.done ?? 0} done, ${left} left` : "";
  const text = state.offline ? "Not saved: the server does not answer" : state.pending ? "Saving…" : info.file && info.count ? (info.trouble ? `Saved, but not in ${info.file}` : "Saved") : "";
  if (at("saved").textContent !== text) at("saved").textContent = text;
  at("saved").classList.toggle("bad", Boolean(state.offline || info.trouble));
  at("saved").title = info.file ? `Every edit is on the disk; the labels are written to ${info.file}` : "";
  for (const [name, value] of [["undo", info.undo], ["redo", info.redo]]) {
    const button = document.querySelector(`#actions [data-action=${name}]`);
    if (button) button.disabled = !value && !state.pending;
  }
  const pairs = state.definition?.symmetry.length && !many();
  const shown = { accept: info.suggestions, add: state.definition?.objects === "several", swap: pairs };
  for (const [name, value] of Object.entries(shown)) {
    const button = document.querySelector(`#actions [data-action=${name}]`);
    if (button) button.hidden = !value;
  }
  training();
}

function training() {
  const { training: now, suggestions } = state.info;
  const running = now?.state === "running";
  let text = "";
  if (running) text = now.share === null ? "Training: starting…" : `Training: ${Math.floor(100 * now.share)} %`;
  else if (now?.state === "failed") text = `Training failed: ${now.error}`;
  else if (suggestions) {
    const { run: name, ready, total } = suggestions;
    text = ready < total ? `Run ${name} predicts: ${ready} of ${total}` : `Suggestions of run ${name}`;
  }
  if (at("training").textContent !== text) at("training").textContent = text;
  at("training").title = text;
  at("stop").hidden = !running;
  at("train").hidden = running;
}

function keypoints() {
  const { definition, shown } = state;
  document.querySelector("aside").classList.toggle("empty", !definition);
  if (!definition) return at("keypoints").replaceChildren();
  several();
  const suggested = new Map(shown ? ghosts().filter((one) => one.object === chosen.object).map((one) => [one.name, one]) : []);
  const counts = many() ? counted() : null;
  at("title").textContent = many() ? "Click for each" : "Keypoints";
  const rows = names().map((name, i) => {
    const word = !shown ? "" : counts ? counts(name) : told(known(chosen.object, name), suggested.get(name));
    const active = chosen.name === name;
    return row(name, i, word, active, known(chosen.object, name)?.[0] === 2);
  });
  at("keypoints").replaceChildren(...rows);
  at("keypoints").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  now();
}

// A name that is too long loses its middle: names often differ at their ends.
export function named(name) {
  const parts = [...name];
  if (parts.length < 14) return make("span", { className: "name", title: name }, name);
  const tail = parts.slice(-7).join("");
  return make("span", { className: "name long", title: name }, make("span", {}, name.slice(0, -tail.length)), make("span", {}, tail));
}

function row(name, i, word, active, hidden) {
  const button = make("button", { onclick: () => choose(many() ? objects().length : chosen.object, name) },
    sign(i, hidden), named(name), make("span", { className: "muted" }, word));
  if (active) button.setAttribute("aria-current", "true");
  if (i < 10) button.title = `key ${(i + 1) % 10}`;
  return make("li", {}, button);
}

function told(point, ghost) {
  if (point) return ["", "absent", "hidden", "placed"][point[0]];
  if (!ghost) return "";
  const radius = ghost.radius === null ? "" : ` ±${ghost.radius < 10 ? ghost.radius.toFixed(1) : Math.round(ghost.radius)} px`;
  return sure(ghost) ? `suggested${radius}` : ghost.score < 0.5 ? "perhaps absent" : `unsure${radius}`;
}

function counted() {
  const all = objects();
  return (name) => {
    const held = all.filter((one) => name in one.points);
    const count = held.filter((one) => one.points[name].length === 3).length;
    return held.length && !count ? "none here" : String(count);
  };
}

function several() {
  const box = at("objects");
  box.hidden = state.definition.objects !== "several";
  if (box.hidden) return;
  const count = Math.max(objects().length, chosen.object + 1);
  const buttons = Array.from({ length: count }, (_, i) => {
    const button = make("button", { onclick: () => { choose(i, null); choose(i, names().find((n) => !known(i, n)) ?? null); say(`object ${i + 1}`); } }, `${i + 1}`);
    button.setAttribute("aria-label", `object ${i + 1}`);
    if (i === chosen.object) button.setAttribute("aria-current", "true");
    return button;
  });
  box.replaceChildren(make("h2", {}, "Objects"), make("div", { className: "row" }, ...buttons));
}

// Above the image: what the next click places.
function now() {
  const line = at("now");
  line.hidden = !state.shown;
  if (!state.shown) return;
  const index = names().indexOf(chosen.name);
  const found = ghosts().filter(sure).length;
  if (found) {
    const key = make("kbd", {}, keyOf("accept")[0]);
    const words = found === 1 ? " accepts the suggestion; drag it if it is wrong" : ` accepts ${found} suggestions; drag those that are wrong`;
    return line.replaceChildren(key, make("span", {}, words));
  }
  if (index < 0) {
    line.replaceChildren(make("span", {}, "All placed. Drag to correct; ", make("kbd", {}, keyOf("next")[0]), " shows the next image"));
    return;
  }
  const placed = known(chosen.object, chosen.name);
  const word = many() ? "Click every " : placed ? "Click to move " : "Click to place ";
  line.replaceChildren(make("span", {}, word), sign(index), make("strong", { title: chosen.name }, middle(chosen.name, 48)));
}

let fading = 0, about = "";
const STAY = ["image", "file", "server"]; // their messages stay as long as the trouble

export function message(text, bad = false, cause = "") {
  const line = at("message");
  about = cause;
  line.textContent = text;
  line.hidden = false;
  line.classList.toggle("bad", bad);
  clearTimeout(fading);
  if (!STAY.includes(cause)) fading = setTimeout(() => { line.hidden = true; }, bad ? 12000 : 4000);
}

// The trouble is over: its message goes.
export function over(cause) {
  if (about !== cause) return;
  about = "";
  at("message").hidden = true;
}

let spoken = 0;

// For screen readers; seen: shown as a message too, as where it says why nothing happened.
export function live(text, seen) {
  clearTimeout(spoken);
  at("live").textContent = "";
  spoken = setTimeout(() => { at("live").textContent = text; }, 30);
  if (seen) message(text);
}
