// Draws a frame, and knows which pixel of the array is where on the screen.

import { paint, scaleOf, valuesOf } from "./colours.js";

const CURVE_HIGH = 300;

export class FrameCanvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.frame = null;
  }

  /** Draw a frame in colours between two bounds, and the marked region over it. */
  draw(frame, bounds, { logarithmic, map, mark }) {
    this.frame = frame;
    if (frame.high === 1) this.drawCurve(frame, scaleOf(bounds, logarithmic));
    else this.drawImage(frame, bounds, logarithmic, map);
    if (mark) this.drawMark(mark);
  }

  drawImage({ cells, wide, high }, bounds, logarithmic, map) {
    const context = this.size(wide, high);
    const image = context.createImageData(wide, high);
    paint(new Uint32Array(image.data.buffer), cells, bounds, logarithmic, map);
    context.putImageData(image, 0, 0);
  }

  drawCurve({ cells, wide }, scale) {
    const context = this.size(wide, CURVE_HIGH);
    context.clearRect(0, 0, wide, CURVE_HIGH);
    context.strokeStyle = getComputedStyle(this.canvas).color;
    context.beginPath();
    valuesOf(cells).forEach((value, x) => value === value && context.lineTo(x, (CURVE_HIGH - 2) * (1 - scale(value)) + 1));
    context.stroke();
  }

  drawMark({ x, y, w, h }) {
    const { width, height } = this.canvas;
    const [left, top] = this.place(x, y);
    const [right, bottom] = this.place(x + w, y + h);
    const context = this.canvas.getContext("2d");
    for (const [colour, wide] of [["black", 3], ["white", 1]]) {
      [context.strokeStyle, context.lineWidth] = [colour, wide];
      context.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
    }
  }

  size(wide, high) {
    if (this.canvas.width !== wide || this.canvas.height !== high) Object.assign(this.canvas, { width: wide, height: high });
    return this.canvas.getContext("2d");
  }

  /** Return where a place of the array is: parts of the width and height of what is shown. */
  place(column, row) {
    const [x, y, w, h] = this.frame.region;
    let [across, down] = [(column - x) / w, (row - y) / h];
    for (let turn = 0; turn < this.frame.turn; turn += 1) [across, down] = [1 - down, across];
    return [this.frame.flip ? 1 - across : across, down];
  }

  /** Return the place of the array, in pixels, that is at a point of the screen; the inverse of `place`. */
  at({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    let [across, down] = [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
    if (this.frame.flip) across = 1 - across;
    for (let turn = 0; turn < this.frame.turn; turn += 1) [across, down] = [down, 1 - across];
    const [x, y, w, h] = this.frame.region;
    return [x + across * w, y + down * h];
  }

  /** Return the pixel at a point of the screen. */
  pixel(point) {
    const [x, y, w, h] = this.frame.region;
    const [column, row] = this.at(point).map(Math.floor);
    return [within(column, x, x + w - 1), within(row, y, y + h - 1)];
  }
}

/** Return the nearest number in a range. */
export function within(value, least, most) {
  return Math.max(least, Math.min(most, value));
}
