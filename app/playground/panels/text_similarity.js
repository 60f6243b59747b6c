/** Two lists of sentences and how alike each is to each. */

import { jsonCall } from "../lib/call.js";
import { colorTable, MOST_CELLS } from "../lib/color_table.js";
import { element, field, uniqueId } from "../lib/dom.js";
import { keptAnswers } from "../lib/kept_answers.js";
import { modelSelect } from "../lib/models.js";
import { progressBar } from "../lib/progress.js";
import { snippet } from "../lib/snippet.js";
import { status, UserError } from "../lib/status.js";
import { cosines } from "./text_cosines.js";
import { lineArea } from "./text_lines.js";
import { cutNote, readTexts } from "./text_read.js";

const QUERIES = [
  "Where do ships take shore power?",
  "Which harbour grew most?",
  "When does the ferry leave?",
  "What does the lighthouse keeper eat?",
];
const PASSAGES = [
  "Cargo ships plug into shore power at the quay.",
  "Skagen grew by a tenth, more than any other harbour.",
  "The ferry leaves at noon and returns in the evening.",
  "The lighthouse keeper had bread and herring.",
  "The old shipyard repairs fishing boats and yachts.",
];

const vectorsCall = (model, items, isQuery) => jsonCall("vectorize-batch", { model, items, is_query: isQuery });
const vectors = keptAnswers((items, [model, isQuery], signal) =>
  readTexts(vectorsCall(model, items, isQuery), "vectors", signal));

export function similarity() {
  let turn = 0;
  const work = status();
  const curl = snippet();
  const progress = progressBar("Sentences that have vectors", work.abort, { from: 32 });
  const left = lineArea("Queries", QUERIES);
  const right = lineArea("Passages", PASSAGES);
  const alike = element("input", { type: "checkbox", name: "alike", on: { change: again } });
  const note = element("small", { id: uniqueId("hint"), class: "hint" },
    "Models such as E5 read a query otherwise than a passage.");
  alike.setAttribute("aria-describedby", note.id);
  const model = modelSelect(["text:dense"], { onChange: again });
  const result = element("section", { class: "card", "aria-label": "Similarities", hidden: true });
  const form = element("form", { class: "card", on: { submit: (event) => {
    event.preventDefault();
    compare();
  } } },
  element("div", { class: "columns" }, left.node, right.node),
  element("div", {}, element("label", { class: "check" }, alike, "Both sides are passages"), note),
  element("div", { class: "run" }, field("Model", model), element("button", { class: "primary" }, "Compare")),
  progress.node, work.node, curl.node);

  function again() {
    if (!result.hidden) compare();
  }

  async function compare() {
    turn += 1;
    const mine = turn;
    const [rows, columns] = [left.lines(), right.lines()];
    const embedded = await work.run("Embedding ...", (signal) => embed(rows, columns, signal));
    if (mine !== turn) return;
    progress.hide();
    result.hidden = !embedded;
    if (!embedded) return;
    result.replaceChildren(element("h2", {}, "Cosine similarity"), cutNote(embedded.flat()) ?? "", ...colorTable({
      caption: "The cosine of each pair; \u2605 marks the highest of a row.",
      corner: `${alike.checked ? "passages" : "queries"} \u2193 passages \u2192`,
      rows, columns, values: cosines(...embedded.map((side) => side.map(({ value }) => value))),
    }));
    work.say(`Compared ${rows.length} \u00d7 ${columns.length} sentences.`);
  }

  async function embed(rows, columns, signal) {
    if (!rows.length || !columns.length) throw new UserError("Write at least one sentence on each side.");
    if (rows.length * columns.length > MOST_CELLS) {
      throw new UserError(`${rows.length} \u00d7 ${columns.length} sentences are more than this table shows: `
        + `${MOST_CELLS.toLocaleString("en")} cells. Take some out.`);
    }
    const [name, isQuery] = [model.value, !alike.checked];
    curl.show(vectorsCall(name, rows, isQuery), vectorsCall(name, columns, false));
    const options = { signal, onProgress: progress.show };
    return [await vectors(rows, [name, isQuery], options), await vectors(columns, [name, false], options)];
  }
  return [form, result];
}
