/** Numbers and names as text. */

const DIGITS = 6;
const LONGEST = 30;
const IN_A_LINE = 4;

/**
 * A number with six significant digits and a proper minus sign.
 * @param {number} x
 * @returns {string}
 */
export function number(x) {
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  const plain = size < 1e6 && size >= 1e-4;
  const text = plain ? String(Number(x.toPrecision(DIGITS))) : Number(x.toPrecision(DIGITS)).toExponential();
  return text.replace(/-/g, "−").replace("e+", "e");
}

/**
 * A value in one line: a scalar as a number, a small array in full, a large one by its range.
 * @param {import("./types").Value | null} value
 * @returns {string}
 */
export function brief(value) {
  if (!value) return "";
  const { data } = value;
  if (data) {
    if (value.shape.length === 0) return number(data[0]);
    if (data.length <= IN_A_LINE) return `[${Array.from(data, rough).join(", ")}]`;
    let [low, high, lost] = [Infinity, -Infinity, 0];
    for (const each of data) {
      if (Number.isFinite(each)) {
        low = Math.min(low, each);
        high = Math.max(high, each);
      } else {
        lost += 1;
      }
    }
    return range(low, high, lost);
  }
  return range(value.min ?? Infinity, value.max ?? -Infinity, value.size - value.finite);
}

function rough(x) {
  return number(Number(x.toPrecision(3)));
}

function range(low, high, lost) {
  if (low > high) return "nothing finite";
  const text = low === high ? `all ${rough(low)}` : `${rough(low)} … ${rough(high)}`;
  return lost ? `${text}, ${lost.toLocaleString("en")} not finite` : text;
}

/**
 * Text cut to a number of characters, on one line, the cut marked.
 * @param {string} text
 * @param {number} [limit]
 * @returns {string}
 */
export function clip(text, limit = LONGEST) {
  const characters = Array.from(text.replace(/\s+/g, " "));
  return characters.length <= limit ? characters.join("") : `${characters.slice(0, limit - 1).join("")}…`;
}

/**
 * Put names or numbers where an expression has private characters for operands and output.
 * @param {string} template
 * @param {(position: number) => string} operand
 * @param {string} out
 * @returns {string}
 */
export function fill(template, operand, out) {
  return template.replace(/[\ue000-\ue0ff]/g, (mark) => {
    const text = mark === "\ue0ff" ? out : operand(mark.charCodeAt(0) - 0xe000);
    return text.startsWith("−") && template.length > 1 ? `(${text})` : text;
  });
}

/**
 * A factor or summand: in parentheses where it starts with a minus sign.
 * @param {string} text
 * @returns {string}
 */
export function inside(text) {
  return text.startsWith("−") ? `(${text})` : text;
}

/**
 * "3 × 4", of a vector "(3,)", or "scalar".
 * @param {number[]} shape
 * @returns {string}
 */
export function shapeText(shape) {
  if (shape.length === 1) return `(${shape[0]},)`;
  return shape.length ? shape.join(" × ") : "scalar";
}
