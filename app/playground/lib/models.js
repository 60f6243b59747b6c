/** The models that the server has, and a select to choose among those that can do a job. */

import { sendForJson } from "./api.js";
import { plainCall } from "./call.js";
import { element } from "./dom.js";

/** Dispatches "change" when the list is a new one. */
export const models = new EventTarget();

let list = null;

/** All models, as /v1/models lists them; asked for once. Throws ApiError. */
models.all = () => {
  list ??= sendForJson(plainCall("v1/models")).then(({ data }) => data);
  list.catch(() => { list = null; });
  return list;
};

/** Ask again. */
models.refresh = async () => {
  list = null;
  const data = await models.all();
  models.dispatchEvent(new Event("change"));
  return data;
};

/**
 * A select of the models that have all of these capabilities ("text:dense", "image:multi_vector", ...), trained ones
 * first, and among those the ones that `prefer` is true for. `capabilities` may be a function of a model instead.
 * `value` is "" while there is none.
 */
export function modelSelect(capabilities, { onChange = () => {}, id = null, prefer = () => false } = {}) {
  const fits = typeof capabilities === "function"
    ? capabilities
    : (model) => capabilities.every((capability) => model.capabilities.includes(capability));
  const select = element("select", { id, on: { change: () => onChange(select.value) } });

  function fill(all) {
    const before = select.value;
    const suited = all.filter(fits);
    suited.sort((one, other) => other.trained - one.trained || prefer(other) - prefer(one));
    select.replaceChildren(...suited.map((model) =>
      element("option", { value: model.id }, model.trained ? model.id : `${model.id} (random weights)`)));
    if (!suited.length) select.append(element("option", { value: "" }, "no model can do this"));
    if (suited.some(({ id: name }) => name === before)) select.value = before;
    if (select.value !== before) onChange(select.value);
  }

  const ask = () => models.all().then(fill, (error) => {
    select.replaceChildren(element("option", { value: "" }, error.message));
  });
  models.addEventListener("change", ask);
  ask();
  return select;
}
