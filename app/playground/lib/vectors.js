/** Rows of vectors: {n, dim, values: Float32Array row by row}. */

import { matrix } from "./wire.js";

/** Of an answer with `encoding_format` base64: a matrix, or a single vector as one row. */
export function decoded(vectors) {
  const { values, rows, dim } = matrix({ ...vectors, shape: vectors.shape.length > 1 ? vectors.shape : [1, ...vectors.shape] });
  return { n: rows, dim, values };
}

/** The same rows at unit length, so that a dot product is a cosine; a row of zeros stays. */
export function atUnitLength({ n, dim, values }) {
  const unit = new Float32Array(values.length);
  for (let row = 0; row < n; row += 1) {
    const length = Math.sqrt(dot(values, row, values, row, dim)) || 1;
    for (let at = row * dim; at < (row + 1) * dim; at += 1) unit[at] = values[at] / length;
  }
  return { n, dim, values: unit };
}

/** Several sets of rows of one length, one below the other. */
export function stacked(sets) {
  const values = new Float32Array(sets.reduce((sum, set) => sum + set.values.length, 0));
  let at = 0;
  for (const set of sets) {
    values.set(set.values, at);
    at += set.values.length;
  }
  return { n: sets.reduce((sum, set) => sum + set.n, 0), dim: sets[0].dim, values };
}

/** The rows with these indices. */
export function taken({ dim, values }, indices) {
  const chosen = new Float32Array(indices.length * dim);
  indices.forEach((row, place) => chosen.set(values.subarray(row * dim, (row + 1) * dim), place * dim));
  return { n: indices.length, dim, values: chosen };
}

/** The dot products of a row of `one` with each row of `others`: their cosines if all are at unit length. */
export function products(one, row, others) {
  return Float32Array.from({ length: others.n }, (_, other) => dot(one.values, row, others.values, other, one.dim));
}

function dot(left, leftRow, right, rightRow, dim) {
  const [leftStart, rightStart] = [leftRow * dim, rightRow * dim];
  let sum = 0;
  for (let at = 0; at < dim; at += 1) sum += left[leftStart + at] * right[rightStart + at];
  return sum;
}
