// Mouse, pen and fingers on the canvas.

import { chosen, choose, HIDDEN, move, place, settle, snapped, take, VISIBLE } from "./labels.js";
import { state } from "./store.js";
import { draw, hit, moving, pan, toImage, unjump, view, zoom } from "./view.js";

const canvas = document.getElementById("canvas");
const REACH = 12, FINGER = 24; // CSS pixels about a keypoint that grab it
const STILL = 4; // CSS pixels that a click may move
const SNAP = 18; // CSS pixels within which a dragged suggestion takes a maximum of its map

const down = new Map(); // pointers that are down: id -> [x, y]
let press = null, pinch = null;

const at = (event) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

canvas.addEventListener("pointerdown", (event) => {
  if (!state.shown) return;
  settle();
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  const [x, y] = at(event);
  down.set(event.pointerId, [x, y]);
  if (down.size === 2) {
    pinch = spread();
    press = null;
    view.drag = null;
    return;
  }
  const reach = event.pointerType === "touch" ? FINGER : REACH;
  const grabbed = event.button === 0 ? hit(x, y, reach) : null;
  press = { x, y, lastX: x, lastY: y, grabbed, button: event.button, moved: false, shift: event.shiftKey };
});

canvas.addEventListener("pointermove", (event) => {
  const [x, y] = at(event);
  if (down.has(event.pointerId)) down.set(event.pointerId, [x, y]);
  if (pinch && down.size === 2) return pinched();
  if (!press) return hovered(event, x, y);
  if (!press.moved && Math.hypot(x - press.x, y - press.y) < STILL) return;
  press.moved = true;
  if (press.grabbed) {
    // by how far the pointer has moved: the keypoint stays in sight beside a finger
    const { grabbed } = press;
    view.drag = { ...grabbed, x: grabbed.x + (x - press.x) / view.scale, y: grabbed.y + (y - press.y) / view.scale };
    moving();
  } else {
    canvas.classList.add("panning");
    pan(x - press.lastX, y - press.lastY);
    unjump();
  }
  [press.lastX, press.lastY] = [x, y];
});

canvas.addEventListener("pointerup", (event) => {
  const held = press;
  lifted(event);
  if (!held) return;
  if (held.moved) return held.grabbed && dropped(held.grabbed, event);
  if (held.button !== 0) return;
  clicked(held, event);
});

canvas.addEventListener("pointercancel", (event) => {
  lifted(event);
  view.drag = null;
  draw();
});

canvas.addEventListener("pointerleave", () => {
  view.hover = null;
  view.pointer = null;
  draw();
});

canvas.addEventListener("contextmenu", (event) => event.preventDefault());

canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (!state.shown) return;
  const lines = event.deltaMode === 1 ? 16 : 1;
  zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0018)), ...at(event));
  unjump();
}, { passive: false });

function lifted(event) {
  down.delete(event.pointerId);
  if (down.size < 2) pinch = null;
  press = null;
  canvas.classList.remove("panning");
}

// A click with a choice places it; without one it chooses what is there.
function clicked(held, event) {
  const [x, y] = toImage(held.x, held.y);
  const { grabbed } = held;
  if (chosen.name) place(x, y, held.shift ? HIDDEN : VISIBLE);
  else if (grabbed?.suggested) take(grabbed);
  else if (grabbed) choose(grabbed.object, grabbed.name);
  else place(x, y);
  hovered(event, held.x, held.y);
}

function dropped(grabbed, event) {
  const { drag } = view;
  view.drag = null;
  if (!drag) return;
  if (grabbed.suggested) {
    const reach = event.altKey ? 0 : SNAP / view.scale;
    take(grabbed, ...snapped(grabbed.name, drag.x, drag.y, reach));
  } else move(grabbed.object, grabbed.name, drag.x, drag.y);
  draw();
}

function hovered(event, x, y) {
  view.pointer = toImage(x, y);
  const before = view.hover;
  view.hover = event.pointerType === "touch" ? null : hit(x, y, REACH);
  canvas.classList.toggle("grab", Boolean(view.hover));
  if (before?.name !== view.hover?.name || before?.object !== view.hover?.object) draw();
}

function spread() {
  const [[ax, ay], [bx, by]] = [...down.values()];
  return { x: (ax + bx) / 2, y: (ay + by) / 2, far: Math.hypot(bx - ax, by - ay) };
}

function pinched() {
  const next = spread();
  zoom(next.far / Math.max(1, pinch.far), next.x, next.y);
  pan(next.x - pinch.x, next.y - pinch.y);
  pinch = next;
}
