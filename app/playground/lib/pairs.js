/** Training pairs in a text. */

/**
 * The pairs as the server reads them: a line each, `nParts` parts between tabs, none of them empty. Other lines that are
 * not blank are ignored: {number, line, nParts}.
 */
export function readPairs(text, nParts) {
  const pairs = [];
  const ignored = [];
  text.split(/\r\n|\r|\n/).forEach((line, index) => {
    const parts = line.split("\t").map((part) => part.trim());
    if (parts.length === nParts && parts.every(Boolean)) pairs.push(parts);
    else if (line.trim()) ignored.push({ number: index + 1, line, nParts: parts.length, empty: !parts.every(Boolean) });
  });
  return { pairs, ignored };
}

/** True if most lines have a third part, a passage that looks right and is not. */
export const hasNegatives = (text) => readPairs(text, 3).pairs.length > readPairs(text, 2).pairs.length;
