/** Vectors as the API writes them for encoding_format=base64: {data, dtype, shape}. docs/wire-formats.md. */

/** {values: Float32Array row by row, rows, dim}. Throws TypeError for a dtype other than float16 and float32. */
export function matrix({ data, dtype, shape: [rows, dim] }) {
  const { buffer } = bytes(data);
  if (dtype === "float32") return { values: new Float32Array(buffer), rows, dim };
  if (dtype !== "float16") throw new TypeError(`no reader of ${dtype}`);
  singles ??= allSingles();
  return { values: Float32Array.from(new Uint16Array(buffer), (half) => singles[half]), rows, dim };
}

function bytes(base64) {
  const text = atob(base64);
  const array = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) array[at] = text.charCodeAt(at);
  return array;
}

/** Browsers' own Float16Array is too young; there are only 65,536 half-precision numbers. */
let singles = null;

function allSingles() {
  return Float32Array.from({ length: 1 << 16 }, (_, half) => {
    const sign = half >> 15 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}
