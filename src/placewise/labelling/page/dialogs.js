// The start screen on which keypoints are defined, and the other windows.

import { ACTIONS, FIXED, keyOf } from "./actions.js";
import { ask } from "./api.js";
import { middle } from "./labels.js";
import { make, named, sign } from "./panel.js";
import { define, fail, go, state, tell } from "./store.js";

const at = (id) => document.getElementById(id);
const NAMES = "nose, left ear, right ear, tail base";

// rows: {was: the name that the server knows, name}; pairs are between rows.
let rows = [], skeleton = [], symmetry = [], kind = "one", done = null;

export function editKeypoints(then) {
  const held = state.definition;
  done = then;
  rows = (held?.names ?? []).map((name) => ({ was: name, name }));
  const row = (name) => rows.find((one) => one.name === name);
  skeleton = (held?.skeleton ?? []).map((pair) => pair.map(row));
  symmetry = (held?.symmetry ?? []).map((pair) => pair.map(row));
  kind = held?.objects ?? "one";
  drawKeypoints();
  at("keypointsDialog").showModal();
  at("keypointsDialog").querySelector(rows.length ? "#save" : "#names")?.focus();
}

at("keypointsDialog").addEventListener("cancel", (event) => {
  if (!state.definition) event.preventDefault();
});

function drawKeypoints(message = "") {
  const first = !state.definition;
  const names = make("input", { id: "names", placeholder: NAMES, autocomplete: "off", spellcheck: false,
    onkeydown: (event) => { if (event.key === "Enter") { event.preventDefault(); added(names); } } });
  const form = make("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); save(names); } },
    make("h1", { id: "keypointsTitle" }, first ? "Which keypoints?" : "Keypoints"),
    first ? make("p", { className: "muted" }, `${state.images.length.toLocaleString("en")} images in ${state.info.folder}. Name what you want to find on each, in the order in which you want to click.`) : "",
    make("label", { htmlFor: "names", className: "above" }, "Names, with commas between them"),
    make("div", { className: "row" }, names, make("button", { type: "button", onclick: () => added(names) }, "Add")),
    rows.length ? table() : "",
    rows.length > 1 ? lines() : "",
    kinds(),
    make("p", { className: "bad", role: "alert", hidden: !message }, message),
    make("div", { className: "row end" },
      first ? "" : make("button", { type: "button", onclick: () => at("keypointsDialog").close() }, "Cancel"),
      make("button", { id: "save", className: "main" }, first ? "Start" : "Save")));
  const dialog = at("keypointsDialog");
  const top = dialog.querySelector(".scroll")?.scrollTop ?? 0;
  const held = dialog.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  dialog.replaceChildren(form);
  const list = dialog.querySelector(".scroll");
  if (list) list.scrollTop = top;
  if (held) [...dialog.querySelectorAll("[aria-label]")].find((one) => one.getAttribute("aria-label") === held)?.focus();
}

function added(names) {
  const taken = new Set(rows.map((row) => row.name));
  const fresh = names.value.split(/[,\n\t]/).map((name) => name.trim()).filter((name) => name && !taken.has(name));
  rows.push(...[...new Set(fresh)].map((name) => ({ was: null, name })));
  guess();
  drawKeypoints();
  at("names").focus();
}

// Pairs such as "left ear" and "right ear" that nobody has paired yet.
function guess() {
  const paired = new Set(symmetry.flat());
  for (const row of rows) {
    if (paired.has(row)) continue;
    const other = mirrored(row.name);
    const partner = other && rows.find((one) => one.name === other && !paired.has(one));
    if (!partner) continue;
    symmetry.push([row, partner]);
    paired.add(row).add(partner);
  }
}

function mirrored(name) {
  const match = /left|(?<![a-z])l(?![a-z])|(?<=[a-z])L(?![A-Za-z])/i.exec(name);
  if (!match) return null;
  const words = { left: "right", Left: "Right", LEFT: "RIGHT", l: "r", L: "R" };
  const word = words[match[0]];
  return word && name.slice(0, match.index) + word + name.slice(match.index + match[0].length);
}

function table() {
  const body = rows.map((row, i) => make("tr", {},
    make("td", {}, sign(i)),
    make("td", {}, make("input", { value: row.name, "aria-label": `name of keypoint ${i + 1}`, onchange: (event) => { row.name = event.target.value.trim(); guess(); drawKeypoints(); } })),
    make("td", {}, partner(row)),
    make("td", { className: "row" },
      make("button", { type: "button", title: "earlier", "aria-label": `${row.name} earlier`, disabled: i === 0, onclick: () => moved(i, -1) }, "↑"),
      make("button", { type: "button", title: "later", "aria-label": `${row.name} later`, disabled: i === rows.length - 1, onclick: () => moved(i, 1) }, "↓"),
      make("button", { type: "button", title: "remove", "aria-label": `remove ${row.name}`, onclick: () => removed(row) }, "✕"))));
  const head = ["", "Name", "Left–right partner", ""].map((word) => make("th", { scope: "col" }, word));
  return make("div", { className: "scroll" }, make("table", { className: "names" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body)));
}

function partner(row) {
  const pair = symmetry.find((one) => one.includes(row));
  const other = pair?.find((one) => one !== row);
  const select = make("select", { "aria-label": `left–right partner of ${row.name}`, onchange: (event) => {
    const chosen = rows[Number(event.target.value)];
    symmetry = symmetry.filter((one) => !one.includes(row) && !(chosen && one.includes(chosen)));
    if (chosen) symmetry.push([row, chosen]);
    drawKeypoints();
  } }, make("option", { value: "-1" }, "none"));
  rows.forEach((one, i) => { if (one !== row) select.append(make("option", { value: String(i), selected: one === other, title: one.name }, middle(one.name))); });
  return select;
}

