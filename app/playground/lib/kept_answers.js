/** Answers about many items, in small requests: a bar can move, a run can be stopped, and nothing is asked twice. */

import { models } from "./models.js";

/**
 * `ask(items, context, signal)` asks the server about a few items and returns an answer for each, in their order.
 * `context` is the JSON of what else the answers depend on, such as the model.
 *
 * Returns `answers(items, context, {signal, onProgress})`: an answer for each item. `onProgress(done, all)` counts the
 * items that have to be asked about.
 */
export function keptAnswers(ask, { size = 32 } = {}) {
  const kept = new Map();
  // A model that is trained again keeps its name.
  models.addEventListener("change", () => kept.clear());

  return async function answers(items, context, { signal, onProgress = () => {} } = {}) {
    const key = (item) => JSON.stringify([context, item]);
    const found = new Map(items.map((item) => [item, kept.get(key(item))]));
    const missing = [...found.keys()].filter((item) => found.get(item) === undefined);
    for (let at = 0; at < missing.length; at += size) {
      onProgress(at, missing.length);
      const some = missing.slice(at, at + size);
      const fresh = await ask(some, context, signal);
      some.forEach((item, index) => {
        kept.set(key(item), fresh[index]);
        found.set(item, fresh[index]);
      });
    }
    return items.map((item) => found.get(item));
  };
}
