/** A map of an embedding space: texts or pages as points in two dimensions. */

import { choice } from "../lib/choice.js";
import { element } from "../lib/dom.js";
import { progressBar } from "../lib/progress.js";
import { snippet } from "../lib/snippet.js";
import { status } from "../lib/status.js";
import { mapPages } from "./map_pages.js";
import { mapResult } from "./map_result.js";
import { mapTexts } from "./map_texts.js";

export function mount(panel) {
  const embedding = status();
  const curl = snippet();
  const bar = progressBar("Embedding", () => embedding.abort());
  const result = mapResult();
  const sources = { texts: mapTexts({ onChange: outdated }), pages: mapPages({ onChange: outdated }) };
  const kind = choice("What to embed", [["texts", "Texts"], ["pages", "Pages and pictures"]], change);
  const form = element("form", { class: "card", on: { submit: (event) => {
    event.preventDefault();
    draw();
  } } }, kind.node, sources.texts.node, sources.pages.node,
  element("button", { class: "primary" }, "Draw the map"), embedding.node, bar.node, curl.node);
  panel.append(
    element("p", { class: "lead" },
      "An embedding is a place in a space of many dimensions, where things that are alike lie close together. "
      + "This is its shadow in two."),
    element("div", { class: "beside" }, form, result.node));
  change(kind.value);

  function change(value) {
    for (const [name, { node }] of Object.entries(sources)) node.hidden = name !== value;
    outdated();
  }

  function outdated() {
    embedding.abort();
    embedding.show("");
    bar.hide();
    result.hide();
  }

  async function draw() {
    const source = sources[kind.value];
    const found = await embedding.run("Embedding ...", async (signal) => {
      const points = source.points();
      curl.show(...await source.calls(points));
      return { points, rows: await source.rows(points, { signal, onProgress: bar.show }) };
    });
    bar.hide();
    if (found) await result.show(found.points, found.rows);
  }
}
