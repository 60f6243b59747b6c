/** Fields for the options of a training, made from what openapi.json says of them: defaults, limits, descriptions. */

import { sendForJson } from "../lib/api.js";
import { plainCall } from "../lib/call.js";
import { element, field } from "../lib/dom.js";

const MAIN = ["epochs", "learning_rate", "batch_size"];
/** The form has these elsewhere. */
const ELSEWHERE = ["text_content", "dataset", "model_name", "base_model", "model", "overwrite", "use_qlora", "hard_negatives"];

/** `show(schema)` leaves the fields of that request; `values()` holds what was entered, the server has the defaults. */
export function trainingOptions() {
  const controls = new Map();
  let schemas = {};
  let shown = null;

  const problem = element("p", { class: "error", hidden: true });
  const main = element("div", { class: "columns narrow" });
  const others = element("div", { class: "columns" });
  const rate = element("small", { class: "hint" });
  const node = element("div", { class: "stack tight" }, main, rate, problem,
    element("details", {}, element("summary", {}, "More options"), others));
  const ready = build();

  async function build() {
    try {
      const { components } = await sendForJson(plainCall("openapi.json"));
      schemas = components.schemas;
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      return;
    }
    const fields = Object.entries(schemas.FineTuneLoraRequest.properties).filter(([name]) => !ELSEWHERE.includes(name));
    for (const [name, schema] of fields) {
      const control = controlOf(schema);
      control.name = name;
      const label = name.replaceAll("_", " ");
      const row = schema.type === "boolean"
        ? checkbox(label, control, schema.description)
        : field(label, control, MAIN.includes(name) ? null : schema.description);
      controls.set(name, { control, row });
      (MAIN.includes(name) ? main : others).append(row);
    }
    rate.textContent = `Learning rate: ${schemas.FineTuneRequest.properties.learning_rate.description}`;
    main.append(...MAIN.map((name) => controls.get(name).row));
    if (shown) show(shown);
  }

  function show(schema) {
    shown = schema;
    for (const [name, { row }] of controls) row.hidden = !(name in schemas[schema].properties);
  }

  function values() {
    const entered = [...controls].filter(([, { control, row }]) => !row.hidden && (control.type === "checkbox" ? control.checked : control.value));
    return Object.fromEntries(entered.map(([name, { control }]) => [name, control.type === "checkbox" ? true : Number(control.value)]));
  }

  async function fill(wanted) {
    await ready;
    for (const [name, value] of Object.entries(wanted)) if (controls.has(name)) controls.get(name).control.value = value;
  }
  return { node, show, values, fill };
}

function controlOf(schema) {
  if (schema.type === "boolean") return element("input", { type: "checkbox" });
  return element("input", { type: "number", step: "any", placeholder: schema.default ?? "as the server thinks best" });
}

function checkbox(label, control, description) {
  return element("div", { class: "field" }, element("label", { class: "tick" }, control, ` ${label}`),
    element("small", { class: "hint" }, description));
}
