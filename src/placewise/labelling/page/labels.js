// Which keypoint is next, and what the keys and clicks make of the labels. No drawing, no server.

import { edit, fail, go, state, step, suggestionOf, tell } from "./store.js";

const SURE = 0.5, FAR = 0.1; // least score, and largest radius as a share of the image's diagonal
const SAME = 4; // pixels within which a suggested spot is a labelled one

export const VISIBLE = 3, HIDDEN = 2, ABSENT = 1;

// The object and keypoint that is chosen, the one that was touched last, the last image's objects.
export const chosen = { object: 0, name: null, last: null, former: null };

export const many = () => state.definition?.objects === "many";
export const names = () => state.definition?.names ?? [];
export const objects = () => state.shown?.objects ?? [];
export const known = (object, name) => objects()[object]?.points[name];

// For screen readers.
export function say(text) {
  tell({ said: text });
}

// The same, and shown to all.
export function note(text) {
  tell({ said: text, seen: true });
}

// A text that is too long loses its middle.
export function middle(text, most = 24) {
  const parts = [...text];
  if (parts.length <= most) return text;
  const half = Math.floor((most - 1) / 2);
  return `${parts.slice(0, most - 1 - half).join("")}…${parts.slice(-half).join("")}`;
}

export function choose(object, name) {
  chosen.object = object;
  chosen.name = name;
  if (name && known(object, name)) chosen.last = { object, name };
  tell("chosen");
}

// The first keypoint of the chosen object that is not labelled, after `name` and round again.
function open(name) {
  const all = names();
  const from = name ? all.indexOf(name) + 1 : 0;
  const round = [...all.slice(from), ...all.slice(0, from)];
  return round.find((one) => !known(chosen.object, one)) ?? null;
}

export function advance(name = null) {
  chosen.name = many() ? chosen.name ?? names()[0] ?? null : open(name);
  tell("chosen");
}

export function arrived() {
  if (state.before?.objects.length) chosen.former = state.before.objects;
  chosen.object = many() ? objects().length : 0;
  chosen.last = null;
  if (!many()) chosen.name = null;
  advance();
}

// Objects with one keypoint set, or taken away where `point` is null.
function put(object, name, point) {
  return (before) => {
    const after = [...before];
    while (after.length <= object) after.push({ points: {} });
    const points = { ...after[object].points };
    if (point) points[name] = point;
    else delete points[name];
    after[object] = { ...after[object], points };
    while (after.length && !Object.keys(after.at(-1).points).length) after.pop();
    return after;
  };
}

// Objects without one of them, and with a spot that is not among them yet.
function without(gone) {
  const text = JSON.stringify(gone);
  return (before) => before.filter((one) => JSON.stringify(one) !== text);
}

function withSpots(spots) {
  return (before) => {
    const held = new Set(before.map((one) => JSON.stringify(one)));
    return [...before, ...spots.filter((one) => !held.has(JSON.stringify(one)))];
  };
}

const round = (value) => Math.round(value * 100) / 100;

function inside(x, y) {
  const [high, wide] = state.shown.size;
  return [round(Math.max(-0.5, Math.min(wide - 0.5, x))), round(Math.max(-0.5, Math.min(high - 0.5, y)))];
}

function told(name, what) {
  if (many()) return say(`${name} ${what}, ${objects().length} in all`);
  const all = names();
  const done = all.filter((one) => known(chosen.object, one)).length;
  say(`${name} ${what}, ${done} of ${all.length}${chosen.name ? `; next ${chosen.name}` : ""}`);
}

// One click: the chosen keypoint is here, and the next one is chosen.
export function place(x, y, visibility = VISIBLE) {
  const { name } = chosen;
  if (!state.shown || state.busy) return;
  if (!name) {
    note("All keypoints are placed; choose one to move it, or go on to the next image.");
    return;
  }
  const point = [visibility, ...inside(x, y)];
  if (many()) {
    edit(withSpots([{ points: { [name]: point } }]));
    chosen.object = objects().length;
    chosen.last = { object: objects().length - 1, name };
  } else {
    edit(put(chosen.object, name, point));
    chosen.last = { object: chosen.object, name };
    advance(name);
  }
  told(name, visibility === HIDDEN ? "placed as hidden" : "placed");
}

export function move(object, name, x, y) {
  const before = known(object, name);
  edit(put(object, name, [before?.[0] > ABSENT ? before[0] : VISIBLE, ...inside(x, y)]));
  chosen.last = { object, name };
  tell("chosen");
  told(name, "moved");
}

export function hidden() {
  const at = target();
  if (!at) return note("Choose a keypoint that is placed; Shift+click places one as hidden.");
  const [visibility, x, y] = known(at.object, at.name);
  const next = visibility === HIDDEN ? VISIBLE : HIDDEN;
  edit(put(at.object, at.name, [next, x, y]));
  told(at.name, next === HIDDEN ? "is hidden" : "is visible");
}

