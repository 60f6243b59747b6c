import { element } from "../lib/dom.js";

export function mount(panel) {
  panel.append(element("p", { class: "lead" }, "..."));
}
