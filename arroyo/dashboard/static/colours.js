// Colour maps, and the scale between values and colours.

const ANCHORS = {
  viridis: ["440154", "482878", "3e4a89", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"],
  inferno: ["000004", "1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4"],
  grey: ["000000", "ffffff"],
};
const MASKED = 0xffb400e6; // no colour of any map; ABGR
const SAMPLES = 8192;
const LEFT_OUT = 0.002;

const COUNTS = Float32Array.from({ length: 1 << 16 }, (_, cell) => cell ? cell - 1 : NaN);

export const MAPS = Object.keys(ANCHORS);

/** Return 256 colours as ABGR. */
function tableOf(name) {
  const anchors = ANCHORS[name].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, index) => {
    const place = (index / 255) * (anchors.length - 1);
    const at = Math.min(Math.floor(place), anchors.length - 2);
    const [r, g, b] = anchors[at].map((from, part) => Math.round(from + (place - at) * (anchors[at + 1][part] - from)));
    return 0xff000000 | (b << 16) | (g << 8) | r;
  });
}

/** Return the values of cells, NaN where there is none: of numbers that are sent as counts and 1, or as they are. */
export function valuesOf(cells) {
  return cells instanceof Uint16Array ? Float32Array.from(cells, (cell) => COUNTS[cell]) : cells;
}

/** Return all but the least and greatest few values' bounds, which gaps and hot pixels have no part in. */
export function boundsOf(cells) {
  const step = Math.max(1, Math.floor(cells.length / SAMPLES));
  const some = new cells.constructor(Math.floor(cells.length / step));
  for (let at = 0; at < some.length; at += 1) some[at] = cells[at * step];
  const found = valuesOf(some).filter((value) => value === value).sort();
  if (!found.length) return [0, 1];
  const out = Math.floor(found.length * LEFT_OUT);
  return [found[out], found[found.length - 1 - out]];
}

/** Return a function from a value to 0 … 1. */
export function scaleOf([low, high], logarithmic) {
  const bend = logarithmic ? (value) => Math.log10(Math.max(value - Math.min(low, 0), 0) + 1) : (value) => value;
  const from = bend(low);
  const over = bend(high) - from || 1;
  return (value) => Math.min(1, Math.max(0, (bend(value) - from) / over));
}

/** Colour cells; those without a value as masked. */
export function paint(pixels, cells, bounds, logarithmic, map) {
  if (cells instanceof Uint16Array) {
    const colours = new Uint32Array(COUNTS.length); // of all there may be: fewer than an image has
    paint(colours, COUNTS, bounds, logarithmic, map);
    for (let at = 0; at < cells.length; at += 1) pixels[at] = colours[cells[at]];
    return;
  }
  const table = tableOf(map);
  const scale = scaleOf(bounds, logarithmic);
  for (let at = 0; at < cells.length; at += 1) {
    const value = cells[at];
    pixels[at] = value === value ? table[(255 * scale(value)) | 0] : MASKED;
  }
}
