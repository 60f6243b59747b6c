/** Pages and a query: which page matches best. */

import { sendForJson } from "../lib/api.js";
import { jsonCall } from "../lib/call.js";
import { element, field } from "../lib/dom.js";
import { exampleFile, fileZone } from "../lib/files.js";
import { maxsimPages } from "../lib/maxsim_pages.js";
import { modelSelect } from "../lib/models.js";
import { embedCall, pageEmbedder } from "../lib/page_embedder.js";
import { pageReader } from "../lib/page_reader.js";
import { snippet } from "../lib/snippet.js";
import { status } from "../lib/status.js";
import { thumbnailUrl } from "../lib/thumbnail.js";
import { interpretCall, searchMatch } from "./search_match.js";
import { embeddingProgress } from "./search_progress.js";
import { problemList } from "./search_problems.js";
import { searchResults } from "./search_results.js";

const READS_PAGES = ["image:multi_vector", "text:multi_vector"];
const EXAMPLES = [
  ...["weather", "garden", "recipe", "timetable", "poster", "advert", "leaflet", "manual"].map((name) => `pages/${name}.png`),
  "report.pdf",
].map((name) => ({ name, open: () => exampleFile(name) }));
const asSource = (file) => ({ name: file.name, open: () => file });

const SCORE = "The score is MaxSim: of each row of the query its best match on the page, summed up. Bars reach from the lowest to the highest.";

const queryCall = (text, model) => jsonCall("embed/queries", { queries: [text], model, encoding_format: "base64" });

