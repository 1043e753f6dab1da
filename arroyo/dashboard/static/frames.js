// The newest image or curve of a stage. The next one is asked for when the last one is painted.

import { ask, request } from "./asking.js";
import { boundsOf, MAPS, paint, scaleOf } from "./colours.js";
import { write } from "./elements.js";

const CELLS = 800;
const AGAIN_MS = 1000;
const KEPT = "arroyo-frames";
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const painted = () => new Promise((resolve) => requestAnimationFrame(resolve));

/** Read an answer: its JSON, and values in which NaN is none. */
async function read(answer) {
  const buffer = await answer.arrayBuffer();
  const size = new DataView(buffer).getUint32(0, true);
  const frame = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  if (frame.format === "f4") frame.values = new Float32Array(buffer, 4 + size);
  if (frame.format === "u2") {
    const cells = new Uint16Array(buffer, 4 + size);
    frame.values = new Float32Array(cells.length);
    for (let at = 0; at < cells.length; at += 1) frame.values[at] = cells[at] ? cells[at] - 1 : NaN;
  }
  return frame;
}

export class Frames {
  constructor(section) {
    const find = (name) => section.querySelector(`[data-part=${name}]`);
    this.section = section;
    this.title = section.querySelector("h2");
    this.canvas = section.querySelector("canvas");
    this.facts = find("facts");
    this.under = find("under");
    this.low = find("low");
    this.high = find("high");
    this.locked = find("locked");
    this.logarithmic = find("logarithmic");
    this.map = find("map");
    this.freeze = find("freeze");
    this.stage = null;
    this.frame = null;
    this.region = null;
    this.cursor = null;
    this.times = [];
    this.asksValue = false;
    this.map.replaceChildren(...MAPS.map((name) => new Option(name)));
    this.recall();
    for (const choice of [this.logarithmic, this.map, this.locked]) choice.addEventListener("change", () => this.remember());
    for (const bound of [this.low, this.high]) {
      bound.addEventListener("change", () => {
        this.locked.checked = true;
        this.draw();
      });
    }
    find("close").addEventListener("click", () => this.close());
    find("fit").addEventListener("click", () => this.zoom(null));
    find("back").addEventListener("click", () => this.step(-1));
    find("on").addEventListener("click", () => this.step(1));
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
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
    if (MAPS.includes(kept.map)) this.map.value = kept.map;
  }

  remember() {
    const kept = { logarithmic: this.logarithmic.checked, map: this.map.value };
    localStorage.setItem(KEPT, JSON.stringify(kept));
    this.draw();
  }

  open({ name }) {
    this.section.hidden = false;
    this.section.scrollIntoView({ block: "nearest" });
    this.canvas.focus();
    if (this.stage === name) return;
    [this.stage, this.frame, this.region, this.times] = [name, null, null, []];
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
    const { x = 0, y = 0, w = 0, h = 0 } = this.region ?? {};
    const query = new URLSearchParams({ of: stage, wide: CELLS, high: CELLS, x, y, w, h, ...which });
    const answer = await request(`frame?${query}`);
    return answer.status === 204 ? null : read(answer);
  }

  show(frame) {
    this.frame = frame;
    this.draw();
    this.askValue();
  }

  /** Show a frame again: one before or behind, or the same with another region. */
  async again(number) {
    try {
      const frame = await this.fetch(this.stage, { number });
      if (frame) this.show(frame);
    } catch (error) {
      write(this.facts, error.message);
    }
  }

  step(by) {
    if (!this.frame) return;
    this.freeze.checked = true;
    this.again(Math.max(this.frame.number + by, this.frame.first));
  }

  zoom(region) {
    this.region = region;
    if (this.frame) this.again(this.frame.number);
  }

  draw() {
    const { frame } = this;
    if (!frame) return;
    write(this.facts, this.words(frame));
    this.canvas.dataset.number = frame.number;
    this.canvas.dataset.region = frame.region;
    if (!frame.values) return;
    const bounds = this.bounds(frame.values);
    if (frame.high === 1) this.drawCurve(frame, bounds);
    else this.drawImage(frame, bounds);
  }

  bounds(values) {
    if (!this.locked.checked) {
      const [low, high] = boundsOf(values);
      [this.low.value, this.high.value] = [Number(low.toPrecision(6)), Number(high.toPrecision(6))];
    }
    return [Number(this.low.value), Number(this.high.value)];
  }

  drawImage({ values, wide, high }, bounds) {
    const context = this.size(wide, high);
    const image = context.createImageData(wide, high);
    paint(new Uint32Array(image.data.buffer), values, bounds, this.logarithmic.checked, this.map.value);
    context.putImageData(image, 0, 0);
  }

  drawCurve({ values, wide }, bounds) {
    const high = 300;
    const context = this.size(wide, high);
    const scale = scaleOf(this.locked.checked ? bounds : [Math.min(0, bounds[0]), Math.max(...values.filter((v) => v === v), bounds[1])], this.logarithmic.checked);
    context.clearRect(0, 0, wide, high);
    context.strokeStyle = getComputedStyle(this.section).color;
    context.beginPath();
    values.forEach((value, x) => value === value && context.lineTo(x, (high - 2) * (1 - scale(value)) + 1));
    context.stroke();
  }

  size(wide, high) {
    if (this.canvas.width !== wide || this.canvas.height !== high) Object.assign(this.canvas, { width: wide, height: high });
    return this.canvas.getContext("2d");
  }

  words({ replica, key, dtype, shape, time, min, max, mean, masked, metadata, block, kind }) {
    const age = Math.max(0, Date.now() / 1000 - time).toFixed(1);
    const words = [`${kind} ${key}`, `from ${replica}`, `${age} s old`];
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

  /** Return the pixel of the array at a place of the screen. */
  pixel({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y, w, h] = this.frame.region;
    const pixel = [x + Math.floor(((clientX - box.left) / box.width) * w), y + Math.floor(((clientY - box.top) / box.height) * h)];
    return [Math.min(pixel[0], x + w - 1), Math.min(pixel[1], y + h - 1)];
  }

  point(event) {
    this.cursor = event && { clientX: event.clientX, clientY: event.clientY };
    if (!event) write(this.under, "");
    this.askValue();
  }

  /** Tell the value under the cursor, of the frame that is shown. */
  async askValue() {
    if (this.asksValue || !this.cursor || !this.frame?.values) return;
    this.asksValue = true;
    try {
      const { number } = this.frame;
      const [x, y] = this.pixel(this.cursor);
      const { value } = await ask(`value?${new URLSearchParams({ of: this.stage, number, x, y })}`);
      if (this.cursor) write(this.under, `frame ${number}, x ${x}, y ${y}: ${value}`);
    } catch {
      write(this.under, ""); // the next frame asks again
    } finally {
      this.asksValue = false;
    }
  }

  wheel(event) {
    if (!this.frame?.values) return;
    event.preventDefault();
    const [x, y, w, h] = this.frame.region;
    const [rows, columns] = this.frame.plane;
    const by = event.deltaY < 0 ? 0.7 : 1 / 0.7;
    const [px, py] = this.pixel(event);
    const wide = Math.min(columns, Math.max(8, Math.round(w * by)));
    const high = Math.min(rows, Math.max(Math.min(8, rows), Math.round(h * by)));
    const place = (at, from, size, now, most) => Math.max(0, Math.min(most - now, Math.round(at - ((at - from) / size) * now)));
    this.zoom({ x: place(px, x, w, wide, columns), y: place(py, y, h, high, rows), w: wide, h: high });
  }
}
