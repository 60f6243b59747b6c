/** The models that are served, a card each. */

import { sendForJson } from "../lib/api.js";
import { plainCall } from "../lib/call.js";
import { element } from "../lib/dom.js";
import { models } from "../lib/models.js";
import { snippet } from "../lib/snippet.js";
import { status } from "../lib/status.js";
import { modelCard } from "./model_card.js";

const LIST = plainCall("v1/models");
const CHANGING = ["loading", "unloading"];

/** `onChange(list)` is called whenever it was asked for anew. */
export function servedModels({ onChange }) {
  const cards = new Map();
  let names = null;
  let changing = false;

  const asking = status();
  const curl = snippet();
  const grid = element("div", { class: "models" });
  const node = element("section", { class: "stack", "aria-labelledby": "models-served" },
    element("h2", { id: "models-served" }, "Models"), asking.node, grid, curl.node);
  curl.show(LIST);

  async function refresh() {
    const answer = await asking.run("", (signal) => sendForJson(LIST, { signal }));
    if (answer) show(answer.data);
  }

  function show(list) {
    for (const [name, card] of cards) {
      if (list.some(({ id }) => id === name)) continue;
      card.node.remove();
      cards.delete(name);
    }
    for (const model of list) {
      if (!cards.has(model.id)) {
        cards.set(model.id, modelCard(model.id, { onCall: curl.show, onChanged: refresh, onDeleted: deleted }));
        grid.append(cards.get(model.id).node);
      }
      cards.get(model.id).show(model);
    }
    changing = list.some(({ state }) => CHANGING.includes(state));
    onChange(list);
    tellOthers(list.map(({ id }) => id).join());
  }

  /** The other panels' selects need to know when there are others, not each state. */
  function tellOthers(now) {
    const before = names;
    names = now;
    if (before !== null && before !== now) models.refresh().catch(() => {});
  }

  async function deleted() {
    await refresh();
    grid.querySelector("button")?.focus();
  }
  return { node, refresh, isChanging: () => changing };
}
