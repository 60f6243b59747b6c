/** Pages' vectors and the queries over them, kept and compared in a worker, so that typing and scrolling never wait. */

/**
 * `onScores([[id, score], ...], milliseconds)` is called again and again for the last search, also when a page is added
 * after it; `milliseconds`, what comparing took, is null until all pages of the time of the search are compared.
 */
export function maxsimPages(onScores) {
  const worker = new Worker(new URL("./maxsim_worker.js", import.meta.url), { type: "module" });
  const waiting = new Map();
  let last = 0;
  let asked = 0;

  worker.addEventListener("message", ({ data }) => {
    if (data.kind === "scores") {
      if (data.search === last) onScores(data.scores, data.milliseconds);
      return;
    }
    waiting.get(data.ask)(data.maps);
    waiting.delete(data.ask);
  });

  return {
    /** `embedding` is the page's one of the answer of /embed/images with encoding_format=base64. */
    add: (model, id, embedding) => worker.postMessage({ kind: "add", model, id, embedding }),
    remove: (id) => worker.postMessage({ kind: "remove", id }),
    /** `query` is one of the answer of /embed/queries with encoding_format=base64, or null to search no more. */
    search(model, query) {
      last += 1;
      worker.postMessage({ kind: "search", search: last, model, query });
    },
    /** A map of heatmap.js for each row of the query, or null while the page is not added for this model. */
    maps(model, id, query) {
      asked += 1;
      worker.postMessage({ kind: "maps", ask: asked, model, id, query });
      return new Promise((resolve) => { waiting.set(asked, resolve); });
    },
  };
}
