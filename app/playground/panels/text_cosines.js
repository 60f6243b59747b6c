/** Cosines of vectors that came as lists of numbers. */

import { atUnitLength, products } from "../lib/vectors.js";

/** For each of the vectors `ones` its cosine with each of `others`. */
export function cosines(ones, others) {
  const [left, right] = [rows(ones), rows(others)];
  return ones.map((_, row) => [...products(left, row, right)]);
}

const rows = (lists) => atUnitLength({ n: lists.length, dim: lists[0].length, values: Float32Array.from(lists.flat()) });