export function absent() {
  const { object, name } = chosen;
  if (!name) return note("Choose the keypoint that is not on the image.");
  if (many()) {
    if (objects().some((one) => name in one.points && one.points[name][0] > ABSENT)) {
      return note(`There are ${name} on this image already.`);
    }
    edit((before) => [...before.filter((one) => !(name in one.points)), { points: { [name]: [ABSENT] } }]);
    const all = names();
    choose(objects().length, all[(all.indexOf(name) + 1) % all.length]);
    return say(`no ${name} on this image`);
  }
  edit(put(object, name, [ABSENT]));
  advance(name);
  told(name, "is not on the image");
}

export function clear() {
  const at = known(chosen.object, chosen.name) ? chosen : chosen.last;
  if (!at?.name || !known(at.object, at.name)) return note("Nothing is chosen that could be removed.");
  const { object, name } = at;
  if (many()) edit(without(objects()[object]));
  else edit(put(object, name, null));
  chosen.last = null;
  chosen.object = many() ? objects().length : object;
  chosen.name = name;
  tell("chosen");
  told(name, "removed");
}

// The keypoint that arrows and Q mean: the chosen one if it is placed, else the last one.
export function target() {
  const located = (at) => at && at.name && known(at.object, at.name)?.length === 3;
  if (located(chosen)) return chosen;
  return located(chosen.last) ? chosen.last : null;
}

let nudging = null;

export function nudge(dx, dy) {
  const at = target();
  if (!at) return;
  const [visibility, x, y] = nudging?.point ?? known(at.object, at.name);
  nudging ??= { ...at };
  nudging.point = [visibility, ...inside(x + dx, y + dy)];
  clearTimeout(nudging.timer);
  nudging.timer = setTimeout(settle, 250);
  tell("labels");
}

export const nudged = () => nudging;

// Ends a nudge: several presses of an arrow are one edit.
export function settle() {
  if (!nudging) return;
  clearTimeout(nudging.timer);
  const { object, name, point } = nudging;
  nudging = null;
  edit(put(object, name, point));
  say(`${name} at ${point[1]}, ${point[2]}`);
}

export function along(step) {
  const all = names();
  if (many()) {
    const at = all.indexOf(chosen.name);
    return choose(objects().length, all[(at + step + all.length) % all.length]);
  }
  const at = chosen.name ? all.indexOf(chosen.name) : step > 0 ? -1 : all.length;
  choose(chosen.object, all[(at + step + all.length) % all.length]);
  say(`${chosen.name} chosen`);
}

export function add() {
  if (state.definition.objects !== "several") {
    return note("One object on an image; say in Keypoints… that there are several.");
  }
  const open = objects().findIndex((one) => !Object.keys(one.points).length);
  chosen.object = open < 0 ? objects().length : open;
  advance();
  say(`object ${chosen.object + 1}`);
}

export function removeObject() {
  const { object } = chosen;
  if (!objects()[object]) return note("There is no object to remove.");
  edit(without(objects()[object]));
  chosen.object = Math.max(0, Math.min(object, objects().length - 1));
  chosen.last = null;
  advance();
  say(`object ${object + 1} removed`);
}

export function swap() {
  const pairs = state.definition.symmetry;
  if (!pairs.length || many()) return note("There are no left and right keypoints; see Keypoints….");
  const other = new Map(pairs.flatMap(([a, b]) => [[a, b], [b, a]]));
  const { object } = chosen;
  if (!objects()[object]) return;
  const points = Object.fromEntries(
    Object.entries(objects()[object].points).map(([name, point]) => [other.get(name) ?? name, point]));
  edit((before) => before.map((one, i) => (i === object ? { ...one, points } : one)));
  advance();
  note("Left and right are swapped.");
}

// The last image's keypoints, where nothing is labelled yet.
export function repeat() {
  if (!chosen.former) return note("No image was labelled before this one.");
  const former = chosen.former;
  const fit = ([visibility, ...at]) => (at.length ? [visibility, ...inside(...at)] : [visibility]);
  edit((before) => {
    const count = many() && before.length ? 0 : former.length;
    const after = [...before];
    for (let i = 0; i < count; i++) {
      const points = Object.fromEntries(Object.entries(former[i].points).map(([n, p]) => [n, fit(p)]));
      after[i] = { ...after[i], points: { ...points, ...after[i]?.points } };
    }
    return after;
  });
  chosen.object = many() ? objects().length : 0;
  advance();
  note("The last image's keypoints; drag those that have moved");
}

// --- suggestions ---------------------------------------------------------------------------------

// Suggested keypoints that are not labelled: {ghost, object, name, x, y, score, radius}.
export function ghosts() {
  const held = state.shown;
  if (!held?.suggestion || !state.definition) return [];
  const all = new Set(names());
  const found = [];
  held.suggestion.objects.forEach(({ points }, ghost) => {
    const object = linked(held, ghost);
    if (object === null) return;
    for (const [name, [x, y, score, radius]] of Object.entries(points)) {
      if (!all.has(name) || (many() ? near(held, name, x, y) : held.objects[object]?.points[name])) continue;
      found.push({ ghost, object, name, x, y, score, radius });
    }
  });
  return found;
}

