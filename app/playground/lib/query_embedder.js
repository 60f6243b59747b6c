/** Embeds queries, each once for a model. */

import { sendForJson } from "./api.js";
import { jsonCall } from "./call.js";
import { models } from "./models.js";

export const queryCall = (text, model) => jsonCall("embed/queries", { queries: [text], model, encoding_format: "base64" });

/**
 * `embed(text, model)` gives {text, model, query}, where `query` is the embedding; null if there is no text or no model,
 * or if it failed, which `status` shows; undefined if another one was asked for meanwhile.
 */
export function queryEmbedder(status) {
  const kept = new Map();
  // A model that is trained again keeps its name.
  models.addEventListener("change", () => kept.clear());
  let turn = 0;

  async function embed(text, model) {
    turn += 1;
    const mine = turn;
    status.abort();
    status.show("");
    if (!text || !model) return null;
    const key = JSON.stringify([model, text]);
    if (!kept.has(key)) {
      const answer = await status.run("Embedding the query ...", (signal) => sendForJson(queryCall(text, model), { signal }));
      if (mine !== turn) return undefined;
      if (!answer) return null;
      kept.set(key, answer.embeddings[0]);
    }
    return { text, model, query: kept.get(key) };
  }
  return { embed };
}
