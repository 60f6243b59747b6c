/** A query and a passage in the three vectors of a hybrid model: dense, sparse, one a token. */

import { jsonCall } from "../lib/call.js";
import { colorTable, MOST_CELLS } from "../lib/color_table.js";
import { element, field } from "../lib/dom.js";
import { keptAnswers } from "../lib/kept_answers.js";
import { modelSelect } from "../lib/models.js";
import { snippet } from "../lib/snippet.js";
import { status, UserError } from "../lib/status.js";
import { cosines } from "./text_cosines.js";
import { cutNote, readTexts } from "./text_read.js";
import { sparseCard, sparseMatch } from "./text_sparse.js";
import { placed, tokenName } from "./text_tokens.js";

const QUERY = "Which harbour has shore power for ships?";
const PASSAGE = "Ships in Skagen take shore power at the quay.";
const HYBRID = ["text:dense", "text:sparse", "text:multi_vector"];

const hybridCall = (model, items) =>
  jsonCall("vectorize-batch-hybrid", { model, items, return_colbert: true, return_tokens: true });
const hybridVectors = keptAnswers((items, model, signal) => readTexts(hybridCall(model, items), "hybrid_vectors", signal));

export function hybrid() {
  let turn = 0;
  const work = status();
  const curl = snippet();
  const query = text(QUERY);
  const passage = text(PASSAGE);
  const model = modelSelect(HYBRID, { onChange: () => { if (!result.hidden) look(); } });
  const result = element("div", { class: "stack", hidden: true });
  const form = element("form", { class: "card", on: { submit: (event) => {
    event.preventDefault();
    look();
  } } },
  element("div", { class: "columns" }, field("Query", query), field("Passage", passage)),
  element("div", { class: "run" }, field("Model", model), element("button", { class: "primary" }, "Look inside")),
  work.node, curl.node);

  async function look() {
    turn += 1;
    const mine = turn;
    const texts = [query.value.trim(), passage.value.trim()];
    const vectors = await work.run("Embedding ...", async (signal) => {
      if (!texts.every(Boolean)) throw new UserError("Write a query and a passage.");
      curl.show(hybridCall(model.value, texts));
      return hybridVectors(texts, model.value, { signal });
    });
    if (mine !== turn) return;
    result.hidden = !vectors;
    if (!vectors) return;
    result.replaceChildren(cutNote(vectors) ?? "", ...comparison(texts, vectors.map(({ value }) => value)));
    work.say("Compared the two texts.");
  }
  return [form, result];
}

function text(value) {
  const area = element("textarea", { rows: 3, spellcheck: "false", class: "low" });
  area.value = value;
  return area;
}

function comparison(texts, [left, right]) {
  const [[dense]] = cosines([left.dense], [right.dense]);
  const sparse = sparseMatch(left.sparse, right.sparse);
  const tokens = [left, right].map(({ tokens: pieces }, side) => placed(texts[side], pieces));
  const isSmall = left.colbert.length * right.colbert.length <= MOST_CELLS;
  const alignment = isSmall ? cosines(left.colbert, right.colbert) : null;
  const sides = [["Query", left], ["Passage", right]].map(([title, { sparse: weights }], side) =>
    ({ title, tokens: tokens[side], sparse: weights }));
  return [
    element("dl", { class: "figures card" },
      figure("Dense", dense, "cosine of one vector a text"),
      figure("Sparse", sparse.score, "sum over the tokens of both texts"),
      figure("ColBERT", alignment && meanOfHighest(alignment), "mean of each query token's best match")),
    sparseCard(sides, sparse),
    alignmentCard(tokens, alignment),
  ];
}

/** Of each row. */
const meanOfHighest = (rows) => rows.reduce((sum, row) => sum + Math.max(...row), 0) / rows.length;

const figure = (name, value, hint) => element("div", {},
  element("dt", {}, name),
  element("dd", { class: "number" }, value === null ? "\u2013" : value.toFixed(3)),
  element("dd", { class: "hint" }, hint));

function alignmentCard([queryTokens, passageTokens], alignment) {
  // The token that closes a text has a row too, the one that opens it has none.
  const named = (tokens) => [...tokens.map(tokenName), "(end)"];
  return element("section", { class: "card" },
    element("h2", {}, "ColBERT: which token matches which"),
    ...alignment ? colorTable({
      caption: "The cosine of each token of the query with each of the passage; \u2605 marks the highest of a row. "
        + "The mean of these is the score that /rerank gives. A dot begins a word.",
      corner: "query \u2193 passage \u2192",
      rows: named(queryTokens), columns: named(passageTokens), values: alignment,
      most: "highest", foot: { title: "Mean", value: meanOfHighest(alignment) }, compact: true,
    }) : [element("p", {}, `${queryTokens.length} \u00d7 ${passageTokens.length} tokens are more than this table shows. `
      + "Their score is told under Rerank.")]);
}
