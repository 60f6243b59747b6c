/** Says what is going on, and what went wrong, where it happens. */

import { ApiError } from "./api.js";
import { element } from "./dom.js";

/**
 * `node` belongs beside what it tells about. `run(text, work)` shows `text` while `work(signal)` goes on and its error
 * if it fails; a new run aborts the one before. Returns what `work` returned, or undefined when it failed or was aborted.
 */
export function status() {
  const busy = element("p", { role: "status", class: "busy" });
  const error = element("p", { role: "alert", class: "error", hidden: true });
  const node = element("div", { class: "status" }, busy, error);
  let current = null;

  const show = (message) => {
    error.textContent = message;
    error.hidden = !message;
  };
  const abort = () => {
    current?.abort();
    current = null;
    busy.textContent = "";
  };

  async function run(text, work) {
    abort();
    const mine = new AbortController();
    current = mine;
    busy.textContent = text;
    show("");
    try {
      return await work(mine.signal);
    } catch (problem) {
      if (problem.name === "AbortError" || mine !== current) return undefined;
      show(problem.message);
      if (!(problem instanceof ApiError) && !(problem instanceof UserError)) console.error(problem);
      return undefined;
    } finally {
      if (mine === current) {
        current = null;
        busy.textContent = "";
      }
    }
  }
  return { node, run, abort, show, say: (text) => { busy.textContent = text; } };
}

/** Something the user can mend; its message says how. */
export class UserError extends Error {}
