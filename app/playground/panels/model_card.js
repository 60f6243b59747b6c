/** One model: what it is, how it is, and what can be done with it. */

import { sendForJson } from "../lib/api.js";
import { badge } from "../lib/badge.js";
import { plainCall } from "../lib/call.js";
import { confirmButton } from "../lib/confirm.js";
import { element } from "../lib/dom.js";
import { status } from "../lib/status.js";
import { bytes } from "../lib/units.js";

/** `show(model)` with what /v1/models says of it. `onCall(call)` hears what is sent. */
export function modelCard(name, { onCall, onChanged, onDeleted }) {
  let model = null;

  const working = status();
  const state = badge();
  const kind = element("p", { class: "hint" });
  const warning = element("p", { class: "warning", hidden: true }, "Random weights: its vectors have the right form and no meaning.");
  const capabilities = element("ul", { class: "tags", "aria-label": "What it computes" });
  const facts = element("dl", { class: "facts" });
  const failure = element("p", { class: "error", hidden: true });
  const load = element("button", { type: "button", "aria-label": `Load ${name}`, on: { click: () => change("load", "Loading ...") } }, "Load");
  const unload = element("button", { type: "button", "aria-label": `Unload ${name}`, on: { click: () => change("unload", "Unloading ...") } }, "Unload");
  const remove = confirmButton("Delete", `Delete ${name} for good?`, destroy);
  const more = element("details", { hidden: true, on: { toggle: () => more.open && details() } }, element("summary", {}, "More"));
  const moreFacts = element("dl", { class: "facts" });
  more.append(moreFacts);
  const node = element("article", { class: "card model", "aria-label": name },
    element("div", { class: "head" }, element("h3", {}, name), state.node, element("div", { class: "bar" }, load, unload, remove)),
    working.node, kind, warning, capabilities, facts, failure, more);

  function show(now) {
    model = now;
    state.show(model.state);
    kind.textContent = `${model.family}, licence: ${model.license}${isFineTuned(model) ? ", fine-tuned here" : ""}`;
    warning.hidden = model.trained;
    capabilities.replaceChildren(...model.capabilities.map((each) => element("li", {}, each.replace(":", ": ").replace("_", "-"))));
    failure.textContent = model.error ?? "";
    failure.hidden = !model.error;
    fill(facts, {
      Memory: model.memory_bytes === null ? null : bytes(model.memory_bytes), Dimensions: model.dimensions,
      Context: model.context_length && `${model.context_length.toLocaleString("en")} tokens`,
      "Computed in": model.dtype && `${model.dtype}, ${model.backend}`,
    });
    const there = model.state === "ready" || model.state === "stuck";
    swap(there ? load : unload, there ? unload : load);
    // Not `disabled`, which would lose the focus.
    const changing = ["loading", "unloading"].includes(model.state);
    for (const button of [load, unload]) button.setAttribute("aria-disabled", String(changing));
    remove.hidden = !isFineTuned(model);
    more.hidden = model.state !== "ready";
  }

  async function change(verb, text) {
    if (load.getAttribute("aria-disabled") === "true") return;
    const call = plainCall(`models/${encodeURIComponent(name)}/${verb}`, "POST");
    onCall(call);
    const sent = working.run(text, (signal) => sendForJson(call, { signal }));
    setTimeout(onChanged, 100); // By then it is on its way, and its state says so.
    const answer = await sent;
    if (answer) show(answer);
    onChanged();
  }

  async function destroy() {
    const call = plainCall(`models/${encodeURIComponent(name)}`, "DELETE");
    onCall(call);
    if (await working.run("Deleting ...", (signal) => sendForJson(call, { signal }))) onDeleted();
  }

  /** /info would load a model; it is asked for those only that are there. */
  async function details() {
    const call = { ...plainCall("info"), query: { model: name } };
    onCall(call);
    const info = await working.run("", (signal) => sendForJson(call, { signal }));
    if (info) fill(moreFacts, {
      Checkpoint: info.model_id, Device: info.device, Attention: info.attention, "Flash attention": info.flash_attn ? "yes" : "no",
      "Patch size": info.patch_size, "Spatial merge": info.spatial_merge_size,
    });
  }
  return { node, show };
}

/** Such a model's checkpoint is the folder of its own name; the list does not say more. The server knows, and may refuse. */
const isFineTuned = ({ id, checkpoint }) => id === checkpoint;

const fill = (list, facts) => list.replaceChildren(...Object.entries(facts)
  .filter(([, value]) => value !== null && value !== undefined)
  .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", { class: "number" }, value))));

/** One button in the place of another; the focus stays there. */
function swap(gone, here) {
  const hadFocus = document.activeElement === gone;
  gone.hidden = true;
  here.hidden = false;
  if (hadFocus) here.focus();
}
