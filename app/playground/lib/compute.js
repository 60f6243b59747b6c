/** Long computations, beside the page, which stays alive meanwhile. */

/** What a task of compute_worker.js makes of its input; an aborted one stops at once. */
export async function compute(task, input, { signal, onProgress = () => {} } = {}) {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./compute_worker.js", import.meta.url), { type: "module" });
    const end = (settle, value) => {
      worker.terminate();
      settle(value);
    };
    worker.addEventListener("message", ({ data }) => {
      if ("progress" in data) onProgress(data.progress);
      else if ("error" in data) end(reject, new Error(data.error));
      else end(resolve, data.result);
    });
    worker.addEventListener("error", (event) => end(reject, new Error(event.message)));
    signal?.addEventListener("abort", () => end(reject, signal.reason));
    worker.postMessage({ task, input });
  });
}
