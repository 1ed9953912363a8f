// Draws the image and what is labelled on it. Coordinates: the centre of the first pixel is (0, 0).

import { chosen, doubt, ghosts, known, many, middle, nudged, sure, target } from "./labels.js";
import { state } from "./store.js";

const canvas = document.getElementById("canvas");
const context = canvas.getContext("2d", { alpha: false });

const SIZE = 6; // CSS pixels from the middle of a mark to its side
const REST = 160; // ms after which a moving image is drawn sharp

export const view = {
  scale: 1, x: 0, y: 0, // CSS pixels of the canvas for an image pixel, and of the image's corner
  hide: false, lines: true, brightness: 0, auto: false,
  pointer: null, // image coordinates, where the pointer is over the canvas
  hover: null, // what is under the pointer
  drag: null, // {object, name, x, y, ghost}: what is dragged
  cross: null, // image coordinates of the keyboard's crosshair
};

let fitted = true, former = null, ratio = 1, resting = 0, waiting = false;

export const toView = (x, y) => [view.x + (x + 0.5) * view.scale, view.y + (y + 0.5) * view.scale];
export const toImage = (x, y) => [(x - view.x) / view.scale - 0.5, (y - view.y) / view.scale - 0.5];

const wide = () => canvas.clientWidth;
const high = () => canvas.clientHeight;

export function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; paint(); });
}

// While something moves one pixel of CSS is one of the canvas; at rest it is as sharp as it can be.
export function moving() {
  sharpness(1);
  clearTimeout(resting);
  resting = setTimeout(() => { sharpness(window.devicePixelRatio || 1); draw(); }, REST);
  draw();
}

function sharpness(next) {
  const width = Math.round(wide() * next), height = Math.round(high() * next);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  ratio = next;
}

// --- where the image is --------------------------------------------------------------------------

export function fit() {
  if (!state.shown?.size) return;
  const [h, w] = state.shown.size;
  view.scale = Math.min(wide() / w, high() / h) * 0.97;
  view.x = (wide() - w * view.scale) / 2;
  view.y = (high() - h * view.scale) / 2;
  fitted = true;
  moving();
}

export function zoom(factor, x = wide() / 2, y = high() / 2) {
  const least = Math.min(wide() / state.shown.size[1], high() / state.shown.size[0]) * 0.5;
  const next = Math.max(Math.min(least, 1), Math.min(64, view.scale * factor));
  view.x = x - ((x - view.x) * next) / view.scale;
  view.y = y - ((y - view.y) * next) / view.scale;
  view.scale = next;
  fitted = false;
  hold();
  moving();
}

export function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  fitted = false;
  hold();
  moving();
}

// Some of the image stays in sight.
function hold() {
  const [h, w] = state.shown.size;
  const room = 60;
  view.x = Math.min(wide() - room, Math.max(room - w * view.scale, view.x));
  view.y = Math.min(high() - room, Math.max(room - h * view.scale, view.y));
}

// The zoom stays from image to image, as far as the next one has the same size.
let size = null;

export function arrange() {
  const next = state.shown?.size?.join();
  if (!next) return;
  if (fitted || next !== size) fit();
  size = next;
  shade();
}

export function resized() {
  sharpness(window.devicePixelRatio || 1);
  if (fitted) fit();
  draw();
}

// Z: to the least sure suggestion, else to where the chosen keypoint was before; again: back.
export function jump() {
  if (!state.shown) return;
  if (former) {
    Object.assign(view, former.place);
    fitted = former.fitted;
    former = null;
    return moving();
  }
  const at = doubtful();
  const [h, w] = state.shown.size;
  former = { place: { scale: view.scale, x: view.x, y: view.y }, fitted };
  view.scale = Math.min(24, Math.max(view.scale * 2, Math.min(wide(), high()) / (0.2 * Math.min(w, h))));
  view.x = wide() / 2 - (at.x + 0.5) * view.scale;
  view.y = high() / 2 - (at.y + 0.5) * view.scale;
  fitted = false;
  moving();
  return at;
}

export function unjump() {
  former = null;
}

