/**
 * Similarity maps over pictures. A map is {width, height, values: Float32Array row by row}, and may have:
 * `colors` {low, high}: what the first and the last colour stand for, so that several maps can have the same;
 * `covers`: true if low values hide the picture too, under the first colour;
 * `rgba`: Uint8ClampedArray, four bytes a patch: its own colours, instead of those for the values;
 * `marks` [{x, y, label}]: patches to be marked; `describe(index)`: text for a patch instead of its value.
 */

import { viridis } from "./colors.js";

const FINER = 8;
/** Values between patches are interpolated at so many places a patch. */

/** Lowest and highest value. */
export function range({ values }) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return { low, high };
}

/** What the colours of a map stand for: most patches match nothing, so they begin at the median. */
function colorRange(map) {
  const sorted = Float32Array.from(map.values).sort();
  return { low: sorted[Math.floor(sorted.length / 2)], high: sorted[sorted.length - 1] };
}

/** What the colours of this map stand for; null if for no number. */
export const colorsOf = (map) => (map.rgba ? null : map.colors ?? colorRange(map));

/** The sum of several maps of one size. */
export function sum(maps) {
  const [{ width, height }] = maps;
  const values = new Float32Array(width * height);
  for (const map of maps) map.values.forEach((value, index) => { values[index] += value; });
  return { width, height, values };
}

/** The `n` highest patches, highest first: [{x, y, value}]. */
export function hotspots(map, n = 5) {
  return [...map.values.keys()]
    .sort((one, other) => map.values[other] - map.values[one] || one - other)
    .slice(0, n)
    .map((index) => ({ x: index % map.width, y: Math.floor(index / map.width), value: map.values[index] }));
}

/**
 * Draw a map over all of a canvas, transparent where it is low, `opacity` where it is highest.
 * `smooth` false shows the patches as they are.
 */
export function drawMap(context, map, { opacity = 0.7, smooth = true } = {}) {
  const image = map.rgba ? new ImageData(faded(map.rgba, opacity), map.width) : mapImage(map, opacity, smooth);
  const small = new OffscreenCanvas(image.width, image.height);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, context.canvas.width, context.canvas.height);
}

const faded = (rgba, opacity) => rgba.map((value, index) => (index % 4 === 3 ? value * opacity : value));

function mapImage(map, opacity, smooth) {
  const { low, high } = colorsOf(map);
  const finer = smooth ? FINER : 1;
  const [width, height] = [map.width * finer, map.height * finer];
  const image = new ImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const value = smooth ? between(map, (x + 0.5) / finer - 0.5, (y + 0.5) / finer - 0.5) : map.values[y * width + x];
      const share = high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) : 0;
      image.data.set([...viridis(share), 255 * opacity * (map.covers ? 1 : share)], 4 * (y * width + x));
    }
  }
  return image;
}

/** Lines between the patches. */
export function drawGrid(context, { width, height }, color = "rgb(127 127 127 / 0.55)") {
  const { canvas } = context;
  context.strokeStyle = color;
  context.lineWidth = Math.max(1, canvas.width / 1200);
  context.beginPath();
  for (let x = 1; x < width; x += 1) {
    context.moveTo((x * canvas.width) / width, 0);
    context.lineTo((x * canvas.width) / width, canvas.height);
  }
  for (let y = 1; y < height; y += 1) {
    context.moveTo(0, (y * canvas.height) / height);
    context.lineTo(canvas.width, (y * canvas.height) / height);
  }
  context.stroke();
}

/** The value at a place between the middles of patches. */
function between({ width, height, values }, x, y) {
  const column = Math.min(Math.max(x, 0), width - 1);
  const row = Math.min(Math.max(y, 0), height - 1);
  const left = Math.min(Math.floor(column), Math.max(width - 2, 0));
  const top = Math.min(Math.floor(row), Math.max(height - 2, 0));
  const right = Math.min(left + 1, width - 1);
  const bottom = Math.min(top + 1, height - 1);
  const [across, down] = [column - left, row - top];
  const at = (atX, atY) => values[atY * width + atX];
  return (at(left, top) * (1 - across) + at(right, top) * across) * (1 - down)
    + (at(left, bottom) * (1 - across) + at(right, bottom) * across) * down;
}
