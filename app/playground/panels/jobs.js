/** The fine-tuning jobs, newest first; the one that runs is followed as it goes. */

import { sendForEvents, sendForJson } from "../lib/api.js";
import { plainCall } from "../lib/call.js";
import { element } from "../lib/dom.js";
import { snippet } from "../lib/snippet.js";
import { status } from "../lib/status.js";
import { jobCard } from "./job_card.js";
import { forget, keepPairs, noteLoss } from "./job_memory.js";

const LIST = plainCall("training-jobs");
const AGAIN_MS = 3_000;
const ACTIVE = ["running", "pending"];

/**
 * `onModel()` is called when a job has made a model; `onSwitch(on)` when it is known whether this server trains;
 * `passagesAtHand()` gives pairs for jobs whose own are not known here.
 */
export function jobList({ onModel, onSwitch, passagesAtHand }) {
  const cards = new Map();
  let jobs = [];
  /** The job whose events are read: one at a time, since a browser opens few connections to a server. */
  let followed = null;
  let timer = null;

  const asking = status();
  const curl = snippet();
  const news = element("p", { role: "status", class: "hint" });
  const empty = element("p", { class: "hint", hidden: true }, "No jobs yet. Take the example pairs and start one: it takes less than a minute.");
  const list = element("div", { class: "stack" });
  const node = element("section", { class: "stack", "aria-labelledby": "jobs-title" },
    element("div", { class: "head" }, element("h2", { id: "jobs-title" }, "Fine-tuning jobs"), news), asking.node, empty, list, curl.node);
  curl.show(LIST);

  async function refresh() {
    clearTimeout(timer);
    const answer = await asking.run("", async (signal) => {
      try {
        return await sendForJson(LIST, { signal });
      } catch (error) {
        // In its own words: fine-tuning is switched off, or the models folder is another server's.
        if (error.status) onSwitch(false);
        // It did answer before, so that it may again.
        if (jobs.length && (error.status === 0 || error.status >= 500)) againSoon();
        throw error;
      }
    });
    if (!answer) return;
    onSwitch(true);
    show(answer.data.reverse());
    follow(jobs.findLast(({ status: state }) => state === "running") ?? jobs.findLast(({ status: state }) => state === "pending"));
  }

  function show(data) {
    for (const [id, card] of cards) {
      if (data.some((job) => job.id === id)) continue;
      card.node.remove();
      cards.delete(id);
    }
    data.forEach((job, place) => {
      if (!cards.has(job.id)) add(job, place);
      update(job);
    });
    jobs = data;
    empty.hidden = jobs.length > 0;
    for (const job of jobs) cards.get(job.id).offerTrial(isNewest(job));
  }

  function add(job, place) {
    const card = jobCard(job, { passagesAtHand, onCall: curl.show, onChanged: changed, onDeleted: deleted });
    card.node.open = place === 0 || ACTIVE.includes(job.status);
    cards.set(job.id, card);
    list.insertBefore(card.node, list.children[place] ?? null);
  }

  /** A later job may have put its own model in this one's place. */
  const isNewest = (job) => job.status === "completed"
    && job === jobs.find((other) => other.model_name === job.model_name && other.status === "completed");

  function update(job) {
    const before = cards.get(job.id).show(job);
    if (before === undefined || before === job.status) return;
    news.textContent = `${job.model_name}: ${job.status}. ${job.error ?? job.message}`;
    if (job.status === "completed") onModel();
  }

  async function follow(job) {
    if (job?.id === followed?.id) return;
    followed?.stop.abort();
    followed = job ? { id: job.id, stop: new AbortController() } : null;
    if (!job) return;
    const mine = followed;
    let last = job;
    try {
      for await (const now of sendForEvents(eventsOf(job.id), { signal: mine.stop.signal })) {
        last = now;
        noteLoss(now);
        if (cards.has(now.id)) update(now);
      }
    } catch (error) {
      if (error.name === "AbortError") return;
    }
    if (mine !== followed) return;
    followed = null;
    if (ACTIVE.includes(last.status)) againSoon();
    else refresh();
  }

  /** The stream broke, or the server is away for a moment: what was missed comes with the next answer. */
  function againSoon() {
    clearTimeout(timer);
    timer = setTimeout(refresh, AGAIN_MS);
  }

  function changed(job) {
    update(job);
    refresh();
  }

  function deleted(id) {
    forget(id);
    refresh().then(() => (list.querySelector("summary") ?? node).focus());
  }

  async function started(id, pairs) {
    if (pairs) keepPairs(id, pairs);
    curl.show(eventsOf(id));
    await refresh();
    cards.get(id)?.node.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }
  return { node, refresh, started };
}

const eventsOf = (id) => plainCall(`train-status/${id}/events`);
