/** The same search with the base and with what was made of it. */

import { sendForJson } from "../lib/api.js";
import { jsonCall } from "../lib/call.js";
import { element, field, uniqueId } from "../lib/dom.js";
import { keptAnswers } from "../lib/kept_answers.js";
import { progressBar } from "../lib/progress.js";
import { snippet } from "../lib/snippet.js";
import { status, UserError } from "../lib/status.js";
import { pairsOf } from "./job_memory.js";

const SHOWN = 3;
const SUGGESTED = 200;

const vectorsOf = keptAnswers(async (items, model, signal) => {
  const { vectors } = await sendForJson(jsonCall("vectorize-batch", { items, model }), { signal });
  return vectors;
});

/** An element to search with both models in the passages that a job was trained on. */
export function trial(job, { passagesAtHand }) {
  const own = pairsOf(job.id);
  const working = status();
  const curl = snippet();
  const bar = progressBar("Passages embedded", working.abort);
  const queries = element("datalist", { id: uniqueId("queries") });
  const query = element("input", { type: "search", name: "query", list: queries.id, on: { focus: suggest } });
  const results = element("div", { class: "columns", "aria-live": "polite" });
  suggest();

  function pairs() {
    return own ?? passagesAtHand();
  }

  function suggest() {
    const texts = [...new Set(pairs().map(([text]) => text))].slice(0, SUGGESTED);
    queries.replaceChildren(...texts.map((text) => element("option", { value: text })));
    query.value ||= texts[0] ?? "";
  }

  async function search() {
    results.replaceChildren();
    suggest();
    await working.run("Searching ...", async (signal) => {
      const text = query.value.trim();
      if (!text) throw new UserError("Enter something to search for.");
      const passages = [...new Set(pairs().map(([, passage]) => passage))].sort();
      if (!passages.length) throw new UserError("There is nothing to search in: put the pairs into the form, the server does not give them back.");
      const right = new Set(pairs().filter(([each]) => each === text).map(([, passage]) => passage));
      showCalls(text, passages);
      for (const model of [job.base_model, job.model_name]) {
        results.append(column(model, await ranked(model, text, passages, signal), right));
      }
    });
    bar.hide();
  }

  function showCalls(text, passages) {
    const items = passages.slice(0, SHOWN);
    curl.show(...[job.base_model, job.model_name].flatMap((model) =>
      [jsonCall("vectorize", { text, model }), jsonCall("vectorize-batch", { items, model })]));
  }

  async function ranked(model, text, passages, signal) {
    const { vector } = await sendForJson(jsonCall("vectorize", { text, model }), { signal });
    const vectors = await vectorsOf(passages, model, { signal, onProgress: bar.show });
    return passages
      .map((passage, index) => ({ passage, score: dot(vector, vectors[index]) }))
      .sort((one, other) => other.score - one.score);
  }

  const hint = own ? "One of the pairs' queries, or another." : "In the pairs of the form: the server does not give this job's back.";
  return element("form", { class: "trial", "aria-label": `Try ${job.model_name}`, on: { submit: (event) => {
    event.preventDefault();
    search();
  } } },
  element("h3", {}, "Try the result"), queries, field("Search for", query, hint),
  element("div", { class: "bar" }, element("button", { class: "primary" }, "Search with both")),
  bar.node, working.node, results, curl.node);
}

function column(model, rows, right) {
  const place = rows.findIndex(({ passage }) => right.has(passage));
  return element("section", { class: "found", "aria-label": `Found by ${model}` },
    element("h4", {}, model),
    element("ol", {}, ...rows.slice(0, SHOWN).map(({ passage, score }) => element("li", {},
      element("span", { class: "number" }, score.toFixed(3)),
      element("span", {}, passage, right.has(passage) ? element("strong", { class: "answer" }, " ✓ the answer") : null)))),
    place < SHOWN ? null : element("p", { class: "hint" }, `The answer comes at place ${place + 1} of ${rows.length}.`));
}

const dot = (one, other) => one.reduce((sum, value, index) => sum + value * other[index], 0);
