/** Embeds queries, each once for a model. */

import { sendForJson } from "./api.js";
import { jsonCall } from "./call.js";
import { keptAnswers } from "./kept_answers.js";

export const queryCall = (text, model) => jsonCall("embed/queries", { queries: [text], model, encoding_format: "base64" });

/**
 * `embed(text, model)` gives {text, model, query}, where `query` is the embedding; null if there is no text or no model,
 * or if it failed, which `status` shows; undefined if another one was asked for meanwhile.
 */
export function queryEmbedder(status) {
  const answers = keptAnswers(async ([text], model, signal) => (
    (await sendForJson(queryCall(text, model), { signal })).embeddings
  ), { size: 1 });
  let turn = 0;

  async function embed(text, model) {
    turn += 1;
    const mine = turn;
    status.abort();
    status.show("");
    if (!text || !model) return null;
    const found = await status.run("Embedding the query ...", (signal) => answers([text], model, { signal }));
    if (mine !== turn) return undefined;
    return found ? { text, model, query: found[0] } : null;
  }
  return { embed };
}
