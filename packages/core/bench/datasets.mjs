/**
 * Speed of what datasets are made with, beside plain programs: node packages/core/bench/datasets.mjs (after a build).
 * The archive is 1000 files of about 110 KB in 10 tars in a tar, as ImageNet's; the xz one is text.
 */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { download, readPlain, readTar, ShardWriter } from '../dist/index.js';

const folder = mkdtempSync(join(tmpdir(), 'd2v-bench-'));
const at = (name) => join(folder, name);
const rows = [];

/** Measures some MB of work; the best of three. Removing what it has written (`clean`) does not count. */
async function measure(what, bytes, work, clean = () => {}) {
  let best = Infinity;
  let cpu = 0;
  for (let i = 0; i < 3; i++) {
    const [start, used] = [performance.now(), process.cpuUsage()];
    await work(i);
    const ms = performance.now() - start;
    const { user, system } = process.cpuUsage(used);
    clean(i);
    if (ms >= best) continue;
    best = ms;
    cpu = (user + system) / 1000 / ms;
  }
  rows.push({ what, 'MB/s': Math.round(bytes / 1e6 / (best / 1000)), 'own cores': Number(cpu.toFixed(2)) });
}

for (let c = 0; c < 10; c++) {
  mkdirSync(at(`tree/n${c}`), { recursive: true });
  for (let i = 0; i < 100; i++) writeFileSync(at(`tree/n${c}/n${c}_${i}.jpg`), randomBytes(110_000));
  execFileSync('tar', ['-cf', at(`n${c}.tar`), '-C', at(`tree/n${c}`), '.']);
}
execFileSync('tar', [
  '-cf',
  at('nested.tar'),
  '-C',
  folder,
  ...Array.from({ length: 10 }, (_, c) => `n${c}.tar`),
]);
const bytes = statSync(at('nested.tar')).size;

await measure(
  'tar x of the class tars (after tar x of the whole)',
  bytes,
  (i) => {
    const target = at(`x${i}`);
    mkdirSync(target);
    execFileSync('tar', ['-xf', at('nested.tar'), '-C', target]);
    for (let c = 0; c < 10; c++) execFileSync('tar', ['-xf', join(target, `n${c}.tar`), '-C', target]);
  },
  (i) => rmSync(at(`x${i}`), { recursive: true }),
);
await measure(
  'nested tar to shards, hashed and indexed',
  bytes,
  async (i) => {
    const target = at(`s${i}`);
    mkdirSync(target);
    const shard = await ShardWriter.create({ folder: target, wrote: () => {}, atEnd: () => {} }, 'a.tar');
    for await (const inner of readTar(at('nested.tar'))) {
      for await (const entry of readTar(inner.body(), { archive: inner.name })) {
        await shard.add({ key: entry.name.slice(0, -4), files: { jpg: await entry.read() }, label: 1 });
      }
    }
    await shard.finish();
  },
  (i) => rmSync(at(`s${i}`), { recursive: true }),
);
await measure('index of a tar, contents passed over', bytes, async () => {
  for await (const entry of readTar(at('n0.tar'))) void entry;
  for (let c = 1; c < 10; c++) for await (const entry of readTar(at(`n${c}.tar`))) void entry;
});

const words = Array.from({ length: 20_000 }, (_, i) =>
  createHash('md5')
    .update(`${i}`)
    .digest('base64')
    .slice(0, 2 + (i % 9)),
);
let state = 1;
const next = () => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
};
const text = [];
for (let length = 0; length < 60e6; ) {
  const word = words[Math.floor(next() ** 3 * words.length)];
  text.push(word);
  length += word.length + 1;
}
writeFileSync(at('text'), text.join(' '));
execFileSync('xz', ['-k', '-T1', '-2', at('text')]);
const plain = statSync(at('text')).size;
await measure('xz -dc', plain, () => void execFileSync('sh', ['-c', `xz -dc ${at('text.xz')} > /dev/null`]));
await measure('xz in the stream', plain, async () => {
  for await (const piece of readPlain(at('text.xz'))) void piece;
});
execFileSync('gzip', ['-k', at('text')]);
await measure(
  'gzip -dc',
  plain,
  () => void execFileSync('sh', ['-c', `gzip -dc ${at('text.gz')} > /dev/null`]),
);
await measure('gzip in the stream', plain, async () => {
  for await (const piece of readPlain(at('text.gz'))) void piece;
});

const content = readFileSync(at('nested.tar'));
const server = createServer((request, response) => {
  const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
  const [start, end] =
    from === undefined ? [0, content.length] : [Number(from), Math.min(content.length, Number(to) + 1)];
  response.writeHead(from === undefined ? 200 : 206, {
    etag: '"x"',
    'content-length': end - start,
    ...(from !== undefined && { 'content-range': `bytes ${start}-${end - 1}/${content.length}` }),
  });
  response.end(content.subarray(start, end));
});
await new Promise((resolve) => server.listen(0, resolve));
const url = `http://127.0.0.1:${server.address().port}/`;
const md5 = createHash('md5').update(content).digest('hex');
await measure('curl-like: GET to a file, nothing else', bytes, async () => {
  const response = await fetch(url);
  const file = createWriteStream(at('plain'));
  for await (const piece of response.body)
    if (!file.write(piece)) await new Promise((r) => file.once('drain', r));
  await new Promise((resolve) => file.end(resolve));
});
for (const connections of [1, 4]) {
  await measure(
    `download with MD5, ${connections} connection(s), flushed to the disk`,
    bytes,
    async () => {
      await download(
        { urls: [url], path: at('d'), checksums: { md5 } },
        { connections, chunkBytes: 16 << 20 },
      );
    },
    () => rmSync(at('d')),
  );
}
await measure('MD5 alone', bytes, async () => {
  const hash = createHash('md5');
  for await (const piece of createReadStream(at('nested.tar'), { highWaterMark: 1 << 20 }))
    hash.update(piece);
});
server.close();
server.closeAllConnections();
console.table(rows);
rmSync(folder, { recursive: true });
