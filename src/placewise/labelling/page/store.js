// What is labelled, as far as this tab knows, and the edits that the server has not confirmed yet.

import { ask, pixels, Refused } from "./api.js";

const KEPT = 8; // images whose pixels are kept
const AHEAD = 3; // images that are read before they are asked for

export const state = {
  definition: null, // names, skeleton, symmetry, objects
  images: [], // {id, name, left} in the order in which they are shown
  at: -1, // which one is shown
  far: 0, // the furthest one that was shown: the order changes behind it only
  shown: null, // the entry of the image that is shown
  info: {}, // counts, file, training: what the server says of itself
  marks: [], // colour and shape of keypoints
  pending: 0, // edits that are not confirmed
  offline: false,
};

const entries = new Map(); // id -> entry of an image
const queue = []; // {entry, change}: edits in order
const listeners = [];

export function listen(call) {
  listeners.push(call);
}

export function tell(what) {
  for (const call of listeners) call(what);
}

// --- images --------------------------------------------------------------------------------------

// An entry: {id, size, objects (as shown), base (as the server has them), tag, bitmap, suggestion}.
function entry(id) {
  let held = entries.get(id);
  if (!held) {
    held = { id, objects: [], base: [], tag: null, bitmap: null, suggestion: null, links: {} };
    entries.set(id, held);
  }
  return held;
}

function load(id) {
  const held = entry(id);
  held.loading ??= Promise.all([
    held.tag ? null : ask("GET", `images/${id}`).then((labels) => take(held, labels)),
    held.bitmap ? null : pixels(id).then((bitmap) => { held.bitmap = bitmap; }),
  ]).then(() => held).finally(() => { held.loading = null; });
  return held.loading;
}

export function suggestionOf(held) {
  if (!state.info.suggestions) return Promise.resolve(null);
  held.suggesting ??= ask("GET", `images/${held.id}/suggestion`)
    .then((answer) => {
      if (!answer.ready) { // it takes longer: ask again, as long as the image is shown
        held.suggesting = null;
        return held === state.shown ? suggestionOf(held) : null;
      }
      held.suggestion = answer.suggestion;
      held.links = {};
      held.fresh = held.objects.length === 0;
      tell("suggestion");
      return held.suggestion;
    })
    .catch(() => { held.suggesting = null; return null; });
  return held.suggesting;
}

function take(held, labels) {
  held.base = labels.objects;
  held.tag = labels.tag;
  if (labels.size) held.size = labels.size;
  replay(held);
}

// Shown = what the server has, and the edits that it has not confirmed.
function replay(held) {
  held.objects = held.base;
  for (const one of queue) if (one.entry === held) held.objects = one.change(held.objects);
}

let going = 0;

export async function go(at) {
  const turn = ++going;
  at = Math.max(0, Math.min(at, state.images.length - 1));
  const image = state.images[at];
  state.busy = true;
  try {
    const held = await load(image.id);
    if (turn !== going) return;
    state.before = state.shown;
    state.at = at;
    state.far = Math.max(state.far, at);
    state.shown = held;
    held.fresh ??= held.objects.length === 0;
    tell("image");
    suggestionOf(held);
    ahead(at);
  } catch (error) {
    if (turn !== going) return;
    state.at = at;
    state.shown = null;
    tell("image");
    fail(error, "image");
  } finally {
    if (turn === going) state.busy = false;
  }
}

async function ahead(at) {
  const near = state.images.slice(at + 1, at + 1 + AHEAD);
  for (const image of near) {
    if (state.images[state.at] !== state.images[at]) return;
    await load(image.id).then(suggestionOf).catch(() => {});
  }
  const kept = new Set([...near, ...state.images.slice(Math.max(0, at - 2), at + 1)].map((i) => i.id));
  for (const [id, held] of entries) {
    if (entries.size <= KEPT) break;
    if (!kept.has(id) && !queue.some((one) => one.entry === held)) {
      held.bitmap?.close();
      entries.delete(id);
    }
  }
}

// --- edits ---------------------------------------------------------------------------------------

// change: objects -> objects, without touching them; done twice it must give the same.
export function edit(change) {
  const held = state.shown;
  const next = change(held.objects);
  if (JSON.stringify(next) === JSON.stringify(held.objects)) return;
  held.objects = next;
  queue.push({ entry: held, change });
  state.pending = queue.length;
  tell("labels");
  pump();
}

let pumping = null;

export function pump() {
  pumping ??= drain().finally(() => { pumping = null; });
  return pumping;
}

async function drain() {
  while (queue.length) {
    const { entry: held, change } = queue[0];
    const objects = change(held.base);
    try {
      const answer = await ask("PUT", `images/${held.id}`, { objects, size: held.size }, { "If-Match": `"${held.tag}"` });
      queue.shift();
      clear("edit");
      held.base = objects;
      held.tag = answer.tag;
      counts(answer);
      mark(held.id, answer.left);
    } catch (error) {
      if (error instanceof Refused && error.status === 412) {
        take(held, error.answer); // another tab was faster: the same change upon its labels
        tell("labels");
        continue;
      }
      if (!(error instanceof Refused) || ANOTHER.includes(error.status)) {
        await lost(error);
        continue;
      }
      queue.shift(); // the server will never take it: show what it has
      if (error.status === 409) await renew(held);
      else replay(held);
      tell("labels");
      fail(error, "edit");
    }
    found();
    state.pending = queue.length;
    tell("saved");
  }
}

