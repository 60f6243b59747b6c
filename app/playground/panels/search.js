/** Pages and a query: which page matches best. */

import { element, field } from "../lib/dom.js";
import { exampleFile, fileZone } from "../lib/files.js";
import { interpretCall } from "../lib/interpret.js";
import { maxsimPages } from "../lib/maxsim_pages.js";
import { modelSelect } from "../lib/models.js";
import { embedCall, pageEmbedder } from "../lib/page_embedder.js";
import { pageReader } from "../lib/page_reader.js";
import { pageSet } from "../lib/page_set.js";
import { queryCall, queryEmbedder } from "../lib/query_embedder.js";
import { snippet } from "../lib/snippet.js";
import { status } from "../lib/status.js";
import { searchMatch } from "./search_match.js";
import { problemList } from "./search_problems.js";
import { embeddingProgress } from "./search_progress.js";
import { searchResults } from "./search_results.js";
import { searchSummary } from "./search_summary.js";

const READS_PAGES = ["image:multi_vector", "text:multi_vector"];
const EXAMPLES = [
  ...["weather", "garden", "recipe", "timetable", "poster", "advert", "leaflet", "manual"].map((name) => `pages/${name}.png`),
  "report.pdf",
].map((name) => ({ name, open: () => exampleFile(name) }));

export function mount(panel) {
  const pages = pageSet();
  const scores = new Map();
  /** {model, text, query} that the scores belong to, or null. */
  let search = null;
  /** Whether the scores are those of the search before, which stay until the first new ones are here. */
  let stale = false;
  let opened = null;
  let drawing = false;

  const [reading, embedding, searching] = [status(), status(), status()];
  const curl = snippet();
  const problems = problemList();
  const summary = searchSummary();
  const vectors = maxsimPages(takeScores);
  const queries = queryEmbedder(searching);
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
  const examples = element("button", { type: "button", on: { click: () => read(EXAMPLES) } }, "Take the example pages");
  const browse = element("div", { class: "browse" }, results.node, match.node);

  panel.append(
    element("p", { class: "lead" }, "Which of many pages answers a query? The text on them is never read out: "
      + "pages are compared with the query as pictures, patch by patch and token by token."),
    element("div", { class: "beside" },
      element("div", { class: "card" },
        fileZone("Pages: pictures, PDFs, folders", (files) => read(files.map(asSource)), { multiple: true }),
        examples, reading.node, field("Model", model), progress.node, embedding.node, problems.node),
      element("div", { class: "stack" },
        element("form", { class: "card", role: "search", on: { submit: (event) => {
          event.preventDefault();
          find();
        } } },
        element("div", { class: "ask" }, field("Query", query), element("button", { class: "primary" }, "Search")),
        searching.node, summary.node, curl.node),
        browse)));

  function read(sources) {
    if (!search) find();
    reader.read(sources);
  }

  async function add(read, signal) {
    const page = await pages.add(read, signal);
    if (!page) return;
    results.add(page);
    embedder.add(page);
    draw();
  }

  function keep(page, name, embedded) {
    vectors.add(name, page.id, embedded);
    if (opened === page && search?.model === name) open(page);
  }

  async function find() {
    const found = await queries.embed(query.value.trim(), model.value);
    if (found === undefined) return;
    search = found;
    stale = true;
    if (!search) scores.clear();
    summary.compared(null);
    vectors.search(model.value, search?.query ?? null);
    if (opened) open(opened);
    draw();
  }

  function takeScores(some, milliseconds) {
    if (stale) scores.clear();
    stale = false;
    for (const [id, score] of some) if (pages.has(id)) scores.set(id, score);
    if (milliseconds !== null) summary.compared({ n: scores.size, milliseconds });
    draw();
  }

  /** Once a frame at most: scores come in their dozens. */
  function draw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      const order = results.rank(scores);
      summary.best(scores.size ? pages.get(order[0]).name : null, scores.size);
      if (opened) match.say(place(opened, order));
      showCalls();
    });
  }

  function place(page, order) {
    if (!search) return "";
    if (!scores.has(page.id)) return "Not embedded yet: the map follows.";
    return `Number ${order.indexOf(page.id) + 1} of ${scores.size}, MaxSim ${scores.get(page.id).toFixed(3)}`;
  }

  function showCalls() {
    const files = pages.files();
    if (!files.length) return;
    const calls = [embedCall(files, model.value)];
    if (search) calls.push(queryCall(search.text, search.model));
    if (search && opened) calls.push(interpretCall(opened, search));
    curl.show(...calls);
  }

  function open(page) {
    const another = opened !== page;
    opened = page;
    results.choose(page.id);
    browse.classList.add("open");
    match.open(page, search);
    draw();
    if (another) match.focus();
  }

  function close() {
    const { id } = opened;
    opened = null;
    results.choose(null);
    browse.classList.remove("open");
    match.close();
    results.focus(id);
  }

  function remove(page) {
    if (opened === page) close();
    pages.remove(page);
    scores.delete(page.id);
    embedder.remove(page.id);
    vectors.remove(page.id);
    results.remove(page.id);
    problems.remove(page.id);
    draw();
  }

  function clear() {
    reader.stop();
    pages.all().forEach(remove);
    embedder.go();
    problems.clear();
    // The button that was pressed is gone.
    examples.focus();
  }

  function changeModel() {
    problems.showFor(model.value);
    embedder.wake();
    if (pages.all().length) find();
  }
}

const asSource = (file) => ({ name: file.name, open: () => file });
