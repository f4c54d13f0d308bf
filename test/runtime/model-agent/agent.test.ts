import type { AgentOptions } from '../../../runtime/core/model-agent/state';
import { SYSTEM_CLOCK } from '../../../runtime/core/ports';
import { ModelAgent } from '../../../runtime/model-agent/agent';
import type { ArtifactFiles } from '../../../runtime/model-agent/artifact-files';
import type { TritonManagement } from '../../../runtime/model-agent/triton-management';
import { EMPTY_ROLLOUT_DOCUMENT } from '../../../src/contract';

const MACHINE: AgentOptions = {
  pool: 'stable', diskBudget: 100, rollbackMs: 0, probationMs: 0, maxCrashes: 3, backoffMs: 1, maxBackoffMs: 1, rotationPauseMs: 0,
};
const WITHDRAWN = { model: 'eta', version: '3', digest: `sha256:${'0'.repeat(64)}`, bytes: 10, whole: true };

test('a version that cannot be removed is tried again until it can, and each kind of failure is said once', async () => {
  const codes = ['EROFS', 'EROFS', 'ENOSPC', 'EROFS'];
  const said: unknown[] = [];
  let removed!: () => void;
  const isRemoved = new Promise<void>((resolve) => (removed = resolve));
  const files: Pick<ArtifactFiles, 'open' | 'evict'> = {
    open: async () => [WITHDRAWN],
    evict: async () => {
      const code = codes.shift();
      if (code !== undefined) throw Object.assign(new Error(`${code}: no`), { code });
      removed();
    },
  };
  const away: Pick<TritonManagement, 'key' | 'close'> = { key: async () => undefined, close: () => undefined };
  const agent = new ModelAgent({
    options: MACHINE,
    files: files as ArtifactFiles,
    triton: away as TritonManagement,
    grpcPort: 0,
    certificates: '/nowhere',
    rollout: { current: () => EMPTY_ROLLOUT_DOCUMENT, onChange: () => () => undefined },
    drain: async () => undefined,
    restart: async () => undefined,
    clock: SYSTEM_CLOCK,
    logger: { info: () => undefined, warn: () => undefined, error: (fields) => void said.push((fields as { code?: string }).code) },
    evictAgainMs: 0,
  });
  await agent.start();
  await isRemoved;
  await new Promise((resolve) => setImmediate(resolve));
  await agent.close();
  expect([agent.state.versions, codes, said]).toEqual([{}, [], ['EROFS', 'ENOSPC']]);
});
