// The newest image or curve of a stage. The next one is asked for when the last one is painted.

import { ask, request } from "./asking.js";
import { boundsOf, MAPS, valuesOf } from "./colours.js";
import { write } from "./elements.js";
import { FrameCanvas, within } from "./frame_canvas.js";
import { MarkedRegion } from "./marked_region.js";

const CELLS = 800;
const AGAIN_MS = 1000;
const LEAST_SIDE = 8;
const KEPT = "arroyo-frames";
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const painted = () => new Promise((resolve) => requestAnimationFrame(resolve));

/** Read an answer: its JSON, and cells as they were sent. */
async function read(answer) {
  const buffer = await answer.arrayBuffer();
  const size = new DataView(buffer).getUint32(0, true);
  const frame = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const Cells = { f4: Float32Array, u2: Uint16Array }[frame.format];
  if (Cells) frame.cells = new Cells(buffer, 4 + size);
  return frame;
}

export class Frames {
  constructor(section) {
    const find = (name) => section.querySelector(`[data-part=${name}]`);
    this.section = section;
    this.title = section.querySelector("h2");
    this.canvas = section.querySelector("canvas");
    this.image = new FrameCanvas(this.canvas);
    this.marked = new MarkedRegion(find("marked"));
    for (const name of ["facts", "under", "low", "high", "locked", "logarithmic", "map", "freeze", "marks"]) this[name] = find(name);
    this.stage = this.frame = null;
    this.region = this.mark = null; // of the array, in pixels
    this.cursor = this.drag = null;
    this.missed = null;
    this.times = [];
    this.asksValue = this.wantsValue = false;
    this.asksAgain = false;
    this.wanted = null; // number of the frame that is to be shown again
    this.map.replaceChildren(...MAPS.map((name) => new Option(name)));
    this.recall();
    for (const choice of [this.logarithmic, this.map, this.locked]) choice.addEventListener("change", () => this.remember());
    for (const bound of [this.low, this.high]) {
      bound.addEventListener("change", () => {
        this.locked.checked = true;
        this.draw();
      });
    }
    this.marks.addEventListener("change", () => this.marks.checked || this.setMark(null));
    for (const [name, act] of Object.entries({
      close: () => this.close(),
      fit: () => this.zoom(null),
      back: () => this.step(-1),
      on: () => this.step(1),
      turn: () => this.orient(this.orientation.flip ? 3 : 1, false),
      flip: () => this.orient(0, true),
    })) find(name).addEventListener("click", act);
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    this.canvas.addEventListener("pointerdown", (event) => this.grab(event));
    for (const ending of ["pointerup", "pointercancel"]) this.canvas.addEventListener(ending, () => { this.drag = null; });
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.canvas.addEventListener("keydown", ({ key }) => {
      if (key === "f") this.zoom(null);
      if (key === " ") this.freeze.click();
      if (key === ",") this.step(-1);
      if (key === ".") this.step(1);
    });
  }

  recall() {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    this.logarithmic.checked = Boolean(kept.logarithmic);
    this.orientations = kept.orientations ?? {};
    if (MAPS.includes(kept.map)) this.map.value = kept.map;
  }

  remember() {
    const kept = { logarithmic: this.logarithmic.checked, map: this.map.value, orientations: this.orientations };
    localStorage.setItem(KEPT, JSON.stringify(kept));
    this.draw();
  }

  open({ name }) {
    this.section.hidden = false;
    this.section.scrollIntoView({ block: "nearest" });
    this.canvas.focus();
    if (this.stage === name) return;
    [this.stage, this.frame, this.region, this.mark, this.missed, this.times] = [name, null, null, null, null, []];
    this.marked.forget();
    this.marked.show({});
    write(this.title, `Frames of ${name}`);
    write(this.facts, "waiting for a message");
    this.follow(name);
  }

  close() {
    this.stage = null;
    this.section.hidden = true;
  }

  /** Show frame after frame, until another stage is looked at. */
  async follow(stage) {
    while (this.stage === stage) {
      if (this.freeze.checked || document.hidden) {
        await pause(100);
        continue;
      }
      try {
        const frame = await this.fetch(stage, { after: this.frame?.number ?? 0 });
        if (this.stage !== stage || this.freeze.checked || !frame) continue;
        this.times = [...this.times, performance.now()].slice(-20);
        this.missed = between(this.frame, frame);
        this.show(frame);
        await painted();
      } catch (error) {
        if (this.stage === stage) write(this.facts, `${error.message}; trying again`);
        await pause(AGAIN_MS);
        if (error.status === 404 || !error.status) this.frame = null; // it may have started anew
      }
    }
  }

  async fetch(stage, which) {
    const query = new URLSearchParams({ of: stage, wide: CELLS, high: CELLS, ...this.orientation, ...this.region, ...which });
    for (const [name, value] of Object.entries(this.mark ?? {})) query.set(`marked_${name}`, value);
    const answer = await request(`frame?${query}`);
    return answer.status === 204 ? null : read(answer);
  }

  show(frame) {
    this.frame = frame;
    this.draw();
    this.marked.show(frame);
    this.askValue();
  }

  /** Show a frame again: one before or behind, or the same in another way; of many wishes the last one. */
  async again(number) {
    this.wanted = number;
    if (this.asksAgain) return;
    this.asksAgain = true;
    try {
      while (this.wanted !== null) {
        const [stage, asked] = [this.stage, this.wanted];
        this.wanted = null;
        const frame = await this.fetch(stage, { number: asked });
        const isOvertaken = !this.freeze.checked && this.frame?.number > asked;
        if (frame && this.stage === stage && !isOvertaken) this.show(frame);
      }
    } catch (error) {
      write(this.facts, error.message);
    } finally {
      this.asksAgain = false;
    }
  }

