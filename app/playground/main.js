/** Tabs, each with a panel that is loaded when it is first opened, and the API key. */

import { apiKey } from "./lib/api.js";
import { element, roving } from "./lib/dom.js";
import { models } from "./lib/models.js";

/** The hash of the address -> title, module. A module exports `mount(panel)`, which fills its element. */
const PANELS = {
  page: ["Page and query", () => import("./panels/page.js")],
  search: ["Search pages", () => import("./panels/search.js")],
  text: ["Text", () => import("./panels/text.js")],
  pictures: ["Pictures", () => import("./panels/pictures.js")],
  map: ["Map", () => import("./panels/map.js")],
  models: ["Models and jobs", () => import("./panels/models.js")],
};

const tabs = Object.entries(PANELS).map(([name, [title]]) => element("a", {
  role: "tab", id: `tab-${name}`, href: `#${name}`, "aria-controls": `panel-${name}`, "aria-selected": "false",
}, title));
const panels = Object.entries(PANELS).map(([name]) => element("section", {
  role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, hidden: true,
}));

const list = document.getElementById("tabs");
list.append(...tabs);
document.getElementById("panels").append(...panels);
const { select } = roving(list, tabs);

const mounted = new Set();

async function open() {
  const names = Object.keys(PANELS);
  // A hash may go on after a slash: that is the panel's own.
  const at = Math.max(names.indexOf(location.hash.slice(1).split("/")[0]), 0);
  tabs.forEach((tab, index) => tab.setAttribute("aria-selected", String(index === at)));
  panels.forEach((panel, index) => { panel.hidden = index !== at; });
  select(at);
  document.title = `${PANELS[names[at]][0]} - Manyvec playground`;
  if (mounted.has(at)) return;
  mounted.add(at);
  const { mount } = await PANELS[names[at]][1]().catch(() => ({ mount: () => notLoaded(at) }));
  panels[at].replaceChildren();
  mount(panels[at]);
}

/** Its module did not come. */
function notLoaded(at) {
  mounted.delete(at);
  panels[at].append(
    element("p", { role: "alert", class: "error" }, "This panel could not be loaded. Is the server still running?"),
    element("button", { type: "button", on: { click: open } }, "Try again"));
}

const keyForm = document.getElementById("key");
keyForm.key.value = apiKey.get();
const keySaid = element("small", { role: "alert", class: "error-text" });
keyForm.append(keySaid);
const takeKey = () => {
  if (keyForm.key.value === apiKey.get()) return;
  apiKey.set(keyForm.key.value);
  keyForm.classList.remove("wanted");
  keyForm.key.removeAttribute("aria-invalid");
  keySaid.textContent = "";
  models.refresh().catch(() => {});
};
keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  takeKey();
});
keyForm.key.addEventListener("change", takeKey);
document.addEventListener("key-wanted", () => {
  keyForm.classList.add("wanted");
  keyForm.key.setAttribute("aria-invalid", "true");
  keySaid.textContent = apiKey.get() ? "This key is wrong." : "This server wants a key.";
});

addEventListener("hashchange", open);
open();
