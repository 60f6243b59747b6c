/** Maps over pictures from the vectors of their patches. Pictures are answers of patchFeatures(). */

import { compute } from "./compute.js";
import { products, stacked, taken } from "./vectors.js";

/** A map of each picture: cosines with one patch, {picture, x, y}, which is marked, as is the nearest one in the others. */
export function cosineMaps(pictures, { picture, x, y }) {
  const from = pictures[picture];
  const chosen = y * from.width + x;
  const maps = pictures.map(({ width, height, patches }) => ({ width, height, values: products(from.patches, chosen, patches) }));
  maps.forEach((map, place) => {
    map.marks = place === picture ? [{ x, y, label: "\u25cf" }] : [{ ...nearest(map), label: "1" }];
  });
  const colors = sharedColors(maps, maps[picture], chosen);
  return maps.map((map) => ({ ...map, colors, covers: true }));
}

/** The patch with the highest value: {x, y, value}. */
export function nearest({ width, values }) {
  const value = Math.max(...values);
  const index = values.indexOf(value);
  return { x: index % width, y: Math.floor(index / width), value };
}

/** From the median to the highest, over all maps, without the chosen patch itself, which would outshine the others. */
function sharedColors(maps, own, chosen) {
  const others = maps.flatMap((map) => [...map.values].filter((_, index) => map !== own || index !== chosen));
  const values = others.sort((one, other) => one - other);
  return values.length ? { low: values[values.length >> 1], high: values.at(-1) } : { low: 0, high: 1 };
}

/**
 * The first three principal components of all patches together as red, green and blue: {maps, shares}. `keep` is 1 or
 * -1 for the patches alone whose first component has that sign, with components of their own; 0 for all.
 */
export async function componentMaps(pictures, keep, { signal } = {}) {
  const rows = stacked(pictures.map(({ patches }) => patches));
  let kept = [...Array(rows.n).keys()];
  let found = await compute("pca", { rows, k: 3 }, { signal });
  if (keep) {
    kept = kept.filter((row) => Math.sign(found.coordinates[3 * row]) === keep);
    found = await compute("pca", { rows: taken(rows, kept), k: 3 }, { signal });
  }
  const colors = asColors(found.coordinates);
  const places = new Map(kept.map((row, place) => [row, place]));
  let first = 0;
  const maps = pictures.map(({ width, height }) => {
    const own = first;
    first += width * height;
    return componentMap(width, height, (index) => places.get(own + index), found.coordinates, colors);
  });
  return { maps, shares: found.shares };
}

/** `placeOf(index)` is a patch's place among the coordinates; undefined if it has none. */
function componentMap(width, height, placeOf, coordinates, colors) {
  const rgba = new Uint8ClampedArray(4 * width * height);
  const values = new Float32Array(width * height);
  for (let index = 0; index < values.length; index += 1) {
    const place = placeOf(index);
    if (place === undefined) continue;
    values[index] = coordinates[3 * place];
    rgba.set([...colors.subarray(3 * place, 3 * place + 3), 255], 4 * index);
  }
  const describe = (index) => {
    const place = placeOf(index);
    return place === undefined
      ? "left out" : [...coordinates.subarray(3 * place, 3 * place + 3)].map((value) => value.toFixed(2)).join(", ");
  };
  return { width, height, values, rgba, describe };
}

/** Each component from its 2nd to its 98th percentile, so that single patches do not pale all others. */
function asColors(coordinates) {
  const colors = new Uint8ClampedArray(coordinates.length);
  for (const component of [0, 1, 2]) {
    const own = coordinates.filter((_, at) => at % 3 === component);
    const sorted = own.slice().sort();
    const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
    const [low, high] = [at(0.02), at(0.98)];
    own.forEach((value, row) => { colors[3 * row + component] = high > low ? (255 * (value - low)) / (high - low) : 128; });
  }
  return colors;
}