// The answers of a server that does not know this page or its images: the edits wait for the one that does.
const ANOTHER = [401, 403, 404];

// The edits that are not confirmed stay; the page says so.
async function lost(error) {
  state.offline = true;
  tell("saved");
  if (error instanceof Refused) fail(`${count(queue.length)} not saved: another server answers now. Leave this page open, and start the same command with the same --port and --token.`, "server");
  await new Promise((ready) => setTimeout(ready, 1000));
}

const count = (edits) => (edits === 1 ? "1 edit is" : `${edits} edits are`);

function found() {
  if (!state.offline) return;
  state.offline = false;
  clear("server");
}

// The image is another one than the page shows: it is read again, and the edits of the old one are left out.
async function renew(held) {
  for (let i = queue.length; i--;) if (queue[i].entry === held) queue.splice(i, 1);
  held.bitmap?.close();
  Object.assign(held, { bitmap: null, tag: null, suggestion: null, suggesting: null });
  if (held === state.shown) await go(state.at);
}

function counts(answer) {
  for (const key of ["count", "done", "labelled", "undo", "redo", "saved"]) {
    if (key in answer) state.info[key] = answer[key];
  }
}

function mark(id, left) {
  const image = state.images.find((one) => one.id === id);
  if (image) image.left = left;
}

// what: "undo" or "redo". Goes to the image that it changes.
export async function step(what) {
  await pump();
  const answer = await ask("POST", what);
  counts(answer);
  if (answer.definition) redefine(answer.definition);
  if (answer.image === null) return false;
  if (answer.image === "") {
    await forget();
    return true;
  }
  const held = entry(answer.image);
  held.tag ??= answer.tag;
  take(held, { ...answer, size: held.size });
  mark(answer.image, answer.left);
  const at = state.images.findIndex((one) => one.id === answer.image);
  if (held !== state.shown && at >= 0) {
    if (!held.size) held.tag = null;
    await go(at);
  } else tell("labels");
  return true;
}

export async function define(definition, renamed) {
  await pump();
  const answer = await ask("PUT", "keypoints", { definition, renamed });
  counts(answer);
  redefine(answer.definition);
  await forget();
}

function redefine(definition) {
  state.definition = definition;
  tell("definition");
}

// Reads all labels again: the keypoints have other names, or another tab has changed something.
async function forget() {
  const answer = await ask("GET", "session");
  arrive(answer);
  for (const held of entries.values()) {
    held.tag = null;
    held.suggesting = null;
  }
  if (state.at >= 0) await go(state.at);
}

// The images as the server has them: those that were shown stay where they are.
function arrive({ images, lost: gone }) {
  const order = images.map((image) => image.id);
  const fresh = new Map(images.map((image) => [image.id, image]));
  const held = new Map(state.images.map((image) => [image.id, image]));
  for (const [id, image] of fresh) held.set(id, Object.assign(held.get(id) ?? image, image));
  sorted(order.map((id) => held.get(id)));
  gather(gone);
}

function sorted(images) {
  const kept = state.images.slice(0, state.far + 1);
  const seen = new Set(kept.map((image) => image.id));
  state.images = [...kept, ...images.filter((image) => !seen.has(image.id))];
}

// Images that are not there, or are not those that were labelled.
function gather(gone) {
  const all = new Set(gone);
  for (const image of state.images) image.lost = all.has(image.id);
}

// --- the server's own news -----------------------------------------------------------------------

export async function begin() {
  const answer = await ask("GET", "session");
  Object.assign(state, { definition: answer.definition, images: answer.images, marks: answer.marks });
  gather(answer.lost);
  state.keys = answer.keys;
  state.info = answer;
  tell("definition");
  tell("news");
  setTimeout(watch, 1000);
}

export async function start() {
  const open = state.images.findIndex((image) => image.left !== 0 && !image.lost);
  await go(Math.max(0, open));
}

async function watch() {
  try {
    const before = state.info;
    const answer = await ask("GET", "state");
    if (!queue.length) found();
    const elsewhere = answer.count !== before.count && !queue.length;
    const run = (info) => info.suggestions?.run;
    state.info = { ...before, ...answer };
    if (answer.version !== before.version) await reorder();
    if (elsewhere && state.info.count === answer.count) await forget();
    if (run(answer) !== run(before)) {
      for (const held of entries.values()) {
        held.suggesting = null;
        held.suggestion = null;
      }
      if (state.shown) suggestionOf(state.shown);
    }
    tell("news");
  } catch (error) {
    if (!(error instanceof Refused)) {
      state.offline = true;
      tell("saved");
    }
  }
  const busy = state.info.training?.state === "running" || state.offline;
  setTimeout(watch, busy ? 1500 : 3000);
}

async function reorder() {
  const { order, lost: gone } = await ask("GET", "order");
  const known = new Map(state.images.map((image) => [image.id, image]));
  if (order.every((id) => known.has(id))) {
    sorted(order.map((id) => known.get(id)));
    gather(gone);
  } else arrive(await ask("GET", "session")); // the server was started again, with other images
  tell("news");
  ahead(state.at);
}

// cause: what the trouble is with, so that its message goes when it is over.
export function fail(error, cause = "") {
  tell({ error: error instanceof Error ? error.message : String(error), cause });
}

function clear(cause) {
  tell({ over: cause });
}

window.addEventListener("beforeunload", (event) => {
  if (queue.length) event.preventDefault();
});
