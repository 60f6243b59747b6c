/** Principal components, exact. */

import { leadingEigenpairs } from "./eigen.js";

/**
 * The first `k` principal components of rows of vectors.js: {k, coordinates: Float64Array, k numbers a row; shares: of the
 * variance}. The largest number of a component's direction is above zero, so that the same rows give the same picture.
 */
export function principalComponents({ n, dim, values }, k) {
  if (n === 0) return { k, coordinates: new Float64Array(0), shares: Array(k).fill(0) };
  const rows = centred(n, dim, values);
  const directions = dim <= n ? ofCovariance(rows, n, dim, k) : ofGram(rows, n, dim, k);
  const coordinates = new Float64Array(n * k);
  directions.forEach((direction, component) => {
    for (let row = 0; row < n; row += 1) {
      let sum = 0;
      for (let at = 0; at < dim; at += 1) sum += rows[row * dim + at] * direction[at];
      coordinates[row * k + component] = sum;
    }
  });
  const variance = sumOfSquares(rows);
  const shares = Array.from({ length: k }, (_, component) => {
    const held = coordinates.reduce((sum, value, at) => (at % k === component ? sum + value ** 2 : sum), 0);
    return variance > 0 ? held / variance : 0;
  });
  return { k, coordinates, shares };
}

/** Eigenvectors of X'X, dim x dim. */
function ofCovariance(rows, n, dim, k) {
  const matrix = new Float64Array(dim * dim);
  for (let start = 0; start < n * dim; start += dim) {
    for (let one = 0; one < dim; one += 1) {
      const value = rows[start + one];
      for (let other = 0; other <= one; other += 1) matrix[one * dim + other] += value * rows[start + other];
    }
  }
  mirror(matrix, dim);
  return leadingEigenpairs(matrix, dim, k).map(({ vector }) => signed(vector));
}

/** The same from XX', n x n, which is smaller when there are fewer rows than dimensions: if XX'u = lu, then X'XX'u = lX'u. */
function ofGram(rows, n, dim, k) {
  const matrix = new Float64Array(n * n);
  for (let one = 0; one < n; one += 1) {
    for (let other = 0; other <= one; other += 1) {
      let sum = 0;
      for (let at = 0; at < dim; at += 1) sum += rows[one * dim + at] * rows[other * dim + at];
      matrix[one * n + other] = sum;
    }
  }
  mirror(matrix, n);
  const pairs = leadingEigenpairs(matrix, n, k);
  return pairs.map(({ value, vector }) => {
    const direction = new Float64Array(dim);
    // Below this it is rounding: rows that lie on a line have one direction.
    if (value <= 1e-12 * pairs[0].value) return direction;
    vector.forEach((weight, row) => {
      for (let at = 0; at < dim; at += 1) direction[at] += weight * rows[row * dim + at];
    });
    const length = Math.sqrt(sumOfSquares(direction)) || 1;
    return signed(direction.map((number) => number / length));
  });
}

function centred(n, dim, values) {
  const mean = new Float64Array(dim);
  values.forEach((value, at) => { mean[at % dim] += value / n; });
  return Float64Array.from(values, (value, at) => value - mean[at % dim]);
}

function mirror(matrix, size) {
  for (let one = 0; one < size; one += 1) {
    for (let other = 0; other < one; other += 1) matrix[other * size + one] = matrix[one * size + other];
  }
}

function signed(direction) {
  const largest = direction.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
  return largest < 0 ? direction.map((value) => -value) : direction;
}

const sumOfSquares = (numbers) => numbers.reduce((sum, value) => sum + value ** 2, 0);
