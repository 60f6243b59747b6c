/** Files that cannot be read and pages that cannot be embedded, each with the server's words. */

import { element } from "../lib/dom.js";

/** `add(name, message, {model, id})`: what is wrong with a page for one model only is shown while that is chosen. */
export function problemList() {
  const list = element("ul", { class: "problems" });
  const node = element("div", { role: "alert", class: "error", hidden: true }, list);
  let shown = null;

  function update() {
    for (const item of list.children) item.hidden = shown !== null && (item.dataset.model ?? shown) !== shown;
    node.hidden = ![...list.children].some((item) => !item.hidden);
  }

  function add(name, message, { model = null, id = null } = {}) {
    list.append(element("li", { dataset: { ...(model && { model }), ...(id && { page: id }) } },
      element("strong", {}, name), `: ${message} `));
    update();
  }

  return {
    node,
    add,
    showFor(model) {
      shown = model;
      update();
    },
    remove(id) {
      for (const item of [...list.children]) if (item.dataset.page === String(id)) item.remove();
      update();
    },
    clear() {
      list.replaceChildren();
      update();
    },
  };
}
