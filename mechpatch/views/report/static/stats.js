// The estimates of mechpatch.stats for what a reader picks out: BCa bootstrap over pairs, sign flips, false discoveries.
// Same definitions, other random numbers: limits differ by what 2,000 resamples leave open.
const RESAMPLES = 2000;
const FLIPS = 9999;

function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const drawn = new Map();
// How often each of n pairs is in each resample.
function resamples(n) {
  if (!drawn.has(n)) {
    const random = randomNumbers(n);
    const counts = new Float64Array(RESAMPLES * n);
    for (let draw = 0; draw < RESAMPLES; draw++) {
      for (let at = 0; at < n; at++) counts[draw * n + Math.floor(random() * n)]++;
    }
    drawn.set(n, counts);
  }
  return drawn.get(n);
}

const flipped = new Map();
// Every pattern of signs of n pairs where there are few enough, else random ones.
function signs(n) {
  if (!flipped.has(n)) {
    const exact = 2 ** n <= FLIPS;
    const rows = exact ? 2 ** n : FLIPS;
    const random = randomNumbers(n + 1);
    const pattern = new Int8Array(rows * n);
    for (let row = 0; row < rows; row++) {
      for (let at = 0; at < n; at++) {
        pattern[row * n + at] = (exact ? (row >> at) & 1 : random() < 0.5) ? -1 : 1;
      }
    }
    flipped.set(n, { exact, rows, pattern });
  }
  return flipped.get(n);
}

function definedIn(values, rows, cells, cell) {
  const found = [];
  for (const row of rows) {
    const value = values[row * cells + cell];
    if (!Number.isNaN(value)) found.push(value);
  }
  return found;
}

function estimate(values, rows, cells) {
  const table = Object.fromEntries(["mean", "low", "high", "n"].map((name) => [name, new Float64Array(cells).fill(NaN)]));
  for (let cell = 0; cell < cells; cell++) {
    const found = definedIn(values, rows, cells, cell);
    table.n[cell] = found.length;
    if (!found.length) continue;
    const mean = found.reduce((sum, value) => sum + value, 0) / found.length;
    table.mean[cell] = mean;
    if (found.length > 1) [table.low[cell], table.high[cell]] = limits(found, mean);
  }
  return table;
}

function limits(found, mean) {
  const n = found.length;
  const centred = found.map((value) => value - mean);
  if (Math.max(...found) === Math.min(...found)) return [mean, mean];
  const counts = resamples(n);
  const means = new Float64Array(RESAMPLES);
  let below = 0;
  let upTo = 0;
  for (let draw = 0; draw < RESAMPLES; draw++) {
    let sum = 0;
    for (let at = 0; at < n; at++) sum += counts[draw * n + at] * centred[at];
    means[draw] = sum / n;
    below += means[draw] < 0;
    upTo += means[draw] <= 0;
  }
  means.sort();
  const bias = normalQuantile((below + upTo) / (2 * RESAMPLES));
  let levels = [0.025, 0.975];
  if (Number.isFinite(bias) && n > 2) {
    let cubes = 0;
    let squares = 0;
    for (const value of centred) {
      cubes += value ** 3;
      squares += value ** 2;
    }
    const acceleration = cubes / (6 * squares ** 1.5);
    levels = levels.map((level) => {
      const shifted = bias + normalQuantile(level);
      return normalShare(bias + shifted / (1 - acceleration * shifted));
    });
  }
  return levels.map((level) => {
    const position = level * (RESAMPLES - 1);
    const lower = Math.floor(position);
    const next = means[Math.min(lower + 1, RESAMPLES - 1)];
    return mean + means[lower] + (position - lower) * (next - means[lower]);
  });
}

function signFlips(values, rows, cells) {
  const p = new Float64Array(cells).fill(NaN);
  for (let cell = 0; cell < cells; cell++) {
    const found = definedIn(values, rows, cells, cell);
    const n = found.length;
    if (!n) continue;
    const flips = signs(n);
    const total = Math.abs(found.reduce((sum, value) => sum + value, 0));
    const rounding = 1e-12 * found.reduce((sum, value) => sum + Math.abs(value), 0);
    let extreme = 0;
    for (let row = 0; row < flips.rows; row++) {
      let sum = 0;
      for (let at = 0; at < n; at++) sum += flips.pattern[row * n + at] * found[at];
      extreme += Math.abs(sum) >= total - rounding;
    }
    p[cell] = flips.exact ? extreme / flips.rows : (extreme + 1) / (flips.rows + 1);
  }
  return p;
}

// Benjamini and Hochberg's step-up; NaN is no test.
function falseDiscoveries(p) {
  const tested = [...p.keys()].filter((at) => !Number.isNaN(p[at])).sort((a, b) => p[b] - p[a]);
  const q = p.slice();
  let least = 1;
  tested.forEach((at, rank) => {
    least = Math.min(least, (p[at] * tested.length) / (tested.length - rank));
    q[at] = least;
  });
  return q;
}

// By the usual Chebyshev fit of erfc, whose relative error stays under 1.2e-7 in the tails too.
function normalShare(x) {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.5 * z);
  const terms = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
  ];
  const tail = t * Math.exp(-z * z + terms.reduceRight((sum, term) => sum * t + term, 0));
  return x > 0 ? 1 - tail / 2 : tail / 2;
}

// By bisection: the page asks for few.
function normalQuantile(share) {
  if (share <= 0) return -Infinity;
  if (share >= 1) return Infinity;
  let low = -9;
  let high = 9;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (normalShare(middle) < share) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
