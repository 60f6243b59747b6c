/** Embeds pages in the background, in small requests, each page once for a model. */

import { sendForJson } from "./api.js";
import { formCall } from "./call.js";

const MOST_AT_ONCE = 8;
const LONG_MS = 1000;
/** A request that took longer is followed by a smaller one, so that the bar moves, one that did not by a larger one. */
const ABOUT_A_PAGE = [400, 413, 422];
/** Statuses that say that something is wrong with a page, not with the server. */

/** The call that embeds files; half precision halves the bytes and changes no score before the fourth digit. */
export const embedCall = (files, model) => formCall(
  "embed/images", files.map((file) => ["files", file]), { model, dtype: "float16", encoding_format: "base64" },
);

/**
 * Pages have an `id` and an `image` to send. `model()` is asked again and again, so that another model may be chosen at
 * any time. `onEmbedded(page, model, embedding)`, `onFailed(page, model, message)` and, whenever there is something
 * new to say, `onChange({embedded, failed, all, running, secondsLeft})` are called. An error of the server stops it; `status` shows it.
 */
export function pageEmbedder({ status, model, onEmbedded, onFailed, onChange }) {
  const pages = new Map();
  /** A model's name -> ids of the pages that need no more asking -> whether they are embedded. */
  const settled = new Map();
  let running = false;
  /** By the user or, until another model is chosen, by an error. */
  let [stopped, broken] = [false, false];
  let atOnce = 1;
  let msAPage = null;

  const missing = (name) => [...pages.values()].filter(({ id }) => !settled.get(name)?.has(id));

  function tell() {
    const done = [...settled.get(model())?.values() ?? []];
    const left = pages.size - done.length;
    const secondsLeft = running && msAPage !== null ? (left * msAPage) / 1000 : null;
    onChange({ embedded: done.filter(Boolean).length, failed: done.filter((good) => !good).length, all: pages.size, running, secondsLeft });
  }

  async function run() {
    tell();
    if (running || stopped || broken || !model() || !missing(model()).length) return;
    running = true;
    tell();
    const finished = await status.run("", async (signal) => {
      for (let some; (some = missing(model()).slice(0, atOnce)).length;) {
        const started = performance.now();
        await embed(model(), some, signal);
        pace(performance.now() - started, some.length);
        tell();
      }
      return true;
    });
    running = false;
    broken = !finished;
    tell();
  }

  function pace(took, n) {
    atOnce = took > LONG_MS ? Math.max(1, atOnce >> 1) : Math.min(MOST_AT_ONCE, atOnce * 2);
    msAPage = msAPage === null ? took / n : 0.7 * msAPage + (0.3 * took) / n;
  }

  async function embed(name, some, signal) {
    let answer;
    try {
      answer = await sendForJson(embedCall(some.map(({ image }) => image), name), { signal });
    } catch (problem) {
      if (!ABOUT_A_PAGE.includes(problem.status)) throw problem;
      if (some.length === 1) settle(name, some[0], false, () => onFailed(some[0], name, problem.message));
      // One of them is bad; alone it is named, and its neighbours are embedded.
      else for (const page of some) await embed(name, [page], signal);
      return;
    }
    some.forEach((page, place) => settle(name, page, true, () => onEmbedded(page, name, answer.embeddings[place])));
  }

  function settle(name, page, good, tellIt) {
    // It may have been removed meanwhile.
    if (!pages.has(page.id)) return;
    if (!settled.has(name)) settled.set(name, new Map());
    settled.get(name).set(page.id, good);
    tellIt();
  }

  return {
    add(page) {
      pages.set(page.id, page);
      return run();
    },
    remove(id) {
      pages.delete(id);
      for (const ids of settled.values()) ids.delete(id);
      tell();
    },
    /** Begin, or go on after a stop or an error. */
    go() {
      [stopped, broken] = [false, false];
      return run();
    },
    /** Another model is chosen. */
    wake() {
      broken = false;
      return run();
    },
    stop() {
      stopped = true;
      status.abort();
    },
  };
}
