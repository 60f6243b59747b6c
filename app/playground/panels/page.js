/** A page and a query: where on the page each token of the query matches. */

import { sendForJson } from "../lib/api.js";
import { element, field } from "../lib/dom.js";
import { exampleFile, fileZone, pagesOf } from "../lib/files.js";
import { range, sum } from "../lib/heatmap.js";
import { interpretCall, mapsOf } from "../lib/interpret.js";
import { modelSelect, models } from "../lib/models.js";
import { pagePicker } from "../lib/page_picker.js";
import { pictureWithMap } from "../lib/picture.js";
import { snippet } from "../lib/snippet.js";
import { status, UserError } from "../lib/status.js";
import { tokenChips } from "../lib/token_chips.js";

const READS_PAGES = ["image:multi_vector", "text:multi_vector"];

export function mount(panel) {
  let page = null;
  let maps = null;
  let turn = 0;
  /** Answers by page, query and model, so that going back asks nothing. */
  const answers = new Map();

  const reading = status();
  const matching = status();
  const curl = snippet();
  const picture = pictureWithMap({ label: "Similarity map over the page" });
  const picker = pagePicker((chosen) => {
    page = chosen;
    result.hidden = true;
    picture.show(page, null);
    match();
  });
  const chips = tokenChips((index) => showMap(index));
  const score = element("p", { class: "number" });
  const model = modelSelect(READS_PAGES, { onChange: () => match() });
  const query = element("input", { type: "search", name: "query", value: "ships", required: true });
  const form = element("form", { class: "card", on: { submit: (event) => {
    event.preventDefault();
    match();
  } } },
  fileZone("A page: picture or PDF", ([file]) => open(file)),
  element("button", { type: "button", on: { click: example } }, "Take the example page"),
  reading.node, picker.node,
  field("Query", query), field("Model", model),
  element("button", { class: "primary" }, "Show where it matches"), matching.node, curl.node);
  const result = element("div", { class: "card", hidden: true }, chips.node, score);
  panel.append(
    element("p", { class: "lead" }, "Which patches of a page match a query? Each token of the query has a map of its own."),
    element("div", { class: "beside" }, form, element("div", { class: "stack" }, result, picture.node)));

  // A model that is trained again keeps its name.
  models.addEventListener("change", () => answers.clear());

  async function open(file) {
    turn += 1;
    page = null;
    matching.abort();
    matching.show("");
    answers.clear();
    picker.clear();
    picture.clear();
    result.hidden = true;
    await reading.run("Reading the file ...", async (signal) => {
      for await (const each of pagesOf(file, { signal })) picker.add(each);
    });
  }

  async function example() {
    const file = await reading.run("Fetching the example ...", () => exampleFile("page.png"));
    if (file) await open(file);
  }

  async function match() {
    if (!page) return;
    turn += 1;
    const mine = turn;
    matching.abort();
    matching.show("");
    const call = interpretCall(page, { model: model.value, text: query.value.trim() });
    const key = JSON.stringify([page.url, query.value.trim(), model.value]);
    const answer = answers.get(key) ?? await ask(call);
    // Meanwhile another page, query or model may have been chosen.
    if (mine !== turn) return;
    result.hidden = !answer;
    if (!answer) {
      picture.show(page, null);
      return;
    }
    answers.set(key, answer);
    maps = mapsOf(answer);
    const best = maps.map((map) => range(map).high);
    chips.show(answer.tokens, best);
    const total = best.reduce((one, other) => one + other, 0);
    score.textContent = `MaxSim of these tokens: ${total.toFixed(3)}; a token in the mean: ${(total / best.length).toFixed(3)}`;
    showMap(null);
  }

  async function ask(call) {
    return matching.run("Matching ...", (signal) => {
      if (!query.value.trim()) throw new UserError("Write a query.");
      curl.show(call);
      return sendForJson(call, { signal });
    });
  }

  function showMap(index) {
    picture.show(page, index === null ? sum(maps) : maps[index]);
  }
}
