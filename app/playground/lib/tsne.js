/** t-SNE, exact: a picture in which neighbours stay neighbours (van der Maaten and Hinton, JMLR 9, 2008). */

const ROUNDS = 750;
const EXAGGERATED_ROUNDS = 250;
const EXAGGERATION = 12;
const MAX_PERPLEXITY = 30;

/**
 * Two coordinates a row for rows of vectors.js. It begins with `start`, two coordinates a row as well: with principal
 * components there is nothing random in it (Kobak and Berens, 2019). `onProgress` is told the share that is done.
 */
export function tsne(rows, start, onProgress = () => {}) {
  const { n } = rows;
  const wanted = affinities(squaredDistances(rows), n, Math.min(MAX_PERPLEXITY, (n - 1) / 3));
  const points = small(start);
  const velocity = new Float64Array(2 * n);
  const gains = new Float64Array(2 * n).fill(1);
  const rate = Math.max(n / EXAGGERATION / 4, 50);
  for (let round = 0; round < ROUNDS; round += 1) {
    const early = round < EXAGGERATED_ROUNDS;
    const gradient = gradientOf(wanted, points, n, early ? EXAGGERATION : 1);
    for (let at = 0; at < 2 * n; at += 1) {
      gains[at] = Math.max(0.01, gradient[at] > 0 === velocity[at] > 0 ? gains[at] * 0.8 : gains[at] + 0.2);
      velocity[at] = (early ? 0.5 : 0.8) * velocity[at] - rate * gains[at] * gradient[at];
      points[at] += velocity[at];
    }
    if (round % 50 === 0) onProgress(round / ROUNDS);
  }
  return points;
}

function squaredDistances({ n, dim, values }) {
  const distances = new Float64Array(n * n);
  for (let one = 0; one < n; one += 1) {
    for (let other = 0; other < one; other += 1) {
      let sum = 0;
      for (let at = 0; at < dim; at += 1) sum += (values[one * dim + at] - values[other * dim + at]) ** 2;
      distances[one * n + other] = sum;
      distances[other * n + one] = sum;
    }
  }
  return distances;
}

/** How near each pair is to be: symmetric, in all 1. */
function affinities(distances, n, perplexity) {
  const near = new Float64Array(n * n);
  for (let row = 0; row < n; row += 1) {
    near.set(neighbourhood(distances.subarray(row * n, (row + 1) * n), row, Math.log(Math.max(perplexity, 1.01))), row * n);
  }
  return near.map((value, at) => (value + near[(at % n) * n + Math.floor(at / n)]) / (2 * n));
}

/** Shares of a row's neighbours, in a Gaussian whose width gives them that entropy. */
function neighbourhood(distances, own, entropy) {
  let [low, high, precision] = [0, Infinity, 1];
  let shares = distances;
  for (let step = 0; step < 60; step += 1) {
    // The nearest one counts as at distance 0, else all could vanish.
    const nearest = distances.reduce((least, value, at) => (at === own ? least : Math.min(least, value)), Infinity);
    shares = distances.map((value, at) => (at === own ? 0 : Math.exp(-precision * (value - nearest))));
    const sum = shares.reduce((total, value) => total + value, 0) || 1;
    shares = shares.map((value) => value / sum);
    const found = shares.reduce((total, value) => (value > 0 ? total - value * Math.log(value) : total), 0);
    if (Math.abs(found - entropy) < 1e-5) break;
    if (found > entropy) low = precision;
    else high = precision;
    precision = high === Infinity ? precision * 2 : (low + high) / 2;
  }
  return shares;
}

function gradientOf(wanted, points, n, exaggeration) {
  const kernel = new Float64Array(n * n);
  let total = 0;
  for (let one = 0; one < n; one += 1) {
    for (let other = 0; other < one; other += 1) {
      const value = 1 / (1 + (points[2 * one] - points[2 * other]) ** 2 + (points[2 * one + 1] - points[2 * other + 1]) ** 2);
      kernel[one * n + other] = value;
      total += 2 * value;
    }
  }
  const gradient = new Float64Array(2 * n);
  for (let one = 0; one < n; one += 1) {
    for (let other = 0; other < one; other += 1) {
      const value = kernel[one * n + other];
      const pull = 4 * (exaggeration * wanted[one * n + other] - value / total) * value;
      for (const axis of [0, 1]) {
        const force = pull * (points[2 * one + axis] - points[2 * other + axis]);
        gradient[2 * one + axis] += force;
        gradient[2 * other + axis] -= force;
      }
    }
  }
  return gradient;
}

/** The same picture around 0, so small that the first rounds can still order it. */
function small(start) {
  const spread = Math.sqrt(start.reduce((sum, value) => sum + value ** 2, 0) / start.length) || 1;
  return Float64Array.from(start, (value) => (1e-4 * value) / spread);
}