function doubtful() {
  const open = ghosts().sort((a, b) => doubt(b) - doubt(a));
  if (open.length) return open[0];
  const last = chosen.former?.[chosen.object]?.points[chosen.name];
  if (last?.length === 3) return { name: chosen.name, x: last[1], y: last[2] };
  const at = target();
  if (at) {
    const [, x, y] = known(at.object, at.name);
    return { name: at.name, x, y };
  }
  return { x: state.shown.size[1] / 2, y: state.shown.size[0] / 2 };
}

// --- what is under the pointer -------------------------------------------------------------------

// The nearest keypoint or suggestion within `reach` CSS pixels of a place on the canvas.
export function hit(x, y, reach) {
  let best = null, least = reach;
  const look = (found, px, py) => {
    const [vx, vy] = toView(px, py);
    const away = Math.hypot(vx - x, vy - y);
    if (away < least) [best, least] = [found, away];
  };
  if (!state.shown || view.hide) return null;
  for (const one of ghosts()) look({ ...one, suggested: true }, one.x, one.y);
  state.shown.objects.forEach(({ points }, object) => {
    for (const [name, [, px, py]] of Object.entries(points)) {
      if (px !== undefined) look({ object, name, x: px, y: py }, px, py);
    }
  });
  return best;
}

// --- brightness ----------------------------------------------------------------------------------

let shaded = null;

// A copy of the image with other brightness: made once, not with every frame.
export function shade() {
  const bitmap = state.shown?.bitmap;
  shaded = null;
  if (!bitmap || (!view.brightness && !view.auto)) return draw();
  const copy = new OffscreenCanvas(bitmap.width, bitmap.height);
  const into = copy.getContext("2d", { willReadFrequently: true });
  into.drawImage(bitmap, 0, 0);
  const data = into.getImageData(0, 0, copy.width, copy.height);
  const table = curve(data.data);
  const values = data.data;
  for (let i = 0; i < values.length; i += 4) {
    values[i] = table[values[i]];
    values[i + 1] = table[values[i + 1]];
    values[i + 2] = table[values[i + 2]];
  }
  into.putImageData(data, 0, 0);
  shaded = copy;
  return draw();
}

function curve(values) {
  let low = 0, top = 255;
  if (view.auto) {
    const counts = new Uint32Array(256);
    const step = 4 * Math.max(1, Math.floor(values.length / 4 / 100000));
    let all = 0;
    for (let i = 0; i < values.length; i += step) { counts[values[i + 1]]++; all++; }
    for (let sum = 0; low < 254 && (sum += counts[low]) < all * 0.005;) low++;
    for (let sum = 0; top > low + 1 && (sum += counts[top]) < all * 0.005;) top--;
  }
  const power = 2 ** (-view.brightness / 40);
  return Uint8ClampedArray.from({ length: 256 }, (_, v) =>
    Math.round(255 * Math.min(1, Math.max(0, (v - low) / (top - low))) ** power));
}

// --- drawing -------------------------------------------------------------------------------------

let colours = null;

export function themed() {
  const style = getComputedStyle(document.documentElement);
  colours = Object.fromEntries(["card", "ink", "paper", "muted", "line"].map((name) =>
    [name, style.getPropertyValue(`--${name}`).trim()]));
  draw();
}

