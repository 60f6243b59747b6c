/** Sparse vectors: which tokens of two texts count how much, and which they share. */

import { element, uniqueId } from "../lib/dom.js";
import { tokenName, words } from "./text_tokens.js";

/** {score, shared: [{token, left, right, product}]}, largest product first: sparse vectors are {token: weight}. */
export function sparseMatch(left, right) {
  const shared = Object.keys(left).filter((token) => token in right)
    .map((token) => ({ token, left: left[token], right: right[token], product: left[token] * right[token] }))
    .sort((one, other) => other.product - one.product);
  return { score: shared.reduce((sum, { product }) => sum + product, 0), shared };
}

/** `sides` are two of {title, tokens: of text_tokens.js, sparse}. */
export function sparseCard(sides, { score, shared }) {
  const heaviest = Math.max(...sides.flatMap(({ sparse }) => Object.values(sparse)), 1e-9);
  const both = new Set(shared.map(({ token }) => token));
  return element("section", { class: "card" },
    element("h2", {}, "Sparse: how much each token counts"),
    element("p", { class: "hint" }, "The weight is below each token, the darker the heavier; a line marks tokens of both texts. "
      + "A token that occurs twice has its highest weight."),
    element("div", { class: "columns" }, sides.map((side) => weighted(side, heaviest, both))),
    shared.length
      ? contributions(shared, score)
      : element("p", {}, "The texts share no token, so that their sparse score is 0."));
}

/** A text with the weights of its tokens; weights of tokens that are not in it come last. */
function weighted({ title, tokens, sparse }, heaviest, both) {
  const known = new Set(tokens.map(({ bare }) => bare));
  const others = Object.entries(sparse)
    .filter(([token]) => !known.has(token))
    .sort(([, one], [, other]) => other - one);
  const show = (token) => weightedToken(token, sparse[token.bare] ?? 0, heaviest, both.has(token.bare));
  return element("div", {},
    element("h3", {}, title),
    element("p", { class: "weighted" },
      words(tokens).flatMap((word) => [element("span", { class: "word" }, word.map(show)), " "])),
    others.length ? element("p", { class: "weighted" }, "and ",
      others.flatMap(([token]) => [show({ bare: token, shown: token, starts: false }), " "])) : null);
}

function weightedToken({ shown }, weight, heaviest, isShared) {
  return element("span", { class: isShared ? "token shared" : "token", style: { "--share": weight / heaviest } },
    element("span", {}, shown || "\u00b7"),
    element("small", { class: "number" }, weight ? weight.toFixed(2) : "\u2013"));
}

/** Where the score comes from. */
function contributions(shared, score) {
  const largest = shared[0].product;
  const title = element("h3", { id: uniqueId("contributions") }, "What both texts have");
  const head = ["Token", "Query", "Passage", "Product"].map((name, index) =>
    element("th", { scope: "col", class: index ? "number" : null }, name));
  const line = ({ token, left, right, product }) => element("tr", {},
    element("th", { scope: "row" }, tokenName({ shown: token, starts: !token })),
    [left, right, product].map((value) => element("td", { class: "number" }, value.toFixed(3))),
    element("td", { class: "wide" }, element("div", { class: "measure", style: { "--share": product / largest } })));
  const sum = element("tr", {},
    element("th", { scope: "row", colspan: 3 }, "Sum"),
    element("td", { class: "number" }, score.toFixed(3)), element("td"));
  return element("div", {}, title,
    element("p", { class: "hint" }, "The products of the weights add up to the score."),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": title.id },
      element("table", { class: "contributions", "aria-labelledby": title.id },
        element("thead", {}, element("tr", {}, head, element("td"))),
        element("tbody", {}, shared.map(line)),
        element("tfoot", {}, sum))));
}