// The object that a suggested one is, or would become; null where it is not shown.
function linked(held, ghost) {
  if (state.definition.objects === "one") return ghost === 0 ? 0 : null;
  if (many()) return held.objects.length;
  if (ghost in held.links) return held.links[ghost];
  return held.fresh ? held.objects.length : null;
}

function near(held, name, x, y) {
  return held.objects.some(({ points }) => points[name]?.length === 3
    && Math.hypot(points[name][1] - x, points[name][2] - y) < SAME);
}

// Whether a suggestion is good enough to be accepted by a key: it is there, and its radius is not large.
export function sure({ score, radius }) {
  const [high, wide] = state.shown.size;
  return score >= SURE && (radius === null || radius <= FAR * Math.hypot(high, wide));
}

// How little a suggestion is sure, as the server judges images: 0 is sure.
export function doubt({ score, radius }) {
  const [high, wide] = state.shown.size;
  return Math.max((radius ?? 0) / (FAR * Math.hypot(high, wide)), 1 - Math.abs(2 * score - 1));
}

// A suggestion where it is, or where it was dragged to.
export function take(one, x = one.x, y = one.y) {
  const held = state.shown;
  if (many()) {
    edit(withSpots([{ points: { [one.name]: [VISIBLE, ...inside(x, y)] } }]));
    chosen.last = { object: objects().length - 1, name: one.name };
  } else {
    held.links[one.ghost] = one.object;
    chosen.object = one.object;
    edit(put(one.object, one.name, [VISIBLE, ...inside(x, y)]));
    chosen.last = { object: one.object, name: one.name };
  }
  advance(one.name);
  told(one.name, "placed");
}

// The nearest maximum of the map of a keypoint; the place itself where none is within `reach`.
export function snapped(name, x, y, reach) {
  const hills = state.shown?.suggestion?.hills[name] ?? [];
  let best = [x, y], least = reach;
  for (const [hx, hy] of hills) {
    const away = Math.hypot(hx - x, hy - y);
    if (away < least) [best, least] = [[hx, hy], away];
  }
  return best;
}

// Space: what is suggested is right; the next image, unless something is left here.
export async function accept() {
  if (!state.shown || state.busy) return;
  const held = state.shown;
  if (state.info.suggestions && !held.suggestion) {
    note("Waiting for the suggestion.");
    await suggestionOf(held);
  }
  if (held !== state.shown) return;
  const all = ghosts(), found = all.filter(sure);
  const spots = found.map((one) => ({ points: { [one.name]: [VISIBLE, ...inside(one.x, one.y)] } }));
  if (found.length && !many()) link(held, found);
  const links = { ...held.links };
  if (found.length) edit(many() ? withSpots(spots) : (before) => accepted(before, found, links));
  const open = objects().findIndex((one) => names().some((name) => !(name in one.points)));
  if (found.length && open >= 0 && !many()) {
    chosen.object = open;
    advance();
    const left = names().filter((name) => !known(open, name));
    const list = left.length > 4 ? `${left.length} keypoints` : left.join(", ");
    const rest = left.length > 1 ? "are left: click the places, or press X for what is" : "is left: click the place, or press X if it is";
    return note(`${found.length} accepted; ${list} ${rest} not there`);
  }
  if (!found.length && all.length && (open >= 0 || !objects().length)) {
    const count = all.length === 1 ? "1 suggestion is" : `${all.length} suggestions are`;
    return note(`Nothing accepted: ${count} not sure; click their places, press X for what is not there, or go on to the next image`);
  }
  return next();
}

// Says of each suggested object which one it becomes: a new one, where it is none yet.
function link(held, found) {
  let count = held.objects.length;
  for (const { ghost, object } of found) {
    if (ghost in held.links) continue;
    held.links[ghost] = state.definition.objects === "several" ? count++ : object;
  }
}

function accepted(before, found, links) {
  const after = [...before];
  for (const one of found) {
    const point = [VISIBLE, ...inside(one.x, one.y)];
    const object = links[one.ghost];
    while (after.length <= object) after.push({ points: {} });
    after[object] = { ...after[object], points: { [one.name]: point, ...after[object].points } };
  }
  return after;
}

// --- images --------------------------------------------------------------------------------------

export function next() {
  settle();
  if (state.at + 1 >= state.images.length) {
    const open = state.images.filter((image) => image.left && !image.lost).length;
    return note(open ? `The last image; ${open} are not done.` : "All images are done.");
  }
  return go(state.at + 1);
}

export function previous() {
  settle();
  return state.at > 0 ? go(state.at - 1) : note("The first image.");
}

export function nextOpen() {
  settle();
  const todo = (image) => image.left && !image.lost;
  const after = state.images.findIndex((image, i) => i > state.at && todo(image));
  const at = after < 0 ? state.images.findIndex(todo) : after;
  return at < 0 ? note("All images are done.") : go(at);
}

async function back(what, none) {
  settle();
  try {
    const any = await step(what);
    chosen.last = null;
    if (!many()) advance();
    any ? say(what === "undo" ? "undone" : "done again") : note(none);
  } catch (error) {
    fail(error);
  }
}

export const undo = () => back("undo", "There is nothing to undo.");
export const redo = () => back("redo", "There is nothing to do again.");
