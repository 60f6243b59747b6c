/** One fine-tuning job: where it is, how it learns, what came of it. */

import { send, sendForJson } from "../lib/api.js";
import { badge } from "../lib/badge.js";
import { plainCall } from "../lib/call.js";
import { lineChart } from "../lib/chart.js";
import { confirmButton } from "../lib/confirm.js";
import { element } from "../lib/dom.js";
import { status } from "../lib/status.js";
import { counted, duration, short } from "../lib/units.js";
import { jobFigures } from "./job_figures.js";
import { lossesOf } from "./job_memory.js";
import { trial } from "./trial.js";

const METHODS = { full: "every weight", lora: "LoRA", qlora: "Q-LoRA" };
const RESUMABLE = ["failed", "cancelled", "interrupted"];
const TEXT_FAMILIES = ["e5", "bge-m3"];

/** `show(job)` gives the status before, undefined the first time. `onCall(call)` hears what is sent. */
export function jobCard({ id, model_name: name, created_at: created }, { passagesAtHand, onCall, onChanged, onDeleted }) {
  let job = null;
  let tried = null;

  const working = status();
  const state = badge();
  const glance = element("span", { class: "hint number" });
  const since = element("time", { class: "hint" }, new Date(created * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" }));
  const origin = element("p", { class: "hint" });
  const bar = element("progress", { max: "100", "aria-label": `Progress of ${name}` });
  const message = element("p");
  const failure = element("p", { class: "error", hidden: true });
  const facts = element("dl", { class: "facts" });
  const losses = lineChart({ label: "Loss", xName: "step", yName: "loss" });
  const unseen = element("p", { class: "hint" }, "The loss is drawn while a job is watched; this one was not, in this tab.");
  const figures = jobFigures();
  const text = element("pre", { tabindex: "0", "aria-label": `Log of ${name}` });
  const log = element("details", { on: { toggle: () => log.open && readLog() } }, element("summary", {}, "Log"), text);
  const cancel = button("Cancel", () => change("cancel", "Cancelling ..."));
  const resume = button("Resume", () => change("resume", "Resuming ..."));
  const dropPairs = confirmButton("Delete dataset", "Delete what it was trained on? It cannot be resumed then.", () => erase("/dataset"));
  const drop = confirmButton("Delete job", "Forget this job? A model that it made stays.", () => erase(""));
  const place = element("div");
  const node = element("details", { class: "card job" },
    element("summary", {}, element("span", { class: "head" }, element("strong", {}, name), state.node, glance, since)),
    origin, bar, message, failure, facts,
    element("div", { class: "learned" }, losses.node, unseen, figures.node), place,
    element("div", { class: "bar" }, cancel, resume, dropPairs, drop), working.node, log);

  function show(now) {
    const before = job?.status;
    job = now;
    const ended = job.finished_at !== null;
    state.show(job.status);
    glance.textContent = job.status === "running" ? `${Math.round(job.progress)} %` : recall(job.figures);
    origin.textContent = `${job.base_model}, ${METHODS[job.method]}, ${counted(job.n_pairs, "pair")}${job.dataset_deleted ? " (deleted)" : ""}`;
    bar.hidden = ended && job.status === "completed";
    bar.value = job.progress;
    message.textContent = job.message;
    message.hidden = Boolean(job.error);
    failure.textContent = job.error ?? "";
    failure.hidden = !job.error;
    showFacts(ended);
    losses.show(lossesOf(id), { end: job.n_steps ?? 0 });
    unseen.hidden = !ended || !job.n_steps || !losses.node.hidden;
    figures.show(job.figures);
    cancel.hidden = !["pending", "running", "interrupted"].includes(job.status);
    resume.hidden = !RESUMABLE.includes(job.status) || job.dataset_deleted;
    dropPairs.hidden = !ended || job.dataset_deleted;
    drop.hidden = !ended;
    if (before && before !== job.status && job.status === "running") node.open = true;
    return before;
  }

  function showFacts(ended) {
    const values = {
      Step: job.n_steps && `${job.steps} of ${job.n_steps}`, Epoch: job.n_steps && short(job.epoch),
      Loss: job.loss !== null && short(job.loss), "Learning rate": !ended && job.learning_rate !== null && short(job.learning_rate),
      "Pairs a second": job.examples_per_second && short(job.examples_per_second),
      "Time left": !ended && job.seconds_left !== null && duration(job.seconds_left),
      "Took": ended && job.started_at && duration(job.finished_at - job.started_at),
    };
    facts.replaceChildren(...Object.entries(values).filter(([, value]) => value).map(([what, value]) =>
      element("div", {}, element("dt", {}, what), element("dd", { class: "number" }, value))));
  }

  async function change(verb, words) {
    const call = plainCall(`training-jobs/${id}/${verb}`, "POST");
    onCall(call);
    const answer = await working.run(words, (signal) => sendForJson(call, { signal }));
    if (!answer) return;
    onChanged(answer);
    // The button that was pressed is gone.
    [cancel, resume].find((other) => !other.hidden)?.focus();
  }

  async function erase(what) {
    const call = plainCall(`training-jobs/${id}${what}`, "DELETE");
    onCall(call);
    const answer = await working.run("Deleting ...", (signal) => sendForJson(call, { signal }));
    if (!answer) return;
    if (what) {
      onChanged(answer);
      drop.querySelector("button").focus();
    } else onDeleted(id);
  }

  async function readLog() {
    const call = plainCall(`training-jobs/${id}/log`);
    onCall(call);
    const printed = await working.run("", async (signal) => (await send(call, { signal })).text());
    if (printed !== undefined) text.textContent = withoutColors(printed) || "The trainer printed nothing.";
  }

  /** A search box, once the model is there and as long as it is this job's. */
  function offerTrial(offered) {
    if (offered && !tried) {
      tried = TEXT_FAMILIES.includes(job.family) ? trial(job, { passagesAtHand }) : element("p", { class: "hint" },
        "Try it on pages: ", element("a", { href: "#search" }, "Search pages"), " offers it now.");
      place.append(tried);
    }
    place.hidden = !offered;
  }
  return { node, show, offerTrial };
}

/** What came of it, in a word. */
function recall({ before, after }) {
  return before && after ? `recall@1 ${before["recall@1"].toFixed(2)} \u2192 ${after["recall@1"].toFixed(2)}` : "";
}

const button = (label, onClick) => element("button", { type: "button", on: { click: onClick } }, label);

/** Libraries print for terminals. */
const withoutColors = (text) => text.replaceAll(/\u001b\[[\d;]*m/g, "");
