/**
 * Keeps the pages' vectors and compares queries with them, away from the page's own thread. Spoken to by maxsim_pages.js.
 *
 * Messages in: {kind: "add" | "remove" | "search" | "maps", ...}, see the functions of these names.
 * Out: {kind: "scores", search, scores: [[id, score], ...], milliseconds or null} and {kind: "maps", ask, maps}.
 */

import { maxSim, similarityMaps } from "./maxsim.js";
import { matrix } from "./wire.js";

const SLICE_MS = 40;
/** Between slices a newer search gets its turn, and scores so far are shown. */

/** A model's name -> the page's id -> its matrix. */
const pages = new Map();
/** The last search: {search: number, model, query}. */
let current = null;

/** `embedding` is one of the answer of /embed/images. */
function add({ model, id, embedding: { embedding, image_patch_start: start, n_patches_x: width, n_patches_y: height } }) {
  if (!pages.has(model)) pages.set(model, new Map());
  const page = { ...matrix(embedding), start, width, height };
  pages.get(model).set(id, page);
  if (current?.model === model) postScores(current, [[id, maxSim(current.query, page)]]);
}

function remove({ id }) {
  for (const some of pages.values()) some.delete(id);
}

/** `query` is one of the answer of /embed/queries, or null: no more scores are wanted. */
async function search({ search: number, model, query }) {
  current = query && { search: number, model, query: matrix(query) };
  const mine = current;
  if (!mine) return;
  let scores = [];
  let milliseconds = 0;
  let since = performance.now();
  for (const [id, page] of pages.get(model) ?? []) {
    scores.push([id, maxSim(mine.query, page)]);
    if (performance.now() - since < SLICE_MS) continue;
    milliseconds += performance.now() - since;
    postScores(mine, scores);
    scores = [];
    await new Promise((resolve) => { setTimeout(resolve); });
    if (current !== mine) return;
    since = performance.now();
  }
  postScores(mine, scores, milliseconds + performance.now() - since);
}

/** A map for each row of the query, or null if the page is not here. */
function maps({ ask, model, id, query }) {
  const page = pages.get(model)?.get(id);
  postMessage({ kind: "maps", ask, maps: page ? similarityMaps(matrix(query), page) : null });
}

function postScores({ search: number }, scores, milliseconds = null) {
  postMessage({ kind: "scores", search: number, scores, milliseconds });
}

const kinds = { add, remove, search, maps };
addEventListener("message", ({ data }) => kinds[data.kind](data));
