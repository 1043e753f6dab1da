// Colour maps, and the scale between values and colours.

const ANCHORS = {
  viridis: ["440154", "482878", "3e4a89", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"],
  inferno: ["000004", "1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4"],
  grey: ["000000", "ffffff"],
};
const MASKED = 0xffb400e6; // no colour of any map; ABGR
const SAMPLES = 8192;
const LEFT_OUT = 0.002;

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

/** Return all but the least and greatest few values' bounds, which gaps and hot pixels have no part in. */
export function boundsOf(values) {
  const step = Math.max(1, Math.floor(values.length / SAMPLES));
  const found = [];
  for (let at = 0; at < values.length; at += step) if (!Number.isNaN(values[at])) found.push(values[at]);
  if (!found.length) return [0, 1];
  const sorted = Float64Array.from(found).sort();
  const out = Math.floor(sorted.length * LEFT_OUT);
  return [sorted[out], sorted[sorted.length - 1 - out]];
}

/** Return a function from a value to 0 … 1. */
export function scaleOf([low, high], logarithmic) {
  const bend = logarithmic ? (value) => Math.log10(Math.max(value - Math.min(low, 0), 0) + 1) : (value) => value;
  const from = bend(low);
  const over = bend(high) - from || 1;
  return (value) => Math.min(1, Math.max(0, (bend(value) - from) / over));
}

/** Colour values; those that are no number as masked. */
export function paint(pixels, values, bounds, logarithmic, map) {
  const table = tableOf(map);
  const scale = scaleOf(bounds, logarithmic);
  const [low, high] = bounds;
  const times = 255 / (high - low || 1);
  for (let at = 0; at < values.length; at += 1) {
    const value = values[at];
    if (value !== value) pixels[at] = MASKED;
    else if (logarithmic) pixels[at] = table[(255 * scale(value)) | 0];
    else pixels[at] = table[value <= low ? 0 : value >= high ? 255 : (times * (value - low)) | 0];
  }
}
