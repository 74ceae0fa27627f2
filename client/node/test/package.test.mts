// The package as users get it: both kinds of modules, its version, its README.
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import * as esm from '@lossd/client';
import * as esmV1 from '@lossd/client/v1';

import { PACKAGE, ROOT, Server } from './server.mjs';

const require = createRequire(import.meta.url);
const run = promisify(execFile);

let server: Server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

function text(path: string): string {
  return readFileSync(path, 'utf8');
}

test('import and require give the same', () => {
  const cjs = require('@lossd/client') as typeof esm;
  const cjsV1 = require('@lossd/client/v1') as typeof esmV1;
  deepEqual(Object.keys(esm).sort(), [
    ...['Combined', 'LossResult', 'LossdClient', 'LossdError', 'LossdMany', 'Sums', 'tensor', 'toFloat32'],
  ]);
  for (const [name, value] of Object.entries(esm)) equal(cjs[name as keyof typeof esm], value);
  const names = Object.keys(cjsV1).filter((name) => name !== '__esModule');
  deepEqual(
    Object.keys(esmV1)
      .filter((name) => !['__esModule', 'module.exports'].includes(name))
      .sort(),
    names.sort(),
  );
  ok(
    ['LossServiceClient', 'LossServiceService', 'Summary', 'Tensor', 'Status', 'RetryInfo'].every((name) =>
      names.includes(name),
    ),
  );
});

test("the version is the repository's, and the license too", () => {
  const { version, license } = JSON.parse(text(join(PACKAGE, 'package.json'))) as {
    version: string;
    license: string;
  };
  const lock = JSON.parse(text(join(PACKAGE, 'package-lock.json'))) as { version: string };
  const expected = text(join(ROOT, 'version.txt')).trim();
  deepEqual([version, lock.version, license], [expected, expected, 'Apache-2.0']);
  equal(text(join(PACKAGE, 'LICENSE')), text(join(ROOT, 'LICENSE')));
});

test('the lock file names no registry', () => {
  const { packages } = JSON.parse(text(join(PACKAGE, 'package-lock.json'))) as {
    packages: Record<string, { resolved?: string }>;
  };
  ok(Object.keys(packages).length > 10);
  deepEqual(
    Object.values(packages).filter(({ resolved }) => resolved !== undefined),
    [],
  );
});

/** Code between two fences of the README, or of an example, without its margin. */
function unindented(code: string): string {
  const margin = Math.min(
    ...code.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.search(/\S/)])),
  );
  return code
    .split('\n')
    .map((line) => line.slice(margin))
    .join('\n')
    .trim();
}

test('every piece of code in the README is one of an example', () => {
  const examples = readdirSync(join(PACKAGE, 'examples')).map((name) =>
    text(join(PACKAGE, 'examples', name)),
  );
  const blocks = [...text(join(PACKAGE, 'README.md')).matchAll(/^```js\n(.*?)^```$/gms)].map(
    (found) => found[1] ?? '',
  );
  ok(blocks.length >= 8);
  for (const block of blocks) {
    // A block may leave out what stands around it, and nothing in between.
    const lines = unindented(block)
      .split('\n')
      .map((line) => line.trim())
      .join('\n');
    const found = examples.some((example) =>
      example
        .split('\n')
        .map((line) => line.trim())
        .join('\n')
        .includes(lines),
    );
    ok(found, `in no example:\n${block}`);
  }
});

for (const name of readdirSync(join(PACKAGE, 'examples'))) {
  test(`examples/${name} runs`, async () => {
    const env = { ...process.env, LOSSD_ADDRESS: server.tcp };
    const { stdout, stderr } = await run(process.execPath, [join(PACKAGE, 'examples', name)], {
      env,
      timeout: 100_000,
    });
    equal(stderr, '');
    match(stdout, name.startsWith('worked') ? /^loss 1\.4502/ : /\S/);
  });
}
