// What is in the marked region of an image: its sum, also over time, and means along its sides.

import { drawn, element, write } from "./elements.js";

const SUMS = 200;
const SIZE = { width: 240, height: 60 };

export class MarkedRegion {
  constructor(section) {
    this.section = section;
    this.words = element("p");
    this.curves = element("div", "curves");
    section.append(this.words, this.curves);
    this.forget();
  }

  /** Begin anew: with another region, or another stage. */
  forget() {
    this.sums = new Map();
  }

  /** Show what a frame has there. */
  show({ number, marked }) {
    this.section.hidden = !marked;
    if (!marked) return;
    const { region, sum, mean, min, max, masked, across, down } = marked;
    const [x, y, w, h] = region;
    write(this.words, `frame ${number}, x ${x} to ${x + w - 1}, y ${y} to ${y + h - 1}: sum ${sum}, mean ${mean?.toPrecision(6)}, min ${min}, max ${max}, ${masked} masked or saturated`);
    this.sums.set(number, sum);
    if (this.sums.size > SUMS) this.sums.delete(this.sums.keys().next().value);
    const last = [...this.sums.keys()].sort((one, other) => one - other).map((each) => this.sums.get(each));
    this.curves.replaceChildren(
      curve("mean along x", across),
      curve("mean along y", down),
      curve(`sum in the last ${last.length} frames shown`, last),
    );
  }
}

/** Return a small curve of values, where null is a gap, with its bounds in words. */
function curve(title, values) {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const words = known.length ? `${title}: ${short(low)} to ${short(high)}` : `${title}: no values`;
  const at = (value, index) => {
    const down = (value - low) / (high - low || 1);
    return `${((index + 0.5) / values.length) * SIZE.width},${(1 - down) * (SIZE.height - 2) + 1}`;
  };
  const points = values.flatMap((value, index) => (value === null ? [] : [at(value, index)]));
  const svg = drawn("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": words });
  svg.append(drawn("polyline", { points: points.join(" ") }));
  return element("figure", "", svg, element("figcaption", "", words));
}

function short(value) {
  return Number(value.toPrecision(6));
}
