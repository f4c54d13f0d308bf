import { spawnSync } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { totalmem } from 'node:os';
import { stripVTControlCharacters } from 'node:util';
import type { Needs, Tool } from './parts';

const GIB = 2 ** 30;

/** What this machine has. */
export interface Machine {
  readonly memoryGiB: number;
  readonly diskGiB: number;
  /** Version of a program, as its `pattern` finds it; `undefined` where it is absent. */
  version(tool: Tool): number | undefined;
}

/** The machine that this runs on; `directory` is where servers would be installed. */
export function thisMachine(directory: string): Machine {
  const { bavail, bsize } = statfsSync(directory);
  return {
    memoryGiB: totalmem() / GIB,
    diskGiB: (bavail * bsize) / GIB,
    version: ({ command, version, pattern = /(\d+)/ }) => {
      const { status, stdout, stderr } = spawnSync(command, version, { encoding: 'utf8' });
      const match = status === 0 ? pattern.exec(stripVTControlCharacters(`${stdout}${stderr}`)) : null;
      return match ? Number(match[1]) : undefined;
    },
  };
}

/** What a machine lacks for a part, one remedy each. */
export function lacks(needs: Needs, machine: Machine): string[] {
  const tools = (needs.tools ?? []).flatMap((tool) => {
    const found = machine.version(tool);
    if (found === undefined) return [`${tool.command} is missing: ${tool.remedy}`];
    return tool.least !== undefined && found < tool.least ? [`${tool.command} is version ${found}, ${tool.least} is needed: ${tool.remedy}`] : [];
  });
  return [
    ...tools,
    ...machine.memoryGiB < needs.memoryGiB ? [`${machine.memoryGiB.toFixed(1)} GiB of memory, ${needs.memoryGiB} are needed`] : [],
    ...machine.diskGiB < needs.diskGiB ? [`${machine.diskGiB.toFixed(1)} GiB of free disk, ${needs.diskGiB} are needed`] : [],
  ];
}
