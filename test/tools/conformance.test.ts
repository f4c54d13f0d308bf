import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { lacks, thisMachine, type Machine } from '../conformance/doctor';
import { changedFiles, isDue } from '../conformance/due';
import { JAVA, NODE, PARTS } from '../conformance/parts';
import { ROOT } from '../support/examples';

const machine = (versions: { [command: string]: number }, memoryGiB = 16, diskGiB = 64): Machine => ({
  memoryGiB, diskGiB, version: ({ command }) => versions[command],
});

const needs = { tools: [NODE, JAVA], memoryGiB: 2, diskGiB: 3 };

test('a machine that has everything lacks nothing', () => {
  expect(lacks(needs, machine({ node: 20, java: 21 }))).toEqual([]);
});

test.each([
  ['a missing program, with the remedy', machine({ node: 20 }), /^java is missing: install a JDK/],
  ['a program that is too old', machine({ node: 20, java: 11 }), /^java is version 11, 17 is needed/],
  ['memory', machine({ node: 20, java: 21 }, 1), /^1\.0 GiB of memory, 2 are needed/],
  ['disk', machine({ node: 20, java: 21 }, 16, 1), /^1\.0 GiB of free disk, 3 are needed/],
])('doctor names %s', (_what, where, message) => {
  expect(lacks(needs, where)).toEqual([expect.stringMatching(message)]);
});

test('this machine has the Node that runs this test', () => {
  expect(thisMachine(ROOT).version(NODE)).toBe(Number(process.versions.node.split('.')[0]));
});

test('every part needs Node, says what it proves, and has its tests', () => {
  for (const { proves, needs: { tools }, tests } of Object.values(PARTS)) {
    expect(proves).not.toBe('');
    expect(tools).toContain(NODE);
    for (const file of tests) expect(existsSync(join(ROOT, 'test', 'conformance', file))).toBe(true);
  }
});

test('what a dear part proves is there', () => {
  expect(Object.values(PARTS).flatMap(({ room = [] }) => room).filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

describe('a run of all parts runs', () => {
  const dear = { room: ['src/scaling', 'src/keda.ts'], programs: ['keda'] as const };
  const [built, missing] = [() => true, () => false];

  test.each([
    ['a part that is not dear', {}, [], missing, true],
    ['a dear part whose programs are built', dear, [], built, true],
    ['a dear part whose room changed', dear, ['README.md', 'src/scaling/keda.ts'], missing, true],
    ['a dear part of whose room a file changed', dear, ['src/keda.ts'], missing, true],
    ['a dear part where nobody knows what changed', dear, undefined, missing, true],
    ['not a dear part without either', dear, ['README.md', 'src/scaling.ts'], missing, false],
  ])('%s', (_what, part, changed, isBuilt, due) => {
    expect(isDue(part, changed, isBuilt)).toBe(due);
  });
});

describe('what changed', () => {
  let folder: string;
  const SETTINGS = ['user.name=t', 'user.email=t@example.com', 'init.defaultBranch=main'].flatMap((setting) => ['-c', setting]);
  const git = (...args: string[]) => execFileSync('git', [...SETTINGS, ...args], { cwd: folder, stdio: 'pipe' });
  const commit = (file: string) => {
    writeFileSync(join(folder, file), file);
    git('add', '.');
    git('commit', '-m', file);
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'changed-'));
    git('init');
    commit('a');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test('is unknown without history', () => {
    expect(changedFiles(folder)).toBeUndefined();
  });

  test('on main, is what the last commit changed and what is not committed', () => {
    commit('b');
    commit('c');
    writeFileSync(join(folder, 'a'), 'edited');
    writeFileSync(join(folder, 'd'), 'new');
    expect(changedFiles(folder)).toEqual(['a', 'c', 'd']);
  });

  test('on a branch, is what all of its commits changed', () => {
    git('checkout', '-b', 'branch');
    commit('b');
    commit('c');
    expect(changedFiles(folder)).toEqual(['b', 'c']);
  });
});

describe('what is cached', () => {
  let home: string;
  const started: ChildProcess[] = [];
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'home-'));
  });
  afterEach(() => {
    for (const child of started.splice(0)) child.kill('SIGKILL');
    rmSync(home, { recursive: true });
  });

  function builder() {
    const child = spawn(process.execPath, ['--require', require.resolve('tsx/cjs'), join(__dirname, 'slow-builder.fixture.ts')], {
      env: { ...process.env, HOME: home }, stdio: ['pipe', 'pipe', 'inherit'],
    });
    started.push(child);
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    return { child, next: async () => (await lines.next()).value as string | undefined };
  }

  test('is built once: a second process waits for the first', async () => {
    const first = builder();
    expect(await first.next()).toBe('building');
    const second = builder();
    expect(await second.next()).toMatch(/^waiting for thing/);
    first.child.stdin.end();
    const built = `built by ${first.child.pid}`;
    expect([await first.next(), await second.next()]).toEqual([built, built]);
  });

  test('is built again where who built it is no more', async () => {
    const first = builder();
    expect(await first.next()).toBe('building');
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');
    const second = builder();
    second.child.stdin.end();
    const says = [await second.next(), await second.next(), await second.next()];
    expect(says).toContain(`built by ${second.child.pid}`);
  });
});
