/** The server in one line: is it well, which version, on what. */

import { sendForJson } from "../lib/api.js";
import { plainCall } from "../lib/call.js";
import { element } from "../lib/dom.js";
import { snippet } from "../lib/snippet.js";
import { status } from "../lib/status.js";
import { bytes } from "../lib/units.js";

const WELCOME = plainCall("./");
const HEALTH = plainCall("health");

/** `refresh()` asks the server; `show(models)` counts its models and their memory. */
export function serverFacts() {
  const asking = status();
  const curl = snippet();
  const values = Object.fromEntries(["Health", "Version", "Device", "Default text model", "Models", "Memory of the models"]
    .map((name) => [name, element("dd", { class: "number" }, "...")]));
  const node = element("section", { class: "card", "aria-label": "The server" },
    element("dl", { class: "facts" }, ...Object.entries(values).map(([name, value]) =>
      element("div", {}, element("dt", {}, name), value))),
    asking.node, curl.node);
  curl.show(WELCOME, HEALTH);

  async function refresh() {
    await asking.run("", async (signal) => {
      try {
        const [{ version }, health] = await Promise.all([WELCOME, HEALTH].map((call) => sendForJson(call, { signal })));
        values.Version.textContent = version;
        values.Device.textContent = health.device;
        values["Default text model"].textContent = health.model ?? "none";
        values.Health.textContent = health.status;
      } catch (error) {
        if (error.name !== "AbortError") values.Health.textContent = error.status === 503 ? "unhealthy: a model is stuck" : "?";
        throw error;
      }
    });
  }

  function show(models) {
    const loaded = models.filter(({ memory_bytes: memory }) => memory);
    values.Models.textContent = `${models.length}, ${loaded.length} loaded`;
    values["Memory of the models"].textContent = bytes(loaded.reduce((total, model) => total + model.memory_bytes, 0));
  }
  return { node, refresh, show };
}