function lines() {
  const options = () => rows.map((row, i) => make("option", { value: String(i), title: row.name }, middle(row.name)));
  const from = make("select", { "aria-label": "line from" }, ...options());
  const to = make("select", { "aria-label": "line to" }, ...options());
  to.selectedIndex = 1;
  const join = () => {
    const [a, b] = [rows[from.value], rows[to.value]];
    if (a !== b && !skeleton.some((pair) => pair.includes(a) && pair.includes(b))) skeleton.push([a, b]);
    drawKeypoints();
  };
  const chain = () => {
    skeleton = rows.slice(1).map((row, i) => [rows[i], row]);
    drawKeypoints();
  };
  const chips = skeleton.map((pair) => make("button", { type: "button", className: "chip", title: `remove the line ${pair[0].name} – ${pair[1].name}`,
    onclick: () => { skeleton = skeleton.filter((one) => one !== pair); drawKeypoints(); } }, `${middle(pair[0].name)} – ${middle(pair[1].name)} ✕`));
  return make("fieldset", {}, make("legend", {}, "Lines between them (optional)"),
    make("div", { className: "row wrap" }, ...chips),
    make("div", { className: "row joins" }, from, "–", to, make("button", { type: "button", onclick: join }, "Add line"),
      make("button", { type: "button", onclick: chain }, "Join in order")));
}

function kinds() {
  const words = {
    one: "one animal (each keypoint at most once)",
    several: "several animals, each with these keypoints",
    many: "many of a kind, such as cells (a click for each)",
  };
  return make("fieldset", {}, make("legend", {}, "On an image there is"), ...Object.entries(words).map(([value, text]) =>
    make("label", { className: "choice" }, make("input", { type: "radio", name: "kind", value, checked: kind === value, onchange: () => { kind = value; } }), ` ${text}`)));
}

function moved(i, step) {
  [rows[i], rows[i + step]] = [rows[i + step], rows[i]];
  drawKeypoints();
}

function removed(row) {
  rows = rows.filter((one) => one !== row);
  skeleton = skeleton.filter((pair) => !pair.includes(row));
  symmetry = symmetry.filter((pair) => !pair.includes(row));
  drawKeypoints();
}

async function save(names) {
  if (names.value.trim()) {
    added(names);
    if (!state.definition) return;
  }
  if (!rows.length) return drawKeypoints("Name at least one keypoint, for example: nose");
  const name = (pair) => pair.map((row) => row.name);
  const definition = { names: rows.map((row) => row.name), skeleton: skeleton.map(name), symmetry: symmetry.map(name), objects: kind };
  const renamed = Object.fromEntries(rows.filter((row) => row.was && row.was !== row.name).map((row) => [row.was, row.name]));
  try {
    await define(definition, renamed);
    at("keypointsDialog").close();
    done?.();
  } catch (error) {
    drawKeypoints(error.message);
  }
}

// --- the other windows ---------------------------------------------------------------------------

function show(title, ...inside) {
  const close = make("button", { className: "main", onclick: () => at("dialog").close() }, "Close");
  at("dialog").replaceChildren(make("h1", { id: "dialogTitle" }, title), ...inside, make("div", { className: "row end" }, close));
  at("dialog").showModal();
  return close;
}

export function showHelp() {
  const row = ([keys, text]) => make("tr", {}, make("td", { className: "keys" }, ...keys.map((key) => make("kbd", {}, key))), make("td", {}, text));
  const own = Object.entries(ACTIONS).map(([name, [text]]) => [keyOf(name), text]).filter(([keys]) => keys.length);
  show("Keys", make("div", { className: "scroll tall" }, make("table", {}, make("tbody", {}, ...[...own, ...FIXED].map(row)))),
    make("p", { className: "muted" }, `Every edit is on the disk before "Saved" appears. The labels are written to ${state.info.file}.`));
}

export function showImages() {
  const list = make("ol", { className: "images" }, ...state.images.map((image, i) => {
    const word = image.lost ? "missing" : image.left === 0 ? "done" : image.left < 0 || image.left >= (state.definition?.names.length ?? 1) ? "" : `${image.left} left`;
    const button = make("button", { onclick: () => { at("dialog").close(); go(i); } },
      named(image.name), make("span", { className: "muted" }, word));
    if (i === state.at) button.setAttribute("aria-current", "true");
    return make("li", {}, button);
  }));
  show("Images", make("p", { className: "muted" }, "In the order in which they come."), list);
  list.querySelector("[aria-current]")?.scrollIntoView({ block: "center" });
}

export function showTraining() {
  const { labelled } = state.info;
  const minutes = make("select", { id: "minutes" }, ...[[2, "2 minutes"], [5, "5 minutes"], [15, "15 minutes"], [60, "1 hour"]]
    .map(([value, text]) => make("option", { value: String(value) }, text)));
  const start = make("button", { className: "main", onclick: async () => {
    at("dialog").close();
    try {
      Object.assign(state.info, await ask("POST", "train", { minutes: Number(minutes.value) }));
      tell("news");
    } catch (error) {
      fail(error);
    }
  } }, "Start training");
  const words = labelled < 20 ? "With 20 images and more the suggestions become useful." : "You can go on labelling meanwhile; the suggestions appear by themselves.";
  const close = show("Train", make("p", {}, `A network learns from the ${labelled === 1 ? "image that is" : `${labelled} images that are`} labelled, also in part, and then suggests keypoints on all others. ${words}`),
    make("label", { htmlFor: "minutes", className: "above" }, "How long"), minutes);
  close.after(start);
  close.className = "";
  close.textContent = "Cancel";
}
