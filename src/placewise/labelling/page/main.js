// Puts the page together.

import { useKeys } from "./actions.js";
import { ask, Refused } from "./api.js";
import { editKeypoints, showHelp, showImages, showTraining } from "./dialogs.js";
import { advance, arrived, known, chosen, many, say } from "./labels.js";
import * as panel from "./panel.js";
import "./pointer.js";
import { begin, fail, listen, start, state, tell } from "./store.js";
import { arrange, draw, resized, shade, themed, unjump, view } from "./view.js";

const at = (id) => document.getElementById(id);

listen((what) => {
  if (what.error) return panel.message(what.error, true, what.cause);
  if (what.over) return panel.over(what.over);
  if (what.said) return panel.live(what.said, what.seen);
  if (what === "image") {
    panel.over("image");
    panel.over("edit");
    unjump();
    view.hover = null;
    arrived();
    arrange();
    const image = state.images[state.at];
    if (image) say(`image ${state.at + 1}, ${image.left ? `${image.left < 0 ? "all" : image.left} left` : "done"}`);
  }
  if (what === "labels" && !many() && chosen.name && known(chosen.object, chosen.name) && !state.pending) advance(chosen.name);
  if (what === "saved") return panel.news();
  if (what === "news") {
    heard();
    return panel.news();
  }
  panel.paint();
  draw();
});

let heardOf = 0;

// What the server has to say: each line once; and what keeps it from writing the file, as long as it does.
function heard() {
  const { said = [], heard: all = 0, trouble = "" } = state.info;
  if (all > heardOf) panel.message(said.slice(heardOf - all).join(" "), true);
  heardOf = all;
  if (trouble) panel.message(trouble, true, "file");
  else panel.over("file");
}

at("define").addEventListener("click", () => editKeypoints());
at("help").addEventListener("click", showHelp);
at("list").addEventListener("click", showImages);
at("train").addEventListener("click", showTraining);
at("stop").addEventListener("click", () => ask("DELETE", "train").then((info) => {
  Object.assign(state.info, info);
  tell("news");
}).catch(fail));
at("brightness").addEventListener("input", (event) => {
  view.brightness = Number(event.target.value);
  shade();
});
at("brightness").addEventListener("change", () => at("canvas").focus({ preventScroll: true }));

new ResizeObserver(resized).observe(at("canvas"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);

try {
  await begin();
  useKeys(state.keys);
  panel.build();
  panel.paint();
  if (state.definition) await start();
  else editKeypoints(start);
} catch (error) {
  const lost = error instanceof Refused && error.status === 401;
  panel.message(lost ? "Open the address that the terminal shows: the token in it opens this page." : error.message, true);
}