  step(by) {
    if (!this.frame) return;
    this.freeze.checked = true;
    this.missed = null;
    this.again(Math.max(this.frame.number + by, this.frame.first));
  }

  zoom(region) {
    this.region = region;
    if (this.frame) this.again(this.frame.number);
  }

  setMark(mark) {
    this.mark = mark;
    this.marked.forget();
    this.draw();
    if (this.frame) this.again(this.frame.number);
  }

  get orientation() {
    return this.orientations[this.stage] ?? { turn: 0, flip: 0 };
  }

  /** Turn by so many quarters, clockwise, or flip left and right, as it is seen. */
  orient(quarters, flips) {
    const { turn, flip } = this.orientation;
    this.orientations[this.stage] = { turn: (turn + quarters) % 4, flip: flips ? 1 - flip : flip };
    this.remember();
    if (this.frame) this.again(this.frame.number);
  }

  draw() {
    const { frame } = this;
    if (!frame) return;
    write(this.facts, this.words(frame));
    this.canvas.dataset.number = frame.number;
    this.canvas.dataset.region = frame.region;
    if (!frame.cells) return;
    this.image.draw(frame, this.bounds(frame), { logarithmic: this.logarithmic.checked, map: this.map.value, mark: this.mark });
  }

  bounds({ cells, high }) {
    if (this.locked.checked) return [Number(this.low.value), Number(this.high.value)];
    const bounds = boundsOf(cells);
    [this.low.value, this.high.value] = bounds.map((bound) => Number(bound.toPrecision(6)));
    if (high > 1) return bounds;
    return [Math.min(0, bounds[0]), Math.max(...valuesOf(cells).filter((value) => value === value), bounds[1])]; // all of a curve
  }

  words({ replica, key, dtype, shape, time, min, max, mean, masked, metadata, block, kind }) {
    const age = Math.max(0, Date.now() / 1000 - time).toFixed(1);
    const words = [`${kind} ${key}`, `from ${replica}`, `${age} s old`];
    if (this.missed !== null) words.push(`${this.missed} before it not shown`);
    if (this.times.length > 1) {
      const over = (this.times.at(-1) - this.times[0]) / 1000;
      words.push(`${((this.times.length - 1) / over).toFixed(1)} frames/s shown`);
    }
    if (dtype) words.push(`${dtype} ${shape.join(" x ")}`);
    if (mean !== undefined) words.push(`min ${min}, max ${max}, mean ${mean?.toPrecision(6)}`);
    if (masked) words.push(`${masked} masked or saturated`);
    if (block > 1) words.push(`greatest of ${block} x ${block} pixels`);
    if (metadata) words.push(JSON.stringify(metadata).slice(0, 300));
    return words.join(" · ");
  }

  point(event) {
    this.cursor = event && { clientX: event.clientX, clientY: event.clientY };
    if (!event) write(this.under, "");
    else if (this.drag) this.pull(event);
    this.askValue();
  }

  /** Tell the value under the cursor, of the frame that is shown; again, if either changes meanwhile. */
  async askValue() {
    this.wantsValue = true;
    if (this.asksValue) return;
    this.asksValue = true;
    while (this.wantsValue && this.cursor && this.frame?.cells) {
      this.wantsValue = false;
      const { number } = this.frame;
      const [x, y] = this.image.pixel(this.cursor);
      try {
        const { value } = await ask(`value?${new URLSearchParams({ of: this.stage, number, x, y })}`);
        if (this.cursor) write(this.under, `frame ${number}, x ${x}, y ${y}: ${value}`);
      } catch {
        write(this.under, ""); // the next frame asks again
      }
    }
    this.asksValue = false;
  }

  grab(event) {
    if (!this.frame?.cells) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { at: this.image.at(event), pixel: this.image.pixel(event) };
  }

  /** Mark from where it was grabbed, or keep that under the cursor. */
  pull(event) {
    if (this.marks.checked) {
      const [one, other] = [this.drag.pixel, this.image.pixel(event)];
      const [x, y] = [0, 1].map((axis) => Math.min(one[axis], other[axis]));
      const [w, h] = [0, 1].map((axis) => Math.abs(one[axis] - other[axis]) + 1);
      this.setMark({ x, y, w, h });
      return;
    }
    const [x, y, w, h] = this.frame.region;
    const [column, row] = this.image.at(event);
    this.zoom(this.inside(x + this.drag.at[0] - column, y + this.drag.at[1] - row, w, h));
  }

  wheel(event) {
    if (!this.frame?.cells) return;
    event.preventDefault();
    const [x, y, w, h] = this.frame.region;
    const [rows, columns] = this.frame.plane;
    const by = event.deltaY < 0 ? 0.7 : 1 / 0.7;
    const [px, py] = this.image.pixel(event);
    const wide = within(Math.round(w * by), Math.min(LEAST_SIDE, columns), columns);
    const high = within(Math.round(h * by), Math.min(LEAST_SIDE, rows), rows);
    this.zoom(this.inside(px - ((px - x) / w) * wide, py - ((py - y) / h) * high, wide, high));
  }

  /** Return a region of this size, moved into the image. */
  inside(x, y, w, h) {
    const [rows, columns] = this.frame.plane;
    return { x: within(Math.round(x), 0, columns - w), y: within(Math.round(y), 0, rows - h), w, h };
  }
}

/** Return how many messages of the source came between two frames; null: they follow in no order. */
function between(last, frame) {
  const isNext = last?.source === frame.source && last.run === frame.run && last.epoch === frame.epoch;
  return isNext && frame.sequence > last.sequence ? frame.sequence - last.sequence - 1 : null;
}
