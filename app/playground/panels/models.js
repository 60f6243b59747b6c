/** What is served, and fine-tuning: a job from pairs to a model that is tried. */

import { element } from "../lib/dom.js";
import { models } from "../lib/models.js";
import { jobList } from "./jobs.js";
import { serverFacts } from "./server_facts.js";
import { servedModels } from "./served_models.js";
import { trainingForm } from "./training_form.js";

const POLL_MS = 10_000;
const POLL_WHILE_LOADING_MS = 1_000;

export function mount(panel) {
  const facts = serverFacts();
  const served = servedModels({ onChange: (list) => facts.show(list) });
  const jobs = jobList({
    onModel: () => models.refresh(),
    passagesAtHand: () => form.pairs(),
    onSwitch: (on) => { form.node.hidden = !on; },
  });
  const form = trainingForm({ onStarted: (id, pairs) => jobs.started(id, pairs) });

  panel.append(
    element("p", { class: "lead" }, "The models that this server has, and your own: show one what your people search for and what answers it, and watch it learn."),
    facts.node, served.node,
    element("div", { class: "training beside" }, form.node, jobs.node));

  /** Asks while somebody looks, often while something changes. */
  async function watch() {
    if (panel.checkVisibility() && !document.hidden) {
      await Promise.all([facts.refresh(), served.refresh()]);
      // Others start jobs, too; where there can be none it has been said why.
      if (!form.node.hidden) await jobs.refresh();
    }
    setTimeout(watch, served.isChanging() ? POLL_WHILE_LOADING_MS : POLL_MS);
  }
  const look = () => {
    facts.refresh();
    served.refresh();
    jobs.refresh();
  };
  // Whenever the panel is opened again: other panels load models, too.
  new IntersectionObserver(([entry]) => entry.isIntersecting && look()).observe(facts.node);
  models.addEventListener("change", look);
  watch();
}
