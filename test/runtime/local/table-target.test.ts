/** An import into a table of AWS: where refused rows are, and in which order. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataDirectory } from '../../../runtime/adapters/local/data-directory';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { importToTable } from '../../../runtime/local/table-target';
import { StandardTerminal } from '../../../runtime/local/terminal';
import { BRAIN } from '../../support/local-brain';
import { Peer, type PeerAnswer } from '../adapters-aws/peer.fixture';

const [GROUP] = BRAIN.featureGroups;
const NOON = Date.UTC(2026, 0, 1, 12);
const KEY = new RegExp(`^/refused/quarantine/${GROUP.name}/v${GROUP.version}/import/[0-9a-f]{16}\\.jsonl$`);

describe('an import into a table', () => {
  const before = { ...process.env };
  let root: string;
  let aws: Peer;
  let calls: string[];
  let objects: Map<string, string>;
  let s3: () => PeerAnswer;
  let file: string;

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'thalos-table-'));
    file = join(root, 'drivers.csv');
    writeFileSync(file, 'driver,trips,rating,event_time\nann,1,1,2026-01-01T00:00:00Z\nbob,many,1,2026-01-01T00:00:00Z\n');
    calls = [];
    objects = new Map();
    s3 = () => ({});
    aws = await Peer.start(({ method, path, headers, body }) => {
      const target = headers['x-amz-target'];
      calls.push(target ? String(target).split('.')[1] : method);
      if (target) return { body: {} };
      const answer = s3();
      if (answer.status === undefined) objects.set(path.split('?')[0], body.toString());
      return answer;
    });
    for (const name of ['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_DYNAMODB', 'AWS_ENDPOINT_URL_S3']) process.env[name] = aws.url;
    Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_MAX_ATTEMPTS: '1' });
  });
  afterEach(async () => {
    process.env = { ...before };
    await aws.stop();
    rmSync(root, { recursive: true, force: true });
  });

  async function run(quarantine?: string) {
    const said: string[] = [];
    const screen = { write: (text: string) => void said.push(text) };
    const data = new DataDirectory(join(root, 'data'));
    mkdirSync(data.root, { recursive: true });
    const target = { configuration: BRAIN, group: GROUP, data, aws: { groups: [GROUP], table: 'features', region: 'eu-central-1', quarantine } };
    await importToTable(target as Parameters<typeof importToTable>[0], file, {}, {
      terminal: new StandardTerminal(screen, screen), natives: findNatives(), now: () => NOON,
    });
    return said.join('');
  }
  const files = () => (existsSync(join(root, 'data', 'quarantine')) ? readdirSync(join(root, 'data', 'quarantine'), { recursive: true, withFileTypes: true }) : [])
    .filter((each) => each.isFile()).map(({ name }) => name);

  test('keeps refused rows in the bucket that was named, before the others are written, and nowhere else', async () => {
    const said = await run('refused');
    expect(calls).toEqual(['PUT', 'PutItem']);
    const [[key, text]] = objects;
    expect(key).toMatch(KEY);
    expect(text).toContain('"reason":"WRONG_TYPE"');
    expect(text).toContain('"source":"drivers.csv"');
    expect(said).toContain(`1 rows are in the quarantine (1 WRONG_TYPE): s3:/${key}\n`);
    expect(said).toContain('wrote 1 rows');
    expect(files()).toEqual([]);
    // the same import again keeps the same rows in the same place
    await run('refused');
    expect([...objects.keys()]).toEqual([key]);
  });

  test('writes nothing where refused rows cannot be kept, and keeps them here', async () => {
    s3 = () => ({ status: 403, body: '<Error><Code>AccessDenied</Code></Error>' });
    await expect(run('refused')).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringContaining('the quarantine of features') });
    expect(calls).toEqual(['PUT']);
    expect(files()).toHaveLength(1);
  });

  test('keeps them in a file where no bucket is named', async () => {
    const said = await run();
    expect(calls).toEqual(['PutItem']);
    expect(files()).toHaveLength(1);
    expect(said).toMatch(/1 rows are in the quarantine \(1 WRONG_TYPE\): \//);
  });
});
