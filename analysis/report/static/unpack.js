// From the packed form of the data to arrays. `analysis/report/packing.py` is the other side.

const ARRAYS = { u1: Uint8Array, u2: Uint16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array, i8: BigInt64Array };

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

async function unpackArray(packed) {
  return new ARRAYS[packed.type](await inflate(packed.z));
}

// A column of numbers is an array; one of texts has `words` and their codes.
async function unpackColumn(packed) {
  if (packed.type) return unpackArray(packed);
  const code = await unpackArray(packed.code);
  if (packed.words) return { words: packed.words, code };
  const text = new TextDecoder().decode(await unpackArray(packed.lines));
  return { words: text.split("\0"), code };
}

async function unpackAll(object, one) {
  const names = Object.keys(object);
  const values = await Promise.all(names.map((name) => one(object[name])));
  return Object.fromEntries(names.map((name, i) => [name, values[i]]));
}

const unpackList = (list, one) => Promise.all(list.map(one));
const unpackOutcome = async (o) => ({ state: await unpackArray(o.state), at: await unpackArray(o.at) });

// The data of the page, with arrays in the place of everything packed. Curves are unpacked when they are shown.
async function unpackData(data) {
  const axes = await unpackList(data.axes, async (axis) => ({ ...axis, code: await unpackArray(axis.code) }));
  const outcomes = await unpackAll(data.outcomes, (levels) => unpackList(levels, unpackOutcome));
  const columns = await unpackAll(data.columns, unpackColumn);
  const grids = await unpackList(data.grids, unpackArray);
  return { ...data, axes, outcomes, columns, grids, grid: await unpackArray(data.grid) };
}

// A block of curves: codes (run, point), undone from differences; `steps` for each grid of evaluations.
async function unpackCurves(block) {
  const differences = await unpackArray(block.codes);
  const [runs, points] = block.codes.shape;
  const mask = block.top;
  const codes = new differences.constructor(differences.length);
  for (let r = 0; r < runs; r++) {
    let sum = 0;
    for (let p = 0; p < points; p++) {
      sum = (sum + differences[r * points + p]) & mask;
      codes[r * points + p] = sum;
    }
  }
  return { ...block, codes, points };
}

function curveValue(block, code) {
  if (code === block.top) return null;
  const value = block.lo + ((block.hi - block.lo) * code) / (block.top - 1);
  return block.log ? Math.exp(value) : value;
}
