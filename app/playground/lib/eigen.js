/** The largest eigenvalues of a symmetric matrix that has none below zero, with their vectors. */

const EXTRA = 4;
/** So many more vectors than asked for are followed, for values that are equal or nearly so. */
const DEPTH = 8;
/** Powers of the matrix in the subspace of one round. */
const MAX_ROUNDS = 200;
const TOLERANCE = 1e-9;
/** Of the largest value: how far a vector may be from an eigenvector. */

/**
 * Block Krylov iteration (Musco and Musco, arXiv:1504.05477) with restarts, always from the same start. `matrix` holds
 * size x size numbers; returns [{value, vector: Float64Array(size)}], largest first; min(n, size) of them.
 */
export function leadingEigenpairs(matrix, size, n) {
  let block = startingBlock(size, Math.min(size, n + EXTRA));
  for (let round = 1; ; round += 1) {
    const basis = krylov(matrix, block, size);
    const images = basis.map((vector) => times(matrix, vector));
    const { values, vectors } = jacobi(basis.map((vector) => images.map((image) => dot(vector, image))));
    const pairs = vectors.slice(0, block.length).map((weights, at) => ({ value: values[at], vector: combined(basis, weights) }));
    const wanted = pairs.slice(0, n);
    const far = Math.max(...wanted.map(({ value, vector }, at) => distance(combined(images, vectors[at]), vector, value)));
    if (far <= TOLERANCE * values[0] || round === MAX_ROUNDS) return wanted;
    block = pairs.map(({ vector }) => vector);
  }
}

/** An orthonormal basis of what the first powers of the matrix make of a block of vectors. */
function krylov(matrix, block, size) {
  const basis = [];
  let last = block;
  for (let power = 0; power < DEPTH && basis.length < size; power += 1) {
    last = last.map((vector) => addedTo(basis, power ? times(matrix, vector) : vector)).filter(Boolean);
  }
  return basis;
}

/** The part of a vector that is new to an orthonormal basis, at unit length, which joins it; null if there is none. */
function addedTo(basis, vector) {
  const before = Math.sqrt(dot(vector, vector));
  const rest = Float64Array.from(vector);
  // Gram and Schmidt, twice against rounding.
  for (let time = 0; time < 2; time += 1) for (const other of basis) add(rest, other, -dot(rest, other));
  const length = Math.sqrt(dot(rest, rest));
  if (length <= 1e-12 * before) return null;
  const unit = rest.map((value) => value / length);
  basis.push(unit);
  return unit;
}

/** All eigenvalues of a small symmetric matrix (rows as arrays), largest first: Jacobi's rotations, a sweep at a time. */
function jacobi(rows) {
  const size = rows.length;
  const matrix = rows.map((row) => Float64Array.from(row));
  const vectors = matrix.map((_, at) => Float64Array.from({ length: size }, (_unused, place) => Number(place === at)));
  const total = rows.reduce((sum, row) => sum + dot(row, row), 0);
  while (offDiagonal(matrix) > 1e-28 * total) {
    for (let p = 0; p < size; p += 1) for (let q = p + 1; q < size; q += 1) rotate(matrix, vectors, p, q);
  }
  const order = [...vectors.keys()].sort((one, other) => matrix[other][other] - matrix[one][one] || one - other);
  return { values: order.map((at) => matrix[at][at]), vectors: order.map((at) => vectors[at]) };
}

/** Turn axes p and q so that the matrix has a zero there. The eigenvectors so far are rows. */
function rotate(matrix, vectors, p, q) {
  if (matrix[p][q] === 0) return;
  const angle = 0.5 * Math.atan2(2 * matrix[p][q], matrix[q][q] - matrix[p][p]);
  const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
  for (const row of matrix) {
    const [one, other] = [row[p], row[q]];
    row[p] = cosine * one - sine * other;
    row[q] = sine * one + cosine * other;
  }
  for (const rows of [matrix, vectors]) {
    const [upper, lower] = [rows[p], rows[q]];
    for (let at = 0; at < upper.length; at += 1) {
      const [one, other] = [upper[at], lower[at]];
      upper[at] = cosine * one - sine * other;
      lower[at] = sine * one + cosine * other;
    }
  }
  // Else rounding would leave something that no sweep removes.
  matrix[p][q] = 0;
  matrix[q][p] = 0;
}

/** Sum of the squares above the diagonal. */
const offDiagonal = (matrix) => matrix.reduce((sum, row, at) => sum + dot(row.subarray(at + 1), row.subarray(at + 1)), 0);

/** Made-up numbers, the same each time. */
function startingBlock(size, n) {
  let state = 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  };
  return Array.from({ length: n }, () => Float64Array.from({ length: size }, next));
}

function times(matrix, vector) {
  const size = vector.length;
  const product = new Float64Array(size);
  for (let row = 0; row < size; row += 1) product[row] = dot(matrix.subarray(row * size, (row + 1) * size), vector);
  return product;
}

function combined(vectors, weights) {
  const sum = new Float64Array(vectors[0].length);
  vectors.forEach((vector, at) => add(sum, vector, weights[at]));
  return sum;
}

/** How far `image` is from `value` times `vector`. */
const distance = (image, vector, value) =>
  Math.sqrt(image.reduce((sum, number, at) => sum + (number - value * vector[at]) ** 2, 0));

function add(sum, vector, weight) {
  for (let at = 0; at < sum.length; at += 1) sum[at] += weight * vector[at];
}

function dot(left, right) {
  let sum = 0;
  for (let at = 0; at < left.length; at += 1) sum += left[at] * right[at];
  return sum;
}