function paint() {
  if (!colours) themed();
  if (ratio !== 1 && canvas.width !== Math.round(wide() * ratio)) sharpness(ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = colours.card;
  context.fillRect(0, 0, wide(), high());
  const held = state.shown;
  if (!held?.bitmap) return;
  const [h, w] = held.size;
  const factor = Math.ceil(w / held.bitmap.width);
  context.imageSmoothingEnabled = view.scale < 2;
  context.imageSmoothingQuality = ratio === 1 ? "low" : "medium";
  const sides = [held.bitmap.width * factor * view.scale, held.bitmap.height * factor * view.scale];
  context.drawImage(shaded ?? held.bitmap, view.x, view.y, ...sides);
  context.strokeStyle = colours.line;
  context.lineWidth = 1;
  context.strokeRect(view.x - 0.5, view.y - 0.5, w * view.scale + 1, h * view.scale + 1);
  if (!view.hide && state.definition) overlay(held);
  if (view.cross) crosshair();
}

function overlay(held) {
  const names = state.definition.names;
  const rank = new Map(names.map((name, i) => [name, i]));
  const nudge = nudged();
  const objects = held.objects.map(({ points }, object) => placed(points, object, nudge));
  const small = many() && objects.length > 200 ? 4 : SIZE;
  if (view.lines) {
    for (const points of objects) lines(points, 0.9);
    for (const points of ghostObjects()) lines(points, 0.45);
  }
  for (const one of ghosts()) if (!dragged(one)) ghostMark(one, state.marks[rank.get(one.name) % 21]);
  objects.forEach((points, object) => {
    for (const [name, [visibility, x, y]] of points) {
      if (!rank.has(name)) continue;
      const style = state.marks[rank.get(name) % state.marks.length];
      mark(...toView(x, y), style, visibility === 2, small);
    }
    if (state.definition.objects === "several" && objects.length > 1) number(points, object);
  });
  const at = target();
  if (at) ring(at, nudge);
  if (view.drag?.suggested) drag(rank);
  if (view.hover && !view.drag && there(view.hover)) label(middle(view.hover.name, 48), view.hover.x, view.hover.y);
}

// Whether what was under the pointer is still there: the server may have refused it.
function there({ object, name, x, y, suggested }) {
  if (suggested) return ghosts().some((one) => one.object === object && one.name === name);
  const point = known(object, name);
  return point?.length === 3 && point[1] === x && point[2] === y;
}

const dragged = (one) => view.drag?.suggested && view.drag.ghost === one.ghost && view.drag.name === one.name;

// Located keypoints of an object, one of them where it is dragged or nudged to.
function placed(points, object, nudge) {
  const found = new Map();
  for (const [name, point] of Object.entries(points)) {
    if (point.length < 3) continue;
    const { drag } = view;
    const moved = drag && !drag.suggested && drag.object === object && drag.name === name;
    const pressed = nudge && nudge.object === object && nudge.name === name;
    found.set(name, moved ? [point[0], drag.x, drag.y] : pressed ? nudge.point : point);
  }
  return found;
}

function ghostObjects() {
  const found = new Map();
  for (const one of ghosts()) {
    if (!sure(one)) continue;
    if (!found.has(one.ghost)) found.set(one.ghost, new Map());
    found.get(one.ghost).set(one.name, [3, one.x, one.y]);
  }
  return found.values();
}

function lines(points, opacity) {
  context.globalAlpha = opacity;
  for (const [a, b] of state.definition.skeleton) {
    if (!points.has(a) || !points.has(b)) continue;
    const [, ax, ay] = points.get(a), [, bx, by] = points.get(b);
    for (const [width, colour] of [[3, "#000000"], [1.25, "#ffffff"]]) {
      context.beginPath();
      context.moveTo(...toView(ax, ay));
      context.lineTo(...toView(bx, by));
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.globalAlpha = opacity * (width > 2 ? 0.35 : 0.9);
      context.stroke();
    }
  }
  context.globalAlpha = 1;
}

function path(on, x, y, shape, r) {
  on.beginPath();
  if (shape === "square") on.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
  else if (shape === "diamond") {
    on.moveTo(x, y - r * 1.25);
    on.lineTo(x + r * 1.25, y);
    on.lineTo(x, y + r * 1.25);
    on.lineTo(x - r * 1.25, y);
    on.closePath();
  } else on.arc(x, y, r, 0, 7);
}

// Each kind of mark is drawn once and stamped where it is wanted: a thousand of them move as fast as one.
const stamps = new Map();

function mark(x, y, style, hidden, r) {
  const key = [style.colour, style.shape, hidden, r, ratio].join();
  const half = Math.ceil(r * 1.25 + 3);
  if (!stamps.has(key)) {
    const made = new OffscreenCanvas(Math.ceil(2 * half * ratio), Math.ceil(2 * half * ratio));
    const on = made.getContext("2d");
    on.scale(ratio, ratio);
    inked(on, half, style, hidden, r);
    stamps.set(key, made);
  }
  const made = stamps.get(key);
  const corner = (v) => Math.round((v - half) * ratio) / ratio;
  context.drawImage(made, corner(x), corner(y), made.width / ratio, made.height / ratio);
}

// Visible: filled; hidden: a ring with a point in its middle.
function inked(on, half, { colour, shape }, hidden, r) {
  path(on, half, half, shape, r);
  on.lineWidth = hidden ? 4 : 2.5;
  on.strokeStyle = "#000000b0";
  on.stroke();
  if (hidden) {
    on.lineWidth = 2;
    on.strokeStyle = colour;
    on.stroke();
  } else {
    on.fillStyle = colour;
    on.fill();
    on.lineWidth = 1;
    on.strokeStyle = "#ffffff";
    on.stroke();
  }
  on.fillStyle = hidden ? colour : "#000000";
  on.fillRect(half - 1, half - 1, 2, 2);
}

// A suggestion: hollow, with the circle that holds the truth in nine of ten cases.
function ghostMark(one, style) {
  const [vx, vy] = toView(one.x, one.y);
  const good = sure(one);
  if (one.radius && good) {
    context.beginPath();
    context.arc(vx, vy, Math.max(SIZE + 2, one.radius * view.scale), 0, 7);
    context.lineWidth = 2;
    context.strokeStyle = "#00000050";
    context.stroke();
    context.lineWidth = 1;
    context.strokeStyle = style.colour;
    context.stroke();
  }
  context.setLineDash(good ? [] : [2, 2]);
  path(context, vx, vy, style.shape, SIZE);
  context.lineWidth = 3.5;
  context.strokeStyle = "#00000090";
  context.stroke();
  context.lineWidth = 1.75;
  context.strokeStyle = style.colour;
  context.stroke();
  context.setLineDash([]);
}

function ring(at, nudge) {
  const { drag } = view;
  const same = (one) => one && one.object === at.object && one.name === at.name;
  const [, x, y] = same(nudge) ? nudge.point : known(at.object, at.name);
  const [vx, vy] = same(drag) && !drag.suggested ? toView(drag.x, drag.y) : toView(x, y);
  context.beginPath();
  context.arc(vx, vy, SIZE + 5, 0, 7);
  context.lineWidth = 3;
  context.strokeStyle = "#00000080";
  context.stroke();
  context.lineWidth = 1.5;
  context.strokeStyle = "#ffffff";
  context.stroke();
}

// A suggestion that is dragged, and the maxima of its map that it may snap to.
function drag(rank) {
  const { drag: one } = view;
  const style = state.marks[rank.get(one.name) % state.marks.length];
  context.strokeStyle = style.colour;
  context.lineWidth = 1.5;
  for (const [x, y] of state.shown.suggestion?.hills[one.name] ?? []) {
    const [vx, vy] = toView(x, y);
    context.beginPath();
    context.moveTo(vx - 4, vy);
    context.lineTo(vx + 4, vy);
    context.moveTo(vx, vy - 4);
    context.lineTo(vx, vy + 4);
    context.stroke();
  }
  mark(...toView(one.x, one.y), style, false, SIZE);
}

function label(text, x, y) {
  const [vx, vy] = toView(x, y);
  chip(text, vx + 14, vy - 14);
}

// Left of the keypoint: its name is shown on the right.
function number(points, object) {
  const first = points.values().next().value;
  if (!first) return;
  const text = String(object + 1), [vx, vy] = toView(first[1], first[2]);
  chip(text, vx - 10 - breadth(text), vy + 14);
}

function breadth(text) {
  context.font = "13px system-ui, sans-serif";
  return context.measureText(text).width + 10;
}

function chip(text, x, y) {
  const width = breadth(text);
  const left = Math.min(x, wide() - width - 4), top = Math.max(4, y - 10);
  context.fillStyle = "#101316d0";
  context.fillRect(left, top, width, 20);
  context.fillStyle = "#ffffff";
  context.fillText(text, left + 5, top + 14);
}

function crosshair() {
  const [x, y] = toView(...view.cross);
  for (const [width, colour] of [[3, "#000000a0"], [1, "#ffffff"]]) {
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * 4, y + dy * 4);
      context.lineTo(x + dx * 16, y + dy * 16);
    }
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
  }
}
