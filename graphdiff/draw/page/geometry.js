/** Where everything is drawn, given which scopes are collapsed. */

const COLLAPSED = { width: 170, height: 69 };
const WIDEST_GAP = { x: 90, y: 48 };
const MARGIN = 10;
const HEAD = 18;

/** A scope and all that it is within, outermost first. */
export function ancestors(scope) {
  if (!scope) return [];
  const parts = scope.split("/");
  return parts.map((_, length) => parts.slice(0, length + 1).join("/"));
}

/** Every scope that a drawn node is in. */
export function scopesOf(graph) {
  const found = new Set();
  for (const node of graph.nodes) {
    if (!node.folded) for (const scope of ancestors(node.scope)) found.add(scope);
  }
  return [...found].sort();
}

/**
 * @param {import("./types").Graph} graph
 * @param {Set<string>} collapsed
 */
export function arrange(graph, collapsed) {
  /** @type {Map<string, import("./types").Item>} */
  const items = new Map();
  /** @type {Map<number, import("./types").Item>} */
  const itemOf = new Map();
  graph.nodes.forEach((node, place) => {
    if (node.folded) return;
    const hiding = ancestors(node.scope).find((scope) => collapsed.has(scope));
    const key = hiding === undefined ? `node ${place}` : `scope ${hiding}`;
    if (!items.has(key)) items.set(key, newItem(key, node, place, hiding));
    const item = items.get(key);
    item.members.push(place);
    itemOf.set(place, item);
  });
  for (const item of items.values()) if (item.node < 0) centre(graph, item);
  const [moveX, moveY] = collapsed.size ? squeezes([...items.values()]) : [(x) => x, (y) => y];
  for (const item of items.values()) {
    item.x = moveX(item.x);
    item.y = moveY(item.y);
  }
  const edges = joined(graph, itemOf, moveX, moveY);
  const frames = graph.layout === "graphviz" ? framesOf([...items.values()]) : [];
  return { items: [...items.values()], itemOf, edges, frames };
}

function newItem(key, node, place, hiding) {
  if (hiding !== undefined) return { key, node: -1, scope: hiding, members: [], x: 0, y: 0, ...COLLAPSED };
  const [x, y, width, height] = node.box;
  return { key, node: place, scope: node.scope, members: [], x, y, width, height };
}

/** Put a collapsed scope in the middle of the ops that it stands for, on the line that they lie on. */
function centre(graph, item) {
  const ops = item.members.filter((place) => graph.nodes[place].inputs.length);
  const boxes = (ops.length ? ops : item.members).map((place) => graph.nodes[place].box);
  const xs = boxes.map(([x]) => x);
  const ys = boxes.map(([, y]) => y);
  item.x = (Math.min(...xs) + Math.max(...xs)) / 2;
  item.y = (Math.min(...ys) + Math.max(...ys)) / 2;
}

/** Maps of x and of y that take out the empty room that collapsing leaves, and keep the order of all else. */
function squeezes(items) {
  return [
    squeeze(items.map((item) => [item.x - item.width / 2, item.x + item.width / 2]), WIDEST_GAP.x),
    squeeze(items.map((item) => [item.y - item.height / 2, item.y + item.height / 2]), WIDEST_GAP.y),
  ];
}

function squeeze(intervals, widest) {
  const sorted = [...intervals].sort((a, b) => a[0] - b[0]);
  /** @type {Array<{from: number, to: number, excess: number}>} */
  const gaps = [];
  let end = sorted[0][0];
  for (const [low, high] of sorted) {
    if (low - end > widest) gaps.push({ from: end, to: low, excess: low - end - widest });
    end = Math.max(end, high);
  }
  return (coordinate) => {
    let moved = coordinate;
    for (const { from, to, excess } of gaps) {
      if (coordinate <= from) break;
      moved -= (excess * (Math.min(coordinate, to) - from)) / (to - from);
    }
    return moved;
  };
}

/** The edges between items; those between two collapsed scopes are drawn as one. */
function joined(graph, itemOf, moveX, moveY) {
  /** @type {Map<string, import("./types").Line>} */
  const edges = new Map();
  /** How many edges lead from one box to another. @type {Map<string, number>} */
  const pairs = new Map();
  graph.edges.forEach((edge, number) => {
    const from = itemOf.get(edge.from);
    const to = itemOf.get(edge.to);
    if (from === to) return;
    const whole = from.node >= 0 && to.node >= 0;
    const key = whole ? `edge ${number}` : `${from.key} → ${to.key}`;
    if (!edges.has(key)) {
      const curve = whole && edge.curve.length ? edge.curve.map((c, k) => (k % 2 ? moveY(c) : moveX(c))) : own(from, to, graph.downwards);
      const pair = `${from.key} → ${to.key}`;
      pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
      edges.set(key, { key, from, to, curve, parts: [], whole, twin: false, forked: false });
    }
    edges.get(key).parts.push(number);
  });
  const leaving = new Map();
  for (const { from } of edges.values()) leaving.set(from, (leaving.get(from) ?? 0) + 1);
  for (const edge of edges.values()) {
    edge.twin = pairs.get(`${edge.from.key} → ${edge.to.key}`) > 1;
    edge.forked = leaving.get(edge.from) > 1;
  }
  return [...edges.values()];
}

/** A curve from one box to another: from right to left side, or from bottom to top. */
function own(from, to, downwards) {
  if (downwards) {
    const top = from.y + from.height / 2;
    const bottom = to.y - to.height / 2;
    const bow = Math.max(24, Math.abs(bottom - top) / 2);
    return [from.x, top, from.x, top + bow, to.x, bottom - bow, to.x, bottom];
  }
  const start = from.x + from.width / 2;
  const end = to.x - to.width / 2;
  const bend = Math.max(24, Math.abs(end - start) / 2);
  return [start, from.y, start + bend, from.y, end - bend, to.y, end, to.y];
}

/** The frames around what scopes hold, outer ones first. */
function framesOf(items) {
  /** @type {Map<string, import("./types").Frame>} */
  const frames = new Map();
  const widen = (scope, left, top, right, bottom) => {
    const frame = frames.get(scope) ?? { scope, left, top, right, bottom };
    frame.left = Math.min(frame.left, left);
    frame.top = Math.min(frame.top, top);
    frame.right = Math.max(frame.right, right);
    frame.bottom = Math.max(frame.bottom, bottom);
    frames.set(scope, frame);
  };
  for (const item of items) {
    const around = ancestors(item.scope);
    if (item.node < 0) around.pop();
    around.reverse().forEach((scope, outwards) => {
      const margin = MARGIN * (outwards + 1);
      const x = [item.x - item.width / 2 - margin, item.x + item.width / 2 + margin];
      const y = [item.y - item.height / 2 - margin - HEAD * (outwards + 1), item.y + item.height / 2 + margin];
      widen(scope, x[0], y[0], x[1], y[1]);
    });
  }
  return [...frames.values()].sort((a, b) => a.scope.length - b.scope.length);
}
