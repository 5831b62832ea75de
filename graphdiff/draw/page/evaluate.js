/**
 * Runs the programs that the graph's ops were written out as. Only functions are here, no derivative: derivatives are
 * programs too, made by the engine's own rules.
 */

const LOG_2 = Math.LN2;

/** Softplus of -|x - y| added to the larger: no overflow. */
function logaddexp(x, y) {
  if (x === y) return x + LOG_2;
  return Math.max(x, y) + Math.log1p(Math.exp(-Math.abs(x - y)));
}

function roundHalfToEven(x) {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

function remainder(x, y) {
  const rest = x % y;
  return rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest;
}

function maximum(x, y) {
  return Number.isNaN(x) || Number.isNaN(y) ? NaN : Math.max(x, y);
}

function minimum(x, y) {
  return Number.isNaN(x) || Number.isNaN(y) ? NaN : Math.min(x, y);
}

/** Functions of single elements. */
export const ELEMENTWISE = {
  positive: (x) => x,
  negative: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  square: (x) => x * x,
  sqrt: Math.sqrt,
  reciprocal: (x) => 1 / x,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  log2: Math.log2,
  log10: Math.log10,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  asinh: Math.asinh,
  acosh: Math.acosh,
  atanh: Math.atanh,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfToEven,
  trunc: Math.trunc,
  isnan: (x) => Number(Number.isNaN(x)),
  isfinite: (x) => Number(Number.isFinite(x)),
  isinf: (x) => Number(x === Infinity || x === -Infinity),
  logical_not: (x) => Number(!x),
  add: (x, y) => x + y,
  subtract: (x, y) => x - y,
  multiply: (x, y) => x * y,
  divide: (x, y) => x / y,
  power: (x, y) => (x === 1 ? 1 : x ** y),
  maximum,
  minimum,
  atan2: Math.atan2,
  hypot: Math.hypot,
  logaddexp,
  floor_divide: (x, y) => Math.floor(x / y),
  remainder,
  equal: (x, y) => Number(x === y),
  not_equal: (x, y) => Number(x !== y),
  less: (x, y) => Number(x < y),
  less_equal: (x, y) => Number(x <= y),
  greater: (x, y) => Number(x > y),
  greater_equal: (x, y) => Number(x >= y),
  logical_and: (x, y) => Number(Boolean(x) && Boolean(y)),
  logical_or: (x, y) => Number(Boolean(x) || Boolean(y)),
  logical_xor: (x, y) => Number(Boolean(x) !== Boolean(y)),
  bitwise_and: (x, y) => x & y,
  bitwise_or: (x, y) => x | y,
  bitwise_xor: (x, y) => x ^ y,
  where: (condition, x, y) => (condition ? x : y),
};

/** Functions of whole arrays: of the operands, the instruction's last entry, and the output's shape. */
export const WHOLE = {
  constant: (_operands, data) => data.map(Number),
  linear: sparseProduct,
  matmul: matrixProduct,
  max: ([operand], { axis }) => extreme(operand, axis, maximum),
  min: ([operand], { axis }) => extreme(operand, axis, minimum),
};

const CASTS = {
  single: Math.fround,
  integer: Math.trunc,
  boolean: (x) => Number(Boolean(x)),
};

/** Add up the products of sparse matrices, one for each operand, with the operands. */
function sparseProduct(operands, matrices, shape) {
  const sum = new Float64Array(sizeOf(shape));
  matrices.forEach(([rows, columns, entries], place) => {
    const { data } = operands[place];
    rows.forEach((row, k) => {
      sum[row] += entries.length ? entries[k] * data[columns[k]] : data[columns[k]];
    });
  });
  return sum;
}

function matrixProduct([left, right], _extra, shape) {
  const rank = Math.max(left.shape.length, right.shape.length, 2);
  const a = left.shape.length === 1 ? [1, left.shape[0]] : left.shape;
  const b = right.shape.length === 1 ? [right.shape[0], 1] : right.shape;
  const [rows, inner] = a.slice(-2);
  const columns = b[b.length - 1];
  const stack = shape.slice(0, rank - 2);
  const product = new Float64Array(sizeOf(shape));
  const lefts = placesIn(stack, a.slice(0, -2));
  const rights = placesIn(stack, b.slice(0, -2));
  for (let layer = 0; layer < sizeOf(stack); layer += 1) {
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        let sum = 0;
        for (let k = 0; k < inner; k += 1) {
          const factor = left.data[(lefts(layer) * rows + row) * inner + k];
          sum += factor * right.data[(rights(layer) * inner + k) * columns + column];
        }
        product[(layer * rows + row) * columns + column] = sum;
      }
    }
  }
  return product;
}

function extreme(operand, axes, better) {
  const kept = operand.shape.map((length, axis) => (axes.includes(axis) ? 1 : length));
  const result = new Float64Array(sizeOf(kept));
  const place = placesIn(operand.shape, kept);
  const seen = new Uint8Array(result.length);
  for (let k = 0; k < operand.data.length; k += 1) {
    const target = place(k);
    result[target] = seen[target] ? better(result[target], operand.data[k]) : operand.data[k];
    seen[target] = 1;
  }
  return result;
}

/** @param {number[]} shape */
export function sizeOf(shape) {
  return shape.reduce((product, length) => product * length, 1);
}

/**
 * Where the elements of an array of `shape` are in one of shape `own` that broadcasts to it.
 * @param {number[]} shape
 * @param {number[]} own
 * @returns {(place: number) => number}
 */
function placesIn(shape, own) {
  const size = sizeOf(own);
  if (size === 1) return () => 0;
  if (size === sizeOf(shape)) return (place) => place;
  return (place) => {
    let rest = place;
    let found = 0;
    let stride = 1;
    for (let axis = 1; axis <= shape.length; axis += 1) {
      const length = shape[shape.length - axis];
      const ownLength = axis <= own.length ? own[own.length - axis] : 1;
      if (ownLength !== 1) found += stride * (rest % length);
      stride *= ownLength;
      rest = Math.floor(rest / length);
    }
    return found;
  };
}

function elementwise(compute, operands, shape) {
  const result = new Float64Array(sizeOf(shape));
  const places = operands.map((operand) => placesIn(shape, operand.shape));
  for (let k = 0; k < result.length; k += 1) {
    result[k] = compute(...operands.map((operand, position) => operand.data[places[position](k)]));
  }
  return result;
}

/**
 * Run a program.
 * @param {import("./types").Program} program
 * @param {import("./types").Value[]} operands the first registers
 * @returns {import("./types").Value}
 */
export function run(program, operands) {
  const registers = [...operands];
  for (const [name, from, shape, cast, extra] of program.code) {
    const read = from.map((register) => registers[register]);
    let data = WHOLE[name] ? WHOLE[name](read, extra, shape) : elementwise(ELEMENTWISE[name], read, shape);
    if (cast) data = data.map(CASTS[cast]);
    registers.push({ shape, data });
  }
  return registers[program.result];
}
