/** A worker: takes {task, input}, sends {progress} while it works and {result} or {error} at the end. */

import { principalComponents } from "./pca.js";
import { tsne } from "./tsne.js";

const TASKS = {
  pca: ({ rows, k }) => principalComponents(rows, k),
  tsne: ({ rows }, onProgress) => ({ coordinates: tsne(rows, principalComponents(rows, 2).coordinates, onProgress) }),
};

addEventListener("message", ({ data: { task, input } }) => {
  try {
    postMessage({ result: TASKS[task](input, (progress) => postMessage({ progress })) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
});
