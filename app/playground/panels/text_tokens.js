/** The tokens of a text as they stand in it. */

const WORD_STARTS = /^[\u2581\u0120]/;
/** How SentencePiece and byte-level tokenizers write the space before a word. */
const FAR = 8;
/** A token that is not found within so many letters is written otherwise in the text (ligatures, other widths). */

/**
 * For each piece {starts: whether it begins a word, bare: the piece without that sign, shown: how the text has it}.
 * `pieces` are the tokenizer's, in order. What is not found in the text is shown as the tokenizer has it.
 */
export function placed(text, pieces) {
  const lower = text.toLowerCase();
  const whole = lower.length === text.length ? text : lower;
  let at = 0;
  return pieces.map((piece) => {
    const bare = piece.replace(WORD_STARTS, "");
    const found = bare ? lower.indexOf(bare.toLowerCase(), at) : -1;
    const isThere = found >= 0 && found - at <= FAR;
    if (isThere) at = found + bare.length;
    return { starts: bare !== piece, bare, shown: isThere ? whole.slice(found, at) : bare };
  });
}

/** How a token is named: a dot stands for the space before a word. */
export const tokenName = ({ starts, shown }) => `${starts ? "\u00b7" : ""}${shown}`;

/** The tokens in words: [[token, ...], ...]. */
export function words(tokens) {
  const list = [];
  for (const token of tokens) {
    if (token.starts || !list.length) list.push([]);
    list.at(-1).push(token);
  }
  return list;
}
