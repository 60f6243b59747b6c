/** Pages and pictures for the map. */

import { sendForJson } from "../lib/api.js";
import { FileContent, formCall, jsonCall } from "../lib/call.js";
import { element, field } from "../lib/dom.js";
import { exampleFile, fileZone } from "../lib/files.js";
import { keptAnswers } from "../lib/kept_answers.js";
import { models, modelSelect } from "../lib/models.js";
import { pageReader } from "../lib/page_reader.js";
import { status, UserError } from "../lib/status.js";
import { thumbnailUrl } from "../lib/thumbnail.js";
import { atUnitLength, decoded, stacked, taken } from "../lib/vectors.js";

const EXAMPLES = [
  ...["weather", "garden", "recipe", "timetable", "poster", "advert", "leaflet", "manual"].map((name) => `pages/${name}.png`),
  "page.png", "report.pdf", "picture.png", "lighthouse.png",
].map((name) => ({ name, open: () => exampleFile(name) }));
const AT_ONCE = 2;
const MOST_PATCHES = 1024;
/** Of a picture that becomes one vector: a quarter of what DINOv3 would read, and much quicker. */
const WHOLE_PAGE = { pooling: "grid", pool_factor: 1024 };
/** One block of patches, which is larger than any page. */

/** As map_texts.js; `onChange()` is called when there are other pages. Points have a `url` too. */
export function mapPages({ onChange }) {
  const pages = new Map();
  const reading = status();
  const count = element("p", { class: "hint", role: "status" });
  const problems = element("ul", { class: "error", hidden: true });
  const model = modelSelect(["image:multi_vector"], { onChange, prefer: ({ family }) => family === "dinov3" });
  const reader = pageReader({ status: reading, onPage: add, onFailed: (name, message) => {
    problems.append(element("li", {}, `${name}: ${message}`));
    problems.hidden = false;
  } });
  const node = element("div", { class: "stack tight" },
    fileZone("Pages and pictures", (files) => reader.read(files.map(asSource)), { multiple: true }),
    element("div", { class: "bar" },
      element("button", { type: "button", on: { click: () => reader.read(EXAMPLES) } }, "Take the examples"),
      element("button", { type: "button", on: { click: clear } }, "Remove all")),
    reading.node, problems, count,
    field("Model", model, "A page with a vector for each patch becomes their mean; DINOv3 has a vector for the whole."));
  const answers = keptAnswers(ask, { size: AT_ONCE });

  async function add(page) {
    const { name, size, lastModified } = page.file;
    const same = JSON.stringify([name, size, lastModified, page.number]);
    if ([...pages.values()].some((other) => other.same === same)) {
      URL.revokeObjectURL(page.url);
      return;
    }
    const url = await thumbnailUrl(page);
    // From here on it is a name, which no other page has.
    URL.revokeObjectURL(page.url);
    const groupName = page.nPages > 1 ? page.file.name : "single";
    pages.set(page.url, { page, same, point: { key: page.url, label: page.name.replace(/^.*\//, ""), groupName, url } });
    told();
  }

  function clear() {
    reader.stop();
    for (const { point } of pages.values()) URL.revokeObjectURL(point.url);
    pages.clear();
    problems.replaceChildren();
    problems.hidden = true;
    told();
  }

  function told() {
    count.textContent = pages.size ? `${pages.size} pages and pictures` : "";
    onChange();
  }

  function points() {
    if (pages.size < 2) throw new UserError("Add two pages or pictures, or more.");
    return [...pages.values()].map(({ point }) => point);
  }

  async function ask(keys, name, signal) {
    const images = keys.map((key) => pages.get(key).page.image);
    if (await seesWholes(name)) {
      const answer = await sendForJson(await wholeCall(images, name), { signal });
      return answer.map((each) => decoded(each.cls_token));
    }
    const { embeddings } = await sendForJson(pooledCall(images, name), { signal });
    return embeddings.map((each) => taken(decoded(each.embedding), [each.image_patch_start]));
  }

  async function calls(wanted) {
    const images = wanted.map(({ key }) => pages.get(key).page.image);
    return [await (await seesWholes(model.value) ? wholeCall : pooledCall)(images, model.value)];
  }

  async function rows(wanted, how) {
    return atUnitLength(stacked(await answers(wanted.map(({ key }) => key), model.value, how)));
  }
  return { node, points, rows, calls };
}

const asSource = (file) => ({ name: file.name, open: () => file });

/** Whether a model has a vector for a whole picture. */
async function seesWholes(name) {
  const all = await models.all();
  return all.find(({ id }) => id === name).capabilities.includes("image:dense");
}

const pooledCall = (images, name) => formCall(
  "embed/images", images.map((image) => ["files", image]), { model: name, ...WHOLE_PAGE, encoding_format: "base64" },
);

const wholeCall = async (images, name) => jsonCall("predict", {
  image_data: await Promise.all(images.map(FileContent.of)),
  model: name, embedding_types: ["cls_token"], max_visual_tokens: MOST_PATCHES, encoding_format: "base64",
});
