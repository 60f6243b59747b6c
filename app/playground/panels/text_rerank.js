/** Candidates in the order of their match with a query. */

import { jsonCall } from "../lib/call.js";
import { element, field } from "../lib/dom.js";
import { keptAnswers } from "../lib/kept_answers.js";
import { modelSelect } from "../lib/models.js";
import { progressBar } from "../lib/progress.js";
import { snippet } from "../lib/snippet.js";
import { status, UserError } from "../lib/status.js";
import { lineArea } from "./text_lines.js";
import { ranking } from "./text_ranking.js";
import { cutNote, readTexts } from "./text_read.js";

const QUERY = "which harbour has shore power for ships";
const CANDIDATES = [
  "The ferry left the harbour at noon.",
  "Bread is baked before dawn.",
  "Skagen handled 31 thousand tonnes of cargo.",
  "Ships in Aarhus switch off their engines and take shore power.",
  "The town has a museum of fishing.",
  "At the new quay a ship can plug into power from the shore.",
];

const rerankCall = (model, query, candidates) => jsonCall("rerank", { model, query, candidates });
const scored = keptAnswers((candidates, [model, query], signal) =>
  readTexts(rerankCall(model, query, candidates), "scores", signal));

export function rerank() {
  let turn = 0;
  const work = status();
  const curl = snippet();
  const progress = progressBar("Candidates that have scores", work.abort, { from: 32 });
  const query = element("input", { type: "search", name: "query" });
  query.value = QUERY;
  const candidates = lineArea("Candidates", CANDIDATES, { hint: "A line each, in the order that a first search gave." });
  const model = modelSelect(["text:multi_vector"], {
    // Models of pages read texts as queries only.
    prefer: ({ capabilities }) => !capabilities.includes("image:multi_vector"),
    onChange: () => { if (!result.hidden) rank(); },
  });
  const result = element("section", { class: "card", "aria-label": "Ranking", hidden: true });
  const form = element("form", { class: "card", on: { submit: (event) => {
    event.preventDefault();
    rank();
  } } },
  field("Query", query), candidates.node,
  element("div", { class: "run" }, field("Model", model), element("button", { class: "primary" }, "Rerank")),
  progress.node, work.node, curl.node);

  async function rank() {
    turn += 1;
    const mine = turn;
    const lines = candidates.lines();
    const scores = await work.run("Scoring ...", (signal) => scoresOf(query.value.trim(), lines, signal));
    if (mine !== turn) return;
    progress.hide();
    result.hidden = !scores;
    if (!scores) return;
    result.replaceChildren(element("h2", {}, "Order before and after"), cutNote(scores) ?? "",
      ranking(lines, scores.map(({ value }) => value)));
    work.say(`Ranked ${lines.length} candidate${lines.length === 1 ? "" : "s"}.`);
  }

  function scoresOf(text, lines, signal) {
    if (!text) throw new UserError("Write a query.");
    if (!lines.length) throw new UserError("Write at least one candidate.");
    curl.show(rerankCall(model.value, text, lines));
    return scored(lines, [model.value, text], { signal, onProgress: progress.show });
  }
  return [form, result];
}
