// What can be done, its words, and the keys for it: those of DeepLabCut, SLEAP or CVAT.

import * as labels from "./labels.js";
import { ask } from "./api.js";
import { fail, state, tell } from "./store.js";
import { draw, fit, jump, moving, shade, toImage, unjump, view, zoom } from "./view.js";

const canvas = document.getElementById("canvas");

export const ACTIONS = {
  next: ["Next image", labels.next],
  previous: ["Previous image", labels.previous],
  nextOpen: ["Next image that is not done", labels.nextOpen],
  accept: ["Accept what is suggested, and go on", labels.accept],
  below: ["Next keypoint", () => labels.along(1)],
  above: ["Previous keypoint", () => labels.along(-1)],
  hidden: ["Hidden: there, but covered", labels.hidden],
  absent: ["Absent: not on the image", labels.absent],
  clear: ["Remove the keypoint", labels.clear],
  undo: ["Undo", labels.undo],
  redo: ["Redo", labels.redo],
  repeat: ["Copy the last image's keypoints", labels.repeat],
  swap: ["Swap left and right", labels.swap],
  add: ["Another object", labels.add],
  removeObject: ["Remove the object", labels.removeObject],
  hide: ["Hide all marks (hold)", null],
  lines: ["Skeleton lines on or off", () => { view.lines = !view.lines; draw(); }],
  jump: ["Zoom to the least sure keypoint, and back", zoomed],
  fit: ["Show the whole image", () => { unjump(); fit(); }],
  larger: ["Zoom in", () => zoom(1.25)],
  smaller: ["Zoom out", () => zoom(0.8)],
  auto: ["Contrast: as it is, or stretched", stretch],
  save: ["Write the file now", save],
  help: ["Show all keys", () => document.getElementById("help").click()],
};

// Of each key its name as the browser says it; capitals are with Shift.
const COMMON = {
  " ": "accept", Delete: "clear", Backspace: "clear", "+": "larger", "=": "larger", "-": "smaller",
  "Ctrl+z": "undo", "Ctrl+y": "redo", "Ctrl+Z": "redo", "Ctrl+s": "save", z: "jump", k: "lines",
  l: "swap", b: "auto", v: "repeat", h: "hide", n: "add", N: "removeObject", g: "fit", q: "hidden", "?": "help",
};

const SCHEMES = {
  dlc: { ...COMMON, d: "next", a: "previous", D: "nextOpen", s: "below", w: "above", x: "absent" },
  sleap: {
    ...COMMON, d: "next", a: "previous", D: "nextOpen", "Ctrl+u": "nextOpen", s: "below", w: "above",
    x: "absent", ArrowRight: "next", ArrowLeft: "previous",
  },
  cvat: { ...COMMON, f: "next", d: "previous", F: "nextOpen", s: "below", w: "above", "/": "hidden", o: "absent", x: "absent" },
};

let keys = SCHEMES.dlc;
let ten = 0; // which ten keypoints the digits mean

export function useKeys(name) {
  keys = SCHEMES[name] ?? SCHEMES.dlc;
}

export function keyOf(action) {
  const found = Object.keys(keys).filter((key) => keys[key] === action);
  return found.map(shown).filter((key, i, all) => all.indexOf(key) === i).slice(0, 3);
}

function shown(key) {
  const words = { " ": "Space", ArrowRight: "→", ArrowLeft: "←", Delete: "Del", Backspace: "Backspace" };
  if (key.startsWith("Ctrl+")) return key.length === 6 && key[5] !== key[5].toLowerCase() ? `Ctrl+Shift+${key[5]}` : `Ctrl+${key[5].toUpperCase()}`;
  if (key in words) return words[key];
  return /^[A-Z]$/.test(key) ? `Shift+${key}` : key.toUpperCase();
}

// Keys that are the same everywhere, for the help.
export const FIXED = [
  [["1", "…", "9", "0"], "Choose a keypoint; ` for the next ten"],
  [["←", "→", "↑", "↓"], "Nudge the keypoint by 1 pixel, with Shift by 10 (SLEAP: with Alt)"],
  [["Enter"], "Crosshair for the keyboard; again: place the keypoint there. Esc leaves it"],
  [["Shift+click"], "Place the keypoint as hidden"],
  [["Wheel"], "Zoom; drag beside the keypoints to move the image"],
  [["Alt"], "While a suggestion is dragged: do not snap to the heatmap"],
];

