/** The steps of the three passes, in the order in which the engine takes them. */

/**
 * @param {import("./numbers.js").Numbers} numbers
 * @param {import("./types").Mode} mode
 * @returns {import("./types").Step[]}
 */
export function stepsOf(numbers, mode) {
  const { nodes } = numbers;
  const places = nodes.map((_, place) => place).filter((place) => !nodes[place].folded);
  if (mode === "value") return places.map((node) => ({ node, kind: "value" }));
  if (mode === "forward") {
    if (numbers.input < 0) return [];
    return places.filter((node) => nodes[node].smooth).map((node) => ({ node, kind: forwardKind(numbers, node) }));
  }
  if (numbers.output < 0) return [];
  const downwards = places.filter((node) => numbers.reached[node]).reverse();
  /** @type {import("./types").Step[]} */
  const pass = downwards.map((node) => ({ node, kind: nodes[node].inputs.length ? "push" : "complete" }));
  return [{ node: numbers.output, kind: "seed" }, ...pass];
}

/** @returns {import("./types").Step["kind"]} */
function forwardKind(numbers, node) {
  if (node === numbers.input) return "seed";
  return numbers.moved[node] ? "tangent" : "zero";
}

/**
 * What is known of every node after some steps: which step completed it, and each value its adjoint has taken.
 * @param {import("./numbers.js").Numbers} numbers
 * @param {import("./types").Mode} mode
 * @param {import("./types").Step[]} steps
 */
export function historyOf(numbers, mode, steps) {
  const done = new Map();
  /** @type {Map<number, Array<{step: number, value: import("./types").Value}>>} */
  const taken = new Map();
  const note = (node, step, value) => {
    if (!taken.has(node)) taken.set(node, []);
    taken.get(node).push({ step, value });
  };
  steps.forEach(({ node, kind }, step) => {
    if (mode !== "reverse" || kind !== "seed") done.set(node, step);
    if (mode !== "reverse") return;
    if (kind === "seed") note(node, step, numbers.adjoints[node]);
    numbers.pushes[node].forEach((push, position) => {
      if (kind === "push" && push) note(numbers.nodes[node].inputs[position], step, push.after);
    });
  });
  return { done, taken };
}

/**
 * The adjoint a node has after `position` steps of the reverse pass; undefined before anything was added to it.
 * @param {ReturnType<typeof historyOf>} history
 * @param {number} node
 * @param {number} position
 */
export function adjointAfter(history, node, position) {
  const all = history.taken.get(node) ?? [];
  let found;
  for (const { step, value } of all) {
    if (step >= position) break;
    found = value;
  }
  return found;
}
