/** The form that starts a fine-tuning job. */

import { sendForJson } from "../lib/api.js";
import { formCall, jsonCall } from "../lib/call.js";
import { element, field, uniqueId } from "../lib/dom.js";
import { modelSelect } from "../lib/models.js";
import { snippet } from "../lib/snippet.js";
import { status, UserError } from "../lib/status.js";
import { pageDataset } from "./page_dataset.js";
import { pairsInput } from "./pairs_input.js";
import { trainingOptions } from "./training_options.js";

const METHODS = { full: "Every weight", lora: "LoRA: low-rank matrices only", qlora: "Q-LoRA: over a base in 4 bits (NVIDIA GPU)" };
/** For the example pairs and a small model: quick, and enough to learn the nicknames. */
const EXAMPLE = { epochs: 20, learning_rate: 0.001 };

/** `onStarted(id, pairs)`; pairs are null where the job learns from pages. `pairs()` are those in the form. */
export function trainingForm({ onStarted }) {
  let key = { content: null, value: null };

  const starting = status();
  const curl = snippet();
  const options = trainingOptions();
  const texts = pairsInput({ onExample: () => {
    name.value ||= "nicknames";
    options.fill(EXAMPLE);
  } });
  const pages = pageDataset();
  const kinds = { text: texts, pages };
  const bases = {
    text: modelSelect(["text:dense"]),
    pages: modelSelect(["text:multi_vector", "image:multi_vector"]),
  };
  const kind = radios("What learns", { text: "a text model", pages: "a page model" }, showKind);
  const method = element("select", { on: { change: showKind } },
    ...Object.entries(METHODS).map(([value, label]) => element("option", { value }, label)));
  const name = element("input", { name: "model_name", autocomplete: "off", spellcheck: "false", placeholder: "my-model" });
  const overwrite = element("input", { type: "checkbox" });
  const baseFields = { text: field("Base model", bases.text), pages: field("Base model", bases.pages) };
  const node = element("form", { class: "card", novalidate: true, "aria-labelledby": "training-title", on: { submit: (event) => {
    event.preventDefault();
    start();
  } } },
  element("h2", { id: "training-title" }, "Fine-tune a model"),
  kind.node, texts.node, pages.node, baseFields.text, baseFields.pages, field("What is trained", method),
  field("Name of the new model", name),
  element("label", { class: "tick" }, overwrite, " Overwrite a model of this name"),
  options.node, element("button", { class: "primary" }, "Start training"), starting.node, curl.node);
  showKind();

  function showKind() {
    const chosen = kind.value();
    for (const each of Object.keys(kinds)) {
      kinds[each].node.hidden = each !== chosen;
      baseFields[each].hidden = each !== chosen;
    }
    const full = method.querySelector("[value=full]");
    full.disabled = chosen === "pages"; // Page models are trained with LoRA only.
    if (full.disabled && method.value === "full") method.value = "lora";
    options.show(chosen === "pages" ? "FineTuneVisualForm" : method.value === "full" ? "FineTuneRequest" : "FineTuneLoraRequest");
  }

  function call() {
    const chosen = kind.value();
    const common = {
      model_name: name.value.trim(), base_model: bases[chosen].value || null, overwrite: overwrite.checked,
      ...options.values(), ...(method.value !== "full" && { use_qlora: method.value === "qlora" }),
    };
    if (chosen === "pages") {
      if (!pages.file()) throw new UserError("Choose a file of queries and pages first.");
      return formCall("fine-tune-visual", [["dataset", pages.file()], ...Object.entries(common)]);
    }
    const body = { text_content: texts.text(), hard_negatives: texts.negatives(), ...common };
    return jsonCall(method.value === "full" ? "fine-tune" : "fine-tune-lora", body);
  }

  /** One key as long as the same is sent: whoever clicks twice, or tries again after an error, starts one job. */
  function keyed(unkeyed) {
    const content = JSON.stringify([unkeyed.path, unkeyed.json ?? unkeyed.form.map(([field, value]) => [field, value.lastModified ?? value])]);
    if (key.content !== content) key = { content, value: freshKey() };
    return { ...unkeyed, headers: { "Idempotency-Key": key.value } };
  }

  async function start() {
    const pairs = kind.value() === "text" ? texts.pairs() : null;
    const answer = await starting.run("Sending ...", async (signal) => {
      const sent = keyed(call());
      curl.show(sent);
      return sendForJson(sent, { signal });
    });
    if (!answer) return;
    key = { content: null, value: null };
    starting.say("The job is on the server's disk.");
    onStarted(answer.job_id, pairs);
  }
  return { node, pairs: texts.pairs };
}

/** Only pages from this machine or with TLS have crypto.randomUUID. */
const freshKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function radios(legend, choices, onChange) {
  const group = uniqueId("radios");
  const inputs = Object.keys(choices).map((value, index) =>
    element("input", { type: "radio", name: group, value, checked: index === 0, on: { change: onChange } }));
  const node = element("fieldset", { class: "bar" }, element("legend", {}, legend),
    ...inputs.map((input) => element("label", { class: "tick" }, input, ` ${choices[input.value]}`)));
  return { node, value: () => inputs.find(({ checked }) => checked).value };
}
