import { lacks, thisMachine, type Machine } from '../conformance/doctor';
import { JAVA, NODE, PLANNED } from '../conformance/parts';
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

test('every planned part needs Node, and says what it proves', () => {
  for (const { proves, needs: { tools } } of Object.values(PLANNED)) {
    expect(proves).not.toBe('');
    expect(tools).toContain(NODE);
  }
});
