import { gzipSync } from 'node:zlib';
import { array, assert, asyncProperty, integer, string } from 'fast-check';
import { MemoryBucket } from './s3-memory.fixture';
import { BackfillBucket } from '../../../runtime/adapters/aws/backfill-bucket';

const collect = async (lines: AsyncIterable<string>) => {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
};

test('lines are those of the text, whatever the ranges cut, from any line on', async () => {
  const line = string({ unit: 'grapheme', maxLength: 30 }).filter((text) => !text.includes('\n'));
  const any = [array(line, { maxLength: 30 }), integer({ min: 1, max: 64 }), integer({ min: 0, max: 35 })] as const;
  await assert(asyncProperty(...any, async (lines, rangeBytes, from) => {
    const s3 = new MemoryBucket();
    s3.objects.set('part', gzipSync(lines.map((each) => `${each}\n`).join('')));
    expect(await collect(new BackfillBucket(s3.client, 'bucket', rangeBytes).lines('part', from))).toEqual(lines.slice(from));
  }), { seed: 20_260_101 });
});

test('a last line without an end counts', async () => {
  const s3 = new MemoryBucket();
  s3.objects.set('part', gzipSync('a\nb'));
  expect(await collect(new BackfillBucket(s3.client, 'bucket').lines('part'))).toEqual(['a', 'b']);
});

test('an object is fetched in ranges of its one version; another version under its name, a cut or an absent one is an error', async () => {
  const s3 = new MemoryBucket();
  const bucket = new BackfillBucket(s3.client, 'bucket', 16);
  const bytes = gzipSync(Array.from({ length: 40 }, (_, at) => `${at * 7919}`).join('\n'));
  s3.objects.set('part', bytes);
  await collect(bucket.lines('part'));
  expect(s3.ranges.slice(0, 2)).toEqual(['bytes=0-15', 'bytes=16-31']);

  s3.before = () => s3.ranges.length % 3 === 2 && void s3.objects.set('part', gzipSync('other'.repeat(9)));
  await expect(collect(bucket.lines('part'))).rejects.toMatchObject({ code: 'ARTIFACT_STORE_UNAVAILABLE' });
  s3.before = () => undefined;
  s3.objects.set('part', bytes.subarray(0, bytes.length - 9));
  await expect(collect(bucket.lines('part'))).rejects.toThrow(/unexpected end of file/);
  await expect(collect(bucket.lines('absent'))).rejects.toMatchObject({ code: 'ARTIFACT_STORE_UNAVAILABLE' });
});

test('keys are those of all pages', async () => {
  const s3 = new MemoryBucket();
  for (const key of ['runs/a/0', 'runs/a/1', 'runs/a/2', 'runs/b/0', 'runs/a/3']) s3.objects.set(key, Buffer.of());
  expect(await new BackfillBucket(s3.client, 'bucket').keys('runs/a/')).toEqual(['runs/a/0', 'runs/a/1', 'runs/a/2', 'runs/a/3']);
});
