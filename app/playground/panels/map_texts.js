/** Texts for the map, a line each, in groups. */

import { sendForJson } from "../lib/api.js";
import { jsonCall } from "../lib/call.js";
import { element, field } from "../lib/dom.js";
import { keptAnswers } from "../lib/kept_answers.js";
import { modelSelect } from "../lib/models.js";
import { UserError } from "../lib/status.js";
import { decoded, stacked } from "../lib/vectors.js";

const MOST = 1000;
/** Each is compared with each, and the page is to stay quick. */
const GROUPS = "A line that begins with # names the group of those below it. Lines from a table may begin with their group "
  + "and a tab.";

const EXAMPLE = `# Ships
The ferry crosses the bay twice a day.
A sailing boat waits for wind.
The captain steers the ship into the harbour.
Cargo ships unload at the dock.
The anchor holds the vessel in the port.
Sailors repair the mast and the sails.

# Weather
Heavy rain is expected in the morning.
A cold wind blows from the north.
Snow and ice will cover the hills.
The storm brings thunder and lightning.
Fog lies in the valley at dawn.
It will be sunny and warm tomorrow.

# Cooking
Boil the potatoes in salted water.
Stir the soup and add some pepper.
Bake the bread until it is brown.
Fry the onions in butter.
Chop the vegetables for the salad.
Pour the sauce over the meat.

# Money
The bank raises its interest rate.
She pays the invoice by credit card.
Shares fell on the stock market.
The loan must be repaid in five years.
He saves a little of his income.
Taxes on profit are due in March.

# Computers
The program reads a file from disk.
Compile the source code before you run it.
The server listens on a network port.
Delete the directory and all its files.
The kernel loads a device driver.
Type the command in the shell.
`;

/** `onChange()` is called when another model is chosen. `points()` are [{label, groupName}], `rows(points, {signal, onProgress})` their vectors, `calls(points)` how to get them. */
export function mapTexts({ onChange }) {
  const input = element("textarea", { rows: 14, spellcheck: "false" });
  input.value = EXAMPLE;
  const model = modelSelect(["text:dense"], { onChange });
  const node = element("div", { class: "stack tight" },
    field("Texts, a line each", input, GROUPS),
    field("Model", model));
  const answers = keptAnswers(async (items, name, signal) => {
    const { vectors } = await sendForJson(call(items, name), { signal });
    return vectors.map(decoded);
  });
  const call = (items, name) => jsonCall("vectorize-batch", { items, model: name, encoding_format: "base64" });

  function points() {
    const found = grouped(input.value);
    if (found.length < 2) throw new UserError("Write two lines or more.");
    if (found.length > MOST) throw new UserError(`These are ${found.length} lines; up to ${MOST} can be shown.`);
    return found;
  }

  async function rows(wanted, how) {
    return stacked(await answers(wanted.map(({ label }) => label), model.value, how));
  }
  return { node, points, rows, calls: async (wanted) => [call(wanted.map(({ label }) => label), model.value)] };
}

/** Lines with their groups: the heading above, or what comes before a tab. */
function grouped(text) {
  let heading = "";
  const found = [];
  for (const line of text.split("\n")) {
    const [first, ...rest] = line.split("\t");
    if (line.startsWith("#")) heading = line.replace(/^#+/, "").trim();
    else if (rest.length && rest.join("").trim()) found.push({ groupName: first.trim(), label: rest.join(" ").trim() });
    else if (line.trim()) found.push({ groupName: heading, label: line.trim() });
  }
  return found;
}
