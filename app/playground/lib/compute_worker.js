/** A worker: takes {task, input}, sends {progress} while it works and {result} or {error} at the end. */

import { principalComponents } from "./pca.js";

const TASKS = {
  pca: ({ rows, k }) => principalComponents(rows, k),
};

addEventListener("message", ({ data: { task, input } }) => {
  try {
    postMessage({ result: TASKS[task](input, (progress) => postMessage({ progress })) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
});