export function mount(panel) {
  const pages = new Map();
  const scores = new Map();
  /** A model and a text -> the query's embedding. */
  const queries = new Map();
  /** {model, text, query} that the scores belong to. */
  let search = null;
  /** Whether scores are still those of the search before. */
  let stale = false;
  let opened = null;
  let lastId = 0;
  let drawn = true;

  const [reading, embedding, searching] = [status(), status(), status()];
  const curl = snippet();
  const problems = problemList();
  const best = element("p", { role: "status", class: "best" });
  const took = element("p", { class: "hint number", hidden: true });
  const vectors = maxsimPages(takeScores);
  const results = searchResults({ onOpen: open, onRemove: remove });
  const match = searchMatch(vectors, { onClose: close });
  const model = modelSelect(READS_PAGES, { onChange: changeModel });
  const embedder = pageEmbedder({
    status: embedding, model: () => model.value, onEmbedded: keep,
    onFailed: (page, name, message) => problems.add(page.name, message, { model: name, id: page.id }),
    onChange: (state) => progress.show(state, model.value),
  });
  const progress = embeddingProgress({ onStop: embedder.stop, onGo: embedder.go, onRemoveAll: clear });
  const reader = pageReader({ status: reading, onPage: add, onFailed: problems.add });
  const query = element("input", { type: "search", name: "query", value: "winter storm", required: true });
  const browse = element("div", { class: "browse" }, results.node, match.node);

  panel.append(
    element("p", { class: "lead" }, "Which of many pages answers a query? The text on them is never read out: "
      + "pages are compared with the query as pictures, patch by patch and token by token."),
    element("div", { class: "beside" },
      element("div", { class: "card" },
        fileZone("Pages: pictures, PDFs, folders", (files) => read(files.map(asSource)), { multiple: true }),
        element("button", { type: "button", on: { click: () => read(EXAMPLES) } }, "Take the example pages"),
        reading.node, field("Model", model), progress.node, embedding.node, problems.node),
      element("div", { class: "stack" },
        element("form", { class: "card", role: "search", on: { submit: (event) => {
          event.preventDefault();
          find();
        } } },
        element("div", { class: "ask" }, field("Query", query), element("button", { class: "primary" }, "Search")),
        searching.node, best, took, curl.node),
        browse)));

  function read(sources) {
    if (!search) find();
    reader.read(sources);
  }

  /** The same page of the same file is taken once. */
  async function add(read, signal) {
    const { name, size, lastModified } = read.file;
    const key = JSON.stringify([name, size, lastModified, read.number]);
    if ([...pages.values()].some((page) => page.key === key)) return URL.revokeObjectURL(read.url);
    const thumbnail = await thumbnailUrl(read);
    signal.throwIfAborted();
    lastId += 1;
    const page = { ...read, id: lastId, key, thumbnail };
    pages.set(page.id, page);
    results.add(page);
    embedder.add(page);
    draw();
  }

  function keep(page, name, embedded) {
    vectors.add(name, page.id, embedded);
    if (opened === page && search?.model === name) open(page);
  }

  async function find() {
    searching.abort();
    searching.show("");
    const [text, name] = [query.value.trim(), model.value];
    if (!text || !name) return take(null);
    const key = wanted();
    const answer = queries.get(key)
      ?? await searching.run("Embedding the query ...", (signal) => sendForJson(queryCall(text, name), { signal }));
    if (answer) queries.set(key, answer);
    else if (key !== wanted()) return;
    take(answer ? { model: name, text, query: answer.embeddings[0] } : null);
  }

  const wanted = () => JSON.stringify([model.value, query.value.trim()]);

  function take(newSearch) {
    search = newSearch;
    stale = search !== null;
    if (!search) scores.clear();
    took.textContent = SCORE;
    vectors.search(model.value, search?.query ?? null);
    if (opened) open(opened);
    draw();
  }

  function takeScores(some, milliseconds) {
    if (stale) scores.clear();
    stale = false;
    for (const [id, score] of some) if (pages.has(id)) scores.set(id, score);
    if (milliseconds !== null && scores.size) took.textContent = `${SCORE} Compared with ${count(scores.size)} in ${Math.ceil(milliseconds)} ms, here in the browser.`;
    draw();
  }

  /** Once a frame at most: scores come in their dozens. */
  function draw() {
    if (!drawn) return;
    drawn = false;
    requestAnimationFrame(() => {
      drawn = true;
      const order = results.rank(scores);
      const first = scores.size ? pages.get(order[0]) : null;
      const said = first ? `Best of ${count(scores.size)}: ${first.name}` : "";
      took.hidden = !first;
      if (best.textContent !== said) best.textContent = said;
      if (opened) match.say(describe(opened, order));
      showCalls();
    });
  }

  function describe(page, order) {
    if (!search) return "";
    if (!scores.has(page.id)) return "Not embedded yet: the map follows.";
    return `Number ${order.indexOf(page.id) + 1} of ${scores.size}, MaxSim ${scores.get(page.id).toFixed(3)}`;
  }

  function showCalls() {
    if (!pages.size) return;
    const files = [...new Set([...pages.values()].map(({ file }) => file))];
    const calls = [embedCall(files, model.value)];
    if (search) calls.push(queryCall(search.text, search.model));
    if (search && opened) calls.push(interpretCall(opened, search));
    curl.show(...calls);
  }

  function open(page, { focus = opened !== page } = {}) {
    opened = page;
    results.choose(page.id);
    browse.classList.add("open");
    match.open(page, search, "");
    draw();
    if (focus) match.focus();
  }

  function close() {
    opened = null;
    results.choose(null);
    browse.classList.remove("open");
    match.close();
  }

  function remove(page) {
    if (opened === page) close();
    forget(page);
    embedder.remove(page.id);
    vectors.remove(page.id);
    results.remove(page.id);
    problems.remove(page.id);
    draw();
  }

  function forget(page) {
    pages.delete(page.id);
    scores.delete(page.id);
    URL.revokeObjectURL(page.thumbnail);
    URL.revokeObjectURL(page.url);
  }

  function clear() {
    reader.stop();
    for (const page of [...pages.values()]) remove(page);
    problems.clear();
  }

  function changeModel() {
    problems.showFor(model.value);
    embedder.wake();
    if (pages.size) find();
  }
}

const count = (n) => `${n} page${n === 1 ? "" : "s"}`;
