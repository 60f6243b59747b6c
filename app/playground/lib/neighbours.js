/** Who is near whom, in the full space and in a picture of it. */

import { products } from "./vectors.js";

/** For each row the `k` others with the highest cosines: [{row, cosine}], highest first. The rows are at unit length. */
export function nearestRows(rows, k) {
  return Array.from({ length: rows.n }, (_, row) => {
    const cosines = products(rows, row, rows);
    return highest(cosines, row, k).map((other) => ({ row: other, cosine: cosines[other] }));
  });
}

/** Share of these neighbours that are as many nearest ones in the picture too, where a row has two coordinates. */
export function keptShare(neighbours, coordinates) {
  let kept = 0;
  neighbours.forEach((near, row) => {
    const [x, y] = [coordinates[2 * row], coordinates[2 * row + 1]];
    const nearness = neighbours.map((_, other) => -Math.hypot(x - coordinates[2 * other], y - coordinates[2 * other + 1]));
    const seen = highest(nearness, row, near.length);
    kept += near.filter((each) => seen.includes(each.row)).length / near.length;
  });
  return kept / neighbours.length;
}

/** Indices of the `k` highest values without the one at `own`, highest first. */
function highest(values, own, k) {
  const best = [];
  values.forEach((value, index) => {
    if (index === own || (best.length === k && value <= values[best.at(-1)])) return;
    const place = best.findIndex((other) => values[other] < value);
    best.splice(place < 0 ? best.length : place, 0, index);
    best.length = Math.min(best.length, k);
  });
  return best;
}
