// tap.mjs - the least that a test needs: named tests run in order, results as TAP.
import { createRequire } from 'node:module';

// The packages are installed in a folder of their own.
export const require = createRequire(process.env.NODE_CLIENTS + '/');
export const [url, model] = process.argv.slice(2);

const tests = [];

export function test(name, run) {
  tests.push([name, run]);
}

export async function runAll() {
  console.log(`1..${tests.length}`);
  for (const [i, [name, run]] of tests.entries()) {
    try {
      await run();
      console.log(`ok ${i + 1} - ${name}`);
    } catch (e) {
      console.log(`not ok ${i + 1} - ${name}`);
      console.log(String(e?.stack ?? e).replace(/^/gm, '# '));
    }
  }
}

export async function collect(stream) {
  const out = [];
  for await (const x of stream) out.push(x);
  return out;
}

// What was thrown; an error if nothing was.
export async function thrown(run) {
  try {
    await run();
  } catch (e) {
    return e;
  }
  throw new Error('nothing was thrown');
}
