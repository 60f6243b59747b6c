/** The pages of a file, to choose one. */

import { element } from "./dom.js";

/**
 * `add(page)` adds a page of files.js; the first is chosen at once. Hidden while there is no choice. `clear()` lets the
 * pages' pictures go.
 */
export function pagePicker(onChoose) {
  const urls = [];
  const node = element("div", { class: "thumbnails", role: "group", "aria-label": "Pages", hidden: true });
  let n = 0;

  function add(page) {
    const label = page.error ? `${page.number}: ${page.error}` : String(page.number);
    const button = element("button", {
      type: "button", disabled: Boolean(page.error), "aria-pressed": "false", "aria-label": `Page ${label}`,
      on: { click: () => choose() },
    }, page.error ? null : element("img", { src: page.url, alt: "", loading: "lazy" }), label);
    const choose = () => {
      for (const other of node.children) other.setAttribute("aria-pressed", String(other === button));
      onChoose(page);
    };
    if (page.url) urls.push(page.url);
    node.append(button);
    n += 1;
    node.hidden = n < 2;
    if (!page.error && node.querySelectorAll("button:enabled").length === 1) choose();
  }

  function clear() {
    node.replaceChildren();
    urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
    node.hidden = true;
    n = 0;
  }
  return { node, add, clear };
}