export function run(name) {
  const call = ACTIONS[name]?.[1];
  if (!call || !state.definition) return;
  try {
    Promise.resolve(call()).catch(fail);
  } catch (error) {
    fail(error);
  }
}

async function save() {
  const answer = await ask("POST", "save");
  Object.assign(state.info, answer);
  tell("news");
  labels.note(`Written to ${answer.file}`);
}

function stretch() {
  view.auto = !view.auto;
  document.getElementById("auto").setAttribute("aria-pressed", String(view.auto));
  shade();
}

function zoomed() {
  const at = jump();
  if (at?.score !== undefined) labels.choose(at.object, at.name);
}

// --- the keyboard --------------------------------------------------------------------------------

function named(event) {
  const ctrl = event.ctrlKey || event.metaKey;
  return `${ctrl ? "Ctrl+" : ""}${event.key}`;
}

function elsewhere(event) {
  if (document.querySelector("dialog[open]")) return true;
  const { tagName } = document.activeElement ?? {};
  if (tagName === "INPUT" || tagName === "SELECT" || tagName === "TEXTAREA") return true;
  return tagName === "BUTTON" && (event.key === " " || event.key === "Enter");
}

window.addEventListener("keydown", (event) => {
  if (elsewhere(event) || !state.definition) return;
  const key = named(event);
  let action = keys[key] ?? (event.ctrlKey || event.metaKey ? undefined : keys[key.toLowerCase()]);
  if (key.length === 1 && key !== key.toLowerCase() && !(key in keys)) action = keys[key.toLowerCase()];
  if (event.altKey) action = undefined;
  if (action === "hide") {
    view.hide = true;
    draw();
  } else if (action && !(event.repeat && ["accept", "undefined"].includes(action))) run(action);
  else if (!other(event)) return;
  event.preventDefault();
});

window.addEventListener("keyup", (event) => {
  if (view.hide && keys[event.key.toLowerCase()] === "hide") {
    view.hide = false;
    draw();
  }
});

window.addEventListener("blur", () => {
  view.hide = false;
  draw();
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Digits, arrows and the crosshair; whether the key was one of them.
function other(event) {
  const { key } = event;
  if (event.ctrlKey || event.metaKey) return false;
  if (/^[0-9]$/.test(key)) return digit(key);
  if (key === "`") return nextTen();
  if (key in ARROWS && state.shown) {
    const [dx, dy] = ARROWS[key].map((step) => step * (event.shiftKey ? 10 : 1));
    if (view.cross) cross(dx, dy);
    else labels.nudge(dx, dy);
    return true;
  }
  if (key === "Enter" && state.shown) return entered(event);
  if (key === "Escape") {
    view.cross = null;
    draw();
    return true;
  }
  return false;
}

function digit(key) {
  const names = labels.names();
  const name = names[10 * ten + ((Number(key) + 9) % 10)];
  if (!name) return false;
  labels.choose(labels.many() ? labels.objects().length : labels.chosen.object, name);
  labels.say(`${name} chosen`);
  return true;
}

function nextTen() {
  ten = (ten + 1) % Math.ceil(labels.names().length / 10);
  labels.say(`digits choose keypoints ${10 * ten + 1} to ${Math.min(10 * ten + 10, labels.names().length)}`);
  return true;
}

function entered(event) {
  if (!view.cross) {
    view.cross = toImage(canvas.clientWidth / 2, canvas.clientHeight / 2).map(Math.round);
    labels.say("crosshair: arrows move it, Enter places the keypoint");
  } else labels.place(...view.cross, event.shiftKey ? labels.HIDDEN : labels.VISIBLE);
  draw();
  return true;
}

function cross(dx, dy) {
  const [high, wide] = state.shown.size;
  view.cross = [Math.max(0, Math.min(wide - 1, view.cross[0] + dx)), Math.max(0, Math.min(high - 1, view.cross[1] + dy))];
  moving();
}
