// What the page shows comes by one stream, once a second. Where that ends, it is opened again.

import { follow } from "./asking.js";
import { showFigures, element, write } from "./elements.js";
import { Frames } from "./frames.js";
import { Graph } from "./graph.js";
import { Orders } from "./orders.js";
import { Panels } from "./panels.js";

const SILENT_MS = 5000;
const AGAIN_MS = 2000;
const find = (id) => document.getElementById(id);
const panels = new Panels();
const orders = new Orders(find("orders"));
const frames = new Frames(find("frames"));
const graph = new Graph(find("graph"), {
  logs: ({ name }) => panels.select(name),
  frames: (stage) => frames.open(stage),
  orders: (stage) => orders.openStage(stage),
});
find("reload").addEventListener("click", () => orders.openReload());
let stream = new AbortController();
let heard = Date.now();
let asked = Date.now();

/** Follow the stream, and open it again where it ends; for ever. */
async function followStream() {
  for (;;) {
    stream = new AbortController();
    asked = Date.now();
    try {
      for await (const view of follow("stream", stream.signal)) {
        heard = Date.now();
        show(view);
      }
    } catch (error) {
      if (error.status) {
        heard = Date.now();
        warn(error.message);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

function show(view) {
  warn(view.trouble ? `${view.trouble}; trying again` : "");
  if (view.trouble) return;
  document.title = `${view.blames ? "▲ " : ""}${view.chain}`;
  write(find("head"), view.head);
  write(find("verdict"), view.verdict);
  find("verdict").classList.toggle("busy", view.blames);
  // Said by a screen reader when it changes; the figures of the verdict change all the time.
  const blamed = view.stages.find((stage) => stage.is_bottleneck);
  write(find("blamed"), blamed ? `${blamed.name} holds the chain up` : view.head.split(" (")[0]);
  showFigures(find("totals"), view.totals);
  find("notes").replaceChildren(...view.notes.map((note) => element("li", "warn", note)));
  document.body.classList.toggle("stopped", !view.runs);
  document.body.classList.toggle("takes-orders", view.takes_orders);
  graph.show(view.stages);
  if (!document.hidden) panels.refresh(view);
}

function warn(sentence) {
  write(find("alert"), sentence);
  find("alert").hidden = !sentence;
  document.body.classList.toggle("stale", Boolean(sentence));
}

setInterval(() => {
  if (Date.now() - heard < SILENT_MS) return;
  const since = new Date(heard).toLocaleTimeString([], { hour12: false });
  warn(`No news from arroyo dashboard since ${since}; trying again. The chain does not depend on it.`);
  if (Date.now() - asked >= SILENT_MS) stream.abort(); // it hangs
}, AGAIN_MS);

followStream();
