// What the page shows comes by one stream, once a second. Where that ends, it is opened again.

import { showFigures, element, write } from "./elements.js";
import { Graph } from "./graph.js";
import { Panels } from "./panels.js";

const SILENT_MS = 5000;
const find = (id) => document.getElementById(id);
const panels = new Panels();
const graph = new Graph(find("graph"), (name) => panels.select(name));
let stream = null;
let heard = Date.now();

function connect() {
  stream?.close();
  stream = new EventSource("stream");
  stream.onmessage = ({ data }) => {
    heard = Date.now();
    show(JSON.parse(data));
  };
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
  if (stream.readyState !== EventSource.CONNECTING) connect();
}, 2000);

connect();
