// The stages as boxes, from left to right, and the links between them.

import { drawn, element, showFigures, write } from "./elements.js";

const MINUTE = { width: 120, height: 20 };

export class Graph {
  /** `actions`: functions of a stage, called when its `logs`, `frames` or `orders` are asked for. */
  constructor(graph, actions) {
    this.graph = graph;
    this.actions = actions;
    this.boxes = new Map();
    this.stages = [];
    this.shape = "";
    this.links = drawn("svg", { class: "links", "aria-hidden": "true" });
    new ResizeObserver(() => this.drawLinks()).observe(graph);
  }

  show(stages) {
    const shape = stages.map(({ name, role, column }) => [name, role, column]).join();
    if (shape !== this.shape) {
      this.shape = shape;
      this.boxes = new Map(stages.map((stage) => [stage.name, new Box(stage, this.actions)]));
      const columns = [];
      for (const { name, column } of stages) {
        columns[column] ??= element("div", "column");
        columns[column].append(this.boxes.get(name).article);
      }
      this.graph.replaceChildren(this.links, ...columns);
    }
    this.stages = stages;
    for (const stage of stages) this.boxes.get(stage.name).show(stage);
    this.drawLinks();
  }

  drawLinks() {
    const frame = this.graph.getBoundingClientRect();
    const place = (name) => {
      const box = this.boxes.get(name).article.getBoundingClientRect();
      const left = box.left - frame.left + this.graph.scrollLeft;
      const top = box.top - frame.top + this.graph.scrollTop;
      return { left, right: left + box.width, middle: top + Math.min(box.height / 2, 90) };
    };
    const parts = [];
    for (const stage of this.stages) {
      const end = place(stage.name);
      for (const [at, link] of stage.links.entries()) {
        const start = place(link.above);
        const [x1, y1, x2] = [start.right, start.middle, end.left];
        const y2 = end.middle + 18 * (at - (stage.links.length - 1) / 2);
        const bend = Math.max(24, (x2 - x1) / 2);
        const path = `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 7} ${y2}`;
        parts.push(drawn("path", { d: path, class: link.link }));
        const tip = `${x2 - 8},${y2 - 5} ${x2},${y2} ${x2 - 8},${y2 + 5}`;
        parts.push(drawn("polygon", { points: tip }));
        parts.push(drawn("text", { x: x2 - 12, y: y2 - 5 }, link.rate));
      }
    }
    this.links.setAttribute("width", this.graph.scrollWidth);
    this.links.setAttribute("height", this.graph.scrollHeight);
    this.links.replaceChildren(...parts);
  }
}

class Box {
  constructor(stage, actions) {
    this.stage = stage;
    const button = (text, classes, title, act) => {
      const made = element("button", classes, text);
      made.type = "button";
      made.title = title;
      made.addEventListener("click", () => act(this.stage));
      return made;
    };
    const name = button(stage.name, "", `show the logs of ${stage.name}`, actions.logs);
    const orders = button("orders…", "order", `give orders to ${stage.name}`, actions.orders);
    const look = button("frames…", "look", `look at frames of ${stage.name}`, actions.frames);
    look.hidden = stage.role === "program";
    this.state = element("span", "state");
    this.blame = element("p", "blame");
    this.links = element("p", "from");
    this.shares = element("div", "shares");
    this.shares.setAttribute("role", "img");
    this.fill = element("div", "fill", element("div"));
    this.fill.setAttribute("role", "img");
    this.figures = element("dl", "figures");
    this.minute = drawn("svg", {
      class: "minute",
      role: "img",
      viewBox: `0 0 ${MINUTE.width} ${MINUTE.height}`,
      preserveAspectRatio: "none",
    });
    this.replicas = element("ul", "replicas");
    const title = element("h2", "", name);
    const head = element("div", "top", title, element("span", "role", stage.role), look, orders, this.state);
    this.article = element("article", "stage", head, this.blame, this.links, this.shares);
    this.article.append(this.fill, this.minute, this.figures, this.replicas);
    this.article.setAttribute("aria-label", `stage ${stage.name}`);
  }

  show(stage) {
    this.stage = stage;
    this.article.classList.toggle("bottleneck", stage.is_bottleneck);
    write(this.blame, stage.is_bottleneck ? "◀ holds the chain up" : "");
    write(this.state, stage.state);
    this.state.className = `state ${stage.mark}`;
    write(this.links, stage.links.map(sayLink).join(", "));
    this.showShares(stage.shares);
    this.showFill(stage.fill);
    this.showMinute(stage.minute);
    showFigures(this.figures, stage.figures);
    this.replicas.replaceChildren(...stage.replicas.map(replicaLine));
  }

  showShares(shares) {
    this.shares.hidden = !shares.length;
    const bars = shares.map(([name, share]) => {
      const bar = element("div", name);
      bar.style.width = `${100 * share}%`;
      return bar;
    });
    this.shares.replaceChildren(...bars);
    const words = shares.map(([name, share]) => `${name} ${Math.round(100 * share)} %`);
    describe(this.shares, words.join(", "));
  }

  showFill(fill) {
    this.fill.hidden = fill === null;
    this.fill.firstChild.style.width = `${100 * (fill ?? 0)}%`;
    describe(this.fill, `window ${Math.round(100 * (fill ?? 0))} % full`);
  }

  showMinute(means) {
    const most = Math.max(...means.map((mean) => mean ?? 0), 1e-9);
    const wide = MINUTE.width / means.length;
    const bars = means.map((mean, at) => {
      const height = mean === null ? 0 : Math.max(1, (mean / most) * MINUTE.height);
      return drawn("rect", { x: at * wide, y: MINUTE.height - height, width: wide - 1, height });
    });
    this.minute.replaceChildren(...bars);
    describe(this.minute, "received per second, over the last minute");
  }
}

function describe(target, words) {
  target.setAttribute("aria-label", words);
  target.setAttribute("title", words);
}

function sayLink({ above, link, rate }) {
  const kind = link === "pub-sub" ? " (pub-sub)" : "";
  return `from ${above}${kind} ${rate}`.trim();
}

function replicaLine({ name, state, mark, figures }) {
  const number = `.${name.split(".").pop()}`;
  const words = figures.map(([what, value, meant]) => element("span", meant, `${what} ${value}`));
  return element("li", "", element("b", "", number), element("span", `state ${mark}`, state), ...words);
}
